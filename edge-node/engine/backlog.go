package engine

import (
	"fmt"
	"math"
	"time"

	"github.com/weir-stream/weir/edge-node/failpoint"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

// resend is a run over what is saved. There are two kinds.
//
// One over closed windows ships as many of them as make a cut or so. Nothing about a closed window changes any more, so once its
// rows are acknowledged they can leave the disk, whatever else waits there. A backlog of days goes in many of these.
//
// When little more than the open windows is left, one over everything ships what is saved as it was at one moment, dead
// letters as well, and ends with the coverage of that moment.
type resend struct {
	view  sink.LocalView
	of    saved
	first *batch.Batch // read already, to see how much there is
	rows  int          // of a part, at most
	parts bool         // over closed windows
	until int64        // of a run over closed windows: none of those that were closed when it began starts here or later
	one   int64        // start of the one window that the parts so far were of; noPass: there was no part
	asked time.Time    // when the last part was submitted
}

// holdView is how long a view is held while a part of it is on its way. It keeps what was removed since from giving back its
// disk, so a run that waits for longer is begun again.
const holdView = 30 * time.Second

// maxFresh is how many cuts that were saved last a lane holds, to ship them before what waits for longer.
const maxFresh = 4

// keepFresh holds what was just saved while a long backlog is shipped, so that what is live does not wait for the end of it. It is
// on the disk: when there is too much of it, it goes with the backlog.
func (l *lane) keepFresh(cut *sink.Cut) {
	d := &l.local
	if !d.long || cut.Rows == nil || cut.Rows.Rows > resendRows {
		return
	}
	if len(d.fresh) == maxFresh {
		d.fresh = append(d.fresh[:0], d.fresh[1:]...)
	}
	d.fresh = append(d.fresh, &sink.Cut{Coverage: cut.Coverage, Rows: cut.Rows, Partial: true})
}

// shipSaved submits the next part of what is saved.
func (l *lane) shipSaved() {
	if d := &l.local; len(d.fresh) > 0 {
		cut := d.fresh[0]
		d.fresh = append(d.fresh[:0], d.fresh[1:]...)
		l.submit(cut, nil)
		return
	}
	if err := l.submitSaved(); err != nil && l.ctx.Err() == nil {
		l.e.fail(fmt.Errorf("%s: ship what was saved: %w", l.partition, err))
	}
}

func (l *lane) submitSaved() error {
	d := &l.local
	if d.run == nil {
		if err := l.beginRun(); err != nil {
			return err
		}
	}
	r := d.run
	r.asked = time.Now()
	switch {
	case r.parts && l.keyed() != nil:
		return l.submitQueued()
	case r.parts:
		return l.submitClosed()
	}
	cut := &sink.Cut{Coverage: r.of.coverage, Backlog: true, Rows: r.first, Partial: true}
	if r.first = nil; cut.Rows == nil {
		var err error
		if cut, err = nextCut(r.view, r.of.coverage, r.rows); err != nil {
			return err
		}
	}
	if cut.Partial {
		l.submit(cut, nil)
		failpoint.Hit(failpoint.Resend)
		return nil
	}
	if err := l.memorize(r.view, &r.of, cut); err != nil {
		return err
	}
	d.run = nil
	sent := r.of
	d.sent = &sent
	l.submit(cut, &r.of.commit)
	return r.view.Close()
}

// beginRun looks at what is saved, and decides what kind of run comes next.
func (l *lane) beginRun() error {
	d := &l.local
	view, err := d.disk.View()
	if err != nil {
		return err
	}
	r := &resend{view: view, of: d.saved, one: noPass}
	d.run, d.behind = r, false
	r.rows, d.long = max(1, l.e.cfg.PartRows()), false
	if l.keyed() != nil {
		return l.beginQueue(r)
	}
	oldest := l.oldestClosed()
	if oldest == nil {
		// Closed windows that are acknowledged stay on the disk until something is saved again.
		view.From(l.firstOpen())
		return nil
	}
	view.From(oldest.start)
	if r.first, err = view.Rows(r.rows); err != nil || r.first == nil || r.first.Rows < r.rows {
		return err
	}
	starts := batch.As[int64](r.first.Cols[0].Values)
	r.until = d.closed[len(d.closed)-1].start + 1
	r.parts = starts[r.first.Rows-1] < r.until
	d.long = r.parts
	return nil
}

// tellBacklog is how often a lane that ships a long backlog says how it gets on.
const tellBacklog = 30 * time.Second

// countBacklog notes how much waits on the disk, and says now and then how long that will take.
func (l *lane) countBacklog() {
	d := &l.local
	rows, oldest := int64(0), int64(0)
	if d.disk != nil && !l.settled() {
		rows = int64(d.disk.Entries())
		if c := l.oldestClosed(); c != nil {
			oldest = c.start
		} else if d.queue.acked < d.saved.queued {
			oldest = d.queue.oldest
		}
	}
	l.stats.backlog.Store(rows)
	l.stats.oldest.Store(oldest)
	now := time.Now()
	switch took := now.Sub(d.toldAt); {
	case !d.long:
		d.toldAt = time.Time{}
	case d.toldAt.IsZero():
		d.toldAt, d.told = now, rows
	case took >= tellBacklog:
		attrs := []any{"partition", l.partition.String(), "rows", rows, "oldest_window", time.UnixMilli(oldest).UTC()}
		if less := d.told - rows; less > 0 {
			attrs = append(attrs, "done_in", time.Duration(float64(took)*float64(rows)/float64(less)).Round(time.Second))
		}
		l.e.log.Info("catching up", attrs...)
		d.toldAt, d.told = now, rows
	}
}

// oldestClosed is the first closed window that is not acknowledged, or nil.
func (l *lane) oldestClosed() *closed {
	for i := range l.local.closed {
		if c := &l.local.closed[i]; c.version >= 0 {
			return c
		}
	}
	return nil
}

// firstOpen is where the first of the open windows that are saved starts, or the end of time.
func (l *lane) firstOpen() int64 {
	first := int64(math.MaxInt64)
	for _, o := range l.local.saved.open {
		first = min(first, o[0])
	}
	return first
}

// submitClosed submits a part of a run over closed windows: whole windows, or some of one that is more than a part.
func (l *lane) submitClosed() error {
	d := &l.local
	r := d.run
	rows := r.first
	if r.first = nil; rows == nil {
		var err error
		if rows, err = r.view.Rows(r.rows); err != nil {
			return err
		}
	}
	end := func(pass int64) error {
		d.run, d.behind = nil, true
		d.pass = min(pass, r.until) // what was open then may have more rows by now
		return r.view.Close()
	}
	if rows == nil {
		return end(r.until)
	}
	if first := batch.As[int64](rows.Cols[0].Values)[0]; r.one != noPass && first != r.one {
		return end(first) // the parts before were all of a window, and are acknowledged
	}
	cut := &sink.Cut{Coverage: r.of.coverage, Backlog: true, Rows: rows, Partial: true}
	starts := batch.As[int64](rows.Cols[0].Values)[:rows.Rows]
	last := len(starts) - 1
	for last > 0 && starts[last-1] == starts[len(starts)-1] {
		last--
	}
	if last == 0 { // one window, and perhaps there is more of it
		r.one = starts[0]
		l.submit(cut, nil)
		failpoint.Hit(failpoint.Resend)
		return nil
	}
	cut.Rows = rows.Head(last)
	next := starts[last]
	l.submit(cut, nil)
	failpoint.Hit(failpoint.Resend)
	return end(next)
}

// reapPart accounts for the acknowledgement of the last part of a run over closed windows.
func (l *lane) reapPart() {
	d := &l.local
	d.queue.acked, d.queue.pass = max(d.queue.acked, d.queue.pass), 0
	if d.pass == noPass {
		return
	}
	for i := range d.closed {
		if d.closed[i].start < d.pass {
			d.closed[i].version = -1
		}
	}
	d.pass = noPass
}

// letGo ends a run whose last part waits for long, so that its view does not hold what was removed since. What of it is not
// acknowledged is submitted again.
func (l *lane) letGo() {
	if r := l.local.run; r != nil && l.inFlight.Load() && time.Since(r.asked) > holdView {
		l.giveUp()
		l.local.behind = true
	}
}

// giveUp lets go of what the lane has open on the disk.
func (l *lane) giveUp() {
	if r := l.local.run; r != nil {
		_ = r.view.Close()
		l.local.run = nil
	}
}

// keptFrom is the end of the last window that the lane has nothing of any more, in milliseconds since 1970.
func (l *lane) keptFrom() int64 {
	final := l.window.Final()
	if final == math.MinInt64 {
		return final
	}
	return -floorMillis(-final)
}

// floorMillis is the greatest number of milliseconds that is not above so many microseconds.
func floorMillis(us int64) int64 {
	ms := us / 1000
	if us%1000 < 0 {
		ms--
	}
	return ms
}
