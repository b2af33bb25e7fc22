package engine

import (
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/sink"
)

// Windows that are of one key each (sessions, windows of so many rows) do not end together where they begin together, so what is closed of them
// cannot leave the disk by the times at which it began. The disk has their rows in two parts: those of windows that are open, each under its
// window and key, which a restart loads; and a queue of those that only wait to be acknowledged: of windows that take no more rows, and such as
// take others back. With the cut that closes a window its row goes from the one to the other. What is acknowledged leaves the queue from
// its beginning, as dead letters do.
//
// No row is in both parts, and none twice in the queue: a window that is closed, or a start that a session has lost, does not come again. So
// it does not matter in which order they are shipped, or with which later version.

// queue is how far the queue of a lane has got. Rows are numbered as they are queued: those below acked are acknowledged, those below dropped
// are gone.
type queue struct {
	acked, dropped int
	pass           int   // what is acked once the part on its way is acknowledged; 0: none is
	oldest         int64 // start of the window of the first row of the last part
}

// keyed is the lane's window if that is of windows of one key each, or nil.
func (l *lane) keyed() operators.Keyed {
	k, _ := l.window.(operators.Keyed)
	return k
}

// putKeyed adds a cut to a change. It gives how many rows are queued.
func (l *lane) putKeyed(ch sink.LocalChange, w *operators.Cut) (queued int) {
	ch.DropRows(w.Left, w.LeftHashes)
	put := func(rows *batch.Batch, from int) {
		if rows != nil && from < rows.Rows {
			ch.Queue(rows, from)
			queued += rows.Rows - from
		}
	}
	if w.Rows != nil && w.Stay > 0 {
		ch.Put(w.Rows.Head(w.Stay), w.Hashes[:w.Stay], w.Before[:w.Stay])
	}
	if l.gen.EmitFinal { // what takes back is not shipped, and of what was shipped nothing is closed
		put(w.Final, 0)
		return queued
	}
	put(w.Rows, w.Stay)
	put(w.Over, 0)
	return queued
}

// beginQueue begins a run over the next part of the queue. Where there is not much more than that, the run is over everything that is saved: the
// rest of the queue comes first.
func (l *lane) beginQueue(r *resend) (err error) {
	d := &l.local
	r.view.Skip(d.queue.acked - d.queue.dropped)
	if d.saved.queued-d.queue.acked < r.rows {
		return nil
	}
	if r.first, err = r.view.Rows(r.rows); err != nil || r.first == nil {
		return err
	}
	r.parts, d.long = true, true
	d.queue.oldest = batch.As[int64](r.first.Cols[0].Values)[0]
	return nil
}

// submitQueued submits the part of the queue that a run has read, and ends the run.
func (l *lane) submitQueued() error {
	d := &l.local
	r := d.run
	d.run, d.behind = nil, true
	d.queue.pass = d.queue.acked + r.first.Rows
	l.submit(&sink.Cut{Coverage: r.of.coverage, Backlog: true, Rows: r.first, Partial: true}, nil)
	return r.view.Close()
}
