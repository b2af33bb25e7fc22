package window

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
)

// Cut implements operators.Window. Rows end with those that are taken back: they have the old start, and no rows. Closed is left out: nobody
// keeps sessions by their start alone. Open has every session where they close in order, and else what operators.Keyed says.
func (s *Sessions) Cut(next int64) operators.Cut {
	s.takeOver()
	closed, counted := s.over, s.over
	if s.inOrder {
		closed, counted = s.inTurn()
	}
	cut := operators.Cut{ReplayFrom: next, Replay: s.clock}
	s.dirty = slices.DeleteFunc(s.dirty, func(g uint32) bool { return *s.groups.rows(g) < isDirty })
	stay := s.stayFirst(s.dirty, s.of)
	if len(s.dirty)+len(s.lost) > 0 {
		cut.Rows = s.emit(s.dirty, s.lost)
		s.digestBefore(cut.Rows, s.dirty, &s.sum) // what is taken back is no part of it
	}
	for i, g := range s.dirty {
		if s.of[g].moved { // there is no row under the start that it has
			s.before[i], s.of[g].moved = 0, false
		}
	}
	s.keep(&s.keeping, &cut, s.of, s.dirty, stay, closed)
	if s.cfg.EmitFinal && len(closed) > 0 {
		cut.Final = s.emit(closed, nil)
	}
	for _, g := range s.dirty {
		s.groups.clean(g)
	}
	for _, g := range counted {
		cut.FinalHash += s.groups.shown[g]
		s.sum -= s.groups.shown[g]
	}
	for _, g := range closed {
		s.end(g)
	}
	if s.inOrder {
		cut.Open = s.open()
	}
	cut.OpenHash = s.sum
	if s.cfg.EmitFinal {
		cut.OpenRows = s.rows
	}
	s.groups.release(closed)
	s.groups.release(s.gone)
	s.over, s.dirty, s.gone, s.lost = s.over[:0], s.dirty[:0], s.gone[:0], s.lost[:0]
	if s.kept {
		cut.Open = s.began.some(next)
	}
	if first, ok := s.began.first(); ok && first.offset < next {
		cut.ReplayFrom, cut.Replay = first.offset, first.clock
	}
	s.began.compact(s.of, s.due.at)
	s.shrink()
	return cut
}

// takeOver takes out the sessions that have become final, but for those that a replay made of sessions that were final before its end.
func (s *Sessions) takeOver() {
	final, settled := s.Final(), s.finalBy(s.settled)
	if final == operators.Unset {
		return
	}
	for {
		g, ok := s.due.next(s.of, final)
		if !ok {
			return
		}
		if settled != operators.Unset && s.of[g].end <= settled {
			s.groups.clean(g)
			s.end(g)
			s.gone = append(s.gone, g)
			continue
		}
		s.over = append(s.over, g)
	}
}

// inTurn is which of the sessions that are final are to be closed, and which were not counted as final yet. The others stay until all that
// begin before them can be closed.
func (s *Sessions) inTurn() (closed, counted []uint32) {
	final := s.Final()
	for _, g := range s.over {
		o := &s.of[g]
		if !o.final {
			o.final = true
			counted = append(counted, g)
		}
		if by := o.start + s.size; by > final {
			s.due.push(s.of, g, by)
			continue
		}
		closed = append(closed, g)
	}
	return closed, counted
}

// Announce implements operators.Window: sessions in the order of their ends, and those that end together in that of their first rows in the
// log. So no session comes behind one that ends later, whenever it is called. Sessions that close in order are announced to nobody.
func (s *Sessions) Announce() *batch.Batch {
	if s.inOrder {
		return nil
	}
	from := len(s.over)
	s.takeOver()
	news := s.over[from:]
	if len(news) == 0 {
		return nil
	}
	slices.SortFunc(news, func(a, b uint32) int {
		if c := cmp.Compare(s.of[a].end, s.of[b].end); c != 0 {
			return c
		}
		if earlier(s.of[a].nth, s.of[b].nth) {
			return -1
		}
		return 1
	})
	return s.emit(news, nil)
}

// earlier compares what was counted modulo 2^32, of which much less than half is there at a time.
func earlier(a, b uint32) bool { return int32(a-b) < 0 }

// open lists what is open.
func (s *Sessions) open() []operators.OpenWindow {
	all := make([]operators.OpenWindow, 0, len(s.due.at))
	for _, d := range s.due.at {
		o := &s.of[d.group]
		from := &s.began.all[o.origin]
		all = append(all, operators.OpenWindow{Start: o.start / 1000, Offset: from.offset, Clock: from.clock})
	}
	return all
}

