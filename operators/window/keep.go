package window

import (
	"fmt"
	"slices"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
)

// keeping is what windows of one key each know of the rows that a local store has of them: one of each window that was open at the last
// cut, under its start and key. See operators.Keyed.
type keeping struct {
	kept, waits bool      // of the next cut
	left        []leaving // rows that are not those of a window any more, since the last cut
	hashes      []uint64  // of left; reused
}

// leaving is a row of the last cut: that of a group, under the start that it had then.
type leaving struct {
	group uint32
	start int64  // microseconds
	hash  uint64 // of the row as it was cut
}

// Keep implements operators.Keyed.
func (k *keeping) Keep(kept, waits bool) { k.kept, k.waits = kept, waits }

// stayFirst puts the windows that stay open before those that the cut closes, and tells how many they are.
func (k *keeping) stayFirst(dirty []uint32, of []session) int {
	if !k.kept {
		return len(dirty)
	}
	closing := make([]uint32, 0, len(dirty))
	stay := dirty[:0]
	for _, g := range dirty {
		if of[g].due == gone {
			closing = append(closing, g)
		} else {
			stay = append(stay, g)
		}
	}
	copy(dirty[len(stay):], closing)
	return len(stay)
}

// keep completes a cut whose rows begin with the dirty groups, the first of which stay open: w.before has what these were hashed to at the
// cut before.
func (w *partition) keep(k *keeping, cut *operators.Cut, of []session, dirty []uint32, stay int, closed []uint32) {
	defer func() { k.left = k.left[:0] }()
	if !k.kept {
		return
	}
	for i, g := range dirty[stay:] {
		if before := w.before[stay+i]; before != 0 {
			k.left = append(k.left, leaving{g, of[g].start, before})
		}
	}
	over := make([]uint32, 0, len(closed))
	for _, g := range closed {
		if *w.groups.rows(g) < isDirty {
			over = append(over, g)
			k.left = append(k.left, leaving{g, of[g].start, w.groups.shown[g]})
		}
	}
	if len(over) > 0 && k.waits && !w.cfg.EmitFinal {
		starts, ends, rows := make([]int64, len(over)), make([]int64, len(over)), make([]uint64, len(over))
		for i, g := range over {
			starts[i], ends[i], rows[i] = of[g].start/1000, of[g].end/1000, w.groups.count(g)
		}
		cut.Over = w.groups.emit(w.schema, w.cfg, over, starts, ends, rows)
	}
	cut.Stay = stay
	if cut.Rows != nil {
		cut.Hashes, cut.Before = w.hashes, w.before
	}
	cut.Left, cut.LeftHashes = w.leaving(k), k.hashes
}

// leaving makes a batch of rows that leave, with nothing but their starts and keys.
func (w *partition) leaving(k *keeping) *batch.Batch {
	if k.hashes = k.hashes[:0]; len(k.left) == 0 {
		return nil
	}
	ids, starts := make([]uint32, len(k.left)), make([]int64, len(k.left))
	for i, l := range k.left {
		ids[i], starts[i] = l.group, l.start/1000
		k.hashes = append(k.hashes, l.hash)
	}
	b := &batch.Batch{Schema: w.schema, Rows: len(ids)}
	b.SetWidth(len(w.schema.Fields))
	b.Cols[0].Values = batch.Bytes(starts)
	w.groups.emitKeys(b, ids)
	return b
}

// digestBefore takes the rows of a cut, which begin with the dirty groups in order, into a sum, in place of what they were hashed to at the
// cut before: that stays in w.before.
func (w *partition) digestBefore(b *batch.Batch, dirty []uint32, sum *uint64) {
	w.hashes, w.before = grow(w.hashes, b.Rows), grow(w.before, len(dirty))
	w.hashBuf = batch.HashRows(w.hashes, b, w.hashBuf)
	for i, g := range dirty {
		w.before[i] = w.groups.shown[g]
		*sum += w.hashes[i] - w.before[i]
		w.groups.shown[g] = w.hashes[i]
	}
}

// load gives a window rows of open windows that were saved; add makes a group of a row, whose keys were read.
func (w *partition) load(rows *batch.Batch, hashes []uint64, add func(i int) (uint32, error)) error {
	if !rows.Schema.Equal(w.schema) {
		return fmt.Errorf("saved state has the columns %s, and the window has %s", rows.Schema, w.schema)
	}
	gs := &w.groups
	// The keys stand elsewhere in the rows of a cut than in what is aggregated.
	input := gs.cols
	defer func() { gs.cols = input }()
	gs.cols = gs.columnsFrom(firstKey)
	gs.hash(rows)
	counts := batch.As[uint64](rows.Cols[2].Values)
	w.rowOf = grow(w.rowOf, rows.Rows)
	for i := range rows.Rows {
		g, err := add(i)
		if err != nil {
			return err
		}
		*gs.rows(g), gs.shown[g] = counts[i]&^isDirty, hashes[i]
		w.rowOf[i] = g
	}
	return w.loadStates(rows)
}

// loadStates takes the states of saved rows into their groups, w.rowOf.
func (w *partition) loadStates(rows *batch.Batch) error {
	col := firstKey + len(w.cfg.KeyFields())
	for i, a := range w.cfg.Aggregate {
		if err := w.groups.acc[i].Load(w.rowOf, rows.Cols[col:col+len(a.States)]); err != nil {
			return fmt.Errorf("saved state of %s: %w", a.Name, err)
		}
		col += len(a.States)
	}
	return nil
}

// someOrigins is about how many places are saved where a replay can begin.
const someOrigins = 64

// some lists places where a replay can begin, as operators.Keyed has it: the first that is needed, and others that lie a 64th of what is behind
// it apart. All windows whose rows have times behind the clock at a place began behind that place, since the clock is never behind a row that was
// taken.
func (o *origins) some(next int64) []operators.OpenWindow {
	var out []operators.OpenWindow
	step, last := int64(0), int64(0)
	for _, at := range o.all {
		if at.sessions == 0 {
			continue
		}
		if len(out) == 0 {
			step = max(1, (next-at.offset)/someOrigins)
		} else if at.offset < last+step {
			continue
		}
		last = at.offset
		w := operators.OpenWindow{Start: operators.Unset, Offset: at.offset, Clock: at.clock}
		if at.clock.Max != operators.Unset {
			w.Start = floorDiv(at.clock.Max, 1000) + 1
		}
		out = append(out, w)
	}
	return out
}

// load makes the places known that were saved.
func (o *origins) load(open []operators.OpenWindow) error {
	if len(o.all) > 0 {
		return nil
	}
	for i, at := range open {
		if i > 0 && (at.Offset <= open[i-1].Offset || at.Start < open[i-1].Start) {
			return fmt.Errorf("saved state has places in no order: offset %d behind %d", at.Offset, open[i-1].Offset)
		}
		o.all = append(o.all, origin{offset: at.Offset, clock: at.Clock})
	}
	return nil
}

// holdFrom gives one more window to the last place that a window with that start can be built from.
func (o *origins) holdFrom(open []operators.OpenWindow, start int64) (uint32, error) {
	if len(open) == 0 {
		return 0, fmt.Errorf("saved state has a window at %s, and no place in the log that it can be built from", formatTime(start*1000))
	}
	behind, _ := slices.BinarySearchFunc(open, start, func(at operators.OpenWindow, start int64) int {
		if at.Start <= start {
			return -1
		}
		return 1
	})
	at := uint32(max(0, behind-1))
	if o.all[at].sessions++; o.all[at].sessions == 1 {
		o.live++
	}
	return at, nil
}
