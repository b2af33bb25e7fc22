package engine

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/weir-stream/weir/edge-node/failpoint"
	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/sink"
)

// A lane ships before the flush clock says so when it has this much to ship.
const (
	maxDirty       = 200_000
	maxLetterBytes = 4 << 20
)

// All lanes ship together before the flush clock says so when what the next cuts close takes this part of the budget of window state. At
// twice as much, those whose cut is on its way wait for it, though for no longer than FlushEvery: then the destination does not take
// cuts, and the whole budget is there for that.
const closingPart = 16

// full tells whether the lane should ship now.
func (l *lane) full() bool {
	return l.letterB > maxLetterBytes || l.window.Dirty() > maxDirty || l.e.state.Load() > l.e.cfg.MaxState || l.closesMuch()
}

// overfull tells whether the lane must not take more until a cut is acknowledged.
func (l *lane) overfull() bool {
	return l.inFlight.Load() && (l.letterB > 2*maxLetterBytes || l.window.Dirty() > 2*maxDirty || l.closesMuch() && time.Since(l.sentAt) < l.e.cfg.FlushEvery)
}

// closesMuch tells whether the lane's next cut gives back some of what is too much to wait for a cut.
func (l *lane) closesMuch() bool {
	return l.closing > 0 && l.e.closing.Load() > 2*(l.e.cfg.MaxState/closingPart)
}

// waitForRoom waits while window state, over all lanes, is over its budget. Shipping closes windows, so there will be
// room as long as any lane has something to ship. When none has, open windows alone are too much, and the lane that has most of them
// begins its next segment; or the pipeline ends with an error where that must not be. Nothing is lost by that: the next run begins where the commit is.
func (l *lane) waitForRoom() error {
	const again = 20 * time.Millisecond
	defer l.endHeld()
	for asked := false; l.e.state.Load() > l.e.cfg.MaxState; {
		if l.replayTo > 0 {
			return nil // a replay rebuilds what was open before, and ships nothing
		}
		l.noteHeld()
		if l.keeps() || !l.inFlight.Load() {
			l.ship()
		}
		l.mayGive()
		if !asked {
			asked = true
			l.e.eachLane(func(other *lane) { other.request(wantFlush) })
		}
		if l.e.noneGives() {
			if goOn, err := l.makeWay(); goOn || err != nil {
				return err
			}
		}
		select {
		case <-l.wake:
			if l.finishing() {
				return nil
			}
		case <-time.After(again):
		case <-l.ctx.Done():
			return l.ctx.Err()
		}
	}
	return nil
}

// finishing tells whether a finish was asked for, and keeps the lane awake for it: run carries it out.
func (l *lane) finishing() bool {
	l.mu.Lock()
	finish := l.wants&wantFinish != 0
	l.mu.Unlock()
	if finish {
		l.poke()
	}
	return finish
}

// countState tells the engine how much memory the lane's windows take now.
func (l *lane) countState() {
	state := l.window.MemorySize()
	l.e.state.Add(state - l.stateB)
	l.stateB = state
	l.stats.stateBytes.Store(state)
	closing := int64(0)
	if w, ok := l.window.(operators.Closing); ok {
		if n := w.Closing(); n > 0 {
			closing = int64(float64(state) * float64(n) / float64(l.window.Groups()))
		}
	}
	l.e.closing.Add(closing - l.closing)
	l.closing = closing
}

// hurry has all lanes ship before the flush clock says so when their cuts would give back much. Event time is fast where a node
// catches up: between two flushes many windows become final, and would take several times the memory of those that are open.
// Shipping them sooner costs little, since what is final is shipped once. All lanes ship together, as they do by the clock, so that
// inserts are large; a lane that has little of it does not ask.
func (l *lane) hurry() {
	limit := l.e.cfg.MaxState / closingPart
	if l.inFlight.Load() || l.e.closing.Load() <= limit {
		return
	}
	lanes := int64(0)
	l.e.eachLane(func(*lane) { lanes++ })
	if 2*lanes*l.closing > limit {
		l.e.eachLane(func(other *lane) { other.request(wantFlush) })
	}
}

// mayGive notes whether the lane has something to ship, and what it can do where it has not.
func (l *lane) mayGive() {
	l.yields.Store(int32(l.yield()))
	l.giving.Store(l.inFlight.Load() || (l.replayTo == 0 && l.position != l.shipped))
}

// noneGives tells whether no lane will give back state by itself.
func (e *Engine) noneGives() bool {
	none := true
	e.eachLane(func(l *lane) { none = none && !l.giving.Load() })
	return none
}

// await waits while a condition that an acknowledgement ends holds, or room in the local store. It notes a finish that comes
// meanwhile.
func (l *lane) await(while func() bool) error {
	for while() {
		select {
		case <-l.wake:
			if l.finishing() {
				return nil
			}
			if l.keeps() {
				l.ship()
			}
		case <-l.ctx.Done():
			return l.ctx.Err()
		}
	}
	return nil
}

