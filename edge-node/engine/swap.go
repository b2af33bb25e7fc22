package engine

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/weir-stream/weir/edge-node/failpoint"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/sink"
)

// errFinishing ends the work of a lane because it was asked to finish: run carries that out.
var errFinishing = errors.New("the lane is to finish")

// Swap is a change of generation on its way.
type Swap struct {
	e     *Engine
	to    *generation
	older []*generation
	began time.Time
}

// Swapped is what a swap did.
type Swapped struct {
	Segments int64 // begun, because the revision is another
	Took     time.Duration
}

// Swap makes another generation the current one. Partitions that are assigned from now on start in it. Each lane moves
// to it at its next batch boundary; the others are not held up, nothing is read again, and the group does not notice.
// If the revision is the same, the lane's windows and its segment go on. If not, or if the windows cannot, the lane ships what it has, waits for the
// acknowledgement, commits that the next segment begins here, and begins it with empty windows and the same clock.
//
// A swap takes the place of one that is not finished. A generation is closed when the last lane has left it. The engine
// owns the new one unless there is an error; then everything is as before.
func (e *Engine) Swap(ctx context.Context, spec Generation) (*Swap, error) {
	s := &Swap{e: e, began: time.Now()}
	var err error
	if s.to, err = newGeneration(ctx, &e.cfg, spec); err != nil {
		return nil, err
	}
	e.mu.Lock()
	if e.ending {
		e.mu.Unlock()
		s.to.Generation.Close = nil
		return nil, errors.Join(errors.New("the pipeline has ended"), s.to.close())
	}
	s.older = slices.Clone(e.generations)
	e.generations = append(e.generations, s.to)
	e.current.Store(s.to)
	e.mu.Unlock()
	for _, g := range s.older {
		e.retire(g)
	}
	e.eachLane((*lane).poke)
	return s, nil
}

// Wait waits until no lane is in an older generation, or ctx ends.
func (s *Swap) Wait(ctx context.Context) (Swapped, error) {
	for _, g := range s.older {
		select {
		case <-g.closed:
		case <-ctx.Done():
			return Swapped{}, ctx.Err()
		}
	}
	return Swapped{Segments: s.to.opened.Load(), Took: time.Since(s.began)}, nil
}

// enter takes a place in the current generation, which keeps it open.
func (e *Engine) enter() *generation {
	e.mu.Lock()
	defer e.mu.Unlock()
	g := e.current.Load()
	g.lanes++
	return g
}

// leave gives the place back.
func (e *Engine) leave(g *generation) {
	e.mu.Lock()
	g.lanes--
	e.mu.Unlock()
	e.retire(g)
}

