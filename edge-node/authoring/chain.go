package authoring

import (
	"context"
	"errors"
	"fmt"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/operators/wasm"
)

// chain is a module as the only step of a lane: the pool, whose range 0 is the decoder's, and an instance.
type chain struct {
	step  *wasm.Step
	pool  *batch.Pool
	op    operators.Operator
	batch batch.Batch
}

// openChain plans the module over the columns and opens an instance. The pool's first range has slots of slotSize bytes.
func openChain(ctx context.Context, cfg wasm.Config, in *batch.Schema, rows, slotSize int) (*chain, error) {
	step, err := wasm.New(ctx, cfg, in)
	if err != nil {
		return nil, err
	}
	c := &chain{step: step}
	c.pool, err = batch.NewPool([]batch.RangeSpec{
		{Slots: 2, SlotSize: slotSize},
		{Slots: 2, SlotSize: max(batch.PageAlign, step.RangeSize(rows, slotSize))},
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make the batch pool: %w", err), c.close())
	}
	if c.op, err = c.open(ctx); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// open makes an instance. The caller closes it before the chain.
func (c *chain) open(ctx context.Context) (operators.Operator, error) {
	return c.step.Open(ctx, operators.Env{Pool: c.pool, Range: c.pool.Range(1)})
}

// usage is what the instance has used so far.
func (c *chain) usage() operators.Usage {
	if m, ok := c.op.(operators.Metered); ok {
		return m.Usage()
	}
	return operators.Usage{}
}

func (c *chain) close() error {
	var errs []error
	c.batch.Release()
	if c.op != nil {
		errs = append(errs, c.op.Close())
	}
	if c.pool != nil {
		errs = append(errs, c.pool.Close())
	}
	return errors.Join(append(errs, c.step.Close())...)
}

// move gives the operator's state to a new instance, as a restart of a node does, or no state, as the beginning does.
func (c *chain) move(ctx context.Context, begin bool) error {
	c.batch.Release()
	op, ok := c.op.(operators.Stateful)
	if !ok {
		return fmt.Errorf("%s keeps no state", c.step.Name())
	}
	var state []byte
	if !begin {
		var err error
		if state, err = op.Snapshot(nil); err != nil {
			return err
		}
	}
	return op.Restore(ctx, state)
}