// ship cuts and hands the cut to delivery. It tells whether there is nothing left to ship; a cut that is still on its
// way postpones the next one, but what changed is saved meanwhile if the node keeps anything.
func (l *lane) ship() bool {
	if !l.announce() {
		return true
	}
	if l.local.disk == nil && l.inFlight.Load() {
		return false
	}
	if l.replayTo > 0 {
		return true
	}
	l.local.resting = false
	l.reap()
	l.letGo()
	defer l.countBacklog()
	if l.settled() && !l.inFlight.Load() {
		l.recall()
	}
	changed := l.position != l.shipped || !l.opened || len(l.letters) > 0 || l.withholds()
	if !l.settled() || l.inFlight.Load() {
		done := !changed || l.keeps() && l.saveOnly()
		if l.canResend() {
			l.shipSaved()
		}
		return done
	}
	if !changed {
		return true
	}
	w, cut, commit, err := l.cut(true)
	if err != nil {
		// What was cut is in no window and in no cut: nothing of this lane may be shipped any more.
		if l.ctx.Err() == nil {
			l.e.fail(err)
		}
		l.cancel()
		return true
	}
	if l.keeps() {
		switch err := l.save(&w, cut, commit); {
		case errors.Is(err, sink.ErrFull):
			l.forsake(err)
		case err != nil:
			l.e.fail(err)
			return true
		default:
			sent := l.local.saved
			l.local.sent = &sent
		}
	}
	l.submit(cut, &commit)
	return true
}

// resend submits the next part of what is saved, when the part before is acknowledged. What changed since waits for the clock, as it
// does otherwise, unless the store had no room: what was acknowledged makes some with the next change.
func (l *lane) resend() {
	if l.stats.full.Load() {
		l.ship()
		return
	}
	l.reap()
	l.letGo()
	defer l.countBacklog()
	if l.canResend() {
		l.shipSaved()
	}
}

// cut takes out of the window what changed, and with it everything that waits. It will be shipped as it is, or saved only.
func (l *lane) cut(ships bool) (operators.Cut, *sink.Cut, ingest.Commit, error) {
	w, rows := l.cutWindows(ships)
	c := &sink.Cut{Rows: rows, DeadLetters: l.letters, Coverage: l.coverage()}
	stored, err := l.remember(&w, c, ships)
	if err != nil {
		return w, nil, ingest.Commit{}, err
	}
	l.letters, l.letterB = nil, 0
	l.shipped, l.opened = l.position, true
	l.countState()
	return w, c, l.commitOf(w, stored), nil
}

// coverage is the account of the lane's segment as it is.
func (l *lane) coverage() sink.Coverage {
	counters := l.counters
	counters.Aggregated -= l.open
	counters.Open = l.open
	return sink.Coverage{
		Partition: l.partition, Revision: l.gen.Revision, Segment: l.segment, Start: l.start, Version: l.position,
		Watermark: l.window.Watermark(), Final: l.window.Final(), Counters: counters, Content: l.content, Spans: l.spans, Gap: l.gap, Lost: l.lost, GapReason: l.why, Began: l.began,
		Epoch: l.epoch,
	}
}

// reach is how far event time is.
func (l *lane) reach() *sink.Began {
	return &sink.Began{Watermark: l.window.Watermark(), Final: l.window.Final()}
}

// submit hands a cut to delivery; commit is what to commit when it is acknowledged, or nil.
func (l *lane) submit(cut *sink.Cut, commit *ingest.Commit) {
	failpoint.Hit(failpoint.Submit)
	l.inFlight.Store(true)
	began := time.Now()
	l.sentAt = began
	err := l.e.cfg.Delivery.Submit(l.ctx, cut, func(err error) {
		switch {
		case l.ctx.Err() != nil: // withdrawn with the partition, or stored when it was given away already: its next owner commits
		case err != nil:
			l.e.fail(err)
			l.cancel() // before inFlight says that it is over: see reap
		default:
			if commit != nil {
				l.e.commits.add(*commit)
			}
			l.stats.acked(cut, time.Since(began))
			if !cut.Partial {
				l.stats.acknowledged.Store(cut.Coverage.Version)
			}
		}
		l.inFlight.Store(false)
		l.poke()
	})
	if err != nil {
		if l.ctx.Err() == nil && !errors.Is(err, context.Canceled) {
			l.e.fail(err)
		}
		l.cancel()
		l.inFlight.Store(false)
		return
	}
	l.stats.cuts.Add(1)
}

// commitOf is what to commit once a cut is acknowledged.
func (l *lane) commitOf(w operators.Cut, stored int64) ingest.Commit {
	return l.commit(w.ReplayFrom, commitMetadata{
		Revision: sink.RevisionText(l.gen.Revision), Segment: l.segment, Start: l.start, Position: l.position,
		At: clockArray(w.Replay), Reached: clockArray(l.window.Clock()),
		Counters: countersArray(l.counters), Content: contentOf(l.content), Spans: l.spans.Flat(), Open: l.open, Gap: l.gap, Lost: l.lost, Why: l.why, State: stored,
	})
}

