package aggregate

import (
	"bytes"

	"github.com/weir-stream/weir/ingest/batch"
)

// extreme keeps the least or the greatest value of a column: numbers and times by value, strings by bytes. A float
// NaN is passed over unless there is nothing else. A group that has seen no value is null.
type extreme[T number] struct {
	best  []T
	seen  []bool
	least bool
}

func newMin(s Spec) *Aggregate { return newExtreme(s.Args[0], Min) }

func newMax(s Spec) *Aggregate { return newExtreme(s.Args[0], Max) }

func newExtreme(arg batch.Field, merge Merge) *Aggregate {
	var make func() Accumulator
	least := merge == Min
	switch k := arg.Type.Kind; k {
	case batch.Int8:
		make = makeExtreme[int8](least)
	case batch.Int16:
		make = makeExtreme[int16](least)
	case batch.Int32, batch.Date32:
		make = makeExtreme[int32](least)
	case batch.Int64, batch.Timestamp:
		make = makeExtreme[int64](least)
	case batch.Uint8:
		make = makeExtreme[uint8](least)
	case batch.Uint16:
		make = makeExtreme[uint16](least)
	case batch.Uint32:
		make = makeExtreme[uint32](least)
	case batch.Uint64:
		make = makeExtreme[uint64](least)
	case batch.Float32:
		make = makeExtreme[float32](least)
	case batch.Float64:
		make = makeExtreme[float64](least)
	case batch.String:
		make = func() Accumulator { return &extremeString{least: least} }
	default:
		return nil
	}
	return &Aggregate{
		Type: arg.Type, Nullable: arg.Nullable,
		States: []State{{Type: arg.Type, Nullable: arg.Nullable, Merge: merge}},
		make:   make,
	}
}

func makeExtreme[T number](least bool) func() Accumulator {
	return func() Accumulator { return &extreme[T]{least: least} }
}

func (a *extreme[T]) Grow(n int) {
	a.best, a.seen = grow(a.best, n), grow(a.seen, n)
}

func (a *extreme[T]) Reset(g uint32) { a.best[g], a.seen[g] = 0, false }

func (a *extreme[T]) Add(groups []uint32, args []*batch.Column) {
	c := args[0]
	values, best, seen := batch.As[T](c.Values), a.best, a.seen
	for i, g := range groups {
		if g == Skip || c.Validity != nil && !c.Valid(i) {
			continue
		}
		// best != best is a NaN so far: any number is better.
		if v := values[i]; !seen[g] || (a.least && v < best[g]) || (!a.least && v > best[g]) || best[g] != best[g] {
			best[g], seen[g] = v, true
		}
	}
}

func (a *extreme[T]) Take(from Accumulator, src, dst uint32) {
	f := from.(*extreme[T])
	a.best[dst], a.seen[dst] = f.best[src], f.seen[src]
}

// Merge adds: a state is a value.
func (a *extreme[T]) Merge(groups []uint32, in []batch.Column) error {
	a.Add(groups, []*batch.Column{&in[0]})
	return nil
}

func (a *extreme[T]) Emit(groups []uint32, out []batch.Column) {
	out[0] = emitFixed(a.best, groups)
	emitNulls(a.seen, groups, &out[0])
}

func (a *extreme[T]) Load(groups []uint32, in []batch.Column) error {
	loadFixed(a.best, groups, &in[0])
	loadSeen(a.seen, groups, &in[0])
	return nil
}

// extremeString keeps its own copy of the best value of each group; it is reused, so that a group allocates only when
// a better value is longer than every one before.
type extremeString struct {
	best  [][]byte
	seen  []bool
	least bool
}

func (a *extremeString) Grow(n int) {
	a.best, a.seen = grow(a.best, n), grow(a.seen, n)
}

func (a *extremeString) Reset(g uint32) { a.best[g], a.seen[g] = a.best[g][:0], false }

func (a *extremeString) Add(groups []uint32, args []*batch.Column) {
	c := args[0]
	for i, g := range groups {
		if g == Skip || !c.Valid(i) {
			continue
		}
		v := c.Bytes(i)
		if order := bytes.Compare(v, a.best[g]); !a.seen[g] || (a.least && order < 0) || (!a.least && order > 0) {
			a.best[g], a.seen[g] = append(a.best[g][:0], v...), true
		}
	}
}

func (a *extremeString) Take(from Accumulator, src, dst uint32) {
	f := from.(*extremeString)
	a.best[dst], a.seen[dst] = f.best[src], f.seen[src]
}

// Merge adds: a state is a value.
func (a *extremeString) Merge(groups []uint32, in []batch.Column) error {
	a.Add(groups, []*batch.Column{&in[0]})
	return nil
}

func (a *extremeString) Emit(groups []uint32, out []batch.Column) {
	out[0] = emitBytes(a.best, groups)
	emitNulls(a.seen, groups, &out[0])
}

func (a *extremeString) Load(groups []uint32, in []batch.Column) error {
	for i, g := range groups {
		if g != Skip && in[0].Valid(i) {
			a.best[g], a.seen[g] = append(a.best[g][:0], in[0].Bytes(i)...), true
		}
	}
	return nil
}

// emitBytes gathers variable length values into a column.
func emitBytes(values [][]byte, groups []uint32) batch.Column {
	total := 0
	for _, g := range groups {
		total += len(values[g])
	}
	offsets, data := make([]int32, len(groups)+1), make([]byte, 0, total)
	for i, g := range groups {
		data = append(data, values[g]...)
		offsets[i+1] = int32(len(data))
	}
	return batch.Column{Offsets: batch.Bytes(offsets), Values: data}
}
