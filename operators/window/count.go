package window

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/operators/aggregate"
)

// Counted is the state of one partition's count windows: windows of one key and [Count.Rows] rows, in the order of the log. One goroutine
// uses it. Which window a row is in depends on all rows of its key before, so it is not decided here: a [Numbering] in front of the
// window does that, whose state the engine keeps. It gives each row three columns, and Counted groups by what they say. Of a row with the
// event time t, in whole milliseconds, and the watermark W before it:
//
//	late     t + timeout + allowed lateness <= W
//	joins    the window of its key that is open. Where there is none it begins one, whose start is t, and its end t + timeout
//	open     is a window that has fewer than Rows rows, and where end + allowed lateness > W
//
// So a window that ends at or before the watermark, less the lateness, takes no more rows, and none will begin that ends there.
//
// A replay begins with the numbers that were given before it, so rows get those they had. Rows of windows that began before the
// replay are left out: such a window was final where the replay ends, or the replay would begin before it. Windows that the replay
// builds and that are final where it ends were shipped, and are forgotten there ([Counted.EndReplay]).
type Counted struct {
	partition
	keeping
	inOrder bool // see [Config.OpenInOrder]
	whole   bool // nothing is replayed any more: windows have all their rows

	at    places    // the groups of the open windows, by number
	of    []session // by group; not in a tree
	due   due       // windows by when they end; not those of over, unless in order
	over  []uint32  // those that have become final since the last cut, in this order; in order, those that have become full
	told  int       // of over, how many were announced
	began origins   // where replays have to begin
	dirty []uint32  // windows that changed since the last cut
	sum   uint64    // of the hashes of all windows that are not final as they were at the last cut
}

// Count makes windows of so many rows of a key. [NewNumbering] fills in the columns.
type Count struct {
	Rows uint64 // of a window that is full
	// Columns of what the numbering says of a row: the number of its window in the segment, from 1 on; which row of it it is, from 1 on,
	// or 0 and math.MaxUint64 for one that is in none because it was rejected or late; and where the window starts.
	Number, Nth, Start int
}

// lateRow is the place of a row that is in no window because it is late.
const lateRow = math.MaxUint64

// checkCount finds what no count window can be made of.
func (c *Config) checkCount() error {
	switch {
	case c.Count.Rows < 1 || c.Count.Rows > math.MaxInt32:
		return fmt.Errorf("windows of %d rows: it must be from 1 to %d", c.Count.Rows, math.MaxInt32)
	case c.Gap > 0 || c.Calendar != nil || c.Offset > 0 || c.every() != c.Size:
		return errors.New("windows of so many rows have no gap, calendar, offset or every")
	case c.MaxKeys > 0:
		return errors.New("windows of so many rows have no max_keys: each is of one key")
	case c.EmitFinal:
		return errors.New("windows of so many rows are shipped whenever they have changed")
	}
	for _, a := range c.Aggregate {
		if !a.CanMerge() {
			return fmt.Errorf("aggregate %s: those of modules are not in windows of so many rows: a row on which one fails would have been counted", a.Name)
		}
	}
	return nil
}

func newCounted(cfg *Config) *Counted {
	return &Counted{partition: newPartition(cfg)}
}

// Reset implements operators.Window.
func (w *Counted) Reset() {
	clock, inOrder := w.clock, w.inOrder
	*w = *newCounted(w.cfg)
	w.clock, w.inOrder = clock, inOrder
}

// Final implements operators.Window.
func (w *Counted) Final() int64 {
	if w.clock.Max == operators.Unset {
		return operators.Unset
	}
	return w.Watermark() - w.allow
}

// Windows implements operators.Window.
func (w *Counted) Windows() int { return w.at.n }

// Groups implements operators.Window.
func (w *Counted) Groups() int { return w.at.n }

// Dirty implements operators.Window.
func (w *Counted) Dirty() int { return len(w.dirty) }

