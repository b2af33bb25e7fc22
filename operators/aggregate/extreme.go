package aggregate

import (
	"bytes"
	"math"

	"github.com/weir-stream/weir/ingest/batch"
)

// extreme keeps the least or the greatest value of a column: numbers and times by value, texts by bytes. A float
// NaN is passed over unless there is nothing else. A group that has seen no value is null.
//
// The best of such a group is none: the one value that no other is worse than, or a NaN. So most rows are one look and one comparison.
type extreme[T number] struct {
	placed // the best
	seen   []bool
	least  bool
	none   T
}

func newMin(s Spec) *Aggregate { return newExtreme(s.Args[0], Min) }

func newMax(s Spec) *Aggregate { return newExtreme(s.Args[0], Max) }

func newExtreme(arg batch.Field, merge Merge) *Aggregate {
	var make func() Accumulator
	least := merge == Min
	switch k := arg.Type.Kind; k {
	case batch.Int8:
		make = makeExtreme[int8](least, math.MinInt8, math.MaxInt8)
	case batch.Int16:
		make = makeExtreme[int16](least, math.MinInt16, math.MaxInt16)
	case batch.Int32, batch.Date32:
		make = makeExtreme[int32](least, math.MinInt32, math.MaxInt32)
	case batch.Int64, batch.Timestamp:
		make = makeExtreme[int64](least, math.MinInt64, math.MaxInt64)
	case batch.Uint8:
		make = makeExtreme[uint8](least, 0, math.MaxUint8)
	case batch.Uint16:
		make = makeExtreme[uint16](least, 0, math.MaxUint16)
	case batch.Uint32:
		make = makeExtreme[uint32](least, 0, math.MaxUint32)
	case batch.Uint64:
		make = makeExtreme[uint64](least, 0, math.MaxUint64)
	case batch.Float32:
		make = makeExtreme[float32](least, float32(math.NaN()), float32(math.NaN()))
	case batch.Float64:
		make = makeExtreme[float64](least, math.NaN(), math.NaN())
	case batch.String, batch.Binary:
		make = func() Accumulator { return &extremeString{least: least} }
	case batch.Decimal:
		make = func() Accumulator { return &extremeDecimal{least: least} }
	default:
		return nil
	}
	return &Aggregate{
		Type: arg.Type, Nullable: arg.Nullable,
		States: []State{{Type: arg.Type, Nullable: arg.Nullable, Merge: merge}},
		make:   make,
	}
}

// makeExtreme takes the least and the greatest value of the type.
func makeExtreme[T number](least bool, lowest, highest T) func() Accumulator {
	none := lowest
	if least {
		none = highest
	}
	return func() Accumulator { return &extreme[T]{placed: placedIn(1), least: least, none: none} }
}

func (a *extreme[T]) Grow(n int) {
	before := len(a.seen)
	a.placed.Grow(n)
	a.seen = grow(a.seen, n)
	if a.own {
		for g := before; g < len(a.seen); g++ {
			*a.best(uint32(g)) = a.none
		}
	}
}

// Zero implements Placed.
func (a *extreme[T]) Zero() bool { return a.none == 0 }

func (a *extreme[T]) best(g uint32) *T { return numberAt[T](a.slab.Words, a.of(g)) }

func (a *extreme[T]) Reset(g uint32) { *a.best(g), a.seen[g] = a.none, false }

func (a *extreme[T]) Add(groups []uint32, args []*batch.Column) {
	c, none := args[0], a.none
	words, stride, at := a.slab.Words, a.slab.Stride, a.at
	values := batch.As[T](c.Values)[:len(groups)]
	if a.least {
		for i, g := range groups {
			if g == Skip {
				continue
			}
			if v := values[i]; v >= *numberAt[T](words, int(g)*stride+at) && v != none || c.Validity != nil && !c.Valid(i) {
				continue
			}
			a.offer(g, values[i])
		}
		return
	}
	for i, g := range groups {
		if g == Skip {
			continue
		}
		if v := values[i]; v <= *numberAt[T](words, int(g)*stride+at) && v != none || c.Validity != nil && !c.Valid(i) {
			continue
		}
		a.offer(g, values[i])
	}
}

// offer takes a value that may be better than the best of the group. Any number is better than a NaN.
func (a *extreme[T]) offer(g uint32, v T) {
	p := a.best(g)
	best := *p
	if !a.seen[g] || v == v && (a.least && v < best || !a.least && v > best || best != best) {
		*p, a.seen[g] = v, true
	}
}

func (a *extreme[T]) Take(from Accumulator, src, dst uint32) {
	f := from.(*extreme[T])
	*a.best(dst), a.seen[dst] = *f.best(src), f.seen[src]
}

// Merge adds: a state is a value.
func (a *extreme[T]) Merge(groups []uint32, in []batch.Column) error {
	a.Add(groups, []*batch.Column{&in[0]})
	return nil
}

func (a *extreme[T]) Emit(groups []uint32, out []batch.Column) {
	best := make([]T, len(groups))
	for i, g := range groups {
		if a.seen[g] {
			best[i] = *a.best(g)
		}
	}
	out[0] = batch.Column{Values: batch.Bytes(best)}
	emitNulls(a.seen, groups, &out[0])
}

func (a *extreme[T]) Load(groups []uint32, in []batch.Column) error {
	loadCells[T](&a.placed, groups, &in[0])
	loadSeen(a.seen, groups, &in[0])
	for _, g := range groups {
		if g != Skip && !a.seen[g] {
			*a.best(g) = a.none
		}
	}
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
