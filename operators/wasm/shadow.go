package wasm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
)

// Shadow is a live step whose batches a candidate gets as well. What the candidate makes of them is held against what the
// live one made, counted, and thrown away.
//
// The candidate cannot disturb the live step: it has an instance of its own, with a pool of its own, gets copies, and
// runs on a goroutine of its own. While it is busy, batches pass it by and are counted as skipped. Its failures are counted
// and logged; after some in a row it is given up.
type Shadow struct {
	*Step     // the live one
	candidate *Step
	every     int // one batch in so many

	start sync.Once
	log   *slog.Logger
	room  int           // bytes of the candidate's output slot
	row   int           // bytes that a row may have
	free  chan *exhibit // to be filled
	jobs  chan *exhibit // filled; has room for all there are
	done  chan struct{} // closed when the goroutine has ended; nil before it was started

	skipped atomic.Int64
	mu      sync.Mutex
	status  operators.ShadowStatus // guarded by mu
}

// Bounds of what a candidate may cost and say.
const (
	exhibits       = 2 // batches that wait for the candidate, or are with it
	shadowFailures = 5 // failures in a row after which it is given up
	shadowLines    = 3 // differences of a batch that are logged
	shadowEvery    = 10 * time.Second
)

// NewShadow puts a candidate beside a live step, for one batch in every so many. The steps must give the same columns. The
// shadow owns both when there is no error.
func NewShadow(live, candidate *Step, every int) (*Shadow, error) {
	if !candidate.In().Equal(live.In()) {
		return nil, fmt.Errorf("the candidate gets the columns %s, and the live operator %s", candidate.In(), live.In())
	}
	if live.Stateful() || candidate.Stateful() {
		return nil, errors.New("an operator that keeps state has no candidate, and is none: what it gives depends on batches that the candidate does not get")
	}
	if !candidate.Out().Equal(live.Out()) {
		return nil, fmt.Errorf("the candidate gives the columns %s, and the live operator %s: they must be the same to be compared", candidate.Out(), live.Out())
	}
	digest := candidate.Digest()
	s := &Shadow{
		Step: live, candidate: candidate, every: max(1, every),
		free: make(chan *exhibit, exhibits), jobs: make(chan *exhibit, exhibits),
		status: operators.ShadowStatus{Digest: digest, Columns: map[string]int64{}},
	}
	for range exhibits {
		s.free <- &exhibit{}
	}
	return s, nil
}

// Open makes an instance of the live step that shows its batches to the candidate.
func (s *Shadow) Open(ctx context.Context, env operators.Env) (operators.Operator, error) {
	op, err := s.Step.Open(ctx, env)
	if err != nil {
		return nil, err
	}
	live := op.(*operator)
	s.start.Do(func() {
		s.log, s.room, s.row = live.env.Log, env.Range.SlotSize(), live.rowMax
		if s.log == nil {
			s.log = slog.New(slog.DiscardHandler)
		}
		s.done = make(chan struct{})
		go s.run()
	})
	return &shadowed{operator: live, s: s}, nil
}

// Close waits for what the candidate is at, says how it did, and frees both.
func (s *Shadow) Close() error {
	s.start.Do(func() {}) // not any more
	if s.done != nil {
		select {
		case <-s.done:
		default:
			close(s.jobs)
			<-s.done
			st := s.Shadow()
			s.log.Info("shadow", "step", s.Name(), "candidate", fmt.Sprintf("%x", st.Digest[:8]), "batches", st.Batches, "skipped", st.Skipped,
				"failed", st.Failed, "rows", st.Rows, "only_live", st.OnlyLive, "only_candidate", st.OnlyCandidate, "changed", st.Changed,
				"rejects", st.Rejects, "columns", st.Columns, "fuel_live", st.LiveFuel, "fuel_candidate", st.CandidateFuel,
				"time_live", st.LiveTime, "time_candidate", st.CandidateTime, "given_up", st.GivenUp)
		}
	}
	return errors.Join(s.Step.Close(), s.candidate.Close())
}

// Shadow is how the candidate does. It may be called from any goroutine.
func (s *Shadow) Shadow() operators.ShadowStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status
	st.Skipped = s.skipped.Load()
	st.Columns = map[string]int64{}
	for name, n := range s.status.Columns {
		st.Columns[name] = n
	}
	return st
}

// shadowed is an instance of the live step.
type shadowed struct {
	*operator
	s *Shadow
}

// Process runs the live operator, and keeps copies of the batch before and after it.
func (o *shadowed) Process(ctx context.Context, b *batch.Batch) error {
	if b.Rows == 0 || !sampled(b, o.s.every) {
		return o.operator.Process(ctx, b)
	}
	var x *exhibit
	select {
	case x = <-o.s.free:
	default:
		o.s.skipped.Add(1)
		return o.operator.Process(ctx, b)
	}
	x.before.keep(b, counted{rejects: len(b.Rejects)})
	since, fuel, began := countsOf(b), o.fuel.Load(), time.Now()
	if err := o.operator.Process(ctx, b); err != nil {
		o.s.free <- x
		return err
	}
	x.took, x.fuel = time.Since(began), o.fuel.Load()-fuel
	x.after.keep(b, since)
	o.s.jobs <- x // there is room for all exhibits
	return nil
}

// exhibit is a batch before and after the live operator.
type exhibit struct {
	before, after kept
	took          time.Duration
	fuel          int64
}