// MemorySize implements operators.Window.
func (w *Counted) MemorySize() int64 {
	const perWindow, perDue, perOrigin = 48, 16, 40
	return w.groups.memorySize() + perWindow*int64(cap(w.of)) + perDue*int64(cap(w.due.at)) + w.at.memorySize() +
		4*int64(cap(w.dirty)+cap(w.over)) + perOrigin*int64(cap(w.began.all))
}

// Add implements operators.Window. Rows that the numbering rejected are in no window, and are rejects of the batch already.
func (w *Counted) Add(_ context.Context, b *batch.Batch, offset int64) (operators.Counts, error) {
	var n operators.Counts
	if !b.Resumed {
		w.entered = w.clock
	}
	if b.Rows == 0 {
		return n, nil // steps do not run on nothing: the columns may be those of an earlier stage
	}
	w.times, w.rowOf = grow(w.times, b.Rows), grow(w.rowOf, b.Rows)
	w.readTimes(b)
	w.groups.readFixed(b)
	w.began.batch(offset, w.entered)
	c := w.cfg.Count
	numbers, nths := batch.As[uint64](b.Cols[c.Number].Values)[:b.Rows], batch.As[uint64](b.Cols[c.Nth].Values)[:b.Rows]
	starts := batch.As[int64](b.Cols[c.Start].Values)[:b.Rows]
	for i, nth := range nths {
		if i%lookAhead == 0 {
			w.lookUp(numbers[i:min(i+lookAhead, b.Rows)])
		}
		w.timeOut()
		w.rowOf[i] = aggregate.Skip
		if nth == 0 {
			continue
		}
		if nth == lateRow {
			n.Late++
			continue
		}
		w.clock.Max = max(w.clock.Max, w.times[i])
		g, open := w.groupOf(numbers[i])
		switch {
		case !open && nth > 1 && w.whole, open && (nth == 1 || nth != w.groups.count(g)+1):
			return n, fmt.Errorf("row %d of window %d came out of order: numbers and windows are not of one segment", nth, numbers[i])
		case !open && nth > 1:
			n.Replayed++ // of a window that began before the replay, and is final; it only moves the clock
			continue
		case !open:
			g = w.begin(b, i, numbers[i], starts[i]*1000)
		case w.groups.touch(g):
			w.dirty = append(w.dirty, g)
		}
		*w.groups.rows(g)++
		w.rowOf[i] = g
		n.Aggregated++
		if nth == c.Rows {
			w.over = append(w.over, g)
			if !w.inOrder {
				w.due.remove(w.of, g)
			}
		}
	}
	w.timeOut()
	w.addPlaced(w.rowOf, b, 0, b.Rows)
	for _, i := range w.groups.apart {
		w.addRows(i, w.rowOf, b, 0, b.Rows)
	}
	return n, nil
}

// tagOf is the tag of a window in at.
func tagOf(number uint64) uint64 { return mix(0, number) >> 32 }

// lookUp has a look at where windows are, of which there are at most lookAhead: so the processor waits for the memory of many at a time,
// and not of each in turn.
func (w *Counted) lookUp(numbers []uint64) {
	if w.at.n == 0 {
		return
	}
	w.groups.candN = grow(w.groups.candN, len(numbers))
	mask := uint64(len(w.at.slots) - 1)
	for i, number := range numbers {
		w.groups.candN[i] = uint32(w.at.slots[tagOf(number)&mask])
	}
	w.groups.fetch(w.groups.candN)
}

// groupOf is the group of a window that is open.
func (w *Counted) groupOf(number uint64) (g uint32, open bool) {
	tag := tagOf(number)
	for g, next, ok := w.at.probe(tag, tag); ok; g, next, ok = w.at.probe(tag, next) {
		if w.numberOf(g) == number {
			return g, true
		}
	}
	return 0, false
}

