//go:build unix

package endtoend

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
)

// sum adds up the series of a metric.
func (p *process) sum(t *testing.T, name string) float64 {
	t.Helper()
	code, body := get(t, p.address(t)+"/metrics")
	if code != 200 {
		t.Fatalf("metrics: status %d, %s\n%s", code, body, p.stderr.String())
	}
	total := 0.0
	for lines := bufio.NewScanner(strings.NewReader(body)); lines.Scan(); {
		line := lines.Text()
		if !strings.HasPrefix(line, name+"{") && !strings.HasPrefix(line, name+" ") {
			continue
		}
		v, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		total += v
	}
	return total
}

// TestKilledWithStore is TestKilled for a node with a local store: after most kills it goes on where it was, without reading
// open windows again.
func TestKilledWithStore(t *testing.T) {
	t.Parallel()
	brokers, prefix := embeddedtest.Kafka(t)
	s := newStream(t, brokers, prefix+"sensors", embeddedtest.ClickHouse(t), "    instance_id: box-1")
	state := filepath.Join(t.TempDir(), "state")
	s.produce(t.Context(), 11, 80_000, 8000)
	conn := openClickHouse(t, s.clickhouse)
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 2))
	moved, resumed, before := 0, 0, int64(0)
	for i := range 12 {
		p := s.start("--state-dir", state)
		if i%3 == 2 {
			eventually(t, patience, func() (bool, string) {
				n := s.stored(conn)
				return n > before, p.stderr.String()
			})
		}
		time.Sleep(time.Duration(200+rng.IntN(1000)) * time.Millisecond)
		if !p.running() {
			t.Fatalf("the node ended by itself:\n%s", p.stderr.String())
		}
		p.kill()
		resumed += strings.Count(p.stderr.String(), "going on with what was saved")
		if n := s.stored(conn); n > before {
			moved, before = moved+1, n
		}
	}
	s.waitProduced()
	p := s.start("--state-dir", state, "--stop-at-end")
	if code := p.wait(t, patience); code != 0 {
		t.Fatalf("exit code %d:\n%s", code, p.stderr.String())
	}
	s.check()
	if moved < 2 || resumed < 2 {
		t.Errorf("%d lives stored something, %d partitions went on from the disk: the test does not test", moved, resumed)
	}
	t.Logf("%d lives stored something, %d partitions went on from the disk", moved, resumed)
}

// TestOutage takes ClickHouse away. The node goes on reading and keeps what it has on its disk, is killed, goes on without
// ClickHouse, and ships everything when it is back.
func TestOutage(t *testing.T) {
	t.Parallel()
	ctx := ownServers(t)
	ch, cfg := ownClickHouse(ctx, t)
	brokers, prefix := embeddedtest.Kafka(t)
	s := newStream(t, brokers, prefix+"sensors", ch.DSN("default"), "    instance_id: box-1")
	state := filepath.Join(t.TempDir(), "state")
	s.produce(ctx, 12, 120_000, 8000)
	conn := openClickHouse(t, s.clickhouse)
	node := s.start("--state-dir", state)
	eventually(t, patience, func() (bool, string) { return s.stored(conn) > 2000, node.stderr.String() })

	ch.Kill()
	reads := func(what string, more float64) {
		t.Helper()
		records, saves := node.sum(t, "weir_source_records_total"), node.sum(t, "weir_saves_total")
		eventually(t, patience, func() (bool, string) {
			r, n := node.sum(t, "weir_source_records_total")-records, node.sum(t, "weir_saves_total")-saves
			return r > more && n > 2, fmt.Sprintf("%s: %v records and %v saves more\n%s", what, r, n, node.stderr.String())
		})
	}
	reads("without ClickHouse", 20_000)
	node.kill()
	node = s.start("--state-dir", state)
	reads("killed, and without ClickHouse", 20_000)
	if n := strings.Count(node.stderr.String(), "going on with what was saved"); n == 0 {
		t.Errorf("it did not go on from the disk:\n%s", node.stderr.String())
	}
	away := node.sum(t, "weir_sink_rows_total")
	if away != 0 {
		t.Errorf("%v rows were stored without a ClickHouse", away)
	}
	startClickHouse(ctx, t, cfg)
	s.waitProduced()
	node.signal(t, os.Interrupt)
	if code := node.wait(t, patience); code != 0 {
		t.Errorf("exit code %d:\n%s", code, node.stderr.String())
	}
	p := s.start("--state-dir", state, "--stop-at-end")
	if code := p.wait(t, patience); code != 0 {
		t.Fatalf("exit code %d:\n%s", code, p.stderr.String())
	}
	s.check()
}
