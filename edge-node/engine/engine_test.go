package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-stream/weir/edge-node/engine"
	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/ingest/decode"
	"github.com/weir-stream/weir/ingest/kafka"
	"github.com/weir-stream/weir/ingest/schema"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/operators/aggregate"
	"github.com/weir-stream/weir/operators/window"
	"github.com/weir-stream/weir/sink"
)

const topic = "sensors"

// truth is the answer to a stream, computed apart from the product: a map, a row at a time.
type truth struct {
	groups         map[string][2]int64 // count and sum by partition, window and device
	late, rejected int64
	next           []int64 // records per partition
	newest         []int64
	devices        int // 0: 7
}

const (
	windowMS  = 10_000
	disorder  = 2_000
	lateness  = 3_000
	partCount = 4
)

func (tr *truth) add(part int, ts int64, device string, v int64, broken bool) {
	tr.next[part]++
	if broken {
		tr.rejected++
		return
	}
	start := ts / windowMS * windowMS
	if tr.newest[part] > 0 && start+windowMS+lateness <= tr.newest[part]-disorder {
		tr.late++
		return
	}
	tr.newest[part] = max(tr.newest[part], ts)
	key := fmt.Sprintf("%d|%d|%s", part, start, device)
	g := tr.groups[key]
	tr.groups[key] = [2]int64{g[0] + 1, g[1] + v}
}

// produce writes n random records to every partition and adds them to the truth.
func produce(t *testing.T, cl *kgo.Client, rng *rand.Rand, tr *truth, n int) {
	t.Helper()
	if tr.next == nil {
		tr.next, tr.newest, tr.groups = make([]int64, partCount), make([]int64, partCount), map[string][2]int64{}
	}
	var records []*kgo.Record
	for part := range partCount {
		at := int64(1_700_000_000_000) + tr.next[part]*40
		for range n {
			at += rng.Int64N(80)
			ts := at - rng.Int64N(disorder)
			if rng.IntN(30) == 0 {
				ts -= rng.Int64N(40_000)
			}
			device, v := fmt.Sprintf("d%d", rng.IntN(max(7, tr.devices))), rng.Int64N(100)
			value := fmt.Appendf(nil, `{"ts":%d,"device":%q,"v":%d}`, ts, device, v)
			broken := rng.IntN(50) == 0
			if broken {
				value = value[:len(value)-1]
			}
			tr.add(part, ts, device, v, broken)
			records = append(records, &kgo.Record{Topic: topic, Partition: int32(part), Value: value, Timestamp: time.UnixMilli(at)})
		}
	}
	if err := cl.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// centre is a destination that keeps what a ReplacingMergeTree would, by identity and version.
type centre struct {
	mu       sync.Mutex
	rows     map[string]versioned
	coverage map[string]sink.Coverage
	letters  map[string]sink.DeadLetter
	writes   int
}

type versioned struct {
	version int64
	value   [2]int64
}

func newCentre() *centre {
	return &centre{rows: map[string]versioned{}, coverage: map[string]sink.Coverage{}, letters: map[string]sink.DeadLetter{}}
}

func (c *centre) storeRows(cut *sink.Cut) {
	cov := cut.Coverage
	if b := cut.Rows; b != nil {
		for i := range b.Rows {
			id := fmt.Sprintf("%x|%s|%d|%d|%d|%s", cov.Revision, cov.Partition, cov.Segment, cov.Partition.ID, batch.As[int64](b.Cols[0].Values)[i], b.Cols[3].Bytes(i))
			if old, ok := c.rows[id]; ok && old.version > cov.Version {
				continue
			}
			c.rows[id] = versioned{cov.Version, [2]int64{int64(batch.As[uint64](b.Cols[4].Values)[i]), batch.As[int64](b.Cols[5].Values)[i]}}
		}
	}
	for _, d := range cut.DeadLetters {
		c.letters[fmt.Sprintf("%x|%s|%d|%s|%d", d.Revision, d.Partition, d.Offset, d.Step, d.Index)] = d
	}
}

func (c *centre) storeCoverage(cov sink.Coverage) {
	id := fmt.Sprintf("%x|%s|%d", cov.Revision, cov.Partition, cov.Segment)
	if old, ok := c.coverage[id]; !ok || old.Version <= cov.Version {
		c.coverage[id] = cov
	}
}

func (c *centre) read(_ context.Context, p batch.Partition) ([]sink.Coverage, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []sink.Coverage
	for _, cov := range c.coverage {
		if cov.Partition == p {
			for id, r := range c.rows {
				if len(id) > 0 && hasPrefix(id, fmt.Sprintf("%x|%s|%d|", cov.Revision, p, cov.Segment)) {
					cov.RowsVersion = max(cov.RowsVersion, r.version)
				}
			}
			out = append(out, cov)
		}
	}
	slices.SortFunc(out, func(a, b sink.Coverage) int { return int(b.Segment) - int(a.Segment) })
	return out, nil
}

func hasPrefix(s, p string) bool { return len(s) >= len(p) && s[:len(p)] == p }

// answer sums over revisions and segments, as the finished view does.
func (c *centre) answer() map[string][2]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string][2]int64{}
	for id, r := range c.rows {
		var rev, part, seg, start, device string
		fields := splitN(id, '|')
		rev, part, seg, start, device = fields[0], fields[3], fields[2], fields[4], fields[5]
		_, _ = rev, seg
		key := part + "|" + start + "|" + device
		g := out[key]
		out[key] = [2]int64{g[0] + r.value[0], g[1] + r.value[1]}
	}
	return out
}