// begin makes the window of row i.
func (w *Counted) begin(b *batch.Batch, i int, number uint64, start int64) uint32 {
	g := w.put(b, i, session{start: start, end: start + w.size, origin: w.began.hold()}, number)
	w.dirty = append(w.dirty, g)
	return g
}

// put makes a window with the keys of row i.
func (w *Counted) put(b *batch.Batch, i int, as session, number uint64) uint32 {
	g := w.groups.add(b, i)
	if room := w.groups.slab.Room(); len(w.of) < room {
		w.of = extend(w.of, room)
	}
	w.of[g] = as
	w.due.push(w.of, g, as.end)
	w.at.put(tagOf(number), g)
	return g
}

// EndReplay implements operators.Replaying: windows that are final by now were shipped.
func (w *Counted) EndReplay() {
	if w.inOrder {
		return
	}
	w.whole = true
	for _, g := range w.over {
		w.groups.clean(g)
		w.end(g)
	}
	w.dirty = slices.DeleteFunc(w.dirty, func(g uint32) bool { return *w.groups.rows(g) < isDirty })
	w.groups.release(w.over)
	w.over, w.told = w.over[:0], 0
}

// timeOut takes out the windows that time out by the rows so far: by their ends, then by their numbers. It is asked for before each row, so
// that windows are over in an order that the log alone decides.
func (w *Counted) timeOut() {
	final := w.Final()
	if w.inOrder || len(w.due.at) == 0 || w.due.at[0].end > final {
		return
	}
	from := len(w.over)
	w.over = w.due.all(w.over, w.of, final)
	slices.SortFunc(w.over[from:], func(a, b uint32) int {
		return cmp.Or(cmp.Compare(w.of[a].end, w.of[b].end), cmp.Compare(w.numberOf(a), w.numberOf(b)))
	})
}

// Announce implements operators.Window: windows in the order of the rows that fill them or make them time out. What one row does so begins
// with the window that it fills, and goes on with those that time out, in the order of their ends and numbers. Windows that close in order
// are announced to nobody.
func (w *Counted) Announce() *batch.Batch {
	news := w.over[w.told:]
	if w.inOrder || len(news) == 0 {
		return nil
	}
	w.told = len(w.over)
	return w.emit(news)
}

// Cut implements operators.Window. Closed is left out: nobody keeps windows by their start alone. Open has every window where they close in
// order, and else what operators.Keyed says.
func (w *Counted) Cut(next int64) operators.Cut {
	counted, closed := w.over, w.over
	if w.inOrder {
		counted, closed = w.inTurn()
	}
	cut := operators.Cut{ReplayFrom: next, Replay: w.clock}
	stay := w.stayFirst(w.dirty, w.of)
	if len(w.dirty) > 0 {
		cut.Rows = w.emit(w.dirty)
		w.digestBefore(cut.Rows, w.dirty, &w.sum)
	}
	w.keep(&w.keeping, &cut, w.of, w.dirty, stay, closed)
	for _, g := range w.dirty {
		w.groups.clean(g)
	}
	for _, g := range counted {
		cut.FinalHash += w.groups.shown[g]
		w.sum -= w.groups.shown[g]
	}
	for _, g := range closed {
		w.end(g)
	}
	cut.OpenHash = w.sum
	if w.inOrder {
		cut.Open = w.open()
	}
	w.groups.release(closed)
	w.over, w.told, w.dirty = w.over[:0], 0, w.dirty[:0]
	if w.kept {
		cut.Open = w.began.some(next)
	}
	if first, ok := w.began.first(); ok && first.offset < next {
		cut.ReplayFrom, cut.Replay = first.offset, first.clock
	}
	w.began.compact(w.of, w.due.at)
	w.shrink()
	return cut
}

