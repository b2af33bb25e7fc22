package window

import (
	"fmt"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/operators/aggregate"
)

// Load implements operators.Window.
func (w *Tumbling) Load(rows *batch.Batch, hashes []uint64, open []operators.OpenWindow) error {
	if !rows.Schema.Equal(w.schema) {
		return fmt.Errorf("saved state has the columns %s, and the window has %s", rows.Schema, w.schema)
	}
	for _, o := range open {
		if start, end := w.newest(o.Start * 1000); start == o.Start*1000 {
			w.pane(start, end, o.Offset, o.Clock)
		} else {
			return fmt.Errorf("saved state has a window at %s, and no window begins then", formatTime(o.Start*1000))
		}
	}
	gs := &w.groups
	// The keys stand elsewhere in the rows of a cut than in what is aggregated.
	input := gs.cols
	defer func() { gs.cols = input }()
	gs.cols = gs.columnsFrom(firstKey)
	gs.hash(rows)
	starts, counts := batch.As[int64](rows.Cols[0].Values), batch.As[uint64](rows.Cols[2].Values)
	w.rowOf = grow(w.rowOf, rows.Rows)
	var p *pane
	for i := range rows.Rows {
		w.rowOf[i] = aggregate.Skip
		if start := starts[i] * 1000; p == nil || p.start != start {
			if p = w.find(start); p == nil {
				continue
			}
		}
		before := p.index.n
		var g uint32
		if gs.over != nil && rows.Cols[firstKey+len(w.cfg.Keys)].Bit(i) {
			g, _ = gs.overflow(&p.index)
		} else {
			g, _ = gs.find(&p.index, rows, i)
		}
		if p.index.n == before {
			return fmt.Errorf("saved state has a key twice in the window at %s", formatTime(p.start))
		}
		p.members = append(p.members, g)
		*gs.rows(g), gs.shown[g] = counts[i]&^isDirty, hashes[i]
		p.sum += hashes[i]
		p.cut++
		w.rowOf[i] = g
	}
	return w.loadStates(rows)
}

// find is the open window that starts at a time, or nil.
func (w *Tumbling) find(start int64) *pane {
	for _, p := range w.open {
		if p.start == start {
			return p
		}
	}
	return nil
}

// Touch implements operators.Window.
func (w *Tumbling) Touch() {
	for _, p := range w.open {
		p.dirty = append(p.dirty[:0], p.members...)
		for _, g := range p.members {
			w.groups.touch(g)
		}
	}
}
