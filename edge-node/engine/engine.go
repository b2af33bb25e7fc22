// Package engine runs one pipeline: it owns the lanes, one per partition, and carries records through the chain of
// operators into windows, cuts to delivery, and acknowledged positions back into commits.
//
// It knows the contracts of ingest, operators and sink and nothing below them. The pipeline package builds what it
// runs.
//
// # Goroutines
//
//	source      one: polls, hands records to lanes, pauses partitions (run by ingest.Source)
//	lane        one per partition: decode → steps → window, in offset order, on a chain borrowed for each batch
//	delivery    one: stores cuts, retries (run by Delivery)
//	engine      one: flush clock, commits of what is acknowledged
//
// # Locks
//
// Engine.mu guards the set of lanes and is never held while a lane's mutex is taken by another path; lane.mu guards
// the lane's queue, and the order of pauses and resumptions. Neither is held during I/O.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-stream/weir/edge-node/failpoint"
	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

// Delivery stores cuts, in order for each partition, and calls done when a cut is acknowledged. An error means that
// the cut will never be. When the context ends, the cut is withdrawn: its partition is somebody else's now.
type Delivery interface {
	Submit(ctx context.Context, cut *sink.Cut, done func(error)) error
}

// Config is a planned pipeline.
type Config struct {
	Pipeline, Node string

	Generation Generation // what the engine begins with

	Source   ingest.Source
	Delivery Delivery
	// Coverage is sink.Sink.Coverage: what the destination knows of partitions that have no commit.
	Coverage func(ctx context.Context, ps []batch.Partition) ([][]sink.Coverage, error)
	// States is sink.Sink.States: what stateful steps carried. Pipelines without do not need it.
	States func(ctx context.Context, p batch.Partition, at sink.StateKey) ([]sink.StepState, error)
	// Local is what the node's own disk has of a partition under a revision; nil if the node keeps nothing.
	Local func(p batch.Partition, revision uint64) sink.Local
	// Kept lists the partitions that Local has something of under a revision, with nothing but their topic IDs and numbers, so that
	// it can be read before they are assigned; nil: it is read when they are.
	Kept func(revision uint64) ([]batch.Partition, error)
	// WhenFull is what happens when Local has no room and the destination does not take what is there.
	WhenFull WhenFull
	// PartRows is how many rows a cut of what waits on the disk has at most, which Delivery may change its mind about; nil:
	// 50000.
	PartRows func() int

	// Announce is given the rows of windows when they are final, before any cut or commit passes them, and returns when they are
	// where they are to go, or ctx ends. Of a window that no commit has passed it may be given the rows again, after a restart. nil:
	// nobody wants to know.
	Announce func(ctx context.Context, f *Finals) error

	FlushEvery time.Duration // how often changed windows are shipped; 0: 10 s
	PlainPool  bool          // no memfd even where there is one
	Chains     int           // operator chains, which bounds the cores used; 0: GOMAXPROCS
	MaxState   int64         // bytes of window state over all lanes; 0: 256 MiB
	MaxQueued  int64         // bytes of records waiting in lanes, about; 0: 32 MiB
	// IdleAfter is after how long without a batch the operators of a chain give up what they hold. 0 is never. Rest is called as often as
	// idle chains are looked for, for what is idle beside them; it waits for nobody, and may be nil.
	IdleAfter time.Duration
	Rest      func(idle time.Duration)
	// KeepPayload is how many bytes of a rejected record a dead letter keeps; 0: 64 KiB.
	KeepPayload int
	// ShutdownTimeout bounds the last flush; 0: 5 s.
	ShutdownTimeout time.Duration
	// OnGapStop stops a partition at a gap instead of going on in a new segment.
	OnGapStop bool
	// StopAtEnd ends the run when every partition has been read to where it ended when it was assigned.
	StopAtEnd bool
	// ShipSaved reads no records: it ships what the node's disk has of each partition that it is assigned, and ends.
	ShipSaved bool

	Log *slog.Logger
}