// retire closes a generation that nobody is in any more and nobody will enter.
func (e *Engine) retire(g *generation) {
	e.mu.Lock()
	if g.ending || g.lanes > 0 || g == e.current.Load() {
		e.mu.Unlock()
		return
	}
	g.ending = true
	e.mu.Unlock()
	if err := g.close(); err != nil {
		e.log.Warn("could not free everything of the version before", "error", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.generations = slices.DeleteFunc(e.generations, func(o *generation) bool { return o == g })
	e.stats.used = addUsed(e.stats.used, Used{g.Revision, g.counts.status(&g.Generation)}) // what closing took is counted by now
}

// follow moves the lane to the current generation if it is in another one. It is called between batches.
func (l *lane) follow() error {
	to := l.e.current.Load()
	switch {
	case to == l.gen:
		return nil
	case to.Revision == l.gen.Revision && !l.gen.OwnWindows:
		return l.settle(l.e.enter(), true)
	case l.replayTo > 0, l.inFlight.Load():
		// A replay belongs to the old revision. A cut may be on its way for as long as the destination is away: the move
		// waits for it, and the records need not.
		return nil
	}
	if !l.asked && !l.ask() || l.position < l.beyond {
		return nil
	}
	return l.move(false)
}

// ask finds out how far the destination has the lane's segment. A process that had the partition before may have stored
// more than it lived to commit, and the segment must not end before that.
func (l *lane) ask() bool {
	if time.Now().Before(l.askAt) {
		return false
	}
	const again = time.Second
	ctx, cancel := context.WithTimeout(l.ctx, 10*time.Second)
	defer cancel()
	cov, err := l.e.cfg.Coverage(ctx, []batch.Partition{l.partition})
	if err != nil {
		l.askAt = time.Now().Add(again)
		time.AfterFunc(again, l.poke)
		return false
	}
	for _, c := range cov[0] {
		if c.Revision == l.gen.Revision && c.Segment == l.segment {
			l.beyond = max(c.Version, c.RowsVersion)
			l.opened = true // by somebody before, who told of what is missing before it
		}
	}
	l.asked = true
	return true
}

// settle makes a generation the lane has entered the lane's own. The state of stateful steps goes with it where the
// segment goes on.
func (l *lane) settle(to *generation, goesOn bool) error {
	var states []sink.StepState
	if goesOn && l.memory.chain != nil {
		var err error
		if states, err = l.snapshot(); err != nil {
			l.e.leave(to)
			return err
		}
	}
	if !goesOn {
		l.abandon()
	}
	l.disown()
	from := l.gen
	l.gen = to
	l.e.leave(from)
	return l.carry(states)
}

// move ends the segment of the old revision where the lane is, and begins one of the new; or one of the same revision, where early
// says that the windows are to give their memory back.
//
// The order is what makes it exact: all of the old segment is acknowledged, then the group says that the next one begins
// here, and only then does anything of the next one leave the lane. Before the commit, whoever takes the partition over
// goes on in the old segment, or begins another behind what is stored of it; after it, nobody continues the old one. A
// process that lost the partition cannot commit, so it never begins a segment beside that of the owner.
func (l *lane) move(early bool) error {
	if !l.drain() {
		return l.ctx.Err()
	}
	defer l.poke() // what came meanwhile may have been woken for already
	if l.finishing() {
		return errFinishing
	}
	to := l.e.enter()
	if !early && to.Revision == l.gen.Revision && !l.gen.OwnWindows { // it was swapped back
		return l.settle(to, true)
	}
	clock := l.window.Clock()
	before := missing{}
	if !l.opened { // nothing of the segment that ends is stored, and nobody would hear of what is missing before it
		before = missing{l.gap, l.lost, l.why}
	}
	failpoint.Hit(failpoint.SwapBefore)
	err := l.begin(commitMetadata{
		Revision: sink.RevisionText(to.Revision), Segment: l.segment + 1, Start: l.position, Position: l.position,
		At: clockArray(clock), Reached: clockArray(clock), Content: &content{}, Gap: before.offsets, Lost: before.rows, Why: before.why,
	})
	if err != nil {
		l.e.leave(to) // whether the commit arrived or not, the next owner goes on from here
		return err
	}
	failpoint.Hit(failpoint.SwapAfter)
	if to != l.gen {
		to.opened.Add(1)
	}
	if err := l.settle(to, false); err != nil {
		return err
	}
	l.window = to.Window()
	l.window.Restore(clock, operators.Clock{Max: operators.Unset})
	err = l.nextSegment(l.segment+1, l.position, before)
	l.stats.segment.Store(int64(l.segment))
	return err
}

// begin commits that a segment begins, and returns when the group knows. Until then nothing of the segment may leave the
// lane: a successor that found the commit of the segment before would go on in that one, beside this.
func (l *lane) begin(m commitMetadata) error {
	l.e.commits.add(l.commit(m.Start, m))
	for told := false; ; told = true {
		err := l.e.commits.flush(l.ctx, l.e)
		if l.ctx.Err() != nil {
			return l.ctx.Err()
		}
		if err == nil {
			return nil
		}
		if !told {
			l.e.log.Warn("could not commit that a segment begins; trying again", "partition", l.partition.String(), "segment", m.Segment, "error", err)
		}
		select {
		case <-time.After(time.Second):
		case <-l.wake:
		case <-l.ctx.Done():
		}
		if l.finishing() {
			return errFinishing
		}
	}
}

// beginFirst is begin for the segment a lane starts with.
func (l *lane) beginFirst() error {
	failpoint.Hit(failpoint.ResumeBegin)
	clock := clockArray(l.window.Clock())
	err := l.begin(commitMetadata{
		Revision: sink.RevisionText(l.gen.Revision), Segment: l.segment, Start: l.start, Position: l.position,
		At: clock, Reached: clock, Content: &content{}, Gap: l.gap, Lost: l.lost, Why: l.why,
	})
	l.begins = err != nil
	return err
}
