package wasm

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/operators/abi"
	"github.com/weir-stream/weir/operators/aggregate"
)

// Aggregate is a compiled module of aggregate kind: it takes rows into states, merges states, and finishes them. The states
// are the host's, as bytes; a guest keeps nothing between calls. So a guest that fails is replaced and nothing is lost, and
// guests are shared: there are as many as calls at the same time. It is safe for concurrent use.
type Aggregate struct {
	step   *Step // the module and its configuration
	answer batch.Field

	mu   sync.Mutex
	idle []*folder // guarded by mu

	bytesCopied, instances, ended, traps, retries, fuel, logDropped atomic.Int64

	probation atomic.Int32 // calls that were tried twice
}

var _ aggregate.Program = (*Aggregate)(nil)

// NewAggregate reads and compiles a module, checks it against the contract, and starts it once to learn what it finishes
// states to. args are the columns it is given. What is wrong with the module or its use is a *[ModuleError].
func NewAggregate(ctx context.Context, cfg Config, args *batch.Schema) (*Aggregate, error) {
	if len(args.Fields) == 0 {
		return nil, errors.New("wasm aggregate: it has no argument")
	}
	for _, f := range args.Fields {
		if f.Type.Kind == batch.List {
			return nil, fmt.Errorf("wasm aggregate: %s is %s: an aggregate takes no lists; take an item out of it in a map step", f.Name, f.Type)
		}
	}
	s, returns, err := load(ctx, cfg, args, aggregating)
	if err != nil {
		return nil, err
	}
	if n := len(returns.Fields); n != 1 {
		_ = s.Close()
		return nil, &ModuleError{Module: s.cfg.label(), Problem: fmt.Sprintf("returns %d columns: an aggregate has one answer", n)}
	}
	if f := returns.Fields[0]; f.Type.Kind == batch.List {
		_ = s.Close()
		return nil, &ModuleError{Module: s.cfg.label(), Problem: fmt.Sprintf("finishes to %s: an answer is no list", f.Type)}
	}
	return &Aggregate{step: s, answer: returns.Fields[0]}, nil
}

// Args are the columns it is given.
func (a *Aggregate) Args() *batch.Schema { return a.step.in }

// Answer is what states are finished to. Its name is the guest's.
func (a *Aggregate) Answer() batch.Field { return a.answer }

// Digest is the SHA-256 of the module.
func (a *Aggregate) Digest() [32]byte { return a.step.Digest() }

// Usage is what all instances have used.
func (a *Aggregate) Usage() operators.Usage {
	return operators.Usage{
		BytesCopied: a.bytesCopied.Load(), Instances: a.instances.Load(), Ended: a.ended.Load(), Traps: a.traps.Load(),
		Retries: a.retries.Load(), Fuel: a.fuel.Load(), LogDropped: a.logDropped.Load(),
	}
}

// Close frees the instances and the compiled code. No call may be under way. Closing twice is fine.
func (a *Aggregate) Close() error {
	a.mu.Lock()
	for _, f := range a.idle {
		f.close()
	}
	a.idle = nil
	a.mu.Unlock()
	return a.step.Close()
}

// maxIdle bounds the instances that wait for the next call.
const maxIdle = 64

func (a *Aggregate) acquire() *folder {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := len(a.idle); n > 0 {
		f := a.idle[n-1]
		a.idle = a.idle[:n-1]
		return f
	}
	return newFolder(a)
}

func (a *Aggregate) release(f *folder) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.idle) < maxIdle {
		a.idle = append(a.idle, f)
		return
	}
	f.close()
}

// Accumulate implements aggregate.Program.
func (a *Aggregate) Accumulate(ctx context.Context, fold *aggregate.Fold, next *aggregate.States) error {
	f := a.acquire()
	defer a.release(f)
	if err := f.accumulate(ctx, fold, next); err != nil {
		return err
	}
	return a.try(ctx, fold, next)
}

// Merge merges states pairwise: x[i] with y[i], and appends the results. A nil state is one of nothing.
func (a *Aggregate) Merge(ctx context.Context, x, y [][]byte, out *aggregate.States) error {
	f := a.acquire()
	defer a.release(f)
	for at := 0; at < len(x); {
		n := f.fits(len(x)-at, func(i int) int { return len(x[at+i]) + len(y[at+i]) })
		if err := f.merge(ctx, x[at:at+n], y[at:at+n], out); err != nil {
			return err
		}
		at += n
	}
	return nil
}

// Reduce merges each list of states into one, in its order. An empty list gives the state of nothing, nil.
func (a *Aggregate) Reduce(ctx context.Context, lists [][][]byte) ([][]byte, error) {
	out, most := make([][]byte, len(lists)), 0
	for i, l := range lists {
		most = max(most, len(l))
		if len(l) > 0 {
			out[i] = l[0]
		}
	}
	var x, y [][]byte
	var which []int
	for k := 1; k < most; k++ {
		x, y, which = x[:0], y[:0], which[:0]
		for i, l := range lists {
			if k < len(l) {
				x, y, which = append(x, out[i]), append(y, l[k]), append(which, i)
			}
		}
		var merged aggregate.States
		if err := a.Merge(ctx, x, y, &merged); err != nil {
			return nil, err
		}
		for j, i := range which {
			out[i] = merged.At(j)
		}
	}
	return out, nil
}

// Finish finishes states to a column of the answer's type, on the Go heap.
func (a *Aggregate) Finish(ctx context.Context, states [][]byte) (batch.Column, error) {
	f := a.acquire()
	defer a.release(f)
	var all assembled
	for at := 0; at < len(states); {
		n := f.fits(len(states)-at, func(i int) int { return len(states[at+i]) })
		c, err := f.finish(ctx, states[at:at+n])
		if err != nil {
			return batch.Column{}, err
		}
		all.add(&c, a.answer.Type, at, n)
		at += n
	}
	if len(states) == 0 && a.answer.Type.Variable() {
		all.offsets = zeroOffset
	}
	c := batch.Column{Offsets: all.offsets, Values: all.values, Nulls: all.nulls}
	if c.Nulls > 0 {
		c.Validity = all.validity
	}
	return c, nil
}

// stateField is the column of an array of states that a guest returns.
var stateField = batch.Field{Name: abi.StateColumn, Type: batch.Type{Kind: batch.Binary}}