func (c *Config) setDefaults() {
	def := func(v *int64, d int64) {
		if *v == 0 {
			*v = d
		}
	}
	if c.FlushEvery == 0 {
		c.FlushEvery = 10 * time.Second
	}
	c.Generation.setDefaults()
	if c.Chains == 0 {
		c.Chains = runtime.GOMAXPROCS(0)
	}
	def(&c.MaxState, 256<<20)
	def(&c.MaxQueued, 32<<20)
	if c.PartRows == nil {
		c.PartRows = func() int { return resendRows }
	}
	if c.KeepPayload == 0 {
		c.KeepPayload = 64 << 10
	}
	if c.ShutdownTimeout == 0 {
		c.ShutdownTimeout = 5 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Engine runs one pipeline.
type Engine struct {
	cfg   Config
	log   *slog.Logger
	stats stats
	told  told

	// current is where lanes start, and where those of other generations go. It is changed under mu.
	current atomic.Pointer[generation]

	mu          sync.Mutex
	generations []*generation     // guarded by mu: all that are not closed, the current one last
	ending      bool              // guarded by mu: Close was called
	lanes       map[laneKey]*lane // guarded by mu
	failing     map[laneKey]error // guarded by mu: partitions, or the whole source, that cannot be read
	fatal       error             // guarded by mu: why the run ends
	seen        bool              // guarded by mu: partitions were assigned at least once
	partial     bool              // guarded by mu: more partitions of an assignment are to come

	stop    context.CancelFunc // ends Run
	stopped chan struct{}      // closed when Run has begun to end
	queued  atomic.Int64       // bytes of records waiting in lanes
	state   atomic.Int64       // bytes of window state
	closing atomic.Int64       // bytes of it that the next cuts give back
	early   early
	held    atomic.Bool // the log has said that lanes wait for room
	commits commitQueue
	preload preload

	fetched, folded sync.Once // tell of the first records, for whoever looks at what a start takes
}

type laneKey struct {
	topic string
	id    int32
}

func keyOf(p batch.Partition) laneKey { return laneKey{p.Topic, p.ID} }

// New makes the chains of operators. Close frees them.
func New(ctx context.Context, cfg Config) (*Engine, error) {
	cfg.setDefaults()
	cfg.StopAtEnd = cfg.StopAtEnd || cfg.ShipSaved
	e := &Engine{
		cfg: cfg, log: cfg.Log,
		lanes:   map[laneKey]*lane{},
		failing: map[laneKey]error{},
		stopped: make(chan struct{}),
	}
	e.stats.init()
	e.commits.init()
	g, err := newGeneration(ctx, &cfg, cfg.Generation)
	if err != nil {
		return nil, err
	}
	e.current.Store(g)
	e.generations = []*generation{g}
	return e, nil
}

// Close frees the chains. Run must have returned. Closing twice is fine.
func (e *Engine) Close() error {
	e.mu.Lock()
	e.ending = true
	all := slices.Clone(e.generations)
	e.mu.Unlock()
	var errs []error
	for _, g := range all {
		errs = append(errs, g.close())
	}
	return errors.Join(errs...)
}

// Run reads until ctx ends, then ships what it has, commits, and leaves the group. It returns an error when the
// pipeline cannot go on.
func (e *Engine) Run(ctx context.Context) error {
	ctx, e.stop = context.WithCancel(ctx)
	defer e.stop()

	// The flush clock and the commits outlive the source, which ships and commits while it leaves the group.
	helpers, stopHelpers := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { e.flushClock(helpers) })
	wg.Go(func() { e.commits.run(helpers, e) })
	wg.Go(func() { e.tellWaiting(helpers) })

	e.preloadKept(ctx)
	err := e.cfg.Source.Run(ctx, e)
	e.preload.end()
	e.abandon()
	stopHelpers()
	wg.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.fatal != nil {
		return e.fatal
	}
	return err
}

// waitingQuietly is after what time without any partition a run says so.
const waitingQuietly = 15 * time.Second

// tellWaiting says once why nothing happens where a node has no partition. While the brokers or a topic are missing that is the
// reason, and Failed has said it.
func (e *Engine) tellWaiting(ctx context.Context) {
	tick := time.NewTicker(waitingQuietly)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		e.mu.Lock()
		seen, failing := e.seen || e.fatal != nil, len(e.failing) > 0
		e.mu.Unlock()
		switch {
		case seen:
			return
		case !failing:
			e.log.Info("no partition was given to this node so far: others of the group have all of them, or a member that died still has; it waits",
				"stop_at_end", e.cfg.StopAtEnd)
			return
		}
	}
}

