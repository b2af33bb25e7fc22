//go:build linux

package endtoend

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weir-stream/weir/bench/workload"
	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
	"github.com/weir-stream/weir/edge-node/torture"
)

// TestHandOver moves partitions between two nodes: one is stopped as a service manager stops it, and one joins. It measures how
// long nobody processes a partition that moves: from the last record of the old owner to the first new one of the next.
func TestHandOver(t *testing.T) {
	measuring(t)
	brokers, prefix := embeddedtest.Kafka(t)
	s := newStream(t, brokers, prefix+"sensors", embeddedtest.ClickHouse(t), "    protocol: classic\n    session_timeout: 6s")
	s.binary = weirBinary(t)
	const rate, partitions = 3000, 6
	cfg := workload.SensorsConfig{Seed: 91, Events: rate * 60, Devices: 200, NumPartitions: partitions, Span: 60 * time.Second, HugeSize: 1<<20 + 1<<10}.DefaultMix()
	s.send(t.Context(), cfg, rate)
	args := func(node string) []string {
		return []string{"--node", node, "--state-dir", filepath.Join(s.dir, "state-"+node)}
	}
	a := s.start(args("a")...)
	a.waitSaid(t, "partition assigned", partitions) // or b may have all of them first, and give half away while it is watched
	b := s.start(args("b")...)
	conn := openClickHouse(t, s.clickhouse)
	b.waitSaid(t, "partition assigned", partitions/2)
	s.progressAll(conn, "settling", a, b)
	var stops, joins []float64
	// A round moves three partitions there and three back: nine make more than 50 moves.
	for range rounds(t, 9) {
		// b is stopped, and a goes on with what b had.
		from, to := follow(t, b), follow(t, a)
		eventually(t, patience, func() (bool, string) {
			return from.seen() == partitions/2 && to.seen() == partitions/2, fmt.Sprintf("b processes %d partitions, a %d", from.seen(), to.seen())
		})
		to.end()
		to = follow(t, a)
		b.signal(t, syscall.SIGTERM)
		if code := b.wait(t, patience); code != 0 {
			t.Fatalf("exit code %d:\n%s", code, b.stderr.String())
		}
		from.end()
		eventually(t, patience, func() (bool, string) { return to.seen() == partitions, a.stderr.String() })
		to.end()
		stops = append(stops, pauses(t, from, to)...)
		s.progressAll(conn, "one has stopped", a)
		// It comes back, and a gives it some.
		from = follow(t, a)
		eventually(t, patience, func() (bool, string) { return from.seen() == partitions, a.stderr.String() })
		b = s.start(args("b")...)
		to = followNew(t, b)
		eventually(t, patience, func() (bool, string) { return to.seen() == partitions/2, a.stderr.String() + b.stderr.String() })
		to.end()
		from.end()
		joins = append(joins, pauses(t, from, to)...)
		s.progressAll(conn, "one has joined", a, b)
	}
	s.waitProduced()
	for _, p := range []*process{b, a} {
		p.signal(t, os.Interrupt)
		if code := p.wait(t, patience); code != 0 {
			t.Errorf("exit code %d:\n%s", code, p.stderr.String())
		}
	}
	s.finish()
	s.checkRows(t.Context(), conn)
	wantAudit(t.Context(), t, s.plan())
	t.Logf("pauses on a stop: %.2f; on a join: %.2f", stops, joins)
	detail := func(moves []float64) string {
		return fmt.Sprintf("%d moves, classic protocol, %d records/s, median %.2f s: from the last record of the old owner to the first new one of the next", len(moves), rate, median(moves))
	}
	torture.Record(t, "hand-over, a node stops: pause of a partition, p99", percentile(stops, 99), "s", 1, detail(stops))
	torture.Record(t, "hand-over, a node joins: pause of a partition, p99", percentile(joins, 99), "s", 1, detail(joins))
}

// follower watches which records a node processes.
type follower struct {
	stop    func()
	done    chan struct{}
	mu      sync.Mutex
	records map[int]float64   // guarded by mu: of each partition
	first   map[int]time.Time // guarded by mu: when the node was first seen to process a record of a partition
	last    map[int]time.Time // guarded by mu: and last
}

// follow begins to watch a node, as soon as it can be asked. What it has processed before is not seen.
func follow(t *testing.T, p *process) *follower {
	t.Helper()
	return followFrom(t, p, p.series(t, p.address(t), "weir_source_records_total"))
}

// followNew begins to watch a node that has just been started, and sees what it has processed already.
func followNew(t *testing.T, p *process) *follower { t.Helper(); return followFrom(t, p, nil) }

func followFrom(t *testing.T, p *process, records map[int]float64) *follower {
	t.Helper()
	addr, stop := p.address(t), make(chan struct{})
	f := &follower{stop: sync.OnceFunc(func() { close(stop) }), done: make(chan struct{}), records: records, first: map[int]time.Time{}, last: map[int]time.Time{}}
	if records == nil {
		f.records = map[int]float64{}
	}
	t.Cleanup(f.end)
	go func() {
		defer close(f.done)
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
			now := p.series(t, addr, "weir_source_records_total")
			at := time.Now()
			f.mu.Lock()
			for part, n := range now {
				if n <= f.records[part] {
					continue
				}
				if f.first[part].IsZero() {
					f.first[part] = at
				}
				f.records[part], f.last[part] = n, at
			}
			f.mu.Unlock()
		}
	}()
	return f
}

// seen is of how many partitions the node was seen to process records.
func (f *follower) seen() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.first)
}

// end ends watching. Ending twice is fine.
func (f *follower) end() {
	f.stop()
	<-f.done
}

// pauses is how long each partition stood still that went from one node to another, which are not watched any more.
func pauses(t *testing.T, from, to *follower) []float64 {
	t.Helper()
	var all []float64
	for part, first := range to.first {
		if last := from.last[part]; !last.IsZero() && first.After(last) {
			all = append(all, first.Sub(last).Seconds())
		}
	}
	if len(all) != 3 {
		t.Errorf("%d partitions were seen to move, want 3: from %v to %v", len(all), from.last, to.first)
	}
	return all
}