// commit completes the metadata of a commit.
func (l *lane) commit(offset int64, m commitMetadata) ingest.Commit {
	m.Format, m.TopicID, m.Node = commitFormat, hex.EncodeToString(l.partition.TopicID[:]), l.e.cfg.Node
	text, err := json.Marshal(m)
	if err != nil {
		panic("engine: encode commit metadata: " + err.Error()) // numbers and short strings
	}
	return ingest.Commit{Partition: l.partition, Offset: offset, Epoch: l.epoch, Metadata: string(text)}
}

// drain ships everything that was processed and waits for the acknowledgement. It tells whether that worked.
func (l *lane) drain() bool {
	l.whole = true
	defer func() { l.whole = false }()
	for {
		if l.awaitAck() != nil || l.ctx.Err() != nil {
			return false
		}
		if l.replayTo > 0 || (l.position == l.shipped && len(l.letters) == 0 && l.settled() && !l.withholds()) {
			return l.ctx.Err() == nil
		}
		l.ship()
	}
}

// awaitAck waits for the cut on its way, whatever else is asked for.
func (l *lane) awaitAck() error {
	for l.inFlight.Load() {
		select {
		case <-l.wake:
		case <-l.ctx.Done():
			return l.ctx.Err()
		}
	}
	return nil
}

// awaitWithdrawal waits until delivery is done with the cut of a lane that has ended, so that it is not written after the
// partition was given away, and its commit is not added after the others were forgotten.
func (l *lane) awaitWithdrawal() {
	const atMost, again = 2 * time.Second, 2 * time.Millisecond
	for began := time.Now(); l.inFlight.Load() && time.Since(began) < atMost; {
		time.Sleep(again)
	}
}

// commitQueue holds the newest acknowledged position of each partition until it is committed.
type commitQueue struct {
	mu      sync.Mutex
	pending map[laneKey]ingest.Commit // guarded by mu
	wake    chan struct{}
	busy    chan struct{} // holds a token during a commit, so that flush waits for one on its way
}

func (q *commitQueue) init() {
	q.pending = map[laneKey]ingest.Commit{}
	q.wake = make(chan struct{}, 1)
	q.busy = make(chan struct{}, 1)
}

// lock waits for a commit on its way. It is no mutex because that is a wait for the broker: in virtual time, a mutex held
// meanwhile would stop the clock.
func (q *commitQueue) lock() { q.busy <- struct{}{} }

func (q *commitQueue) unlock() { <-q.busy }

func (q *commitQueue) add(c ingest.Commit) {
	q.mu.Lock()
	q.pending[keyOf(c.Partition)] = c
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// forget drops what waits for a partition that leaves, and waits for a commit on its way: one that were sent after the
// partition has another owner would overwrite the owner's.
func (q *commitQueue) forget(p batch.Partition) {
	q.lock()
	defer q.unlock()
	q.mu.Lock()
	delete(q.pending, keyOf(p))
	q.mu.Unlock()
}

// run commits what is acknowledged, a little later, so that one commit carries the partitions of one delivery.
func (q *commitQueue) run(ctx context.Context, e *Engine) {
	const gather, retry = 50 * time.Millisecond, time.Second
	wait := gather
	for {
		select {
		case <-ctx.Done():
			return
		case <-q.wake:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = gather
		if err := q.flush(ctx, e); err != nil && ctx.Err() == nil {
			// Nothing is lost: more is read again after a restart. The next acknowledgement brings a newer one.
			e.log.Warn("could not commit offsets; trying again", "error", err)
			wait = retry
			select {
			case q.wake <- struct{}{}:
			default:
			}
		}
	}
}

// flush commits what is pending.
func (q *commitQueue) flush(ctx context.Context, e *Engine) error {
	q.lock()
	defer q.unlock()
	q.mu.Lock()
	commits := make([]ingest.Commit, 0, len(q.pending))
	for _, c := range q.pending {
		commits = append(commits, c)
	}
	q.mu.Unlock()
	if len(commits) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	failpoint.Hit(failpoint.CommitBefore)
	if err := e.cfg.Source.Commit(ctx, commits); err != nil {
		e.stats.commitErrors.Add(1)
		return err
	}
	failpoint.Hit(failpoint.CommitAfter)
	e.stats.commits.Add(int64(len(commits)))
	for i := range commits {
		c := commits[i]
		if l := e.lane(c.Partition); l != nil {
			l.memory.committed.Store(&c)
		}
	}
	q.mu.Lock()
	for _, c := range commits {
		if q.pending[keyOf(c.Partition)] == c {
			delete(q.pending, keyOf(c.Partition))
		}
	}
	q.mu.Unlock()
	return nil
}

// microseconds as a time, for people; the zero time where there is none.
func microTime(us int64) time.Time {
	if us == math.MinInt64 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}