// fail ends the run with an error.
func (e *Engine) fail(err error) {
	e.mu.Lock()
	if e.fatal == nil {
		e.fatal = err
	}
	e.mu.Unlock()
	e.stop()
}

// flushClock tells every lane when to ship. One clock for all, so that a delivery carries many partitions at once. It also
// has idle chains rest.
func (e *Engine) flushClock(ctx context.Context) {
	tick := time.NewTicker(e.cfg.FlushEvery)
	defer tick.Stop()
	var rest <-chan time.Time
	if e.cfg.IdleAfter > 0 {
		t := time.NewTicker(restEvery(e.cfg.IdleAfter))
		defer t.Stop()
		rest = t.C
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-rest:
			e.mu.Lock()
			all := slices.Clone(e.generations)
			e.mu.Unlock()
			for _, g := range all {
				g.rest(e.cfg.IdleAfter)
			}
			if e.cfg.Rest != nil {
				e.cfg.Rest(e.cfg.IdleAfter)
			}
		case <-tick.C:
			e.eachLane(func(l *lane) { l.request(wantFlush) })
		}
	}
}

func (e *Engine) eachLane(f func(*lane)) {
	e.mu.Lock()
	lanes := make([]*lane, 0, len(e.lanes))
	for _, l := range e.lanes {
		lanes = append(lanes, l)
	}
	e.mu.Unlock()
	for _, l := range lanes {
		f(l)
	}
}

func (e *Engine) lane(p batch.Partition) *lane {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.lanes[keyOf(p)]
}

// Assigned implements ingest.Handler.
func (e *Engine) Assigned(ctx context.Context, as []ingest.Assignment) []ingest.Start {
	e.mu.Lock()
	e.partial = true // a lane with nothing to read must not end the run before the others are there
	e.mu.Unlock()
	starts := make([]ingest.Start, len(as))
	stored := e.newAnswers(as)
	for i, a := range as {
		start, err := e.assigned(ctx, a, stored)
		if err != nil && e.cfg.StopAtEnd && ctx.Err() == nil {
			e.fail(fmt.Errorf("%s: %w", a.Partition, err)) // or the run would end well without the partition
		}
		start.Err = err
		starts[i] = start
	}
	e.mu.Lock()
	e.partial = false
	e.mu.Unlock()
	e.preload.end() // what was not assigned is somebody else's
	e.log.Debug("start", "phase", "partitions", "partitions", len(as))
	if e.cfg.StopAtEnd {
		e.ended()
	}
	return starts
}

// assigning tells whether more partitions of an assignment are to come.
func (e *Engine) assigning() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.partial
}

func (e *Engine) assigned(ctx context.Context, a ingest.Assignment, stored *answers) (ingest.Start, error) {
	none := ingest.Start{}
	if err := ctx.Err(); err != nil {
		return none, err
	}
	if a.Refused != nil {
		return none, a.Refused
	}
	gen := e.enter()
	at, err := e.resume(ctx, a, gen, stored)
	if err != nil {
		e.leave(gen)
		return none, err
	}
	l := newLane(e, gen, a, at)
	if at.saved != nil {
		l.load(at.saved)
		failpoint.Hit(failpoint.ResumeLoad)
	}
	if err := l.furnish(ctx, at); err != nil {
		l.cancel()
		l.discard()
		e.leave(gen)
		return none, err
	}
	e.mu.Lock()
	if old := e.lanes[keyOf(a.Partition)]; old != nil {
		e.mu.Unlock()
		l.cancel()
		l.discard()
		e.leave(gen)
		return none, fmt.Errorf("partition %s was assigned twice", a.Partition)
	}
	e.lanes[keyOf(a.Partition)] = l
	e.seen = true
	delete(e.failing, keyOf(a.Partition))
	e.mu.Unlock()
	e.log.Info("partition assigned", "partition", a.Partition.String(), "from", at.read, "position", at.position,
		"segment", at.segment, "log_start", a.LogStart, "log_end", a.LogEnd)
	go l.run()
	return ingest.Start{Offset: at.read, Epoch: at.epoch}, nil
}

// Records implements ingest.Handler.
func (e *Engine) Records(p batch.Partition, records []batch.Record, logEnd int64) {
	e.fetched.Do(func() { e.log.Debug("start", "phase", "fetch") })
	if l := e.lane(p); l != nil {
		l.stats.logEnd.Store(logEnd)
		l.push(chunk{records: records, epoch: e.cfg.Source.LeaderEpoch(p) + 1})
	}
}

