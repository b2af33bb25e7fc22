package aggregate

import "github.com/weir-stream/weir/ingest/batch"

// avg is a sum and a count of the values that are not null, side by side; the answer is their ratio in float64.
type avg[T, S number] struct {
	placed   // the sum, an S, and the count
	nullable bool
}

func newAvg(spec Spec) *Aggregate {
	arg := spec.Args[0]
	if arg.Type.Kind == batch.Decimal {
		return newDecimalAvg(arg)
	}
	t, _ := sumOf(arg)
	make := avgOf(arg)
	if make == nil {
		return nil
	}
	return &Aggregate{
		Type: batch.Type{Kind: batch.Float64}, Nullable: arg.Nullable,
		States: []State{
			{Name: "sum", Type: t, Nullable: arg.Nullable, Merge: Sum},
			{Name: "count", Type: batch.Type{Kind: batch.Uint64}, Merge: Sum},
		},
		Finish: Ratio,
		make:   make,
	}
}

// avgOf picks the accumulator for a column. Totals are those of sum.
func avgOf(arg batch.Field) func() Accumulator {
	switch arg.Type.Kind {
	case batch.Int8:
		return makeAvg[int8, int64](arg)
	case batch.Int16:
		return makeAvg[int16, int64](arg)
	case batch.Int32:
		return makeAvg[int32, int64](arg)
	case batch.Int64:
		return makeAvg[int64, int64](arg)
	case batch.Uint8:
		return makeAvg[uint8, uint64](arg)
	case batch.Uint16:
		return makeAvg[uint16, uint64](arg)
	case batch.Uint32:
		return makeAvg[uint32, uint64](arg)
	case batch.Uint64:
		return makeAvg[uint64, uint64](arg)
	case batch.Float32:
		return makeAvg[float32, float64](arg)
	case batch.Float64:
		return makeAvg[float64, float64](arg)
	}
	return nil
}

func makeAvg[T, S number](arg batch.Field) func() Accumulator {
	return func() Accumulator { return &avg[T, S]{placed: placedIn(2), nullable: arg.Nullable} }
}

func (a *avg[T, S]) Reset(g uint32) { clear(a.slab.Words[a.of(g):][:2]) }

func (a *avg[T, S]) Add(groups []uint32, args []*batch.Column) {
	words, stride, at := a.slab.Words, a.slab.Stride, a.at
	c := args[0]
	for i, v := range batch.As[T](c.Values)[:len(groups)] {
		if g := groups[i]; g != Skip && (c.Validity == nil || c.Valid(i)) {
			m := int(g)*stride + at
			words[m+1]++
			*numberAt[S](words, m) += S(v)
		}
	}
}

func (a *avg[T, S]) Take(from Accumulator, src, dst uint32) {
	f := from.(*avg[T, S])
	copy(a.slab.Words[a.of(dst):][:2], f.slab.Words[f.of(src):])
}

func (a *avg[T, S]) Emit(groups []uint32, out []batch.Column) {
	sums, counts := make([]S, len(groups)), make([]uint64, len(groups))
	for i, g := range groups {
		m := a.of(g)
		sums[i], counts[i] = *numberAt[S](a.slab.Words, m), a.slab.Words[m+1]
	}
	out[0], out[1] = batch.Column{Values: batch.Bytes(sums)}, batch.Column{Values: batch.Bytes(counts)}
	if !a.nullable {
		return
	}
	valid := make([]byte, batch.BitmapLen(len(groups)))
	for i, n := range counts {
		if n > 0 {
			batch.SetBit(valid, i)
		} else {
			out[0].Nulls++
		}
	}
	if out[0].Nulls > 0 {
		out[0].Validity = valid
	}
}

func (a *avg[T, S]) Load(groups []uint32, in []batch.Column) error {
	sums, counts := batch.As[S](in[0].Values), batch.As[uint64](in[1].Values)
	for i, g := range groups {
		if g != Skip {
			m := a.of(g)
			*numberAt[S](a.slab.Words, m), a.slab.Words[m+1] = sums[i], counts[i]
		}
	}
	return nil
}

func (a *avg[T, S]) Merge(groups []uint32, in []batch.Column) error {
	sums, counts := batch.As[S](in[0].Values), batch.As[uint64](in[1].Values)
	for i, g := range groups {
		if g != Skip && in[0].Valid(i) {
			m := a.of(g)
			*numberAt[S](a.slab.Words, m) += sums[i]
			a.slab.Words[m+1] += counts[i]
		}
	}
	return nil
}
