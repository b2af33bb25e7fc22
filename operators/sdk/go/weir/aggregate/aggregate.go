//go:build wasip1

package aggregate

import "github.com/weir-stream/weir/operators/sdk/go/weir"

// Function is an aggregate over states of type S. It keeps nothing between calls but what its configuration made of it.
type Function[S any] interface {
	// Init is the state of no rows.
	Init() S
	// Load reads a state that Save wrote, by this module or by an earlier one. It must not keep the bytes.
	Load(bytes []byte) (S, error)
	// Save appends a state, at least one byte.
	Save(state S, to []byte) []byte
	// Accumulate takes rows from..to-1 into a state, in their order. The other rows of the batch are of other keys.
	Accumulate(state S, b *weir.Batch, from, to int) (S, error)
	// Merge takes what another state has seen.
	Merge(state, other S) (S, error)
	// Finish is the answer: of the Go type of the declared column, or nil for null.
	Finish(state S) (any, error)
}

// Serve names the aggregate of this module. Call it once, in an init function of package main. open checks the arguments and
// the configuration, and declares the answer with one call of Plan.Declare.
func Serve[S any](open func(p *weir.Plan) (Function[S], error)) {
	weir.ServeAggregate(func(p *weir.Plan) (weir.Folder, error) {
		f, err := open(p)
		return folder[S]{f}, err
	})
}

// folder reads and writes the states of a function.
type folder[S any] struct{ f Function[S] }

func (a folder[S]) load(state []byte) (S, error) {
	if state == nil {
		return a.f.Init(), nil
	}
	return a.f.Load(state)
}

func (a folder[S]) Accumulate(state []byte, b *weir.Batch, from, to int, out []byte) ([]byte, error) {
	s, err := a.load(state)
	if err == nil {
		s, err = a.f.Accumulate(s, b, from, to)
	}
	if err != nil {
		return out, err
	}
	return a.f.Save(s, out), nil
}

func (a folder[S]) Merge(state, other, out []byte) ([]byte, error) {
	s, err := a.load(state)
	if err != nil {
		return out, err
	}
	o, err := a.load(other)
	if err == nil {
		s, err = a.f.Merge(s, o)
	}
	if err != nil {
		return out, err
	}
	return a.f.Save(s, out), nil
}

func (a folder[S]) Finish(state []byte) (any, error) {
	s, err := a.load(state)
	if err != nil {
		return nil, err
	}
	return a.f.Finish(s)
}

//go:wasmexport weir_accumulate
func exportAccumulate(rows, states, _, _ uint32) uint32 { return weir.HostAccumulate(rows, states) }

//go:wasmexport weir_merge
func exportMerge(states, others, _, _ uint32) uint32 { return weir.HostMerge(states, others) }

//go:wasmexport weir_finish
func exportFinish(states, _, _ uint32) uint32 { return weir.HostFinish(states) }
