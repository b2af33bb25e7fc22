package engine

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

// WhenFull is what a lane does when the local store has no room, and the destination does not take what is there.
type WhenFull uint8

// The policies.
const (
	// Block reads no more until there is room: Kafka keeps the records.
	Block WhenFull = iota
	// DropOldest gives up the oldest windows that are closed and not acknowledged.
	DropOldest
	// Coarsen merges closed windows that are not acknowledged into wider ones, and blocks when none can be merged any more.
	Coarsen
)

// makeRoom does what the pipeline says about a local store that is full; why is what the store says about it.
func (l *lane) makeRoom(why error) error {
	swept, err := l.sweep()
	if err != nil || swept || l.local.disk.Settling() {
		return err
	}
	made := false
	switch l.e.cfg.WhenFull {
	case DropOldest:
		made, err = l.dropOldest()
	case Coarsen:
		made, err = l.coarsen()
	}
	if err != nil || made {
		return err
	}
	if l.stats.full.CompareAndSwap(false, true) {
		l.e.log.Warn("no room to save what waits for the destination: nothing more is read until it is acknowledged", "partition", l.partition.String(), "error", why)
	}
	return nil
}

// sweep removes windows that are acknowledged, which otherwise happens with the next cut that is saved. It tells whether there
// were any.
func (l *lane) sweep() (bool, error) {
	d := &l.local
	n := 0
	for n < len(d.closed) && d.closed[n].version < 0 {
		n++
	}
	if n == 0 && d.queue.acked == d.queue.dropped {
		return false, nil
	}
	ch := d.disk.Change()
	if n == 0 {
		return true, l.commitLocal(ch, &d.saved, d.gone)
	}
	var of sink.Sum
	for _, c := range d.closed[:n] {
		of.Rows += c.rows.Rows
		of.Hash += c.rows.Hash
	}
	ch.DropWindows(d.closed[0].start, d.closed[n-1].start+1, of)
	gone := max(d.gone, d.closed[n-1].end)
	if err := l.commitLocal(ch, &d.saved, gone); err != nil {
		return false, err
	}
	d.closed = d.closed[n:]
	return true, nil
}

// sacrifice is what part of a lane's rows is dropped at a time.
const sacrifice = 8

// dropOldest gives up the oldest closed windows, and says so in the coverage. It tells whether there were any.
//
// Some of their rows may have been stored: by a submission whose acknowledgement was lost, when the windows were open, by
// another process that had the partition. The coverage says that they do not count.
func (l *lane) dropOldest() (bool, error) {
	d := &l.local
	first := l.waiting()
	if first == nil {
		return false, nil
	}
	l.giveUp() // a view would keep the rows on the disk
	d.behind = true
	view, err := d.disk.View()
	if err != nil {
		return false, err
	}
	defer view.Close()
	view.From(first.start)
	newest := d.closed[len(d.closed)-1].start
	from, last, n, gone := first.start, *first, 0, loss{}
	next := int64(math.MaxInt64) // start of the first that stays
	var hashes []uint64
	var buf []byte
	for enough := max(1, d.disk.Entries()/sacrifice); ; {
		b, err := view.Rows(resendRows)
		if err != nil {
			return false, err
		}
		if b == nil {
			break
		}
		starts, ends, counts := batch.As[int64](b.Cols[0].Values), batch.As[int64](b.Cols[1].Values), batch.As[uint64](b.Cols[2].Values)
		hashes = slices.Grow(hashes[:0], b.Rows)[:b.Rows]
		buf = batch.HashRows(hashes, b, buf)
		i := 0
		for ; i < b.Rows && starts[i] <= newest && (starts[i] == last.start || n < enough); i++ {
			n++
			gone.rows += int64(counts[i])
			gone.hash += hashes[i]
			last = closed{start: starts[i], end: ends[i]}
		}
		if i < b.Rows {
			next = starts[i]
			break
		}
	}
	if n == 0 {
		return false, nil
	}
	// The span has no window in it that may still take rows.
	final := floorMillis(d.saved.coverage.Final) - max(last.end-last.start, l.gen.Longest.Milliseconds()) + 1
	to := min(next, max(final, last.start+1))
	span := sink.Span{From: from, To: to}
	after, err := l.without(d.saved, gone, span)
	if err != nil || len(after.coverage.Spans) > sink.MaxSpans {
		return false, err
	}
	ch := d.disk.Change()
	ch.DropWindows(from, to, sink.Sum{Rows: n, Hash: gone.hash})
	if err := l.commitLocal(ch, &after, max(d.gone, last.end)); err != nil {
		return false, err
	}
	kept := d.closed[:0]
	for _, c := range d.closed {
		if c.start < from || c.start >= to {
			kept = append(kept, c)
		}
	}
	d.closed = kept
	l.spans = after.coverage.Spans
	gone.from(&l.counters, &l.content)
	l.stats.dropped.Add(gone.rows)
	l.e.log.Warn("the local store is full: windows were dropped", "partition", l.partition.String(),
		"from", time.UnixMilli(from).UTC(), "to", time.UnixMilli(to).UTC(), "groups", n, "rows", gone.rows)
	return true, nil
}

// waiting is the first closed window that is neither acknowledged nor on its way, or nil.
func (l *lane) waiting() *closed {
	d := &l.local
	for i := range d.closed {
		if c := &d.closed[i]; !l.sent(c) {
			return c
		}
	}
	return nil
}

// sent tells whether a closed window is acknowledged or on its way.
func (l *lane) sent(c *closed) bool {
	d := &l.local
	return c.version < 0 || c.start < d.pass || d.sent != nil && c.version <= d.sent.coverage.Version
}

// loss is what goes with closed windows that are dropped or merged.
type loss struct {
	rows int64  // that were aggregated
	hash uint64 // sum of the hashes of the windows' rows, less that of the rows in their place
}

// from takes the loss from an account.
func (g loss) from(n *sink.Counters, c *sink.Content) {
	n.Aggregated -= g.rows
	n.Dropped += g.rows
	if c.Known {
		c.Final -= g.hash
		c.All -= g.hash
	}
}

// without is a moment of the lane after windows were dropped or merged.
func (l *lane) without(at saved, gone loss, span sink.Span) (saved, error) {
	var m commitMetadata
	if err := json.Unmarshal([]byte(at.commit.Metadata), &m); err != nil {
		return at, fmt.Errorf("read the commit of %s that is saved: %w", l.partition, err)
	}
	c := &at.coverage
	gone.from(&c.Counters, &c.Content)
	c.Spans = l.spans.With(span)
	all := c.Counters
	all.Aggregated += all.Open
	m.Counters, m.Content, m.Spans = countersArray(all), contentOf(c.Content), c.Spans.Flat()
	at.commit = l.commit(at.commit.Offset, m)
	return at, nil
}