// kept is a copy of a batch. Its memory is used again.
type kept struct {
	batch.Batch
	buf []byte
}

// keep copies a batch, and of its rejects and counts what came after since. The records are shared: they are nobody's to write.
func (k *kept) keep(b *batch.Batch, since counted) {
	size := 0
	parts := func(c *batch.Column) [4]*[]byte {
		return [4]*[]byte{&c.Validity, &c.Offsets, &c.Values, &c.ItemOffsets}
	}
	for i := range b.Cols {
		for _, p := range parts(&b.Cols[i]) {
			size += roundUp(len(*p))
		}
	}
	if cap(k.buf) < size {
		k.buf = make([]byte, size+size/4)
	}
	free := k.buf[:cap(k.buf)]
	k.Schema, k.Rows, k.Records, k.Partition = b.Schema, b.Rows, b.Records, b.Partition
	k.Cols = append(k.Cols[:0], b.Cols...)
	for i := range k.Cols {
		for _, p := range parts(&k.Cols[i]) {
			if *p == nil {
				continue
			}
			n := copy(free, *p)
			*p, free = free[:n:n], free[roundUp(n):]
		}
	}
	k.Origin = nil
	if b.Origin != nil {
		k.Origin = slices.Clone(b.Origin)
	}
	k.Rejects = slices.Clone(b.Rejects[since.rejects:])
	k.Filtered, k.Expanded = b.Filtered-since.filtered, b.Expanded-since.expanded
}

// run is the candidate's goroutine.
func (s *Shadow) run() {
	defer close(s.done)
	c := contender{s: s}
	defer c.close()
	for x := range s.jobs {
		c.compare(x)
		x.before.Batch, x.after.Batch = batch.Batch{Cols: x.before.Cols[:0]}, batch.Batch{Cols: x.after.Cols[:0]}
		s.free <- x
	}
}

// contender is the running candidate.
type contender struct {
	s      *Shadow
	pool   *batch.Pool
	op     *operator
	failed int       // times in a row
	rest   time.Time // until when it is left alone after a failure
	logged time.Time
}

func (c *contender) open() error {
	pool, err := batch.NewPlainPool([]batch.RangeSpec{{Slots: 1, SlotSize: c.s.room}})
	if err != nil {
		return err
	}
	op := &operator{step: c.s.candidate, env: operators.Env{Pool: pool, Range: pool.Range(0)}, log: c.s.candidate.journal(c.s.log), rowMax: c.s.row}
	if err := op.open(context.Background()); err != nil {
		return errors.Join(err, op.Close(), pool.Close())
	}
	c.pool, c.op = pool, op
	return nil
}

func (c *contender) close() {
	if c.op != nil {
		_ = c.op.Close()
		_ = c.pool.Close()
		c.op, c.pool = nil, nil
	}
}

// compare runs the candidate on a batch and counts how it differs.
func (c *contender) compare(x *exhibit) {
	s := c.s
	if c.failed >= shadowFailures || time.Now().Before(c.rest) {
		s.skipped.Add(1)
		return
	}
	made, rows := input(&x.before.Batch), x.after.Rows
	defer made.Release()
	var d contrasted
	var took time.Duration
	var fuel int64
	err := func() (err error) {
		defer func() {
			if r := recover(); r != nil {
				err = fmt.Errorf("comparing panicked: %v", r) // a bug here must not end the live pipeline
			}
		}()
		if c.op == nil {
			if err := c.open(); err != nil {
				return err
			}
		}
		before, began := c.op.fuel.Load(), time.Now()
		if err := c.op.process(context.Background(), made); err != nil {
			return err
		}
		took, fuel = time.Since(began), c.op.fuel.Load()-before
		d = contrast(&x.after.Batch, made)
		return nil
	}()
	if err != nil {
		c.fail(err)
		return
	}
	c.failed = 0
	s.mu.Lock()
	st := &s.status
	st.Batches++
	st.Rows += int64(rows)
	st.OnlyLive += d.onlyLive
	st.OnlyCandidate += d.onlyCandidate
	st.Changed += d.changed
	st.Rejects += d.rejects
	for name, n := range d.columns {
		st.Columns[name] += n
	}
	st.LiveFuel += x.fuel
	st.CandidateFuel += fuel
	st.LiveTime += x.took
	st.CandidateTime += took
	s.mu.Unlock()
	if len(d.examples) > 0 && time.Since(c.logged) >= shadowEvery {
		c.logged = time.Now()
		s.log.Warn("the candidate differs", "step", s.Name(), "partition", x.after.Partition.String(), "only_live", d.onlyLive,
			"only_candidate", d.onlyCandidate, "changed", d.changed, "rejects", d.rejects, "first", d.examples)
	}
}

// fail counts a failure, and leaves the candidate alone for a while or for good.
func (c *contender) fail(err error) {
	c.close() // the next try begins anew
	c.failed++
	c.rest = time.Now().Add(time.Second << c.failed)
	c.s.mu.Lock()
	c.s.status.Failed++
	c.s.status.GivenUp = c.failed >= shadowFailures
	c.s.mu.Unlock()
	if c.failed >= shadowFailures {
		c.s.log.Error("the candidate is given up: it fails again and again", "step", c.s.Name(), "failures", c.failed, "error", err)
		return
	}
	c.s.log.Warn("the candidate failed", "step", c.s.Name(), "again_in", time.Second<<c.failed, "error", err)
}
