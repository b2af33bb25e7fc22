package aggregate

import "github.com/weir-stream/weir/ingest/batch"

// count counts rows, or the rows in which a column is not null.
type count struct{ n []uint64 }

func newCount(Spec) *Aggregate {
	t := batch.Type{Kind: batch.Uint64}
	return &Aggregate{
		Type:   t,
		States: []State{{Type: t, Merge: Sum}},
		make:   func() Accumulator { return &count{} },
	}
}

func (a *count) Grow(n int)     { a.n = grow(a.n, n) }
func (a *count) Reset(g uint32) { a.n[g] = 0 }

func (a *count) Add(groups []uint32, args []*batch.Column) {
	n := a.n
	if len(args) == 0 || args[0].Validity == nil {
		for _, g := range groups {
			if g != Skip {
				n[g]++
			}
		}
		return
	}
	for i, g := range groups {
		if g != Skip && args[0].Valid(i) {
			n[g]++
		}
	}
}

func (a *count) Take(from Accumulator, src, dst uint32) { a.n[dst] = from.(*count).n[src] }

func (a *count) Merge(groups []uint32, in []batch.Column) error {
	values := batch.As[uint64](in[0].Values)
	for i, g := range groups {
		if g != Skip {
			a.n[g] += values[i]
		}
	}
	return nil
}

func (a *count) Emit(groups []uint32, out []batch.Column) { out[0] = emitFixed(a.n, groups) }

func (a *count) Load(groups []uint32, in []batch.Column) error {
	loadFixed(a.n, groups, &in[0])
	return nil
}
