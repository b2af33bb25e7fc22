package wasm

import (
	"context"

	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/operators/abi"
)

var _ operators.Stateful = (*operator)(nil)

// state is what a stateful guest carries from batch to batch, as of the last batch it processed well. A guest that fails is
// replaced by one that is given this, so a failed call, and a row that is rejected, leave no trace.
type state struct {
	saved  []byte // empty: of a guest that has processed nothing
	behind bool   // the guest has processed a batch since
}

// room is the memory that giving back the state takes, beside what the guest may have by itself: its block is never freed.
func (s *state) room() int {
	if len(s.saved) == 0 {
		return 0
	}
	return (len(s.saved)+abi.PageSize-1)&^(abi.PageSize-1) + abi.PageSize
}

// settle copies the state out of the guest, if it has run since the last time. This is done before the next call and not
// behind the last one: by now nobody reads that one's output any more, which the guest's code could change.
func (o *operator) settle() error {
	if !o.state.behind {
		return nil
	}
	view, err := o.g.snapshot(o.step.cfg.PartitionState, o.wins.in, uint32(o.wins.total))
	o.fuel.Add(o.g.tank.take())
	if err != nil {
		return &CallError{Fault: FaultState, Err: err}
	}
	o.state.saved = append(o.state.saved[:0], view...)
	o.state.behind = false
	return nil
}

// Snapshot appends the state after the last batch. See [operators.Stateful].
func (o *operator) Snapshot(dst []byte) ([]byte, error) {
	if err := o.settle(); err != nil {
		return dst, err
	}
	return append(dst, o.state.saved...), nil
}

// Restore replaces the guest by one with the given state. See [operators.Stateful].
func (o *operator) Restore(ctx context.Context, saved []byte) error {
	if err := o.Close(); err != nil {
		return err
	}
	o.state.saved = append(o.state.saved[:0], saved...)
	if len(saved) == 0 && o.env.Lazy {
		return nil
	}
	return o.ensure(ctx)
}
