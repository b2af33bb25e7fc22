package simulation

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
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
	"github.com/weir-stream/weir/ingest/schema"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/operators/aggregate"
	"github.com/weir-stream/weir/operators/builtin"
	"github.com/weir-stream/weir/operators/window"
	"github.com/weir-stream/weir/sink"
)

// revision is a version of the pipeline: which rows it drops, and whether it carries sums from row to row.
type revision struct {
	number   uint64
	modulo   int64 // rows whose v is a multiple of it are filtered
	stateful bool
	sessions bool
	counts   *counting
}

// world is everything of a schedule.
type world struct {
	plan *plan
	t    testing.TB

	network    *kfake.VirtualNetwork
	cluster    atomic.Pointer[kfake.Cluster]
	brokerLock chan struct{} // held while the broker restarts: one that has ended answers nobody
	address    string        // of the broker, always the same
	dir        string        // of what the broker keeps; empty: memory
	admin      *kgo.Client
	adm        *kadm.Client
	centre     *centre
	road       road
	nodes      []*node
	began      time.Time

	brokerAway atomic.Bool
	life       context.Context // until the schedule is over
	end        context.CancelFunc
	quiet      context.Context // until the faults stop
	calm       context.CancelFunc
	background sync.WaitGroup

	random struct {
		sync.Mutex
		*rand.Rand
	}

	mu        sync.Mutex            // taken after centre.mu
	logs      map[place]*remembered // guarded by mu; what it points to by centre.mu
	topicID   [16]byte              // guarded by mu: of the topic as it is now
	parts     int32                 // guarded by mu
	revisions map[uint64]*revision  // guarded by mu
	died      map[string]time.Time  // guarded by mu: by client
	streams   []*stream

	told struct {
		sync.Mutex
		problems []string
		notes    []string
	}
	tally tally
}

func (w *world) count(n *int) {
	w.tally.Lock()
	*n++
	w.tally.Unlock()
}

func (w *world) hit(f fault) {
	w.tally.Lock()
	w.tally.hits[f]++
	w.tally.Unlock()
}

// rand is a number below n, for what is not drawn before.
func (w *world) rand(n int) int {
	w.random.Lock()
	defer w.random.Unlock()
	return w.random.IntN(n)
}

// wrong notes something that must not be.
func (w *world) wrong(format string, args ...any) {
	w.told.Lock()
	defer w.told.Unlock()
	if len(w.told.problems) < 60 {
		w.told.problems = append(w.told.problems, fmt.Sprintf("%8.3f  ", time.Since(w.began).Seconds())+fmt.Sprintf(format, args...))
	}
}

func (w *world) isWrong() bool {
	w.told.Lock()
	defer w.told.Unlock()
	return len(w.told.problems) > 0
}

// note keeps what happened, for people.
func (w *world) note(format string, args ...any) {
	w.told.Lock()
	defer w.told.Unlock()
	if len(w.told.notes) < 500 {
		w.told.notes = append(w.told.notes, fmt.Sprintf("%8.3f  ", time.Since(w.began).Seconds())+fmt.Sprintf(format, args...))
	}
}

func (w *world) revision(n uint64) *revision {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.revisions[n]
}

func (w *world) logOf(p place) *remembered {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.logs[p]
}

// places are the partitions of the topic as it is now.
func (w *world) places() []place {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []place
	for part := range w.parts {
		out = append(out, place{w.topicID, part})
	}
	return out
}

