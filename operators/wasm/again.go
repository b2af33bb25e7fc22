package wasm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
)

// Some batches are run a second time, and the results must be the same: what a batch becomes must be a function of its
// rows, or a replay writes other totals than the first run.
//
//   - The 2nd, 4th, 8th, 16th ... batch of a guest, in a fresh guest. A difference is an operator that keeps something
//     from batch to batch, and says nothing of it; or one that declares state which does not say everything, since the fresh
//     guest is given the state before the batch.
//   - One in so many ([Config.Verify]), in the interpreter. A difference is a fault of the compiler, of the machine, or
//     again of the operator.
//
// A difference fails the batch, and so stops the partition: what was shipped before is in doubt, and to go on would add
// to it.

// interpreterSlower is how much longer than a guest's deadline the interpreter may take.
const interpreterSlower = 50

// checks is what an operator needs to run batches again. None of it is the live guest's.
type checks struct {
	guest   *guest // that ran the last batch
	batches uint64 // it ran
	twin    *operator
	pool    *batch.Pool // of the twin in the interpreter
	state   []byte      // before the batch that is run again
	said    bool        // that a check could not be made

	blind bool // stores cannot be counted on this system

	verified, differed, stores atomic.Int64
}

// ran counts a batch of the guest that is there now.
func (c *checks) ran(g *guest) {
	if g != c.guest {
		c.guest, c.batches = g, 0
	}
	c.batches++
}

// onProbation tells whether the next batch of a guest is its 2nd, 4th, 8th ...
func (c *checks) onProbation(g *guest) bool {
	n := c.batches + 1
	return g != nil && g == c.guest && n&(n-1) == 0
}

// verifies tells whether the batch is one of those that the interpreter runs too. It is a function of where the batch
// begins, and no pattern of offsets.
func (o *operator) verifies(b *batch.Batch) bool {
	return o.step.cfg.Verify > 0 && sampled(b, o.step.cfg.Verify)
}

// sampled takes one batch in so many.
func sampled(b *batch.Batch, every int) bool {
	n := uint64(every)
	if n <= 1 || len(b.Records) == 0 {
		return n == 1
	}
	z := uint64(b.Records[0].Offset)*0x9e3779b97f4a7c15 + uint64(b.Partition.ID)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9 // splitmix64
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return (z^z>>31)%n == 0
}

// Process runs the batch through the guest. See [operators.Operator].
func (o *operator) Process(ctx context.Context, b *batch.Batch) error {
	c := &o.checks
	probation, verified := c.onProbation(o.g) && !o.step.cfg.unchecked, o.verifies(b)
	var before *batch.Batch
	var since counted
	if probation || verified {
		before, since = input(b), countsOf(b)
		if err := o.settle(); err != nil {
			return fmt.Errorf("%s: %w", o.step.cfg.Name, err)
		}
		c.state = append(c.state[:0], o.state.saved...)
	}
	err := o.process(ctx, b)
	c.ran(o.g)
	if err == nil && probation {
		err = o.checked(ctx, o.probe(ctx, before, b, since))
	}
	if err == nil && verified {
		err = o.checked(ctx, o.verify(ctx, before, b, since))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", o.step.cfg.Name, err)
	}
	if n := c.batches; n&(n-1) == 0 || n%storesEvery == 0 {
		o.countStores()
	}
	return nil
}

// storesEvery is how many batches a guest runs between two looks at what it has stored into its input, at most. A look at
// 16 MiB takes 0.15 ms.
const storesEvery = 256

// countStores looks whether the guest has stored into the window through which it sees the pool. These pages are its own
// from then on: they take memory that its limit does not count, and it reads there what it stored and not what comes
// later. They are dropped, so that it sees the pool again.
func (o *operator) countStores() {
	c := &o.checks
	if !o.fd || o.g == nil || c.blind {
		return
	}
	input := o.g.mem.bytes()[o.wins.in:][:o.wins.inLen]
	n, err := written(input)
	if n > 0 {
		err = forget(input)
	}
	if err != nil {
		c.blind = true
		o.log.log.Warn("what operators store into their input cannot be counted", "step", o.step.cfg.Name, "error", err)
	}
	if n == 0 {
		return
	}
	if c.stores.Add(int64(n)) == int64(n) {
		o.log.log.Warn("operator stores into its input, which it must not: it may compute with what it stored", "step", o.step.cfg.Name, "pages", n)
	}
}

// checked is what a check means for the batch. One that could not be made is none: it says nothing of the result.
func (o *operator) checked(ctx context.Context, err error) error {
	var differ *DifferError
	switch {
	case err == nil, errors.Is(err, batch.ErrNoSlot), ctx.Err() != nil:
		return nil
	case errors.As(err, &differ):
		return err
	default:
		if !o.checks.said {
			o.checks.said = true
			o.log.log.Warn("batches cannot be run again to check them", "step", o.step.cfg.Name, "error", err)
		}
		return nil
	}
}