// end takes a session that is due no more out of the tree of its key.
func (s *Sessions) end(g uint32) {
	slot := s.slotOf(g)
	root := uint32(s.index.slots[slot])
	s.setRoot(slot, root, s.remove(root, g))
	s.began.release(s.of[g].origin)
	s.rows -= int64(s.groups.count(g))
}

// emit writes sessions as rows of a cut, and behind them what is taken back.
func (s *Sessions) emit(ids []uint32, lost []lostRow) *batch.Batch {
	n := len(ids) + len(lost)
	keys, states := make([]uint32, 0, n), make([]uint32, 0, n)
	starts, ends, rows := make([]int64, 0, n), make([]int64, 0, n), make([]uint64, 0, n)
	for _, g := range ids {
		keys, states = append(keys, g), append(states, g)
		starts, ends, rows = append(starts, s.of[g].start/1000), append(ends, s.of[g].end/1000), append(rows, s.groups.count(g))
	}
	if len(lost) > 0 && s.blank == 0 {
		g := s.groups.number()
		s.groups.clean(g)
		for k := range s.groups.cols {
			s.groups.setZero(k, g)
		}
		if room := s.groups.slab.Room(); len(s.of) < room {
			s.of = extend(s.of, room)
		}
		s.of[g].due = gone
		s.blank = g + 1
	}
	for _, l := range lost {
		keys, states = append(keys, l.group), append(states, s.blank-1)
		starts, ends, rows = append(starts, l.start/1000), append(ends, l.end/1000), append(rows, 0)
	}
	b := s.groups.emitAs(s.schema, s.cfg, keys, states, starts, ends, rows)
	for i, f := range s.schema.Fields { // a state without a row is null, and no other is where there are no nulls
		if !f.Nullable {
			b.Cols[i].Validity, b.Cols[i].Nulls = nil, 0
		}
	}
	return b
}

// Touch implements operators.Window.
func (s *Sessions) Touch() {
	for _, d := range s.due.at {
		if s.groups.touch(d.group) {
			s.dirty = append(s.dirty, d.group)
		}
	}
	for _, g := range s.over {
		if s.groups.touch(g) {
			s.dirty = append(s.dirty, g)
		}
	}
}

// Load implements operators.Window; open is as operators.Keyed says.
func (s *Sessions) Load(rows *batch.Batch, hashes []uint64, open []operators.OpenWindow) error {
	if err := s.began.load(open); err != nil {
		return err
	}
	return s.load(rows, hashes, func(i int) (uint32, error) {
		start, end := batch.As[int64](rows.Cols[0].Values)[i]*1000, batch.As[int64](rows.Cols[1].Values)[i]*1000
		count := batch.As[uint64](rows.Cols[2].Values)[i]
		slot, root := s.locate(rows, i)
		before, after := s.around(root, start)
		if count == 0 || end <= start || before != 0 && s.of[before-1].end > start || after != 0 && s.of[after-1].start < end {
			return 0, fmt.Errorf("saved state has a session from %s to %s with %d rows, which is none, or part of another of its key", formatTime(start), formatTime(end), count)
		}
		from, err := s.began.holdFrom(open, start/1000)
		if err != nil {
			return 0, err
		}
		s.rows += int64(count)
		s.sum += hashes[i]
		return s.put(rows, i, slot, root, session{start: start, end: end, origin: from}), nil
	})
}

// shrink gives back memory after a burst of keys. It is called when a cut is taken: then nothing is over, dirty, gone or lost.
func (s *Sessions) shrink() {
	old := &s.groups
	if old.total < shrinkAbove || 4*old.used() > old.total {
		return
	}
	var fresh groups
	fresh.init(s.cfg)
	fresh.seed = old.seed // the index is made of these hashes
	fresh.extend(max(1024, 2*old.used()))
	of, moved := make([]session, fresh.slab.Room()), make([]uint32, old.total+1) // by number + 1
	for i := range s.due.at {
		d := &s.due.at[i]
		to := fresh.take(old, d.group)
		moved[d.group+1] = to + 1
		of[to] = s.of[d.group]
		d.group = to
	}
	if s.blank != 0 {
		to := fresh.take(old, s.blank-1)
		of[to].due = gone
		s.blank = to + 1
	}
	for _, d := range s.due.at {
		o := &of[d.group]
		o.left, o.right = moved[o.left], moved[o.right]
	}
	x := index{}
	for _, e := range s.index.slots {
		if e != 0 {
			x.put(e>>32, moved[uint32(e)]-1)
		}
	}
	s.groups, s.of, s.index = fresh, of, x
	s.due.at = slices.Clip(s.due.at)
	s.over, s.dirty, s.gone, s.lost = nil, nil, nil, nil
}
