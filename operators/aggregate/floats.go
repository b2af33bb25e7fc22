package aggregate

import "github.com/weir-stream/weir/ingest/batch"

// floats reads number columns as float64, whatever their type.
type floats struct {
	kind batch.Kind
	buf  []float64
}

// numbers is a floats for each argument, or nil where one is no number.
func numbers(args []batch.Field) []floats {
	out := make([]floats, len(args))
	for i, a := range args {
		if !a.Type.Numeric() {
			return nil
		}
		out[i].kind = a.Type.Kind
	}
	return out
}

// read gives n values. They are valid until the next call, or as long as the column.
func (f *floats) read(c *batch.Column, n int) []float64 {
	if f.kind == batch.Float64 {
		return batch.As[float64](c.Values)[:n]
	}
	if cap(f.buf) < n {
		f.buf = make([]float64, n, n+n/4)
	}
	out := f.buf[:n]
	switch f.kind {
	case batch.Int8:
		convert[int8](out, c)
	case batch.Int16:
		convert[int16](out, c)
	case batch.Int32:
		convert[int32](out, c)
	case batch.Int64:
		convert[int64](out, c)
	case batch.Uint8:
		convert[uint8](out, c)
	case batch.Uint16:
		convert[uint16](out, c)
	case batch.Uint32:
		convert[uint32](out, c)
	case batch.Uint64:
		convert[uint64](out, c)
	case batch.Float32:
		convert[float32](out, c)
	}
	return out
}

func convert[T number](out []float64, c *batch.Column) {
	for i, v := range batch.As[T](c.Values)[:len(out)] {
		out[i] = float64(v)
	}
}

// floatState is a state of one number a row.
type floatState[S any] interface {
	state[S]
	// add takes a value in. It returns by how much the memory it has beside itself grew.
	add(v float64) int64
}

// ofFloat is the accumulator of such states.
type ofFloat[S any, P floatState[S]] struct {
	states[S, P]
	values floats
}

// floatAggregate plans an aggregate of one number.
func floatAggregate[S any, P floatState[S]](s Spec, function string, answer batch.Type) *Aggregate {
	if numbers(s.Args) == nil {
		return nil
	}
	return ofState(function, []batch.Field{{Type: float64Type}}, answer, s.Args[0].Nullable, func() Accumulator {
		return &ofFloat[S, P]{values: numbers(s.Args)[0]}
	})
}

var float64Type = batch.Type{Kind: batch.Float64}

func (a *ofFloat[S, P]) Add(groups []uint32, args []*batch.Column) {
	c, of := args[0], a.of
	for i, v := range a.values.read(c, len(groups)) {
		if g := groups[i]; g != Skip && (c.Validity == nil || c.Valid(i)) {
			a.extra += P(&of[g]).add(v)
		}
	}
}

func (a *ofFloat[S, P]) Load(groups []uint32, in []batch.Column) error {
	return loadStates(&a.states, groups, in)
}

func (a *ofFloat[S, P]) Merge(groups []uint32, in []batch.Column) error {
	return mergeStates(&a.states, groups, in, 0)
}

func (a *ofFloat[S, P]) Take(from Accumulator, src, dst uint32) {
	a.move(&from.(*ofFloat[S, P]).states, src, dst)
}

// pairState is a state of two numbers a row.
type pairState[S any] interface {
	state[S]
	add(x, y float64)
}

// ofPair is the accumulator of such states. Rows without one of the numbers are left out.
type ofPair[S any, P pairState[S]] struct {
	states[S, P]
	x, y floats
}

// pairAggregate plans an aggregate of two numbers.
func pairAggregate[S any, P pairState[S]](s Spec, function string) *Aggregate {
	if numbers(s.Args) == nil {
		return nil
	}
	return ofState(function, []batch.Field{{Type: float64Type}, {Type: float64Type}}, float64Type, anyNullable(s.Args), func() Accumulator {
		n := numbers(s.Args)
		return &ofPair[S, P]{x: n[0], y: n[1]}
	})
}

func (a *ofPair[S, P]) Add(groups []uint32, args []*batch.Column) {
	x, y := a.x.read(args[0], len(groups)), a.y.read(args[1], len(groups))
	for i, g := range groups {
		if g != Skip && args[0].Valid(i) && args[1].Valid(i) {
			P(&a.of[g]).add(x[i], y[i])
		}
	}
}

func (a *ofPair[S, P]) Load(groups []uint32, in []batch.Column) error {
	return loadStates(&a.states, groups, in)
}

func (a *ofPair[S, P]) Merge(groups []uint32, in []batch.Column) error {
	return mergeStates(&a.states, groups, in, 0)
}

func (a *ofPair[S, P]) Take(from Accumulator, src, dst uint32) {
	a.move(&from.(*ofPair[S, P]).states, src, dst)
}
