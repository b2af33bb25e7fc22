package window

import (
	"context"
	"hash/maphash"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/operators/aggregate"
)

// Sessions is the state of one partition's sessions: windows of one key, which begin with a row and end [Config.Gap] behind the
// last one. One goroutine uses it. Of a row with the event time t, in whole milliseconds, and the watermark W before it:
//
//	row      takes [t, t+gap), cut off where its stretch of Config.Size ends
//	joins    the sessions of its key that this meets, at most two; they become one. Where it meets none, it begins one
//	late     t+gap + allowed lateness <= W
//	final    end+gap + allowed lateness <= W: no row that is not late can meet the session
//
// So which rows are late, and the clock, follow from times alone: a replay that begins in the middle of a session takes the same rows as
// the first time. What it makes of the rows of a session that began before is a part of that session, ends no later, and is final where
// the session was final. Sessions that were open when the replay's end was reached have all their rows in it.
//
// A session is stored under its start. Where that changes, or a session becomes part of an earlier one, what may be stored under the
// start of before has to be taken back: a row that says it has no rows. That holds for each start there has ever been, since somebody
// before may have cut at any record, and may have stored what he cut without having said so. Where sessions are stored when they are
// final, rows of others are marked instead, and count only as long as nobody goes on.
//
// Each session is a group. Groups of one key are a tree by their start, whose root is in the index; mostly it is alone there.
type Sessions struct {
	partition
	keeping
	gap      int64 // microseconds
	from, to int64 // a stretch of Config.Size
	inOrder  bool  // see [Config.OpenInOrder]

	index index     // the root of each key's tree
	of    []session // by group
	due   due       // sessions by when they may be final; not those of over
	over  []uint32  // sessions that are final since the last cut
	begun uint32    // sessions ever, modulo 2^32
	began origins   // where replays have to begin
	dirty []uint32  // sessions that changed since the last cut; some of them may be gone
	gone  []uint32  // sessions that became part of others since the last cut: their numbers are not used again before it
	lost  []lostRow // what is to be taken back with the next cut
	blank uint32    // number + 1 of a group without rows, for what is taken back
	sum   uint64    // of the hashes of all sessions as they were at the last cut
	rows  int64     // of all sessions
	seed  uint32    // of the priorities in trees
	done  int       // rows of the batch at hand that are in the states
	one   []uint32
	moved []batch.Column
}

// session is where a group's session is, and its place in the tree of its key.
type session struct {
	start, end  int64  // microseconds
	left, right uint32 // number + 1 of the sessions that begin earlier and later; 0 is none
	priority    uint32 // less than that of the one above in the tree
	tag         uint32 // high half of the hash of the key
	origin      uint32 // in began
	due         int32  // place in due; gone
	nth         uint32 // of begun, when its first row in the log came
	root        bool
	moved       bool // it had another start, or was another, at the last cut
	final       bool // it is counted as such, and stays for those that begin before it
}

// gone is session.due of a group that is no session.
const gone = -1

// lostRow is a start that a session no longer has. Its key is that of a group.
type lostRow struct {
	group      uint32
	start, end int64
}

func newSessions(cfg *Config) *Sessions {
	s := &Sessions{partition: newPartition(cfg), gap: cfg.Gap.Microseconds()}
	s.seed = uint32(maphash.String(s.groups.seed, "")) | 1
	return s
}

// Reset implements operators.Window.
func (s *Sessions) Reset() {
	clock, inOrder := s.clock, s.inOrder
	*s = *newSessions(s.cfg)
	s.clock, s.inOrder = clock, inOrder
}

// Final implements operators.Window.
func (s *Sessions) Final() int64 { return s.finalBy(s.Watermark()) }

// finalBy is Final where the watermark is another one.
func (s *Sessions) finalBy(watermark int64) int64 {
	if watermark == operators.Unset {
		return operators.Unset
	}
	return watermark - s.allow - s.gap
}

// Windows implements operators.Window.
func (s *Sessions) Windows() int { return len(s.due.at) + len(s.over) }

// Groups implements operators.Window.
func (s *Sessions) Groups() int { return s.Windows() }

// Dirty implements operators.Window.
func (s *Sessions) Dirty() int { return len(s.dirty) + len(s.lost) }

