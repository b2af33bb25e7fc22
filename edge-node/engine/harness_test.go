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
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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
	"github.com/weir-stream/weir/sink/spool"
)

const topic = "sensors"

// truth is the answer to a stream, computed apart from the product: a map, a row at a time.
type truth struct {
	groups         map[string][2]int64 // count and sum by partition, window and device
	late, rejected int64
	next           []int64 // records per partition
	newest         []int64
	devices        int   // 0: 7
	pace           int64 // milliseconds from record to record, on average; 0: 40
	punctual       bool  // no row is late, whatever the clock was at first
	// sums is, where it is set, what each device of each partition has sent so far: v is that then.
	sums map[string]int64
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
	if tr.sums != nil {
		id := fmt.Sprintf("%d|%s", part, device)
		tr.sums[id] += v
		v = tr.sums[id]
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
	var records []*kgo.Record
	for part := range partCount {
		records = append(records, tr.draw(rng, part, n)...)
	}
	if err := cl.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// produceTo writes n random records to one partition and adds them to the truth.
func produceTo(t *testing.T, cl *kgo.Client, rng *rand.Rand, tr *truth, part, n int) {
	t.Helper()
	if err := cl.ProduceSync(t.Context(), tr.draw(rng, part, n)...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// draw makes n random records of a partition, and adds them.
func (tr *truth) draw(rng *rand.Rand, part, n int) []*kgo.Record {
	if tr.next == nil {
		tr.next, tr.newest, tr.groups = make([]int64, partCount), make([]int64, partCount), map[string][2]int64{}
	}
	var records []*kgo.Record
	pace := int64(40)
	if tr.pace > 0 {
		pace = tr.pace
	}
	at := int64(1_700_000_000_000) + tr.next[part]*pace
	for range n {
		at += rng.Int64N(2 * pace)
		ts := at - rng.Int64N(disorder)
		if rng.IntN(30) == 0 && !tr.punctual {
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
	return records
}

// centre is a destination that keeps what a ReplacingMergeTree would, by identity and version.
type centre struct {
	mu        sync.Mutex
	rows      map[string]versioned
	coverage  map[string]sink.Coverage
	letters   map[string]sink.DeadLetter
	states    map[string]sink.StepState
	writes    int
	questions atomic.Int64 // what it has of partitions
	// acrossRevisions takes dead letters of one record in several revisions for one: a node that dies between dead letters
	// and coverage leaves those of its last cut behind, and a cut may have no rows by which its successor sees that.
	acrossRevisions bool
}

type versioned struct {
	version int64
	value   [2]int64
	end     int64 // of the window, in milliseconds since 1970
	hash    uint64
}

func newCentre() *centre {
	return &centre{rows: map[string]versioned{}, coverage: map[string]sink.Coverage{}, letters: map[string]sink.DeadLetter{}, states: map[string]sink.StepState{}}
}

func (c *centre) storeRows(cut *sink.Cut) {
	cov := cut.Coverage
	if b := cut.Rows; b != nil {
		if _, opened := c.coverage[coverageID(cov)]; !opened { // as sink/clickhouse does
			c.storeCoverage(sink.Coverage{Partition: cov.Partition, Revision: cov.Revision, Segment: cov.Segment, Start: cov.Start, Version: cov.Start, Final: sink.MinWatermark, Content: sink.Content{Known: cov.Content.Known}, Epoch: cov.Epoch})
		}
		hashes := make([]uint64, b.Rows)
		batch.HashRows(hashes, b, nil)
		for i := range b.Rows {
			start, width := batch.As[int64](b.Cols[0].Values)[i], int64(0)
			if end := batch.As[int64](b.Cols[1].Values)[i]; cov.Spans.Coarse(start, end) {
				width = end - start
			}
			id := fmt.Sprintf("%x|%s|%d|%d|%d|%s|%d", cov.Revision, cov.Partition, cov.Segment, cov.Partition.ID, start, b.Cols[3].Bytes(i), width)
			if old, ok := c.rows[id]; ok && old.version > cov.Version {
				continue
			}
			c.rows[id] = versioned{
				cov.Version,
				[2]int64{int64(batch.As[uint64](b.Cols[4].Values)[i]), batch.As[int64](b.Cols[5].Values)[i]},
				batch.As[int64](b.Cols[1].Values)[i], hashes[i],
			}
		}
	}
	for _, d := range cut.DeadLetters {
		if c.acrossRevisions {
			d.Revision = 0
		}
		c.letters[fmt.Sprintf("%x|%s|%d|%s|%d", d.Revision, d.Partition, d.Offset, d.Step, d.Index)] = d
	}
}

func coverageID(cov sink.Coverage) string {
	return fmt.Sprintf("%x|%s|%d", cov.Revision, cov.Partition, cov.Segment)
}

func (c *centre) storeCoverage(cov sink.Coverage) {
	id := coverageID(cov)
	if old, ok := c.coverage[id]; !ok || old.Version <= cov.Version {
		c.coverage[id] = cov
	}
}

// readAll is sink.Sink.Coverage.
func (c *centre) readAll(ctx context.Context, ps []batch.Partition) ([][]sink.Coverage, error) {
	c.questions.Add(1)
	all := make([][]sink.Coverage, len(ps))
	for i, p := range ps {
		all[i], _ = c.read(ctx, p)
	}
	return all, nil
}

func (c *centre) read(_ context.Context, p batch.Partition) ([]sink.Coverage, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []sink.Coverage
	for _, cov := range c.coverage {
		if cov.Partition == p {
			for id, r := range c.rows {
				if strings.HasPrefix(id, fmt.Sprintf("%x|%s|%d|", cov.Revision, p, cov.Segment)) {
					cov.RowsVersion = max(cov.RowsVersion, r.version)
				}
			}
			out = append(out, cov)
		}
	}
	slices.SortFunc(out, func(a, b sink.Coverage) int { return int(b.Segment) - int(a.Segment) })
	return out, nil
}

// counts tells whether a row counts, as the finished view does; f is its identity taken apart.
func (c *centre) counts(spans sink.Spans, f []string) bool {
	start, _ := strconv.ParseInt(f[4], 10, 64)
	width, _ := strconv.ParseInt(f[6], 10, 64)
	if span, in := spans.Find(start); in {
		return width != 0 && width == span.Width
	}
	return width == 0
}

// answer sums over revisions and segments, as the finished view does.
func (c *centre) answer() map[string][2]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string][2]int64{}
	for id, r := range c.rows {
		f := strings.Split(id, "|") // revision, partition, segment, partition number, window, device, width
		if !c.counts(c.coverage[strings.Join(f[:3], "|")].Spans, f) {
			continue
		}
		key := f[3] + "|" + f[4] + "|" + f[5]
		if f[6] != "0" {
			key += "|" + f[6]
		}
		g := out[key]
		out[key] = [2]int64{g[0] + r.value[0], g[1] + r.value[1]}
	}
	return out
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

	slowPause   time.Duration // a pause takes effect so much later
	slowCommits time.Duration // commits take so long, and fail
	tried       atomic.Int64  // such commits

	commitDeath int // one commit in so many is the last thing it does, half of them without effect

	beforeCommit func(ingest.Commit)  // told of commits before they are sent; nil: nobody is
	beforeStore  func(*sink.Coverage) // told of cuts before they are stored, with centre.mu held; nil: nobody is
}

func (l *life) Pause(p batch.Partition) {
	l.pauses.Add(1)
	time.Sleep(l.slowPause)
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
	if l.slowCommits > 0 {
		l.tried.Add(1)
		select {
		case <-time.After(l.slowCommits):
		case <-ctx.Done():
		}
		return errors.New("slow")
	}
	for _, c := range commits {
		if l.beforeCommit != nil {
			l.beforeCommit(c)
		}
	}
	if l.commitDeath > 0 && l.chance(l.commitDeath) {
		l.dead.Store(true) // killed before the commit
		return errors.New("dead")
	}
	if err := l.Source.Commit(ctx, commits); err != nil {
		return err
	}
	if l.commitDeath > 0 && l.chance(l.commitDeath) {
		l.dead.Store(true) // killed before it knew of the commit
		return errors.New("dead")
	}
	return nil
}

// Submit stores a cut a little later, sometimes only its rows before it dies. What is not stored is withdrawn in the end.
func (l *life) Submit(ctx context.Context, cut *sink.Cut, done func(error)) error {
	go func() {
		if l.gate != nil {
			select {
			case <-l.gate:
			case <-ctx.Done():
			}
		}
		if ctx.Err() == nil {
			time.Sleep(time.Duration(cut.Coverage.Version%7) * time.Millisecond)
			if l.store(cut) {
				done(nil)
				return
			}
		}
		<-ctx.Done()
		done(ctx.Err())
	}()
	return nil
}

// store tells whether the life lived to know that everything was stored.
func (l *life) store(cut *sink.Cut) bool {
	l.centre.mu.Lock()
	defer l.centre.mu.Unlock()
	if l.dead.Load() {
		return false
	}
	if l.beforeStore != nil {
		l.beforeStore(&cut.Coverage)
	}
	l.centre.writes++
	l.centre.storeStates(cut)
	if len(cut.States) > 0 && l.chance(25) {
		l.dead.Store(true) // killed between states and rows
		return false
	}
	l.centre.storeRows(cut)
	if l.chance(25) {
		l.dead.Store(true) // killed between rows and coverage
		return false
	}
	if !cut.Partial {
		l.centre.storeCoverage(cut.Coverage)
	}
	return !l.dead.Load()
}

// mortal is the disk of a life: once it is dead, nothing is written any more.
type mortal struct {
	sink.Local
	life *life
}

func (m *mortal) Clear() error {
	if m.life.dead.Load() {
		return errors.New("dead")
	}
	return m.Local.Clear()
}

func (m *mortal) Only() error {
	if m.life.dead.Load() {
		return errors.New("dead")
	}
	return m.Local.Only()
}

func (m *mortal) Change() sink.LocalChange { return &mortalChange{m.Local.Change(), m.life} }

type mortalChange struct {
	sink.LocalChange
	life *life
}

// Commit is now and then the last thing a life does, or did not do any more.
func (c *mortalChange) Commit(meta []byte) error {
	if c.life.chance(60) {
		c.life.dead.Store(true)
	}
	if c.life.dead.Load() {
		c.Discard()
		return errors.New("dead")
	}
	err := c.LocalChange.Commit(meta)
	if c.life.chance(60) {
		c.life.dead.Store(true)
	}
	return err
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
	deaths   int // life.commitDeath
	steps    []operators.Step
	disk     *spool.Store
	full     engine.WhenFull
	announce func(context.Context, *engine.Finals) error
	flush    time.Duration // 0: 30 ms
	change   func(*engine.Generation)
}

// generation is the real stages in a revision.
func generation(t *testing.T, revision uint64, rows int) engine.Generation {
	t.Helper()
	cols := testColumns()
	in := cols.Schema()
	sum, err := aggregate.New(aggregate.Spec{Func: "sum", Args: in.Fields[2:3]})
	if err != nil {
		t.Fatal(err)
	}
	count, err := aggregate.New(aggregate.Spec{Func: "count"})
	if err != nil {
		t.Fatal(err)
	}
	w := &window.Config{
		In: in, Time: 0, Size: windowMS * time.Millisecond, Keys: []int{1}, LateRows: true,
		MaxOutOfOrder: disorder * time.Millisecond, AllowedLateness: lateness * time.Millisecond,
		Aggregate: []window.Aggregate{{Aggregate: count, Name: "n"}, {Aggregate: sum, Name: "sum", Args: []int{2}}},
	}
	widening, err := window.NewWidening(w, 16*w.Size)
	if err != nil {
		t.Fatal(err)
	}
	return engine.Generation{
		Revision: revision, Widening: widening,
		Decoder: func() (ingest.Decoder, error) {
			return decode.New("json", cols, decode.Options{MaxRows: rows})
		},
		Window:    func() operators.Window { return window.New(w) },
		BatchRows: rows, SlotSize: decode.SlotSize(cols, rows, 0),
	}
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
	l := &life{Source: src, centre: s.centre, rng: s.rng, gate: s.gate, commitDeath: s.deaths}
	if s.rows == 0 {
		s.rows = 500
	}
	gen := generation(t, s.revision, s.rows)
	gen.Steps = s.steps
	if s.change != nil {
		s.change(&gen)
	}
	shutdown := 2 * time.Second
	var local func(p batch.Partition, revision uint64) sink.Local
	if s.disk != nil {
		shutdown = 200 * time.Millisecond // what is saved need not be shipped
		local = func(p batch.Partition, revision uint64) sink.Local {
			table := &sink.Table{Keys: testColumns().Schema().Fields[1:2], Aggregates: []sink.Aggregate{
				{States: []sink.State{{Field: batch.Field{Name: "n", Type: batch.Type{Kind: batch.Uint64}}}}},
				{States: []sink.State{{Field: batch.Field{Name: "sum", Type: batch.Type{Kind: batch.Int64}}}}},
			}}
			lane := s.disk.Lane(spool.ID{Pipeline: "test", Revision: revision, TopicID: p.TopicID, Partition: p.ID}, table)
			return &mortal{lane, l}
		}
	}
	var kept func(uint64) ([]batch.Partition, error)
	if s.disk != nil {
		kept = func(revision uint64) (parts []batch.Partition, err error) {
			ids, err := s.disk.Lanes()
			for _, id := range ids {
				if id.Revision == revision {
					parts = append(parts, batch.Partition{TopicID: id.TopicID, ID: id.Partition})
				}
			}
			return parts, err
		}
	}
	e, err := engine.New(t.Context(), engine.Config{
		Local: local, Kept: kept, WhenFull: s.full, Announce: s.announce,
		Pipeline: "test", Node: "n1", Source: l,
		Generation: gen,
		Delivery:   l, Coverage: s.centre.readAll, States: s.centre.readStates, FlushEvery: max(s.flush, 30*time.Millisecond),
		ShutdownTimeout: shutdown, StopAtEnd: s.atEnd,
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

// eachSeed runs a test with so many seeds side by side; with fewer where tests are to be short.
func eachSeed(t *testing.T, seeds, short int, test func(t *testing.T, seed uint64)) {
	t.Parallel()
	if testing.Short() {
		seeds = short
	}
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			test(t, seed)
		})
	}
}

// toEnd runs a life to the end of the topic, and tells whether it came there: one that dies does not, and is stopped.
func toEnd(t *testing.T, e *engine.Engine, l *life) bool {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() {
		for !l.dead.Load() && ctx.Err() == nil {
			time.Sleep(5 * time.Millisecond)
		}
		stop()
	}()
	err := e.Run(ctx)
	switch {
	case l.dead.Load():
		return false
	case err != nil && strings.Contains(err.Error(), "not stored to its end in time; run again"):
		return false // a busy machine
	case err != nil:
		t.Fatal(err)
	}
	return true
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

// checkContent holds the rows of every segment against the hashes of its account.
func checkContent(t *testing.T, c *centre) {
	t.Helper()
	for id, cov := range c.coverage {
		got, ahead := sink.Content{Known: true}, false
		for row, r := range c.rows {
			if !strings.HasPrefix(row, id+"|") {
				continue
			}
			if !c.counts(cov.Spans, strings.Split(row, "|")) {
				continue
			}
			ahead = ahead || r.version > cov.Version
			got.All += r.hash
			if r.end*1000 <= cov.Final {
				got.Final += r.hash
			}
		}
		if ahead {
			got.All = cov.Content.All
		}
		if got != cov.Content {
			t.Errorf("segment %s [%d, %d): the rows have %+v, and the account says %+v", id, cov.Start, cov.Version, got, cov.Content)
		}
	}
}

// dropGroups takes the groups out of the truth that the coverage says were dropped, and tells how many rows those had.
func dropGroups(c *centre, groups map[string][2]int64) (rows int64) {
	for _, cov := range c.coverage {
		for key, g := range groups {
			f := strings.Split(key, "|") // partition, window, device
			start, _ := strconv.ParseInt(f[1], 10, 64)
			if span, in := cov.Spans.Find(start); f[0] == strconv.Itoa(int(cov.Partition.ID)) && in && span.Dropped() {
				rows += g[0]
				delete(groups, key)
			}
		}
	}
	return rows
}

// mergeGroups moves the groups of the truth that the coverage says were merged to those of the wider windows.
func mergeGroups(c *centre, groups map[string][2]int64) {
	for _, cov := range c.coverage {
		for key, g := range groups {
			f := strings.Split(key, "|") // partition, window, device
			start, _ := strconv.ParseInt(f[1], 10, 64)
			span, in := cov.Spans.Find(start)
			if len(f) > 3 || f[0] != strconv.Itoa(int(cov.Partition.ID)) || !in || span.Dropped() {
				continue
			}
			delete(groups, key)
			wide := fmt.Sprintf("%s|%d|%s|%d", f[0], start/span.Width*span.Width, f[2], span.Width)
			groups[wide] = [2]int64{groups[wide][0] + g[0], groups[wide][1] + g[1]}
		}
	}
}

// check compares rows, dead letters and coverage with the truth.
func check(t *testing.T, c *centre, tr *truth) {
	t.Helper()
	want := maps.Clone(tr.groups)
	dropped := dropGroups(c, want)
	mergeGroups(c, want)
	compare(t, c.answer(), want)
	checkContent(t, c)
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
		if n.RecordsIn+n.Expanded != n.Aggregated+n.Late+n.Filtered+n.Rejected+n.Dropped {
			t.Errorf("coverage does not add up: %+v", cov)
		}
		if n.RecordsIn != cov.Version-cov.Start {
			t.Errorf("coverage counts %d records of offsets %d to %d", n.RecordsIn, cov.Start, cov.Version)
		}
		sum.RecordsIn += n.RecordsIn
		sum.Late += n.Late
		sum.Rejected += n.Rejected
		sum.Dropped += n.Dropped
	}
	if sum.Dropped != dropped {
		t.Errorf("coverage: %d rows dropped, and in the windows it names were %d", sum.Dropped, dropped)
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