// Skipped implements ingest.Handler.
func (e *Engine) Skipped(p batch.Partition, to, logEnd int64) {
	if l := e.lane(p); l != nil {
		l.stats.logEnd.Store(logEnd)
		l.push(chunk{skip: to, epoch: e.cfg.Source.LeaderEpoch(p) + 1})
	}
}

// Gap implements ingest.Handler.
func (e *Engine) Gap(_ context.Context, p batch.Partition, from, to int64, why ingest.GapReason) {
	e.log.Warn("offsets are missing", "partition", p.String(), "from", from, "to", to, "reason", string(why))
	if l := e.lane(p); l != nil {
		l.push(chunk{gap: &gap{from: from, to: to, why: why}})
	}
}

// Revoked implements ingest.Handler.
func (e *Engine) Revoked(ctx context.Context, ps []batch.Partition) {
	ctx, cancel := context.WithTimeout(ctx, e.cfg.ShutdownTimeout)
	defer cancel()
	var lanes []*lane
	for _, p := range ps {
		if l := e.lane(p); l != nil {
			lanes = append(lanes, l)
			l.request(wantFinish)
		}
	}
	failpoint.Hit(failpoint.Revoke)
	for _, l := range lanes {
		if l.wait(ctx) {
			e.log.Info("partition given up, all of it is stored", "partition", l.partition.String(), "position", l.stats.position.Load())
		} else {
			e.log.Warn("partition given up before everything was stored; its next owner reads it again",
				"partition", l.partition.String())
			if l.atEnd.Load() {
				e.fail(fmt.Errorf("%s was not stored to its end in time; run again", l.partition))
			}
		}
	}
	failpoint.Hit(failpoint.RevokeShipped)
	if err := e.commits.flush(ctx, e); err != nil {
		e.log.Warn("could not commit before giving partitions up; their next owner reads a little again", "error", err)
	}
	failpoint.Hit(failpoint.RevokeAfter)
	e.drop(lanes)
}

// Lost implements ingest.Handler.
func (e *Engine) Lost(ps []batch.Partition) {
	var lanes []*lane
	for _, p := range ps {
		if l := e.lane(p); l != nil {
			lanes = append(lanes, l)
			e.log.Warn("partition lost: somebody else owns it now", "partition", p.String())
		}
	}
	e.drop(lanes)
}

// drop ends lanes and forgets them.
func (e *Engine) drop(lanes []*lane) {
	// All of them first: a lane that is about to commit has the next one wait, and the write under way may carry several.
	for _, l := range lanes {
		l.cancel()
	}
	for _, l := range lanes {
		<-l.done
		l.awaitWithdrawal()
		e.leave(l.gen)
		e.commits.forget(l.partition)
		e.mu.Lock()
		delete(e.lanes, keyOf(l.partition))
		delete(e.failing, keyOf(l.partition))
		e.mu.Unlock()
		e.stats.retire(l)
	}
}

// abandon ends every lane that is left when the source has ended.
func (e *Engine) abandon() {
	var lanes []*lane
	e.eachLane(func(l *lane) { lanes = append(lanes, l) })
	e.drop(lanes)
}

// Failed implements ingest.Handler.
func (e *Engine) Failed(p batch.Partition, err error) {
	key := keyOf(p)
	e.mu.Lock()
	before := e.failing[key]
	if err == nil {
		delete(e.failing, key)
	} else {
		e.failing[key] = err
	}
	e.mu.Unlock()
	switch {
	case err != nil && (before == nil || before.Error() != err.Error()):
		e.stats.sourceErrors.Add(1)
		e.log.Error("cannot read", "partition", partitionName(p), "error", err)
	case err == nil && before != nil:
		e.log.Info("reading again", "partition", partitionName(p))
	}
}

func partitionName(p batch.Partition) string {
	if p.Topic == "" {
		return "all"
	}
	return p.String()
}

// ended is called when a lane has reached the end it was to stop at, or the last of the lanes has come.
func (e *Engine) ended() {
	e.mu.Lock()
	all := e.seen && !e.partial
	for _, l := range e.lanes {
		all = all && l.atEnd.Load()
	}
	e.mu.Unlock()
	if all {
		e.stop()
	}
}
