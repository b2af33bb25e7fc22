package delivery

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/weir-stream/weir/sink"
)

// Status is how delivery is doing.
type Status struct {
	Ready         bool
	Class         sink.Class // of Err
	Err           error      // what is wrong now, or nil
	Since         time.Time  // of the first failure in a row; zero when Err is nil
	Pending       int        // cuts that are not acknowledged
	Held          time.Time  // when the shipping hours begin that are waited for; zero when none are
	OldestPending time.Time  // when the oldest of them was submitted; zero when there is none
}

// Status is how delivery is doing now. It is not ready when something needs a person, or when nothing could be stored
// for longer than Config.UnreadyAfter.
func (d *Delivery) Status() Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := &d.failure
	s := Status{Ready: true, Class: f.class, Err: f.err, Since: f.since, Pending: len(d.pending), Held: d.held}
	if len(d.pending) > 0 {
		s.OldestPending = d.pending[0].at
	}
	if f.err != nil {
		s.Ready = f.class == sink.Retry && time.Since(f.since) < d.cfg.UnreadyAfter
	}
	return s
}

// Snapshot is what delivery has counted since it was made.
type Snapshot struct {
	Cuts        int64 // acknowledged
	Rows        int64 // acknowledged, of windows
	Backlog     int64 // of these, from the node's disk
	Bytes       int64 // acknowledged: the memory of those rows' columns, before encoding and compression
	DeadLetters int64 // acknowledged
	Attempts    int64 // calls of the sink
	Failures    [3]int64
	LastAck     time.Time // zero before the first
}

type counters struct {
	cuts, rows, backlog, bytes, deadLetters, attempts, lastAck atomic.Int64
	failures                                                   [3]atomic.Int64 // by sink.Class
}

// Snapshot reads the counters. Failures is indexed by sink.Class.
func (d *Delivery) Snapshot() Snapshot {
	c := &d.counters
	s := Snapshot{
		Cuts: c.cuts.Load(), Rows: c.rows.Load(), Backlog: c.backlog.Load(), Bytes: c.bytes.Load(), DeadLetters: c.deadLetters.Load(),
		Attempts: c.attempts.Load(),
	}
	for i := range c.failures {
		s.Failures[i] = c.failures[i].Load()
	}
	if ns := c.lastAck.Load(); ns != 0 {
		s.LastAck = time.Unix(0, ns)
	}
	return s
}

func (c *counters) acked(cut *sink.Cut) {
	c.cuts.Add(1)
	c.deadLetters.Add(int64(len(cut.DeadLetters)))
	c.lastAck.Store(time.Now().UnixNano())
	if cut.Rows == nil {
		return
	}
	c.rows.Add(int64(cut.Rows.Rows))
	if cut.Backlog {
		c.backlog.Add(int64(cut.Rows.Rows))
	}
	for i := range cut.Rows.Cols {
		col := &cut.Rows.Cols[i]
		c.bytes.Add(int64(len(col.Validity) + len(col.Offsets) + len(col.Values)))
	}
}

// failed notes a failure that is retried and gives the pause before that.
func (d *Delivery) failed(class sink.Class, err error) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, now := &d.failure, time.Now()
	if f.err == nil {
		f.since, f.count = now, 0
	}
	if f.class != class {
		f.count = 0
	}
	f.class, f.err = class, err
	f.count++

	wait := d.cfg.StopBackoff
	if class == sink.Retry {
		wait = d.cfg.backoff(f.count)
	}
	// The cause and not the message: that counts rows and would look new every time.
	as := class.String() + " " + rootOf(err)
	if as != f.loggedAs && (f.loggedAs == "" || now.Sub(f.logged) >= d.cfg.LogEvery) {
		f.loggedAs, f.logged = as, now
		if class == sink.Stop {
			d.log.Error("cannot store, and it needs a person; trying again from time to time", "error", err, "every", wait)
		} else {
			d.log.Warn("cannot store; trying again", "error", err, "pending_cuts", len(d.pending))
		}
	}
	return wait
}

// recovered notes that a write succeeded that began at a time.
func (d *Delivery) recovered(cuts []*sink.Cut, began time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	rows := 0
	for _, c := range cuts {
		if isBacklog(c) {
			rows += c.Rows.Rows
		}
	}
	if rows > 0 {
		d.pace.stored(rows, began, time.Now())
	}
	if f := &d.failure; f.err != nil {
		d.log.Info("storing again", "failed_for", time.Since(f.since).Round(time.Millisecond), "failures", f.count)
	}
	d.failure = failure{}
}

// rootOf is the text of the innermost error.
func rootOf(err error) string {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err.Error()
		}
		err = next
	}
}
