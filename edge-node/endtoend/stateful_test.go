//go:build unix

package endtoend

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/weir-stream/weir/bench/workload"
	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
)

// countersFile is a pipeline of counters, with what they went up by. Windows close soon, so that replays begin at stored states.
const countersFile = `pipeline: counters
source:
  kafka: {brokers: %q, topics: [%s], group: %[2]s, protocol: classic, session_timeout: 6s}
  columns: {device: string, ts: "timestamp[ms]", v: int64}
time: {column: ts, max_out_of_order: 2s}
steps:
  - wasm: {module: %s, config: {counter: v}}
window:
  tumbling: 5s
  group_by: [device]
  aggregates: {n: count(), readings: count(delta), up: sum(delta)}
sink: {clickhouse: {url: %q, flush_every: 100ms, schema: apply}}
late: {to: dead_letters}
`

// counters makes readings of counters that go up, start again, and are rarely negative, which an operator rejects. It never
// ends, and keeps the truth about what it gave: a counter is one of its partition.
type counters struct {
	partitions int32
	rng        *rand.Rand
	sent       int64
	values     [40]int64
	offsets    []int64
	last       map[counterKey]int64
	windows    map[windowKey]*counted
	rejected   int64
}

type counterKey struct {
	partition int32
	device    string
}

type windowKey struct {
	start  int64
	device string
}

// counted is the answer of a window.
type counted struct{ rows, readings, up int64 }

func newCounters(seed uint64, partitions int32) *counters {
	return &counters{
		partitions: partitions, rng: rand.New(rand.NewPCG(seed, 1)), offsets: make([]int64, partitions),
		last: map[counterKey]int64{}, windows: map[windowKey]*counted{},
	}
}

func (c *counters) Partitions() int32 { return c.partitions }
func (c *counters) Err() error        { return nil }

func (c *counters) Next(r *workload.Record) bool {
	const begin = 1714557600000
	at := begin + 3*c.sent - c.rng.Int64N(1000)
	c.sent++
	i := c.rng.IntN(len(c.values))
	device := fmt.Sprintf("counter-%d", i)
	c.values[i] += c.rng.Int64N(50)
	if c.rng.IntN(300) == 0 {
		c.values[i] = c.rng.Int64N(5)
	}
	v := c.values[i]
	if c.rng.IntN(2000) == 0 {
		v = -1 - v
	}
	p := c.rng.Int32N(c.partitions)
	value, err := json.Marshal(map[string]any{"device": device, "ts": at, "v": v})
	if err != nil {
		panic(err) // of these types it can be written
	}
	*r = workload.Record{Partition: p, Offset: c.offsets[p], Value: value}
	c.offsets[p]++
	c.count(counterKey{p, device}, at, v)
	return true
}

// count is what the pipeline is to do, read from its file and the operator's manual.
func (c *counters) count(key counterKey, at, v int64) {
	if v < 0 {
		c.rejected++
		return
	}
	w := windowKey{at - at%5000, key.device}
	if c.windows[w] == nil {
		c.windows[w] = &counted{}
	}
	c.windows[w].rows++
	if last, seen := c.last[key]; seen {
		c.windows[w].readings++
		if v >= last {
			v, c.last[key] = v-last, v
		} else {
			c.last[key] = v
		}
		c.windows[w].up += v
		return
	}
	c.last[key] = v
}

// counterStream is a stream of counters.
type counterStream struct {
	*stream
	counters *counters
	conn     driver.Conn
}