// input is a batch as it was before the operator, for as long as the batch holds its slots.
func input(b *batch.Batch) *batch.Batch {
	return &batch.Batch{
		Schema: b.Schema, Rows: b.Rows, Cols: slices.Clone(b.Cols), Records: b.Records, Partition: b.Partition, Origin: slices.Clone(b.Origin),
	}
}

// again holds what the batch became against what another guest makes of it. before is the batch as it was.
func again(ctx context.Context, twin *operator, before, b *batch.Batch, since counted) (difference string, err error) {
	before = input(before)
	defer before.Release()
	failed := twin.process(ctx, before)
	var ce *CallError
	switch {
	case failed == nil:
		return differ(b, before, since), nil
	case errors.As(failed, &ce) && ce.Fault != FaultDeadline:
		return "it failed: " + ce.detail(), nil
	default: // no slot, no memory, no time: nothing is known
		return "", failed
	}
}

// probe runs a batch in a fresh guest. The two share the pool, and the range that this operator writes.
func (o *operator) probe(ctx context.Context, before, b *batch.Batch, since counted) error {
	twin := &operator{step: o.step, env: o.env, fd: o.fd, log: o.step.journal(nil)}
	defer twin.Close()
	twin.state.saved = slices.Clone(o.checks.state)
	if err := twin.open(ctx); err != nil {
		return err
	}
	difference, err := again(ctx, twin, before, b, since)
	if difference == "" {
		return err
	}
	if o.step.Stateful() {
		return &DifferError{
			In: "a fresh instance with the state before the batch", Difference: difference,
			Hint: "the operator keeps something from batch to batch that weir_snapshot does not give or weir_restore does not take, so a " +
				"replay would not give what the first run gave: make it part of the state",
		}
	}
	return &DifferError{
		In: "a fresh instance", Difference: difference,
		Hint: "the operator keeps something from batch to batch, so a replay would not give what the first run gave: " +
			"make what a row becomes depend on that row and the configuration alone, or declare the state (weir_snapshot, weir_restore)",
	}
}

// verify runs a batch in the interpreter.
func (o *operator) verify(ctx context.Context, before, b *batch.Batch, since counted) error {
	c := &o.checks
	if c.twin == nil {
		if err := o.openTwin(ctx); err != nil {
			return err
		}
	}
	if o.step.Stateful() {
		if err := c.twin.Restore(ctx, c.state); err != nil {
			return err
		}
	}
	difference, err := again(ctx, c.twin, before, b, since)
	if difference == "" {
		if err == nil {
			c.verified.Add(1)
		}
		return err
	}
	c.verified.Add(1)
	c.differed.Add(1)
	return &DifferError{
		In: "the interpreter", Difference: difference,
		Hint: "results of this step may be wrong, those written before included: the operator keeps something from batch to batch, " +
			"or there is a fault in the machine or in the compiler; keep the module and these offsets",
	}
}

// openTwin makes the instance in the interpreter, with a pool of its own that has one slot.
func (o *operator) openTwin(ctx context.Context) error {
	s, err := o.step.interpreted(ctx)
	if err != nil {
		return err
	}
	pool, err := batch.NewPlainPool([]batch.RangeSpec{{Slots: 1, SlotSize: o.env.Range.SlotSize()}})
	if err != nil {
		return err
	}
	env := operators.Env{Pool: pool, Range: pool.Range(0)}
	twin := &operator{step: s, env: env, log: s.journal(nil), rowMax: o.rowMax}
	if err := twin.open(ctx); err != nil {
		return errors.Join(err, pool.Close())
	}
	o.checks.twin, o.checks.pool = twin, pool
	return nil
}

// close frees the instance in the interpreter.
func (c *checks) close() {
	if c.twin != nil {
		_ = c.twin.Close()
		_ = c.pool.Close()
		c.twin, c.pool = nil, nil
	}
}

// interpreted is the step in the interpreter. It is compiled when it is first needed, and shared by the instances.
func (s *Step) interpreted(ctx context.Context) (*Step, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.slow != nil {
		return s.slow, nil
	}
	cfg := s.cfg
	cfg.Module, cfg.Interpreter, cfg.Transport = s.source, true, Copy
	cfg.Deadline = min(cfg.Deadline, time.Hour/interpreterSlower) * interpreterSlower
	m, err := compile(ctx, &cfg, rowwise)
	if err != nil {
		return nil, err
	}
	cfg.Module = nil
	s.slow = &Step{cfg: cfg, module: m, in: s.in, out: s.out, shown: s.shown, fields: s.fields, row: s.row, width: s.width, rows: s.rows}
	return s.slow, nil
}
