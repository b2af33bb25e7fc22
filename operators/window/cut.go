package window

import (
	"cmp"
	"slices"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
)

// Cut implements operators.Window.
func (w *Tumbling) Cut(next int64) operators.Cut {
	n := 0
	for _, p := range w.open {
		n += w.shippable(p)
	}
	cut := operators.Cut{ReplayFrom: next, Replay: w.clock}
	if n > 0 {
		cut.Rows = w.rows(n)
		cut.Hashes, cut.Before = w.hashes, w.before
	}
	watermark := w.Watermark()
	if w.cfg.EmitFinal {
		cut.Final, cut.OpenRows = w.final(watermark)
	}
	kept := w.open[:0]
	for _, p := range w.open {
		for _, g := range p.dirty {
			w.groups.clean(g)
		}
		p.dirty = p.dirty[:0]
		if w.isFinal(p, watermark) {
			cut.FinalHash += p.sum
			cut.Closed = append(cut.Closed, operators.ClosedWindow{Start: p.start / 1000, End: p.end / 1000, Groups: p.cut, Hash: p.sum})
			w.close(p)
			continue
		}
		kept = append(kept, p)
		cut.OpenHash += p.sum
		cut.Open = append(cut.Open, operators.OpenWindow{Start: p.start / 1000, Offset: p.offset, Clock: p.clock})
		if p.offset < cut.ReplayFrom {
			cut.ReplayFrom, cut.Replay = p.offset, p.clock
		}
	}
	clear(w.open[len(kept):])
	w.open = kept
	w.shrink()
	return cut
}

// Closing implements operators.Closing.
func (w *Tumbling) Closing() int {
	watermark, n := w.Watermark(), 0
	for _, p := range w.open {
		if w.isFinal(p, watermark) {
			n += len(p.members)
		}
	}
	return n
}

// isFinal tells whether a window takes no more rows.
func (w *Tumbling) isFinal(p *pane, watermark int64) bool {
	return watermark != operators.Unset && p.end+w.allow <= watermark
}

// final gives the rows of the windows that are final, and how many rows the others have taken.
func (w *Tumbling) final(watermark int64) (rows *batch.Batch, openRows int64) {
	var panes []*pane
	for _, p := range w.open {
		if w.isFinal(p, watermark) {
			panes = append(panes, p)
			continue
		}
		for _, g := range p.members {
			openRows += int64(w.groups.count(g))
		}
	}
	return w.whole(panes), openRows
}

// Announce implements operators.Window: windows in the order of their ends, and the keys of one in that of their first rows.
func (w *Tumbling) Announce() *batch.Batch {
	watermark := w.Watermark()
	var panes []*pane
	for _, p := range w.open {
		if !p.announced && w.isFinal(p, watermark) {
			p.announced = true
			panes = append(panes, p)
		}
	}
	slices.SortFunc(panes, func(a, b *pane) int { return cmp.Compare(a.end, b.end) })
	return w.whole(panes)
}

// whole gives all rows of windows, or nil where there are none.
func (w *Tumbling) whole(panes []*pane) *batch.Batch {
	ids := make([][]uint32, len(panes))
	n := 0
	for i, p := range panes {
		ids[i] = p.members
		if len(w.external.of) > 0 { // those whose rows were all rejected have nothing to ship
			ids[i] = slices.DeleteFunc(slices.Clone(p.members), func(g uint32) bool { return w.groups.count(g) == 0 })
		}
		n += len(ids[i])
	}
	if n == 0 {
		return nil
	}
	return w.rowsOf(panes, ids, n)
}

// A slab of at least shrinkAbove groups is made anew when less than a quarter of it is in use.
const shrinkAbove = 1 << 10

// shrink gives back memory after a burst of keys: closed groups are otherwise kept for reuse.
func (w *Tumbling) shrink() {
	old := &w.groups
	if old.total < shrinkAbove || 4*old.used() > old.total {
		return
	}
	var fresh groups
	fresh.init(w.cfg)
	fresh.seed = old.seed // the indexes of the windows are made of these hashes
	fresh.extend(max(1024, 2*old.used()))
	moved := make([]uint32, old.total)
	for _, p := range w.open {
		for i, g := range p.members {
			moved[g] = fresh.take(old, g)
			p.members[i] = moved[g]
		}
		if p.index.over != 0 {
			p.index.over = moved[p.index.over-1] + 1
		}
		for s, e := range p.index.slots {
			if e != 0 {
				p.index.slots[s] = e>>32<<32 | uint64(moved[uint32(e)-1]+1)
			}
		}
	}
	w.groups = fresh
	w.free = nil
}

