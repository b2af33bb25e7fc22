//go:build unix

package endtoend

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/weir-stream/weir/bench/workload"
	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
)

// swapStream is a stream whose module is a file of its own, in versions that differ in their digest alone: a custom section
// at the end. So the truth is the same whatever runs when.
type swapStream struct {
	*stream
	base []byte
}

func newSwapStream(t *testing.T, extra string) *swapStream {
	t.Helper()
	brokers, prefix := embeddedtest.Kafka(t)
	s := &swapStream{stream: newStream(t, brokers, prefix+"sensors", embeddedtest.ClickHouse(t), extra)}
	var err error
	if s.base, err = os.ReadFile("../../examples/operators/calibrate/calibrate.wasm"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(s.file())
	if err != nil {
		t.Fatal(err)
	}
	text = regexp.MustCompile(`module: [^,]*calibrate\.wasm`).ReplaceAll(text, []byte("module: calibrate.wasm"))
	s.write("pipeline.yaml", text)
	s.module(0)
	return s
}

// write replaces a file as a careful program does.
func (s *swapStream) write(name string, data []byte) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		s.t.Fatal(err)
	}
}

func (s *swapStream) version(i int) []byte {
	return append(append([]byte(nil), s.base...), 0, 3, 1, 'v', byte(i))
}

func (s *swapStream) module(i int) { s.t.Helper(); s.write("calibrate.wasm", s.version(i)) }

func (p *process) said(word string) int { return strings.Count(p.stderr.String(), word) }

// waitSaid waits until a node has said something so many times.
func (p *process) waitSaid(t *testing.T, word string, times int) {
	t.Helper()
	eventually(t, patience, func() (bool, string) {
		return p.said(word) >= times, fmt.Sprintf("%q was not said %d times:\n%s", word, times, p.stderr.String())
	})
}

