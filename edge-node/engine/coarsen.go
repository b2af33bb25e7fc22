package engine

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

// What is merged at once, in bytes of columns: so much is in memory as it was, and again as it becomes, and a third time in the
// change that is made of it.
const (
	mergeBytes = 8 << 20  // about; but a window that is wide already
	mergeMost  = 48 << 20 // is left as it is where its parts take more than this
	mergeRows  = 2_000    // read at once
)

// errNoGain says that merging windows would not make them less.
var errNoGain = errors.New("nothing would be gained")

// coarsen merges closed windows that wait into wider ones, the oldest first, and says so in the coverage: those of the finest width
// into ones that are twice as wide, then those, until an eighth of the lane's rows is gone. It tells whether any rows went.
//
// Wide windows are made of whole windows, all of them final, and all of their rows are on the disk: a window whose rows were
// acknowledged, or are on their way, is not merged with others. Some of the rows may be stored all the same, as with dropOldest; the
// coverage says that they do not count, but the merged ones do.
func (l *lane) coarsen() (bool, error) {
	d, w := &l.local, l.gen.Widening
	if w == nil || d.barren == d.saved.coverage.Version+1 {
		return false, nil
	}
	rows, enough := 0, max(1, d.disk.Entries()/sacrifice)
	for width := 2 * w.Size(); width <= w.Coarsest() && rows < enough; width *= 2 {
		for from := int64(math.MinInt64); rows < enough && l.ctx.Err() == nil; {
			s, ok := l.mergeable(from, width)
			if !ok {
				break
			}
			n, err := l.merge(&s)
			if errors.Is(err, errNoGain) {
				break // it is much the same in all of them: perhaps wider ones
			}
			if err != nil {
				return rows > 0, err
			}
			rows += n
			from = s.To
		}
	}
	if rows == 0 {
		d.barren = d.saved.coverage.Version + 1
	}
	return rows > 0, nil
}

// mergeable is the first stretch of windows from a time on that can be merged to a width: one wide window behind the other.
func (l *lane) mergeable(from, width int64) (s sink.Span, ok bool) {
	d, w := &l.local, l.gen.Widening
	final := floorMillis(d.saved.coverage.Final)
	s.Width = width
	for i := 0; i < len(d.closed); {
		start := w.Start(d.closed[i].start, width)
		fits := start >= from && start+w.Size() > d.gone && start+width <= final && (d.pass == noPass || start >= d.pass)
		for ; i < len(d.closed) && d.closed[i].start < start+width; i++ {
			c := &d.closed[i]
			fits = fits && c.end-c.start < width && !l.sent(c)
		}
		switch {
		case fits && !ok:
			s.From, s.To, ok = start, start+width, true
		case fits:
			s.To = start + width
		case ok:
			return s, true
		}
	}
	return s, ok
}

// merge merges windows to the width of a span, as many of the first as go at once: the span is only of those then. It gives how many
// rows less there are.
func (l *lane) merge(s *sink.Span) (int, error) {
	d := &l.local
	view, err := d.disk.View()
	if err != nil {
		return 0, err
	}
	defer view.Close()
	fine, err := l.readWide(view, s)
	if err != nil || len(fine) == 0 {
		return 0, err
	}
	coarse, err := l.gen.Widening.Merge(fine, s.Width)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", l.partition, err)
	}
	// The sums of hashes are modulo 2^64.
	var before, now sink.Sum
	for _, b := range fine {
		before.Add(batch.Hashes(b)...)
	}
	hashes := batch.Hashes(coarse)
	now.Add(hashes...)
	hash, gone := before.Hash-now.Hash, before.Rows-now.Rows
	if gone <= before.Rows/sacrifice {
		return 0, errNoGain
	}
	after, err := l.without(d.saved, loss{hash: hash}, *s)
	if err != nil {
		return 0, err
	}
	if len(after.coverage.Spans) > sink.MaxSpans {
		return 0, errNoGain
	}
	l.giveUp() // a run has the rows as they were
	d.behind = true
	ch := d.disk.Change()
	ch.DropWindows(s.From, s.To, before)
	ch.Put(coarse, hashes, nil)
	if err := l.commitLocal(ch, &after, d.gone); errors.Is(err, sink.ErrFull) {
		return 0, errNoGain
	} else if err != nil {
		return 0, err
	}
	l.coarsened(s, coarse, hashes)
	l.spans = after.coverage.Spans
	loss{hash: hash}.from(&l.counters, &l.content)
	l.stats.merged.Add(int64(gone))
	l.e.log.Warn("the local store is full: windows were merged into wider ones", "partition", l.partition.String(), "from", time.UnixMilli(s.From).UTC(),
		"to", time.UnixMilli(s.To).UTC(), "width", time.Duration(s.Width)*time.Millisecond, "rows", before.Rows, "now", coarse.Rows)
	return gone, nil
}

// readWide reads the rows of a span: of as many wide windows as go at once, and the span ends behind them. There are none where one wide
// window is too much.
func (l *lane) readWide(view sink.LocalView, s *sink.Span) ([]*batch.Batch, error) {
	w := l.gen.Widening
	view.From(s.From)
	var rows []*batch.Batch
	size, first, last := int64(0), int64(math.MinInt64), int64(math.MinInt64) // the wide windows that were read
	for {
		b, err := view.Rows(mergeRows)
		if err != nil {
			return nil, err
		}
		if b == nil {
			return rows, nil
		}
		starts := batch.As[int64](b.Cols[0].Values)[:b.Rows]
		if first == math.MinInt64 {
			first = w.Start(starts[0], s.Width)
		}
		if n := before(starts, s.To); n < b.Rows {
			if n > 0 {
				rows = append(rows, b.Head(n))
			}
			return rows, nil
		}
		rows = append(rows, b)
		last = w.Start(starts[b.Rows-1], s.Width)
		switch size += b.Size(); {
		case size > mergeBytes && last > first:
			s.To = last
			return headOf(rows, last), nil
		case size > mergeMost:
			s.To = last + s.Width
			return nil, nil
		}
	}
}

// before is how many of the starts, which are in order, are before a time.
func before(starts []int64, at int64) int {
	n := len(starts)
	for n > 0 && starts[n-1] >= at {
		n--
	}
	return n
}

// headOf is the rows of windows that start before a time.
func headOf(rows []*batch.Batch, at int64) []*batch.Batch {
	for len(rows) > 0 {
		b := rows[len(rows)-1]
		n := before(batch.As[int64](b.Cols[0].Values)[:b.Rows], at)
		if n == b.Rows {
			return rows
		}
		if rows = rows[:len(rows)-1]; n > 0 {
			return append(rows, b.Head(n))
		}
	}
	return rows
}

// coarsened puts wide windows in place of those that they were made of. Nothing of them is acknowledged before the newest of these
// is.
func (l *lane) coarsened(s *sink.Span, rows *batch.Batch, hashes []uint64) {
	d := &l.local
	kept := make([]closed, 0, len(d.closed))
	var behind []closed
	version := int64(0)
	for _, c := range d.closed {
		switch {
		case c.start < s.From:
			kept = append(kept, c)
		case c.start >= s.To:
			behind = append(behind, c)
		default:
			version = max(version, c.version)
		}
	}
	for i, start := range batch.As[int64](rows.Cols[0].Values)[:rows.Rows] {
		n := len(kept)
		if n == 0 || kept[n-1].start != start {
			kept = append(kept, closed{start: start, end: start + s.Width, version: version})
			n++
		}
		kept[n-1].rows.Add(hashes[i])
	}
	d.closed = append(kept, behind...)
}