func splitN(s string, sep byte) []string {
	var out []string
	from := 0
	for i := range len(s) {
		if s[i] == sep {
			out = append(out, s[from:i])
			from = i + 1
		}
	}
	return append(out, s[from:])
}

// life is one process: when it is dead, nothing it does has an effect any more.
type life struct {
	ingest.Source
	centre *centre
	dead   atomic.Bool
	rng    *rand.Rand // nil: it does not die by itself
	rngMu  sync.Mutex
	gate   chan struct{} // where set, nothing is stored before it is closed
	pauses atomic.Int64
}

func (l *life) Pause(p batch.Partition) {
	l.pauses.Add(1)
	l.Source.Pause(p)
}

func (l *life) chance(n int) bool {
	l.rngMu.Lock()
	defer l.rngMu.Unlock()
	if l.rng == nil {
		return false
	}
	return l.rng.IntN(n) == 0
}

func (l *life) Commit(ctx context.Context, commits []ingest.Commit) error {
	if l.dead.Load() {
		return errors.New("dead")
	}
	return l.Source.Commit(ctx, commits)
}

// Submit stores a cut a little later, sometimes only its rows before it dies.
func (l *life) Submit(_ context.Context, cut *sink.Cut, done func(error)) error {
	go func() {
		if l.gate != nil {
			<-l.gate
		}
		time.Sleep(time.Duration(cut.Coverage.Version%7) * time.Millisecond)
		l.centre.mu.Lock()
		if l.dead.Load() {
			l.centre.mu.Unlock()
			return
		}
		l.centre.writes++
		l.centre.storeRows(cut)
		if l.chance(25) {
			l.dead.Store(true) // killed between rows and coverage
			l.centre.mu.Unlock()
			return
		}
		l.centre.storeCoverage(cut.Coverage)
		l.centre.mu.Unlock()
		if l.dead.Load() {
			return
		}
		done(nil)
	}()
	return nil
}

// testColumns is what the tests' records hold.
func testColumns() schema.Columns {
	col := func(name string, t batch.Type) schema.Column {
		return schema.Column{Field: batch.Field{Name: name, Type: t}, Path: []string{name}, Epoch: batch.Millisecond}
	}
	return schema.Columns{
		col("ts", batch.TimestampOf(batch.Millisecond)), col("device", batch.Type{Kind: batch.String}),
		col("v", batch.Type{Kind: batch.Int64}),
	}
}

type setup struct {
	brokers  []string
	group    string
	centre   *centre
	revision uint64
	maxState int64
	queued   int64
	gate     chan struct{}
	atEnd    bool
	rng      *rand.Rand
	rows     int
	log      *slog.Logger
}