// MemorySize implements operators.Window.
func (s *Sessions) MemorySize() int64 {
	const perSession, perDue, perLost, perOrigin = 48, 16, 24, 40
	return s.groups.memorySize() + 8*int64(len(s.index.slots)) + perSession*int64(cap(s.of)) + perDue*int64(cap(s.due.at)) +
		perLost*int64(cap(s.lost)) + 4*int64(cap(s.dirty)+cap(s.gone)+cap(s.over)) + perOrigin*int64(cap(s.began.all))
}

// Add implements operators.Window. Rows that are late, have no time, or jump ahead become rejects of the batch.
func (s *Sessions) Add(_ context.Context, b *batch.Batch, offset int64) (operators.Counts, error) {
	var n operators.Counts
	if !b.Resumed {
		s.entered = s.clock
	}
	if b.Rows == 0 {
		return n, nil // steps do not run on nothing: the columns may be those of an earlier stage
	}
	s.times, s.rowOf = grow(s.times, b.Rows), grow(s.rowOf, b.Rows)
	s.readTimes(b)
	s.groups.hash(b)
	s.began.batch(offset, s.entered)
	s.done = 0
	for from := 0; from < b.Rows; from += lookAhead {
		to := min(from+lookAhead, b.Rows)
		roots := s.groups.lookup(&s.index, b, from, to)
		s.fetch(roots)
		for i, root := range roots {
			if err := s.addRow(b, from+i, root, &n); err != nil {
				return n, err
			}
		}
		if s.groups.far() { // what they have in the slab is near now
			s.addUpTo(b, to)
		}
	}
	s.addUpTo(b, b.Rows)
	return n, nil
}

// fetch looks at sessions, so that the processor gets them all: see groups.fetch.
func (s *Sessions) fetch(roots []uint32) {
	const words = 6 // of a session
	if words*len(s.of) < inCache {
		return
	}
	seen := uint64(0)
	for _, root := range roots {
		if root != 0 {
			o := &s.of[root-1]
			seen ^= uint64(o.start) ^ uint64(o.nth)
		}
	}
	s.groups.seen = seen
}

// addRow finds the session of row i. root is the number + 1 of a group that had the key a moment ago, or 0.
func (s *Sessions) addRow(b *batch.Batch, i int, root uint32, n *operators.Counts) error {
	s.rowOf[i] = aggregate.Skip
	t := s.times[i]
	if t == operators.Unset {
		s.rejectTime(b, i, &b.Cols[s.cfg.Time])
		return nil
	}
	start := floorTo(t, 1000) // what is stored is in milliseconds
	if w := s.Watermark(); w != operators.Unset && start+s.gap+s.allow <= w {
		n.Late++
		s.late(b, i, t, w, "a session of its time alone is final")
		return nil
	}
	if s.jump > 0 && !s.plausible(b, i, t) {
		return nil
	}
	s.clock.Max = max(s.clock.Max, t)
	n.Aggregated++
	s.rows++
	if root > 0 && s.of[root-1].root { // nothing is numbered anew before the next cut
		if o := &s.of[root-1]; o.left|o.right == 0 && start >= o.start && start < o.end {
			o.end = max(o.end, s.endOf(start))
			s.take(i, root-1)
			return nil
		}
	}
	return s.place(b, i, start)
}

// endOf is where the session of a row alone ends.
func (s *Sessions) endOf(start int64) int64 {
	if start < s.from || start >= s.to {
		s.from = floorTo(start-s.offset, s.size) + s.offset
		s.to = s.from + s.size
	}
	return min(start+s.gap, s.to)
}

// take takes row i into a session.
func (s *Sessions) take(i int, g uint32) {
	if s.groups.touch(g) {
		s.dirty = append(s.dirty, g)
	}
	*s.groups.rows(g)++
	s.rowOf[i] = g
}

// place takes row i into the sessions it meets, or begins one.
func (s *Sessions) place(b *batch.Batch, i int, start int64) error {
	end := s.endOf(start)
	slot, root := s.locate(b, i)
	before, after := s.around(root, start)
	joinsBefore := before != 0 && s.of[before-1].end > start
	joinsAfter := after != 0 && s.of[after-1].start < end
	switch {
	case joinsBefore && joinsAfter:
		if err := s.join(b, i, before-1, after-1, slot); err != nil {
			return err
		}
		s.take(i, before-1)
	case joinsBefore:
		o := &s.of[before-1]
		o.end = max(o.end, end)
		s.take(i, before-1)
	case joinsAfter:
		o := &s.of[after-1]
		s.leave(after - 1)
		s.lose(after-1, o.start, o.end)
		o.start = start
		s.take(i, after-1)
	default:
		s.begin(b, i, slot, root, start, end)
	}
	return nil
}

