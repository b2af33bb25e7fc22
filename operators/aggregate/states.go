package aggregate

import (
	"errors"
	"unsafe"

	"github.com/weir-stream/weir/ingest/batch"
)

// written is the state of one group, whose bytes are those of a function of ClickHouse. The zero value has seen nothing.
type written[S any] interface {
	*S
	// seen tells whether there is anything in it.
	seen() bool
	// append writes the bytes of a state that has seen something. Where they are of values, k is what these are.
	append(dst []byte, k cells) []byte
	// size is the memory it has beside itself.
	size() int64
}

// state is one that is read again without more than its bytes.
type state[S any] interface {
	written[S]
	// load reads the bytes into a state that has seen nothing.
	load(src []byte, k cells) error
	// merge takes in another state that has seen something, of rows behind its own. limit is as add has it. Memory of the other
	// may become its own.
	merge(from *S, k cells, limit int)
}

// errState is about bytes that are no state.
var errState = errors.New("these are not the bytes of a state")

// states is what the accumulators of such states have in common.
type states[S any, P written[S]] struct {
	of    []S
	extra int64 // memory of the states beside of
	cells cells
}

func (a *states[S, P]) Grow(n int) { a.of = grow(a.of, n) }

func (a *states[S, P]) Reset(g uint32) {
	a.extra -= P(&a.of[g]).size()
	var zero S
	a.of[g] = zero
}

// MemorySize implements Sized.
func (a *states[S, P]) MemorySize() int64 {
	var zero S
	return a.extra + int64(cap(a.of))*int64(unsafe.Sizeof(zero))
}

// move takes a group of another accumulator over.
func (a *states[S, P]) move(from *states[S, P], src, dst uint32) {
	a.of[dst] = from.of[src]
	a.extra += P(&a.of[dst]).size()
	from.Reset(src)
}

func (a *states[S, P]) Emit(groups []uint32, out []batch.Column) {
	offsets, data := make([]int32, len(groups)+1), make([]byte, 0, 32*len(groups))
	for i, g := range groups {
		if s := P(&a.of[g]); s.seen() {
			data = s.append(data, a.cells)
		}
		offsets[i+1] = int32(len(data))
	}
	out[0] = batch.Column{Offsets: batch.Bytes(offsets), Values: data}
}

// loadEach gives groups the states that were written of them.
func (a *states[S, P]) loadEach(groups []uint32, in []batch.Column, load func(s P, src []byte) error) error {
	for i, g := range groups {
		if g == Skip {
			continue
		}
		if src := in[0].Bytes(i); len(src) > 0 {
			if err := load(&a.of[g], src); err != nil {
				return err
			}
			a.extra += P(&a.of[g]).size()
		}
	}
	return nil
}

// loadStates is loadEach for states that need no more than their bytes.
func loadStates[S any, P state[S]](a *states[S, P], groups []uint32, in []batch.Column) error {
	return a.loadEach(groups, in, func(s P, src []byte) error { return s.load(src, a.cells) })
}

// mergeEach takes the states that were written of groups into them. load reads one that is empty, merge takes it in.
func (a *states[S, P]) mergeEach(groups []uint32, in []batch.Column, load func(s P, src []byte) error, merge func(to, from P)) error {
	for i, g := range groups {
		if g == Skip {
			continue
		}
		src := in[0].Bytes(i)
		if len(src) == 0 {
			continue
		}
		var from S
		if err := load(&from, src); err != nil {
			return err
		}
		to := P(&a.of[g])
		a.extra -= to.size()
		if to.seen() {
			merge(to, &from)
		} else {
			a.of[g] = from
		}
		a.extra += to.size()
	}
	return nil
}

// mergeStates is mergeEach for states that need no more than their bytes.
func mergeStates[S any, P state[S]](a *states[S, P], groups []uint32, in []batch.Column, limit int) error {
	return a.mergeEach(groups, in, func(s P, src []byte) error { return s.load(src, a.cells) }, func(to, from P) { to.merge(from, a.cells, limit) })
}

// ofState plans an aggregate whose state is bytes. A nullable answer is null where no value was seen.
func ofState(function string, of []batch.Field, answer batch.Type, nullable bool, make func() Accumulator) *Aggregate {
	return &Aggregate{
		Type: answer, Nullable: nullable,
		States: []State{{Name: "state", Type: batch.Type{Kind: batch.Binary}, Merge: Opaque}},
		Finish: Function, Function: function, Of: of, make: make,
	}
}

// anyNullable tells whether a row may be without one of the arguments.
func anyNullable(args []batch.Field) bool {
	for _, a := range args {
		if a.Nullable {
			return true
		}
	}
	return false
}