// start builds an engine over the real Kafka protocol and the real stages.
func start(t *testing.T, s setup) (*engine.Engine, *life) {
	t.Helper()
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
		if os.Getenv("WEIR_TEST_LOG") != "" {
			s.log = slog.New(slog.NewTextHandler(os.Stderr, nil))
		}
	}
	src, err := kafka.New(kafka.Config{Brokers: s.brokers, Topics: []string{topic}, Group: s.group, Protocol: "classic", SessionTimeout: 6 * time.Second}, s.log)
	if err != nil {
		t.Fatal(err)
	}
	l := &life{Source: src, centre: s.centre, rng: s.rng, gate: s.gate}
	cols := testColumns()
	in := cols.Schema()
	sum, err := aggregate.New("sum", &in.Fields[2])
	if err != nil {
		t.Fatal(err)
	}
	count, err := aggregate.New("count", nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &window.Config{
		In: in, Time: 0, Size: windowMS * time.Millisecond, Keys: []int{1}, LateRows: true,
		MaxOutOfOrder: disorder * time.Millisecond, AllowedLateness: lateness * time.Millisecond,
		Aggregate: []window.Aggregate{{Aggregate: count, Name: "n", Arg: -1}, {Aggregate: sum, Name: "sum", Arg: 2}},
	}
	if s.rows == 0 {
		s.rows = 500
	}
	e, err := engine.New(t.Context(), engine.Config{
		Pipeline: "test", Node: "n1", Revision: s.revision, Source: l,
		Decoder: func() (ingest.Decoder, error) {
			return decode.New("json", cols, decode.Options{MaxRows: s.rows})
		},
		Window:   func() operators.Window { return window.New(w) },
		Delivery: l, Coverage: s.centre.read, FlushEvery: 30 * time.Millisecond, BatchRows: s.rows,
		SlotSize: decode.SlotSize(cols, s.rows, 0), ShutdownTimeout: 2 * time.Second, StopAtEnd: s.atEnd,
		MaxState: s.maxState, MaxQueued: s.queued, Log: s.log,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e, l
}

func broker(t *testing.T) ([]string, *kgo.Client) {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partCount, topic))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	cl, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cluster.ListenAddrs(), cl
}

func compare(t *testing.T, got map[string][2]int64, want map[string][2]int64) {
	t.Helper()
	wrong := 0
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if got[k] != want[k] {
			if wrong++; wrong < 6 {
				t.Errorf("%s: count and sum %v, want %v", k, got[k], want[k])
			}
		}
	}
	for k := range got {
		if _, ok := want[k]; !ok {
			t.Errorf("%s: not in the truth", k)
		}
	}
	if wrong > 0 {
		t.Errorf("%d of %d groups are wrong", wrong, len(want))
	}
}

// check compares rows, dead letters and coverage with the truth.
func check(t *testing.T, c *centre, tr *truth) {
	t.Helper()
	compare(t, c.answer(), tr.groups)
	late, rejected := int64(0), int64(0)
	for _, d := range c.letters {
		if d.Reason == batch.ReasonLate {
			late++
		} else {
			rejected++
		}
	}
	if late != tr.late || rejected != tr.rejected {
		t.Errorf("%d late and %d rejected among the dead letters, want %d and %d", late, rejected, tr.late, tr.rejected)
	}
	var sum sink.Counters
	for _, cov := range c.coverage {
		n := cov.Counters
		if n.RecordsIn+n.Expanded != n.Aggregated+n.Late+n.Filtered+n.Rejected {
			t.Errorf("coverage does not add up: %+v", cov)
		}
		if n.RecordsIn != cov.Version-cov.Start {
			t.Errorf("coverage counts %d records of offsets %d to %d", n.RecordsIn, cov.Start, cov.Version)
		}
		sum.RecordsIn += n.RecordsIn
		sum.Late += n.Late
		sum.Rejected += n.Rejected
	}
	total := int64(0)
	for _, n := range tr.next {
		total += n
	}
	if t.Failed() {
		for _, id := range slices.Sorted(maps.Keys(c.coverage)) {
			cov := c.coverage[id]
			t.Logf("coverage %s segment %d [%d, %d) %+v", cov.Partition, cov.Segment, cov.Start, cov.Version, cov.Counters)
		}
	}
	if sum.RecordsIn != total || sum.Late != tr.late || sum.Rejected != tr.rejected {
		t.Errorf("coverage: %d records, %d late, %d rejected; want %d, %d, %d", sum.RecordsIn, sum.Late, sum.Rejected, total, tr.late, tr.rejected)
	}
}

