package window

import (
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators/aggregate"
)

// addRows takes the rows from one to another, of which the first is a multiple of 8, into the states of aggregate i. rowOf is of these.
func (w *partition) addRows(i int, rowOf []uint32, b *batch.Batch, from, to int) {
	a := &w.cfg.Aggregate[i]
	w.args = w.args[:0]
	if from == 0 && to == b.Rows {
		for _, c := range a.Args {
			w.args = append(w.args, &b.Cols[c])
		}
		if a.Filtered {
			rowOf = w.filter(rowOf, &b.Cols[a.Filter])
		}
	} else {
		w.part = grow(w.part, len(a.Args))
		for k, c := range a.Args {
			w.part[k] = partOf(&b.Cols[c], w.cfg.In.Fields[c].Type, from, to)
			w.args = append(w.args, &w.part[k])
		}
		if a.Filtered {
			filter := partOf(&b.Cols[a.Filter], w.cfg.In.Fields[a.Filter].Type, from, to)
			rowOf = w.filter(rowOf, &filter)
		}
	}
	w.groups.acc[i].Add(rowOf, w.args)
}

// addPlaced takes rows into all states that lie in the slab, a few at a time: the first aggregate gets the groups' rows of the slab into the
// processor's first cache, and the others find them there.
func (w *partition) addPlaced(rowOf []uint32, b *batch.Batch, from, to int) {
	for ; from < to; from += lookAhead {
		end := min(from+lookAhead, to)
		for _, i := range w.groups.placed {
			w.addRows(i, rowOf[from:end], b, from, end)
		}
	}
}

// partOf is a column of the rows from one to another; the first is a multiple of 8.
func partOf(c *batch.Column, t batch.Type, from, to int) batch.Column {
	p := *c
	if c.Validity != nil {
		p.Validity = c.Validity[from/8:]
	}
	switch {
	case c.Offsets != nil:
		p.Offsets = c.Offsets[4*from : 4*(to+1)]
	case t.Kind == batch.Bool:
		p.Values = c.Values[from/8:]
	default:
		p.Values = c.Values[from*t.Width() : to*t.Width()]
	}
	return p
}

// filter is rowOf with the rows left out whose filter is false or null.
func (w *partition) filter(rowOf []uint32, c *batch.Column) []uint32 {
	w.passing = grow(w.passing, len(rowOf))
	for i, g := range rowOf {
		if !c.Bit(i) || !c.Valid(i) {
			g = aggregate.Skip
		}
		w.passing[i] = g
	}
	return w.passing
}
