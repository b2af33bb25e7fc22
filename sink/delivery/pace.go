package delivery

import (
	"time"

	"github.com/weir-stream/weir/sink"
)

// A backlog is stored at a pace of its own: so many rows at a time, then a pause as long as that took, in which what is live is
// stored. So a node that catches up takes half of the time of a server at most, however many rows wait, makes few and large
// parts, and a live cut waits for one write of the backlog at most.
//
// The server says when that is too much: with every answer of that kind a write has half of the rows and the pause is twice as
// long, and with every success it has a little more.
type pace struct {
	rows   int           // of a write; a cut is never divided
	pause  time.Duration // least pause between two writes
	credit float64       // rows that may be stored without a pause: what a restart sends once more is no backlog
	at     time.Time     // when credit was counted
	next   time.Time     // when the next write may be done
	live   bool          // the last write was of live cuts
}

// Bounds of a pace.
const (
	firstRows, leastRows, mostRows, moreRows = 50_000, 1_000, 200_000, 2_000
	leastPause, mostPause                    = 250 * time.Millisecond, time.Minute
	mostCredit, creditPerSecond              = 100_000, 2_000
)

func newPace() pace { return pace{rows: firstRows, pause: leastPause, credit: mostCredit} }

// stored notes a write of so many rows of the backlog that began at a time.
func (p *pace) stored(rows int, began, now time.Time) {
	p.rows = min(p.rows+moreRows, mostRows)
	p.pause = max(p.pause/2, leastPause)
	if !p.at.IsZero() {
		p.credit = min(p.credit+now.Sub(p.at).Seconds()*creditPerSecond, mostCredit)
	}
	p.at = now
	if p.credit -= float64(rows); p.credit >= 0 && p.pause == leastPause {
		return
	}
	p.credit = max(p.credit, 0)
	p.next = now.Add(max(p.pause, now.Sub(began)))
}

// overloaded notes that the server had too much of it.
func (p *pace) overloaded(now time.Time) {
	p.rows = max(p.rows/2, leastRows)
	p.pause = min(2*p.pause, mostPause)
	p.credit, p.at = 0, now
	p.next = now.Add(p.pause)
}

// choose says what is to be stored now of what is pending, in the order it was submitted, or how long to wait until something
// may be. Both are nothing where nothing is pending.
func (p *pace) choose(pending []*item, now time.Time) (items []*item, wait time.Duration) {
	var live, backlog []*item
	rows := 0
	for _, it := range pending {
		switch {
		case !isBacklog(it.cut):
			live = append(live, it)
		case len(backlog) == 0 || rows+it.cut.Rows.Rows <= p.rows:
			backlog = append(backlog, it)
			rows += it.cut.Rows.Rows
		}
	}
	due := len(backlog) > 0 && !p.next.After(now)
	switch {
	case len(live) > 0 && !(due && p.live):
		p.live = true
		return live, 0
	case due:
		p.live = false
		return backlog, 0
	case len(backlog) > 0:
		return nil, p.next.Sub(now)
	}
	return nil, 0
}

// isBacklog tells whether a cut is stored at the pace of the backlog. Those without rows are small.
func isBacklog(c *sink.Cut) bool { return c.Backlog && c.Rows != nil }
