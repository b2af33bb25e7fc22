package aggregate

import (
	"errors"
	"unsafe"

	"github.com/weir-stream/weir/ingest/batch"
)

// state is the state of one group, whose bytes are those of a function of ClickHouse. The zero value has seen nothing.
type state[S any] interface {
	*S
	// seen tells whether there is anything in it.
	seen() bool
	// append writes the bytes of a state that has seen something. Where they are of values, k is what these are.
	append(dst []byte, k cells) []byte
	// load reads them into a state that has seen nothing.
	load(src []byte, k cells) error
	// size is the memory it has beside itself.
	size() int64
}

// errState is about bytes that are no state.
var errState = errors.New("these are not the bytes of a state")

// states is what the accumulators of such states have in common.
type states[S any, P state[S]] struct {
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

func (a *states[S, P]) Load(groups []uint32, in []batch.Column) error {
	for i, g := range groups {
		if g == Skip {
			continue
		}
		if src := in[0].Bytes(i); len(src) > 0 {
			if err := P(&a.of[g]).load(src, a.cells); err != nil {
				return err
			}
			a.extra += P(&a.of[g]).size()
		}
	}
	return nil
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
