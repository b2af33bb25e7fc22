package aggregate

import "github.com/weir-stream/weir/ingest/batch"

// sum adds up numbers: integers in 64 bits with wrap-around, as ClickHouse does, floats in float64 in the order of
// the rows. A group that has seen no value is null.
type sum[T, S number] struct {
	placed        // the total, an S
	seen   []bool // nil where the column cannot be null
}

type number interface {
	~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~float32 | ~float64
}

func newSum(spec Spec) *Aggregate {
	arg := spec.Args[0]
	if arg.Type.Kind == batch.Decimal {
		return newDecimalSum(arg)
	}
	t, make := sumOf(arg)
	if make == nil {
		return nil
	}
	return &Aggregate{
		Type: t, Nullable: arg.Nullable,
		States: []State{{Type: t, Nullable: arg.Nullable, Merge: Sum}},
		make:   func() Accumulator { return make() },
	}
}

// sumOf picks the accumulator for a column, and the type of its total.
func sumOf(arg batch.Field) (batch.Type, func() Mergeable) {
	signed, unsigned, float := batch.Type{Kind: batch.Int64}, batch.Type{Kind: batch.Uint64}, batch.Type{Kind: batch.Float64}
	switch arg.Type.Kind {
	case batch.Int8:
		return signed, makeSum[int8, int64](arg)
	case batch.Int16:
		return signed, makeSum[int16, int64](arg)
	case batch.Int32:
		return signed, makeSum[int32, int64](arg)
	case batch.Int64:
		return signed, makeSum[int64, int64](arg)
	case batch.Uint8:
		return unsigned, makeSum[uint8, uint64](arg)
	case batch.Uint16:
		return unsigned, makeSum[uint16, uint64](arg)
	case batch.Uint32:
		return unsigned, makeSum[uint32, uint64](arg)
	case batch.Uint64:
		return unsigned, makeSum[uint64, uint64](arg)
	case batch.Float32:
		return float, makeSum[float32, float64](arg)
	case batch.Float64:
		return float, makeSum[float64, float64](arg)
	}
	return batch.Type{}, nil
}

func makeSum[T, S number](arg batch.Field) func() Mergeable {
	return func() Mergeable {
		a := &sum[T, S]{placed: placedIn(1)}
		if arg.Nullable {
			a.seen = []bool{}
		}
		return a
	}
}

func (a *sum[T, S]) Grow(n int) {
	a.placed.Grow(n)
	if a.seen != nil {
		a.seen = grow(a.seen, n)
	}
}

func (a *sum[T, S]) total(g uint32) *S { return numberAt[S](a.slab.Words, a.of(g)) }

func (a *sum[T, S]) Reset(g uint32) {
	*a.total(g) = 0
	if a.seen != nil {
		a.seen[g] = false
	}
}

func (a *sum[T, S]) Add(groups []uint32, args []*batch.Column) {
	c := args[0]
	words, stride, at := a.slab.Words, a.slab.Stride, a.at
	values := batch.As[T](c.Values)[:len(groups)]
	if a.seen == nil {
		for i, g := range groups {
			if g != Skip {
				*numberAt[S](words, int(g)*stride+at) += S(values[i])
			}
		}
		return
	}
	for i, g := range groups {
		if g != Skip && c.Valid(i) {
			*numberAt[S](words, int(g)*stride+at) += S(values[i])
			a.seen[g] = true
		}
	}
}

func (a *sum[T, S]) Take(from Accumulator, src, dst uint32) {
	f := from.(*sum[T, S])
	*a.total(dst) = *f.total(src)
	if a.seen != nil {
		a.seen[dst] = f.seen[src]
	}
}

func (a *sum[T, S]) Merge(groups []uint32, in []batch.Column) error {
	values := batch.As[S](in[0].Values)
	for i, g := range groups {
		if g == Skip || a.seen != nil && !in[0].Valid(i) {
			continue
		}
		*a.total(g) += values[i]
		if a.seen != nil {
			a.seen[g] = true
		}
	}
	return nil
}

func (a *sum[T, S]) Emit(groups []uint32, out []batch.Column) {
	out[0] = emitCells[S](&a.placed, groups)
	if a.seen != nil {
		emitNulls(a.seen, groups, &out[0])
	}
}

func (a *sum[T, S]) Load(groups []uint32, in []batch.Column) error {
	loadCells[S](&a.placed, groups, &in[0])
	if a.seen != nil {
		loadSeen(a.seen, groups, &in[0])
	}
	return nil
}
