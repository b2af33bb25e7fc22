package aggregate

import "github.com/weir-stream/weir/ingest/batch"

// avg is a sum and a count of the values that are not null; the answer is their ratio in float64.
type avg struct {
	sum   Mergeable
	count count
}

func newAvg(spec Spec) *Aggregate {
	arg := spec.Args[0]
	t, makeSum := sumOf(arg)
	if makeSum == nil {
		return nil
	}
	return &Aggregate{
		Type: batch.Type{Kind: batch.Float64}, Nullable: arg.Nullable,
		States: []State{
			{Name: "sum", Type: t, Nullable: arg.Nullable, Merge: Sum},
			{Name: "count", Type: batch.Type{Kind: batch.Uint64}, Merge: Sum},
		},
		Finish: Ratio,
		make:   func() Accumulator { return &avg{sum: makeSum()} },
	}
}

func (a *avg) Grow(n int) {
	a.sum.Grow(n)
	a.count.Grow(n)
}

func (a *avg) Reset(g uint32) {
	a.sum.Reset(g)
	a.count.Reset(g)
}

func (a *avg) Add(groups []uint32, args []*batch.Column) {
	a.sum.Add(groups, args)
	a.count.Add(groups, args)
}

func (a *avg) Take(from Accumulator, src, dst uint32) {
	f := from.(*avg)
	a.sum.Take(f.sum, src, dst)
	a.count.Take(&f.count, src, dst)
}

func (a *avg) Merge(groups []uint32, in []batch.Column) error {
	if err := a.sum.Merge(groups, in[:1]); err != nil {
		return err
	}
	return a.count.Merge(groups, in[1:])
}

func (a *avg) Emit(groups []uint32, out []batch.Column) {
	a.sum.Emit(groups, out[:1])
	a.count.Emit(groups, out[1:])
}

func (a *avg) Load(groups []uint32, in []batch.Column) error {
	if err := a.sum.Load(groups, in[:1]); err != nil {
		return err
	}
	return a.count.Load(groups, in[1:])
}
