package aggregate

import "github.com/weir-stream/weir/ingest/batch"

// count counts rows, or the rows in which a column is not null.
type count struct{ placed }

func newCount(Spec) *Aggregate {
	t := batch.Type{Kind: batch.Uint64}
	return &Aggregate{
		Type:   t,
		States: []State{{Type: t, Merge: Sum}},
		make:   func() Accumulator { return &count{placedIn(1)} },
	}
}

func (a *count) Reset(g uint32) { a.slab.Words[a.of(g)] = 0 }

func (a *count) Add(groups []uint32, args []*batch.Column) {
	words, stride, at := a.slab.Words, a.slab.Stride, a.at
	if len(args) == 0 || args[0].Validity == nil {
		for _, g := range groups {
			if g != Skip {
				words[int(g)*stride+at]++
			}
		}
		return
	}
	for i, g := range groups {
		if g != Skip && args[0].Valid(i) {
			words[int(g)*stride+at]++
		}
	}
}

func (a *count) Take(from Accumulator, src, dst uint32) {
	f := from.(*count)
	a.slab.Words[a.of(dst)] = f.slab.Words[f.of(src)]
}

func (a *count) Merge(groups []uint32, in []batch.Column) error {
	values := batch.As[uint64](in[0].Values)
	for i, g := range groups {
		if g != Skip {
			a.slab.Words[a.of(g)] += values[i]
		}
	}
	return nil
}

func (a *count) Emit(groups []uint32, out []batch.Column) {
	out[0] = emitCells[uint64](&a.placed, groups)
}

func (a *count) Load(groups []uint32, in []batch.Column) error {
	loadCells[uint64](&a.placed, groups, &in[0])
	return nil
}