// logOfNode is where a node's process logs to.
func (w *world) logOfNode(n *node) *slog.Logger {
	if !*verbose {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(w.logTo(), &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", n.name)
}

func (w *world) logTo() io.Writer { return os.Stderr }

// newWorld starts a broker and what produces into it. It is called in a bubble.
func newWorld(t testing.TB, pl *plan) *world {
	w := &world{
		plan: pl, t: t, brokerLock: make(chan struct{}, 1), network: &kfake.VirtualNetwork{}, began: time.Now(),
		logs: map[place]*remembered{}, revisions: map[uint64]*revision{}, died: map[string]time.Time{}, parts: pl.parts,
	}
	w.tally.hits = map[fault]int{}
	w.random.Rand = rand.New(rand.NewPCG(pl.seed, 2))
	w.life, w.end = context.WithCancel(context.Background())
	w.quiet, w.calm = context.WithCancel(w.life)
	w.centre = newCentre(w)
	w.centre.lastWins = pl.mutant == mutantLastWins
	for i := range pl.revisions {
		r := pl.revisions[i]
		w.revisions[r.number] = &r
	}
	if err := w.startBroker(); err != nil {
		t.Fatal(err)
	}
	var err error
	w.admin, err = kgo.NewClient(kgo.SeedBrokers(w.address), kgo.Dialer(w.network.DialContext),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0), kgo.DisableIdempotentWrite(), kgo.MetadataMinAge(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	w.adm = kadm.NewClient(w.admin)
	w.newTopic()
	for i := range pl.nodes {
		n := &node{name: fmt.Sprintf("n%d", i+1), revision: pl.revisions[0].number, kick: make(chan struct{}, 1), wanted: i < pl.begin}
		if pl.static {
			n.instance = n.name
		}
		if pl.store {
			n.disk = newDisk(w)
		}
		w.nodes = append(w.nodes, n)
	}
	w.background.Go(w.janitor)
	for _, n := range w.nodes {
		w.background.Go(func() { w.supervise(n) })
	}
	return w
}

// newTopic begins to remember the topic that there is now.
func (w *world) newTopic() {
	id := w.broker().TopicInfo(topic).TopicID
	w.mu.Lock()
	defer w.mu.Unlock()
	w.topicID = id
	for part := range w.parts {
		w.logs[place{id, part}] = &remembered{eras: [][]meaning{nil}}
	}
	w.moreStreams()
}

// moreStreams has a stream for every partition. w.mu is held.
func (w *world) moreStreams() {
	for len(w.streams) < int(w.parts) {
		w.streams = append(w.streams, &stream{rand.New(rand.NewPCG(w.plan.seed, uint64(100+len(w.streams)))), w.plan.devices})
	}
}

// produce writes n records to each partition, with times that lie in the last moments.
func (w *world) produce(n int, over time.Duration) {
	var records []*kgo.Record
	now := time.Now()
	w.centre.mu.Lock()
	w.mu.Lock()
	for part := range w.parts {
		log := w.logs[place{w.topicID, part}]
		for i := range n {
			at := now.Add(-over + over*time.Duration(i+1)/time.Duration(n))
			m := w.streams[part].draw(at.UnixMilli())
			log.append(m)
			records = append(records, &kgo.Record{Topic: topic, Partition: part, Value: m.value(), Timestamp: at})
		}
	}
	w.mu.Unlock()
	w.centre.mu.Unlock()
	w.tally.Lock()
	w.tally.records += len(records)
	w.tally.Unlock()
	if err := w.admin.ProduceSync(w.life, records...).FirstErr(); err != nil {
		w.wrong("the schedule could not produce: %v", err)
	}
}

// columns are what records have.
func columns() schema.Columns {
	col := func(name string, t batch.Type) schema.Column {
		return schema.Column{Field: batch.Field{Name: name, Type: t}, Path: []string{name}, Epoch: batch.Millisecond}
	}
	return schema.Columns{
		col("ts", batch.TimestampOf(batch.Millisecond)), col("device", batch.Type{Kind: batch.String}),
		col("v", batch.Type{Kind: batch.Int64}),
	}
}

func (w *world) table() *sink.Table {
	keys := columns().Schema().Fields[1:2]
	if w.plan.counts != nil {
		keys = append(slices.Clone(keys), batch.Field{Name: sink.WindowNumber, Type: batch.Type{Kind: batch.Uint64}})
	}
	return &sink.Table{Keys: keys, Aggregates: []sink.Aggregate{
		{States: []sink.State{{Field: batch.Field{Name: "n", Type: batch.Type{Kind: batch.Uint64}}}}},
		{States: []sink.State{{Field: batch.Field{Name: "sum", Type: batch.Type{Kind: batch.Int64}}}}},
	}}
}

// generation is the pipeline in a revision: the real stages.
func (w *world) generation(number uint64) engine.Generation {
	rev := w.revisions[number]
	cols := columns()
	in := cols.Schema()
	sum, err := aggregate.New(aggregate.Spec{Func: "sum", Args: in.Fields[2:3]})
	if err != nil {
		panic(err)
	}
	count, err := aggregate.New(aggregate.Spec{Func: "count"})
	if err != nil {
		panic(err)
	}
	filter, err := builtin.NewFilter("1 filter", in, fmt.Sprintf("v %% %d != 0", rev.modulo))
	if err != nil {
		panic(err)
	}
	steps := []operators.Step{filter}
	if rev.stateful {
		steps = append(steps, &running{w, filter.Out()})
	}
	cfg := &window.Config{
		In: in, Time: 0, Size: windowMS * time.Millisecond, Keys: []int{1}, LateRows: true, MaxJump: maxJump * time.Millisecond, EmitFinal: w.plan.emitFinal,
		MaxOutOfOrder: disorder * time.Millisecond, AllowedLateness: lateness * time.Millisecond,
		Aggregate: []window.Aggregate{{Aggregate: count, Name: "n"}, {Aggregate: sum, Name: "sum", Args: []int{2}}},
	}
	var widening operators.Widening
	if rev.sessions {
		cfg.Size, cfg.Gap = longest*time.Millisecond, gapMS*time.Millisecond
	} else if c := rev.counts; c != nil {
		cfg.Size, cfg.Count = time.Duration(c.timeout)*time.Millisecond, &window.Count{Rows: uint64(c.rows)}
		numbers, of, err := window.NewNumbering("3 count", cfg)
		if err != nil {
			panic(err)
		}
		steps, cfg = append(steps, forgetful{numbers, w}), of
	} else if widening, err = window.NewWidening(cfg, coarsest*time.Millisecond); err != nil {
		panic(err)
	}
	rows, open := w.plan.batchRows, cfg.Open
	if w.plan.maxState > 0 {
		open = func() operators.Window { return frugal{cfg.Open()} }
	}
	return engine.Generation{
		Revision: number, Steps: steps, Widening: widening,
		Decoder:   func() (ingest.Decoder, error) { return decode.New("json", cols, decode.Options{MaxRows: rows}) },
		Window:    open,
		EmitFinal: w.plan.emitFinal,
		BatchRows: rows, SlotSize: decode.SlotSize(cols, rows, 1<<10),
	}
}