func TestOnce(t *testing.T) {
	brokers, cl := broker(t)
	rng := rand.New(rand.NewPCG(1, 1))
	tr, c := &truth{}, newCentre()
	produce(t, cl, rng, tr, 3000)
	e, l := start(t, setup{brokers: brokers, group: "g", centre: c, atEnd: true, rng: rand.New(rand.NewPCG(9, 9))})
	for range 50 { // a life may end between rows and coverage
		if err := e.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !l.dead.Load() {
			break
		}
		e, l = start(t, setup{brokers: brokers, group: "g", centre: c, atEnd: true, rng: rand.New(rand.NewPCG(9, rng.Uint64()))})
	}
	check(t, c, tr)
	for _, lane := range e.Status().Lanes {
		if lane.Lag != 0 || lane.Queued != 0 {
			t.Errorf("%s: lag %d, queued %d after the end", lane.Partition, lane.Lag, lane.Queued)
		}
	}
}

// TestKilled ends one life after another at random moments while records arrive, and compares the totals.
func TestKilled(t *testing.T) {
	seeds := 6
	if testing.Short() {
		seeds = 2
	}
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			brokers, cl := broker(t)
			rng := rand.New(rand.NewPCG(seed, 4))
			tr, c := &truth{}, newCentre()
			s := setup{brokers: brokers, group: "g", centre: c}
			deaths := 0
			for range 12 {
				produce(t, cl, rng, tr, 400)
				s.rng = rand.New(rand.NewPCG(seed, rng.Uint64()))
				s.rows = 1 + rng.IntN(400) // other batches in every life
				e, l := start(t, s)
				ctx, stop := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- e.Run(ctx) }()
				time.Sleep(time.Duration(20+rng.IntN(400)) * time.Millisecond)
				if rng.IntN(3) > 0 {
					l.dead.Store(true)
				}
				if l.dead.Load() {
					deaths++
				}
				stop()
				if err := <-ended; err != nil {
					t.Fatal(err)
				}
			}
			s.atEnd = true
			for range 50 {
				s.rng = rand.New(rand.NewPCG(seed, rng.Uint64()))
				e, l := start(t, s)
				if err := e.Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				if !l.dead.Load() {
					break
				}
				deaths++
			}
			check(t, c, tr)
			t.Logf("%d lives ended without notice, %d writes", deaths, c.writes)
		})
	}
}

// TestRevision changes the revision after a clean stop: totals are summed over both.
func TestRevision(t *testing.T) {
	brokers, cl := broker(t)
	rng := rand.New(rand.NewPCG(5, 1))
	tr, c := &truth{}, newCentre()
	run := func(rev uint64) {
		produce(t, cl, rng, tr, 500)
		for range 50 {
			e, l := start(t, setup{brokers: brokers, group: "g", centre: c, atEnd: true, revision: rev, rng: rand.New(rand.NewPCG(3, rng.Uint64()))})
			if err := e.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if !l.dead.Load() {
				return
			}
		}
	}
	run(1)
	run(2)
	total, want := int64(0), int64(0)
	for _, g := range c.answer() {
		total += g[0]
	}
	for _, n := range tr.next {
		want += n
	}
	late, rejected := int64(0), int64(0)
	revisions := map[uint64]bool{}
	for _, cov := range c.coverage {
		late += cov.Counters.Late
		rejected += cov.Counters.Rejected
		revisions[cov.Revision] = true
	}
	// A new revision starts with a clock of its own, so which rows are late differs; every row is in exactly one place.
	if total+late+rejected != want || rejected != tr.rejected || len(revisions) != 2 {
		t.Errorf("%d aggregated + %d late + %d rejected of %d records, %d revisions", total, late, rejected, want, len(revisions))
	}
}