func newCounterStream(t *testing.T, seed uint64, partitions int32, perSecond float64) *counterStream {
	t.Helper()
	brokers, prefix := embeddedtest.Kafka(t)
	s := &counterStream{counters: newCounters(seed, partitions), stream: &stream{
		t: t, dir: t.TempDir(), brokers: brokers, topic: prefix + "counters", clickhouse: embeddedtest.ClickHouse(t),
		enough: make(chan struct{}), produced: make(chan error, 1),
	}}
	module, err := filepath.Abs("../../examples/operators/delta/delta.wasm")
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(countersFile, strings.Join(brokers, ","), s.topic, module, s.clickhouse)
	if err := os.WriteFile(s.file(), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.conn = openClickHouse(t, s.clickhouse)
	go func() {
		until := &until{Generator: s.counters, enough: s.enough}
		_, err := workload.Produce(t.Context(), s.brokers, s.topic, until, workload.ProduceOptions{Rate: perSecond})
		s.produced <- err
	}()
	return s
}

// accounts is how many records of each partition ClickHouse has an account of.
func (s *counterStream) accounts() map[uint32]int64 {
	s.t.Helper()
	got := map[uint32]int64{}
	queryRows(s.t.Context(), s.t, s.conn, "SELECT partition, toInt64(sum(records_in)) FROM weir_coverage FINAL GROUP BY partition", func(rows driver.Rows) error {
		var p uint32
		var n int64
		err := rows.Scan(&p, &n)
		got[p] = n
		return err
	})
	return got
}

// progress waits until some hundred records more are stored of every partition, or of some.
func (s *counterStream) progress(what string, nodes []*process, partitions ...uint32) {
	s.t.Helper()
	before := s.accounts()
	eventually(s.t, patience, func() (bool, string) {
		now := s.accounts()
		for _, p := range partitions {
			if now[p] < before[p]+300 {
				said := fmt.Sprintf("%s: %v records stored, %v before", what, now, before)
				for _, n := range nodes {
					said += "\n" + n.stderr.String()
				}
				return false, said
			}
		}
		return true, ""
	})
}

// remembered waits until a node has committed offsets of so many partitions that others can only go on from with a stored
// state: states before are released behind them.
func (s *counterStream) remembered(p *process, node string, partitions uint64) {
	s.t.Helper()
	eventually(s.t, patience, func() (bool, string) {
		if !p.running() {
			s.t.Fatalf("weir ended:\n%s", p.stderr.String())
		}
		var n uint64
		err := s.conn.QueryRow(s.t.Context(), "SELECT uniqExact(partition) FROM weir_state WHERE released = 1 AND node = $1", node).Scan(&n)
		return n >= partitions, fmt.Sprintf("node %s has gone on from the states of %d partitions (%v)\n%s", node, n, err, p.stderr.String())
	})
}

// interrupt stops a node as a service manager does.
func (s *counterStream) interrupt(p *process) {
	s.t.Helper()
	p.signal(s.t, os.Interrupt)
	if code := p.wait(s.t, patience); code != 0 {
		s.t.Errorf("exit code %d:\n%s", code, p.stderr.String())
	}
}

// check compares the answers with the truth.
func (s *counterStream) check() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	got := map[windowKey]counted{}
	queryRows(ctx, s.t, s.conn, "SELECT toUnixTimestamp64Milli(window_start), device, toInt64(n), toInt64(readings), toInt64(ifNull(up, 0)) FROM counters", func(rows driver.Rows) error {
		var k windowKey
		var c counted
		err := rows.Scan(&k.start, &k.device, &c.rows, &c.readings, &c.up)
		got[k] = c
		return err
	})
	if len(got) == 0 || len(got) != len(s.counters.windows) {
		s.t.Errorf("%d answers, want %d", len(got), len(s.counters.windows))
	}
	wrong := 0
	for k, want := range s.counters.windows {
		if got[k] != *want {
			if wrong++; wrong <= 10 {
				s.t.Errorf("%+v: %+v, want %+v", k, got[k], *want)
			}
		}
	}
	if wrong > 0 {
		s.t.Errorf("%d of %d answers are wrong", wrong, len(got))
	}
	letters := map[string]int64{}
	queryRows(ctx, s.t, s.conn, "SELECT reason, toInt64(count()) FROM weir_dead_letters FINAL GROUP BY reason", func(rows driver.Rows) error {
		var reason string
		var n int64
		err := rows.Scan(&reason, &n)
		letters[reason] = n
		return err
	})
	if want := map[string]int64{"operator": s.counters.rejected}; !maps.Equal(letters, want) {
		s.t.Errorf("dead letters by reason: %v, want %v", letters, want)
	}
	for p, n := range s.accounts() {
		if n != s.counters.offsets[p] {
			s.t.Errorf("%d records of partition %d, want %d", n, p, s.counters.offsets[p])
		}
	}
	wantAudit(ctx, s.t, s.plan())
}