// TestHotSwap replaces the module of a node several times under load, once half-written, and reloads what cannot be taken
// over. No partition moves, and every answer, late rows included, is the one without a swap.
func TestHotSwap(t *testing.T) {
	t.Parallel()
	s := newSwapStream(t, "    protocol: classic")
	s.produce(t.Context(), 21, 140_000, 8000)
	conn := openClickHouse(t, s.clickhouse)
	node := s.start("--watch")
	node.waitReady(t, patience)
	eventually(t, patience, func() (bool, string) { return s.stored(conn) > 0, node.stderr.String() })
	const swaps = 3
	for i := 1; i <= swaps; i++ {
		before := s.stored(conn)
		began := time.Now()
		s.module(i)
		node.waitSaid(t, "swapped ", i)
		t.Logf("swap %d: %v from the file to the last partition", i, time.Since(began).Round(time.Millisecond))
		eventually(t, patience, func() (bool, string) { return s.stored(conn) > before, node.stderr.String() })
	}

	// A candidate beside the live module, with another offset, changes no answer and begins no segment.
	text, err := os.ReadFile(s.file())
	if err != nil {
		t.Fatal(err)
	}
	s.write("candidate.wasm", s.version(99))
	s.write("pipeline.yaml", []byte(strings.Replace(string(text), "on_error: reject", "on_error: reject, shadow: {module: candidate.wasm, config: {offset: 0.5}}", 1)))
	node.waitSaid(t, "swapped ", swaps+1)
	var metrics string
	eventually(t, patience, func() (bool, string) {
		_, metrics = get(t, node.address(t)+"/metrics")
		return regexp.MustCompile(`weir_shadow_differing_values_total\{[^}]*column="temp",[^}]*\} [1-9]`).MatchString(metrics), metrics
	})
	s.write("pipeline.yaml", text)
	node.waitSaid(t, "swapped ", swaps+2)

	// Half a module is not taken, and neither is what needs a restart.
	if err := os.WriteFile(filepath.Join(s.dir, "calibrate.wasm"), s.base[:len(s.base)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	node.waitSaid(t, "not reloaded", 1)
	s.module(swaps)
	node.waitSaid(t, "swapped ", swaps+3)
	s.write("pipeline.yaml", []byte(strings.Replace(string(text), "flush_every: 200ms", "flush_every: 300ms", 1)))
	node.waitSaid(t, "a restart is needed: sink.clickhouse changed", 1)
	s.write("pipeline.yaml", text)
	node.waitSaid(t, "swapped ", swaps+4)
	node.signal(t, syscall.SIGHUP) // with nothing new in the files
	node.waitSaid(t, "swapped ", swaps+5)

	_, metrics = get(t, node.address(t)+"/metrics")
	for name, want := range map[string]int{"swaps_total": swaps + 5, "swap_failures_total": 2, "swapping_partitions": 0} {
		if line := fmt.Sprintf("weir_%s{pipeline=\"line-temperature\"} %d\n", name, want); !strings.Contains(metrics, line) {
			t.Errorf("no metric %s", line)
		}
	}
	if n := node.said("  shadow  ") + node.said(" shadow "); n == 0 {
		t.Errorf("no summary of the candidate:\n%s", node.stderr.String())
	}
	if n := node.said("partition assigned"); n != 6 {
		t.Errorf("partitions were assigned %d times, want 6: the group noticed", n)
	}
	s.waitProduced()
	node.signal(t, os.Interrupt)
	if code := node.wait(t, patience); code != 0 {
		t.Errorf("exit code %d:\n%s", code, node.stderr.String())
	}
	s.finish()
	s.check()
	// All of them at once, as they are recorded, with the modules by their digests.
	if err := os.Mkdir(filepath.Join(s.dir, "old"), 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range swaps + 1 {
		s.write(fmt.Sprintf("old/%d.wasm", i), s.version(i))
	}
	if r := s.report(0, "replay", "--recorded", "--operators", "old"); len(r.Segments) != 6*(swaps+1) || len(r.Others) != 0 {
		t.Errorf("recorded: %d segments, %d others", len(r.Segments), len(r.Others))
	}
	// Every segment comes out of the log again under its own version, with the clock of the one before it.
	for i := range swaps + 1 {
		s.module(i)
		r := s.report(0, "replay")
		if rows, letters := tallies(r); rows.Identical == 0 || letters.Identical == 0 || len(r.Segments) != 6 || len(r.Others) != 6*swaps {
			t.Errorf("version %d: %+v, %+v of %d segments, %d others", i, rows, letters, len(r.Segments), len(r.Others))
		}
		for _, g := range r.Segments {
			if i > 0 && g.Clock != "carried over" && g.Clock != "committed" {
				t.Errorf("version %d: a segment began with clock %q", i, g.Clock)
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	queryRows(ctx, t, conn, `SELECT partition, toInt64(count()), toInt64(uniqExact(rev)) FROM weir_coverage FINAL GROUP BY partition`, func(rows driver.Rows) error {
		var p uint32
		var segments, revisions int64
		err := rows.Scan(&p, &segments, &revisions)
		if segments != 1+swaps || revisions != 1+swaps {
			t.Errorf("partition %d has %d segments of %d revisions, want %d: reloading the same version must not begin one", p, segments, revisions, 1+swaps)
		}
		return err
	})
}

// TestHotSwapKilled kills a node around swaps, at random moments, and starts it again with what is on the disk by then.
func TestHotSwapKilled(t *testing.T) {
	t.Parallel()
	s := newSwapStream(t, "    protocol: classic\n    instance_id: box-1")
	cfg := workload.SensorsConfig{Seed: 22, Events: 120_000, Devices: 200, NumPartitions: 6, Span: 5 * time.Minute}.DefaultMix()
	cfg.LateRate, cfg.BrokenRate = 0, 0 // a restart in another revision begins with a new clock, for which fewer rows are late
	s.send(t.Context(), cfg, 7000)
	conn := openClickHouse(t, s.clickhouse)
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 2))
	swapped, version := 0, 0
	for i := range 14 {
		before := s.stored(conn)
		node := s.start("--watch")
		if i%3 == 2 {
			eventually(t, patience, func() (bool, string) {
				return s.stored(conn) > before || node.said("run that revision") > 0, node.stderr.String()
			})
		}
		if i%3 == 1 {
			// Or it starts with the next version.
			eventually(t, patience, func() (bool, string) {
				return node.said("partition assigned")+node.said("run that revision") > 0, node.stderr.String()
			})
		}
		version = (version + 1 + rng.IntN(3)) % 4
		s.module(version)
		if rng.IntN(2) == 0 && node.said("starting") > 0 {
			node.signal(t, syscall.SIGHUP)
		}
		if i%3 == 1 { // to its end; else somewhere in between
			eventually(t, patience, func() (bool, string) { return node.said("swapped ") > 0, node.stderr.String() })
		}
		time.Sleep(time.Duration(rng.IntN(1200)) * time.Millisecond)
		if !node.running() {
			t.Fatalf("the node ended by itself:\n%s", node.stderr.String())
		}
		node.kill()
		swapped += node.said("swapped ")
	}
	s.waitProduced()
	s.complete(conn)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s.checkRows(ctx, conn)
	wantAudit(ctx, t, s.plan())
	if swapped < 3 {
		t.Errorf("%d swaps came to an end: the test does not test", swapped)
	}
	t.Logf("%d swaps came to an end", swapped)
}

// complete runs versions until everything is stored. A node that was killed between rows and their account left something
// that only its version can finish.
func (s *swapStream) complete(conn driver.Conn) {
	s.t.Helper()
	want := s.truth.Counts().Records
	names := map[string]int{}
	for v := range 4 {
		s.module(v)
		names[fmt.Sprintf("%016x", s.plan().Revision)] = v
	}
	needed := regexp.MustCompile(`revision ([0-9a-f]{16}) stored rows`)
	for v, try := 0, 0; ; try++ {
		if try == 20 {
			s.t.Fatalf("%d of %d records are stored", s.stored(conn), want)
		}
		s.module(v)
		node := s.start()
		eventually(s.t, patience, func() (bool, string) {
			return s.stored(conn) >= want || node.said("run that revision") > 0, node.stderr.String()
		})
		time.Sleep(time.Second)
		node.signal(s.t, os.Interrupt)
		node.wait(s.t, patience)
		m := needed.FindStringSubmatch(node.stderr.String())
		if m == nil {
			return
		}
		v = names[m[1]]
	}
}
