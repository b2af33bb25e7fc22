package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
)

// slotsPerRange is 2 so that a step that fails and starts again need not wait for the slot of its first try.
const slotsPerRange = 2

// chain is a decoder, one instance of every step, and the pool their batches live in. A lane borrows a chain for one
// batch at a time: steps keep nothing between batches, so lanes can share chains, and a node has as many as cores and
// not as many as partitions.
type chain struct {
	pool    *batch.Pool
	decoder ingest.Decoder
	steps   []operators.Operator
	used    []operators.Usage // by step, as far as it is counted
	batch   batch.Batch
	began   time.Time // when run was called last
	read    int64     // bytes of the values of the batch's records
	gave    volume    // what run gave
	ended   time.Time // and when
}

// Layout is the pool of a chain: a range for decode, then one for each step.
func Layout(gen Generation) []batch.RangeSpec {
	gen.setDefaults()
	specs := []batch.RangeSpec{{Slots: slotsPerRange, SlotSize: gen.SlotSize}}
	for _, s := range gen.Steps {
		size := batch.PageAlign
		if sized, ok := s.(operators.Sized); ok {
			size = max(size, sized.RangeSize(gen.BatchRows, gen.SlotSize))
		}
		specs = append(specs, batch.RangeSpec{Slots: slotsPerRange, SlotSize: size})
	}
	return specs
}

func newChain(ctx context.Context, cfg *Config, gen *Generation, lazy bool) (*chain, error) {
	c := &chain{began: time.Now()}
	specs := Layout(*gen)
	newPool := batch.NewPool
	if cfg.PlainPool {
		newPool = batch.NewPlainPool
	}
	var err error
	if c.pool, err = newPool(specs); err != nil {
		return nil, fmt.Errorf("make the batch pool: %w", err)
	}
	if c.decoder, err = gen.Decoder(); err != nil {
		return nil, errors.Join(fmt.Errorf("make the decoder: %w", err), c.close())
	}
	for i, s := range gen.Steps {
		op, err := s.Open(ctx, operators.Env{Pool: c.pool, Range: c.pool.Range(i + 1), Log: cfg.Log, Lazy: lazy})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open step %s: %w", s.Name(), err), c.close())
		}
		c.steps = append(c.steps, op)
	}
	c.used = make([]operators.Usage, len(c.steps))
	return c, nil
}

// count adds what a step has used since the last time to its counters.
func (c *chain) count(i int, to *stepCount) {
	m, ok := c.steps[i].(operators.Metered)
	if !ok {
		return
	}
	now, was := m.Usage(), c.used[i]
	c.used[i] = now
	to.use(now, was)
}

// countAll adds what the steps have used so far, which after newChain is what it took to start them.
func (c *chain) countAll(to *stageCounts) {
	for i := range c.steps {
		c.count(i, &to.steps[i])
	}
}

// close frees the steps. What they have used can still be counted.
func (c *chain) close() error {
	var errs []error
	c.batch.Release()
	for _, s := range c.steps {
		errs = append(errs, s.Close())
	}
	if c.pool != nil {
		errs = append(errs, c.pool.Close())
	}
	return errors.Join(errs...)
}

// run decodes a prefix of the records and takes it through the steps. The result is c.batch, valid until the next run. Where it is
// Unfinished, the next run is a resumed one, of the same record.
func (c *chain) run(ctx context.Context, p batch.Partition, records []batch.Record, resumed bool, steps []operators.Step, counts *stageCounts) (*batch.Batch, error) {
	b, began := &c.batch, time.Now()
	c.began = began
	b.Begin(c.decoder.Schema(), p, records)
	b.Resumed = resumed
	slot, err := c.pool.Range(0).Acquire()
	if err != nil {
		return nil, fmt.Errorf("decode: %w", err) // nobody else uses this chain: a slot was leaked
	}
	b.Hold(slot)
	arena := batch.NewArena(slot.Mem())
	c.decoder.Decode(b, &arena)
	c.read = 0
	for i := len(b.Records) - b.Begun(); i < len(b.Records); i++ {
		c.read += int64(len(b.Records[i].Value))
	}
	now, out := time.Now(), volume{b.Rows, b.Size()}
	counts.decode.add(began, now, volume{b.Begun(), c.read}, out, len(b.Rejects))
	for i, s := range c.steps {
		if b.Rows == 0 {
			break
		}
		in, rejected := out, len(b.Rejects)
		began = now
		err := s.Process(ctx, b)
		c.count(i, &counts.steps[i])
		if err != nil {
			return nil, fmt.Errorf("step %s, %s offsets %d to %d: %w", steps[i].Name(), p,
				records[0].Offset, b.Records[len(b.Records)-1].Offset, err)
		}
		now, out = time.Now(), volume{b.Rows, b.Size()}
		counts.steps[i].add(began, now, in, out, len(b.Rejects)-rejected)
	}
	c.gave, c.ended = out, now
	return b, nil
}

// aggregate adds the batch that run gave to a window.
func (c *chain) aggregate(ctx context.Context, w operators.Window, count *stepCount) (operators.Counts, error) {
	b := &c.batch
	rejected := len(b.Rejects)
	counts, err := w.Add(ctx, b, b.Records[0].Offset)
	count.add(c.ended, time.Now(), c.gave, volume{}, len(b.Rejects)-rejected)
	return counts, err
}

// cut takes what changed out of a window.
func cut(w operators.Window, next int64, count *stepCount) operators.Cut {
	began := time.Now()
	c := w.Cut(next)
	count.nanos.Add(int64(time.Since(began)))
	if c.Rows != nil {
		count.out.Add(int64(c.Rows.Rows))
		count.bytesOut.Add(c.Rows.Size())
	}
	return c
}