// TestStateMoves has partitions whose operators keep state go from one live node to another: the first is stopped, hangs and
// comes back as a zombie, or is killed.
func TestStateMoves(t *testing.T) {
	t.Parallel()
	const partitions = 4
	s := newCounterStream(t, 11, partitions, 3000)
	all := []uint32{0, 1, 2, 3}
	a, b := s.start("--node", "a"), s.start("--node", "b")
	s.remembered(a, "a", 1)
	s.remembered(b, "b", 1)

	s.interrupt(a)
	s.progress("one was stopped", []*process{b}, all...)
	s.remembered(b, "b", partitions)

	c := s.start("--node", "c")
	s.remembered(c, "c", 1)
	b.signal(t, syscall.SIGSTOP)
	s.progress("one hangs", []*process{b, c}, all...) // when its session is over
	s.remembered(c, "c", partitions)
	b.signal(t, syscall.SIGCONT)
	s.progress("the zombie is back", []*process{b, c}, all...)

	d := s.start("--node", "d")
	s.remembered(d, "d", 1)
	c.kill()
	s.progress("one was killed", []*process{b, d}, all...)

	s.waitProduced()
	s.interrupt(b)
	s.interrupt(d)
	s.finish()
	s.check()
}

// TestStateGone takes the stored states of a partition away, or changes them. The partition is not read, and the node says
// so; the others go on. With the states back, the answers are exact.
func TestStateGone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ left, says string }{
		"missing": {"SELECT * FROM kept WHERE partition != 0", "it was deleted, or has expired"},
		"damaged": {"SELECT * REPLACE (if(partition = 0 AND released = 0, 'other', state) AS state) FROM kept", "does not have its hash"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newCounterStream(t, 12, 2, 2000)
			exec := func(sql string) {
				t.Helper()
				if err := s.conn.Exec(t.Context(), sql); err != nil {
					t.Fatalf("%s: %v", sql, err)
				}
			}
			node := s.start("--node", "a")
			s.remembered(node, "a", 2)
			s.interrupt(node)
			exec("CREATE TABLE kept AS weir_state")
			exec("INSERT INTO kept SELECT * FROM weir_state")
			exec("TRUNCATE TABLE weir_state")
			exec("INSERT INTO weir_state " + c.left)

			before := s.accounts()[0]
			node = s.start("--node", "a")
			node.waitReady(t, patience, s.topic+"/0 is not read", "weir_state", c.says)
			s.progress("the partition that has its state", []*process{node}, 1)
			if n := s.accounts()[0]; n != before {
				t.Errorf("%d records of the partition without its state were stored", n-before)
			}
			s.interrupt(node)

			exec("INSERT INTO weir_state SELECT * FROM kept WHERE partition = 0 AND released = 0")
			s.waitProduced()
			s.finish()
			s.check()
		})
	}
}

// TestStateKilledWithStore kills a node whose operators keep state and that has a local store, again and again. It goes on with what was
// saved, state included; the last life has another disk, and begins with what is stored in ClickHouse.
func TestStateKilledWithStore(t *testing.T) {
	t.Parallel()
	s := newCounterStream(t, 13, 2, 3000)
	text, err := os.ReadFile(s.file())
	if err != nil {
		t.Fatal(err)
	}
	named := strings.Replace(string(text), "protocol: classic", "protocol: classic, instance_id: box-1", 1)
	if named == string(text) {
		t.Fatal("the file has no protocol")
	}
	if err := os.WriteFile(s.file(), []byte(named), 0o600); err != nil {
		t.Fatal(err)
	}
	state, resumed := filepath.Join(t.TempDir(), "state"), 0
	for i := range 5 {
		node := s.start("--state-dir", state)
		node.waitSaid(t, "partition assigned", 2)
		s.progress(fmt.Sprintf("life %d", i), []*process{node}, 0, 1)
		node.kill()
		resumed += node.said("going on with what was saved")
	}
	if resumed < 4 {
		t.Errorf("%d partitions went on from the disk: the test does not test", resumed)
	}
	s.waitProduced()
	s.finish()
	s.check()
}