// inTurn is which of the windows that take no more rows have not been counted as final yet, and which have come to their ends as well.
func (w *Counted) inTurn() (counted, closed []uint32) {
	for _, g := range w.due.all(w.over, w.of, w.Final()) {
		o := &w.of[g]
		if !o.final {
			o.final = true
			counted = append(counted, g)
		}
		if o.due == gone {
			closed = append(closed, g)
		}
	}
	slices.Sort(closed) // one that became full and came to its end is there twice
	return counted, slices.Compact(closed)
}

// open lists what is open.
func (w *Counted) open() []operators.OpenWindow {
	all := make([]operators.OpenWindow, 0, len(w.due.at))
	for _, d := range w.due.at {
		o := &w.of[d.group]
		from := &w.began.all[o.origin]
		all = append(all, operators.OpenWindow{Start: o.start / 1000, Offset: from.offset, Clock: from.clock})
	}
	return all
}

// end forgets a window.
func (w *Counted) end(g uint32) {
	w.at.remove(tagOf(w.numberOf(g)), g)
	w.began.release(w.of[g].origin)
}

// numberOf is the number of a window, which is the last of its keys.
func (w *Counted) numberOf(g uint32) uint64 {
	return *w.groups.fixed(len(w.groups.cols)-1, g)
}

// emit writes windows as rows of a cut.
func (w *Counted) emit(ids []uint32) *batch.Batch {
	starts, ends, rows := make([]int64, len(ids)), make([]int64, len(ids)), make([]uint64, len(ids))
	for i, g := range ids {
		starts[i], ends[i], rows[i] = w.of[g].start/1000, w.of[g].end/1000, w.groups.count(g)
	}
	return w.groups.emit(w.schema, w.cfg, ids, starts, ends, rows)
}

// Touch implements operators.Window.
func (w *Counted) Touch() {
	for _, e := range w.at.slots {
		if g := uint32(e) - 1; e != 0 && w.groups.touch(g) {
			w.dirty = append(w.dirty, g)
		}
	}
	slices.Sort(w.dirty) // not in the order of the table
}

// Load implements operators.Window; open is as operators.Keyed says.
func (w *Counted) Load(rows *batch.Batch, hashes []uint64, open []operators.OpenWindow) error {
	if err := w.began.load(open); err != nil {
		return err
	}
	return w.load(rows, hashes, func(i int) (uint32, error) {
		start, end := batch.As[int64](rows.Cols[0].Values)[i]*1000, batch.As[int64](rows.Cols[1].Values)[i]*1000
		count, number := batch.As[uint64](rows.Cols[2].Values)[i], batch.As[uint64](rows.Cols[firstKey+len(w.cfg.Keys)-1].Values)[i]
		if count == 0 || count >= w.cfg.Count.Rows || end != start+w.size {
			return 0, fmt.Errorf("saved state has window %d open from %s to %s with %d rows, and windows are of %d", number, formatTime(start), formatTime(end), count, w.cfg.Count.Rows)
		}
		if _, twice := w.groupOf(number); twice {
			return 0, fmt.Errorf("saved state has window %d twice", number)
		}
		from, err := w.began.holdFrom(open, start/1000)
		if err != nil {
			return 0, err
		}
		w.sum += hashes[i]
		return w.put(rows, i, session{start: start, end: end, origin: from}, number), nil
	})
}

// shrink gives back memory after a burst of keys. It is called when a cut is taken: then nothing is dirty or over.
func (w *Counted) shrink() {
	old := &w.groups
	if old.total < shrinkAbove || 4*old.used() > old.total {
		return
	}
	var fresh groups
	fresh.init(w.cfg)
	fresh.extend(max(1024, 2*old.used()))
	of, at := make([]session, fresh.slab.Room()), places{}
	for i := range w.due.at {
		d := &w.due.at[i]
		number := w.numberOf(d.group)
		to := fresh.take(old, d.group)
		of[to] = w.of[d.group]
		at.put(tagOf(number), to)
		d.group = to
	}
	w.groups, w.of, w.at = fresh, of, at
	w.due.at, w.dirty, w.over = slices.Clip(w.due.at), nil, nil
}