// TestCommitLost deletes the group: the node goes on after what the destination has.
func TestCommitLost(t *testing.T) {
	brokers, cl := broker(t)
	rng := rand.New(rand.NewPCG(6, 1))
	tr, c := &truth{}, newCentre()
	produce(t, cl, rng, tr, 500)
	finish := func() {
		for range 50 {
			e, l := start(t, setup{brokers: brokers, group: "g", centre: c, atEnd: true, rng: rand.New(rand.NewPCG(3, rng.Uint64()))})
			if err := e.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if !l.dead.Load() {
				return
			}
		}
	}
	finish()
	adm := kadm.NewClient(cl)
	if _, err := adm.DeleteGroups(t.Context(), "g"); err != nil {
		t.Fatal(err)
	}
	produce(t, cl, rng, tr, 500)
	finish()
	total := int64(0)
	for _, cov := range c.coverage {
		total += cov.Counters.RecordsIn
	}
	if total != 1000*partCount {
		t.Errorf("%d records accounted for, want %d: each exactly once", total, 1000*partCount)
	}
}

// TestBackPressure holds the destination up: lanes take what fits, pause their partitions, and go on when it is back.
func TestBackPressure(t *testing.T) {
	brokers, cl := broker(t)
	tr, c := &truth{devices: 5000}, newCentre()
	produce(t, cl, rand.New(rand.NewPCG(7, 1)), tr, 20_000)
	gate := make(chan struct{})
	// Windows cannot close before a cut is stored, so their state reaches the budget and lanes wait.
	e, l := start(t, setup{brokers: brokers, group: "g", centre: c, atEnd: true, gate: gate, maxState: 1200 << 10, queued: 256 << 10})
	ended := make(chan error, 1)
	go func() { ended <- e.Run(t.Context()) }()
	var st engine.Status
	for deadline := time.Now().Add(20 * time.Second); l.pauses.Load() < 1; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("nothing was paused: %+v", e.Status())
		}
	}
	time.Sleep(300 * time.Millisecond)
	st = e.Status()
	processed := int64(0)
	for _, lane := range st.Lanes {
		processed += lane.Records
	}
	if processed >= 20_000*partCount {
		t.Errorf("all records were processed though nothing was stored")
	}
	// A poll that was on its way may come on top of the bound.
	if st.QueuedBytes > 8<<20 {
		t.Errorf("%d bytes wait", st.QueuedBytes)
	}
	close(gate)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	check(t, c, tr)
}

// TestStateBudget has more keys in open windows than the budget holds: the run ends and says what to do.
func TestStateBudget(t *testing.T) {
	brokers, cl := broker(t)
	tr, c := &truth{}, newCentre()
	produce(t, cl, rand.New(rand.NewPCG(7, 1)), tr, 500)
	e, _ := start(t, setup{brokers: brokers, group: "g", centre: c, atEnd: true, maxState: 1})
	err := e.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "limits.state") {
		t.Errorf("ended with %v", err)
	}
}

// TestRetention deletes records before they are read: the gap is reported with its size, and the rest is exact.
func TestRetention(t *testing.T) {
	brokers, cl := broker(t)
	rng := rand.New(rand.NewPCG(8, 1))
	tr, c := &truth{}, newCentre()
	finish := func() {
		for range 50 {
			e, l := start(t, setup{brokers: brokers, group: "g", centre: c, atEnd: true, rng: rand.New(rand.NewPCG(3, rng.Uint64()))})
			if err := e.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if !l.dead.Load() {
				return
			}
		}
	}
	produce(t, cl, rng, tr, 300)
	finish()
	produce(t, cl, rng, tr, 300)
	var cut kadm.Offsets
	cut.Add(kadm.Offset{Topic: topic, Partition: 1, At: 450})
	if _, err := kadm.NewClient(cl).DeleteRecords(t.Context(), cut); err != nil {
		t.Fatal(err)
	}
	finish()
	gaps := map[string]int64{}
	for _, cov := range c.coverage {
		if cov.Gap > 0 {
			gaps[fmt.Sprintf("%s %s before %d", cov.Partition, cov.GapReason, cov.Start)] += cov.Gap
		}
	}
	if len(gaps) != 1 || gaps["sensors/1 retention before 450"] != 150 {
		t.Errorf("gaps: %v, want 150 records of sensors/1 before 450", gaps)
	}
}