// maxSpare is how many closed windows are kept for their memory, and maxSpareSlots how large.
const maxSpare, maxSpareSlots = 4, 1 << 16

func (w *Tumbling) close(p *pane) {
	if w.cur == p {
		w.cur = nil
	}
	for j := range w.older {
		if w.older[j].cur == p {
			w.older[j].cur = nil
		}
	}
	w.groups.release(p.members)
	p.members = p.members[:0]
	if len(w.free) < maxSpare && len(p.index.slots) <= maxSpareSlots {
		clear(p.index.slots)
		p.index.n, p.index.over = 0, 0
		w.free = append(w.free, p)
	}
}

// rows writes the n dirty groups of all windows as one batch.
func (w *Tumbling) rows(n int) *batch.Batch {
	dirty := make([][]uint32, len(w.open))
	for i, p := range w.open {
		dirty[i] = p.dirty
	}
	b := w.rowsOf(w.open, dirty, n)
	w.digest(b)
	return b
}

// rowsOf writes n groups of windows as one batch: some of each.
func (w *Tumbling) rowsOf(panes []*pane, groups [][]uint32, n int) *batch.Batch {
	ids := make([]uint32, 0, n)
	starts, ends := make([]int64, 0, n), make([]int64, 0, n)
	for i, p := range panes {
		ids = append(ids, groups[i]...)
		for range groups[i] {
			starts, ends = append(starts, p.start/1000), append(ends, p.end/1000)
		}
	}
	rows := make([]uint64, n)
	for i, g := range ids {
		rows[i] = w.groups.count(g)
	}
	return w.groups.emit(w.schema, w.cfg, ids, starts, ends, rows)
}

// emit writes groups as rows of a cut: with the windows and counts of rows given.
func (gs *groups) emit(s *batch.Schema, cfg *Config, ids []uint32, starts, ends []int64, rows []uint64) *batch.Batch {
	return gs.emitAs(s, cfg, ids, ids, starts, ends, rows)
}

// emitAs is emit where keys and states are of different groups.
func (gs *groups) emitAs(s *batch.Schema, cfg *Config, keys, ids []uint32, starts, ends []int64, rows []uint64) *batch.Batch {
	b := &batch.Batch{Schema: s, Rows: len(ids)}
	b.SetWidth(len(s.Fields))
	b.Cols[0].Values, b.Cols[1].Values, b.Cols[2].Values = batch.Bytes(starts), batch.Bytes(ends), batch.Bytes(rows)
	col := gs.emitKeys(b, keys)
	if gs.over != nil {
		b.Cols[col] = gs.overColumn(ids)
		col++
	}
	for i, a := range cfg.Aggregate {
		gs.acc[i].Emit(ids, b.Cols[col:col+len(a.States)])
		col += len(a.States)
	}
	return b
}

// emitKeys writes the keys of groups into a batch, and gives the column behind them.
func (gs *groups) emitKeys(b *batch.Batch, keys []uint32) int {
	col := firstKey
	for k, high := range gs.high {
		if high {
			continue
		}
		b.Cols[col] = gs.keyColumn(k, keys)
		col++
	}
	return col
}

// digest takes the rows of a cut, which are the dirty groups in order, into the sums of their windows, in place of what the
// groups were at the cut before.
func (w *Tumbling) digest(b *batch.Batch) {
	w.hashes, w.before = grow(w.hashes, b.Rows), grow(w.before, b.Rows)
	w.hashBuf = batch.HashRows(w.hashes, b, w.hashBuf)
	hashes, before, shown := w.hashes, w.before, w.groups.shown
	for _, p := range w.open {
		for i, g := range p.dirty {
			before[i] = shown[g]
			if shown[g] == 0 {
				p.cut++
			}
			p.sum += hashes[i] - shown[g]
			shown[g] = hashes[i]
		}
		hashes, before = hashes[len(p.dirty):], before[len(p.dirty):]
	}
}