// begin makes a session of row i.
func (s *Sessions) begin(b *batch.Batch, i, slot int, root uint32, start, end int64) {
	g := s.put(b, i, slot, root, session{start: start, end: end, origin: s.began.hold()})
	s.dirty = append(s.dirty, g)
	*s.groups.rows(g)++
	s.rowOf[i] = g
}

// put makes a session with the keys of row i.
func (s *Sessions) put(b *batch.Batch, i, slot int, root uint32, as session) uint32 {
	g := s.groups.add(b, i)
	if room := s.groups.slab.Room(); len(s.of) < room {
		s.of = extend(s.of, room)
	}
	s.seed ^= s.seed << 13
	s.seed ^= s.seed >> 17
	s.seed ^= s.seed << 5
	s.begun++
	as.priority, as.tag, as.nth = s.seed, uint32(s.groups.hashN[i]>>32), s.begun
	s.of[g] = as
	s.due.push(s.of, g, as.end)
	top := s.insert(root, g)
	if root == 0 {
		s.index.n++
	}
	s.setRoot(slot, root, top)
	return g
}

// join makes two sessions of a key one, which row i lies between. What they are made of goes together as ClickHouse would merge it.
func (s *Sessions) join(b *batch.Batch, i int, to, from uint32, slot int) error {
	s.addUpTo(b, i)
	gs, a, c := &s.groups, &s.of[to], &s.of[from]
	if err := s.merge(to, from); err != nil {
		return err
	}
	root := uint32(s.index.slots[slot])
	s.setRoot(slot, root, s.remove(root, from))
	s.leave(from)
	s.lose(to, c.start, c.end)
	a.end = c.end
	a.origin = s.began.older(a.origin, c.origin)
	if earlier(c.nth, a.nth) {
		a.nth = c.nth
	}
	s.due.remove(s.of, from)
	s.sum -= gs.shown[from]
	*gs.rows(to) += gs.count(from)
	*gs.rows(from) = 0
	s.gone = append(s.gone, from)
	return nil
}

// leave notes that the row of a session in the last cut, if it was in one, is not that of a session any more.
func (s *Sessions) leave(g uint32) {
	o := &s.of[g]
	if before := s.groups.shown[g]; before != 0 && !o.moved {
		s.left = append(s.left, leaving{g, o.start, before})
	}
	o.moved = true
}

// lose notes that no session begins where one did any more; a group says of which key. Where sessions are stored when they are final,
// what is stored of others says so, and there is nothing to take back.
func (s *Sessions) lose(g uint32, start, end int64) {
	if !s.cfg.EmitFinal && !s.inOrder {
		s.lost = append(s.lost, lostRow{g, start, end})
	}
}

// merge adds the states of one session to those of an earlier one.
func (s *Sessions) merge(to, from uint32) error {
	s.one = append(s.one[:0], from)
	into := []uint32{to}
	for i, a := range s.cfg.Aggregate {
		s.moved = grow(s.moved, len(a.States))
		clear(s.moved)
		s.groups.acc[i].Emit(s.one, s.moved)
		if err := s.groups.acc[i].(aggregate.Mergeable).Merge(into, s.moved); err != nil {
			return err // what Emit has written is never refused
		}
	}
	return nil
}

// addUpTo takes the rows below one into the states of their sessions. States depend on the order of rows, and so on which of them were
// there when two sessions became one: that must not be decided by how rows were cut into batches.
func (s *Sessions) addUpTo(b *batch.Batch, to int) {
	if to == s.done {
		return
	}
	from := s.done &^ 7 // where a byte of a bitmap begins
	rowOf := s.rowOf[from:to]
	for i := range s.cfg.Aggregate {
		s.addRows(i, rowOf, b, from, to)
	}
	s.done = to
	for i := to &^ 7; i < to; i++ {
		s.rowOf[i] = aggregate.Skip // they are looked at again with those behind
	}
}
