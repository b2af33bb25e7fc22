package engine

import (
	"cmp"
	"fmt"
	"sync"
	"time"
)

// Where window state is over its budget and shipping gives nothing back, because what takes the room is open windows, the lane that has
// most of it begins its next segment early: of the same revision, with empty windows and the same clock, as after a swap (move). All that
// was in the windows is stored by then. Later rows of the same windows and keys count in the next segment, and whoever reads adds the
// segments up.
//
// That is exact where the parts of a window add up, in whatever order. Where they do not, the run ends instead, and says so.

// yield is what a lane can do to make room.
type yield int32

const (
	yieldUnknown yield = iota // it has not said yet
	yieldReplays              // it has to build windows again first
	yieldEmpty                // its windows have nothing
	yieldNot                  // its windows must not be in parts
	yieldSegment              // it can begin its next segment
)

// yield tells what the lane can do now.
func (l *lane) yield() yield {
	switch {
	case l.replayTo > 0:
		return yieldReplays
	case l.window.Groups() == 0:
		return yieldEmpty
	case l.undivided() != "":
		return yieldNot
	}
	return yieldSegment
}

// undivided tells why a segment of the lane must not end before its windows do; "" where it may.
func (l *lane) undivided() string {
	switch g := l.gen; {
	case g.Undivided != "":
		return g.Undivided
	case g.EmitFinal:
		return "windows are shipped when they are final"
	case len(g.stateful) > 0:
		return fmt.Sprintf("step %s keeps state, which would begin anew", g.Steps[g.stateful[0]].Name())
	case l.e.cfg.Announce != nil:
		return "outputs are given windows as a whole"
	}
	return ""
}

// early is what the engine knows of segments that begin early.
type early struct {
	// deciding is held by the lane that decides who makes room, until there is: so no lane begins a segment because of what another
	// gives back already. Nobody waits for it.
	deciding sync.Mutex
	toldAt   time.Time // guarded by deciding
	untold   int       // guarded by deciding
}

// most is the lane that has most window state of those that can begin a segment. It is nil where there is none; wait says that some lane
// has yet to say whether it can.
func (e *Engine) most() (most *lane, wait bool) {
	var size int64
	e.eachLane(func(l *lane) {
		switch yield(l.yields.Load()) {
		case yieldUnknown, yieldReplays:
			wait = true
		case yieldSegment:
			s := l.stats.stateBytes.Load()
			if most == nil || cmp.Or(cmp.Compare(size, s), cmp.Compare(l.partition.Topic, most.partition.Topic), cmp.Compare(l.partition.ID, most.partition.ID)) < 0 {
				most, size = l, s // all lanes find the same one, also of two that have as much
			}
		}
	})
	return most, wait
}

// makeWay is for a lane that finds that state is over its budget and no lane will give any back by itself. It has the lane that has most
// begin a segment, which may be this one. The lane is to go on although there is no room where goOn is true.
func (l *lane) makeWay() (goOn bool, err error) {
	e := l.e
	if !e.early.deciding.TryLock() {
		return false, nil
	}
	most, goOn, err := l.decide()
	e.early.deciding.Unlock()
	if most != nil && most != l {
		most.request(wantRoom)
	}
	return goOn, err
}

// decide is makeWay with early.deciding. most is whose turn it is; where it is this lane's, that was done.
func (l *lane) decide() (most *lane, goOn bool, err error) {
	e := l.e
	if e.state.Load() <= e.cfg.MaxState || !e.noneGives() {
		return nil, false, nil // somebody else was quicker
	}
	most, wait := e.most()
	switch {
	case wait, most != nil && most != l:
		return most, false, nil
	case most == nil:
		return nil, false, l.tooMuch()
	case !l.asked && !l.ask():
		return l, false, nil // the destination does not answer
	case l.position < l.beyond:
		return l, true, nil // somebody before had this much, too
	case l.batches < 2 && l.stateB > e.cfg.MaxState:
		return l, false, l.tooMuch()
	}
	state, keys, windows := l.stateB, l.window.Groups(), l.window.Windows()
	l.giving.Store(true)
	err = l.move(true)
	l.mayGive()
	if err == nil {
		l.stats.early.Add(1)
		e.early.tell(l, state, keys, windows)
	}
	return l, false, err
}

// tellEarlyAgain is how often the log says that segments begin early, at most.
const tellEarlyAgain = time.Minute

// tell has the log say that a lane began a segment early. state is what it gave back.
func (e *early) tell(l *lane, state int64, keys, windows int) {
	e.untold++
	if time.Since(e.toldAt) < tellEarlyAgain {
		return
	}
	l.e.log.Warn("open windows need more memory than limits.state in node.yaml allows: their partition began its next segment early. "+
		"Nothing is lost, and totals are exact; ClickHouse gets rows for these windows and keys once more with each segment. Raise limits.state to have fewer",
		"partition", l.partition.String(), "segment", l.segment, "position", l.position,
		"mib", state>>20, "keys", keys, "windows", windows, "limit_mib", l.e.cfg.MaxState>>20, "segments", e.untold)
	e.toldAt, e.untold = time.Now(), 0
}

// tooMuch is why a run ends whose windows need more than they may.
func (l *lane) tooMuch() error {
	why := l.undivided()
	if why == "" {
		why = "there is not even room for one batch"
	}
	return fmt.Errorf("open windows need %d MiB (of these %s: %d keys in %d windows), and all partitions together may use %d MiB; "+
		"a segment that begins early would not help: %s: "+
		"raise limits.state in node.yaml, group by fewer keys, or make windows or lateness shorter",
		l.e.state.Load()>>20, l.partition, l.window.Groups(), l.window.Windows(), l.e.cfg.MaxState>>20, why)
}

// heldQuietly is for how long a lane may wait for room before the log and the status say so. A cut takes a moment.
const heldQuietly = 10 * time.Second

// noteHeld notes that the lane waits for room, and tells the log if that has been so for long.
func (l *lane) noteHeld() {
	if l.heldAt.Load() == 0 {
		l.heldAt.Store(time.Now().UnixNano())
		return
	}
	if l.heldFor() > heldQuietly && l.e.held.CompareAndSwap(false, true) {
		l.e.log.Warn("no room for more window state: nothing is read until ClickHouse has taken some of what there is",
			"partition", l.partition.String(), "mib", l.e.state.Load()>>20, "limit_mib", l.e.cfg.MaxState>>20)
	}
}

// endHeld notes that it does not wait any more.
func (l *lane) endHeld() {
	if l.heldAt.Swap(0) != 0 && l.e.held.CompareAndSwap(true, false) {
		l.e.log.Info("there is room for window state again", "partition", l.partition.String())
	}
}

// heldFor is for how long it has waited.
func (l *lane) heldFor() time.Duration {
	since := l.heldAt.Load()
	if since == 0 {
		return 0
	}
	return time.Since(time.Unix(0, since))
}
