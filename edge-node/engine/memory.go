package engine

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/sink"
)

// memory is what a lane keeps for stateful steps. State is the partition's: the lane has a chain of its own, and takes the
// state with some of its cuts. A commit names an offset where that was done, so that whoever reads on from there can begin
// with the same state.
type memory struct {
	gen    *generation // of the chain
	chain  *chain
	points []point  // rising; the first is where the newest successful commit begins, or one before it
	last   [32]byte // hash of the states of the last point
	// marks are offsets between where the lane began and its position under which states are stored: points of somebody
	// before, once the replay has come to them and knows the clock there. Rising.
	marks []int64
	// others are states that were stored before this lane was there, for no use any more once the commit is beyond them.
	others   []sink.StepState
	unlisted bool // others were not asked for yet
	listAt   time.Time
	// committed is the newest successful commit of the partition in this process. The commit queue stores it.
	committed atomic.Pointer[ingest.Commit]
}

// point is where a replay can begin.
type point struct {
	offset int64
	clock  operators.Clock // before the offset
	stored int64           // the offset under which the state is stored, lower where it has not changed since; 0: there was none yet
}

// borrow takes a chain for a batch: the lane's own when its turn comes, or any.
func (l *lane) borrow() (*chain, error) {
	if l.memory.chain != nil {
		select {
		case l.gen.turns <- struct{}{}:
			return l.memory.chain, nil
		case <-l.ctx.Done():
			return nil, l.ctx.Err()
		}
	}
	select {
	case c := <-l.gen.chains:
		return c, nil
	case <-l.ctx.Done():
		return nil, l.ctx.Err()
	}
}

// giveBack ends what borrow began.
func (l *lane) giveBack(c *chain) {
	c.batch.Release()
	if l.memory.chain != nil {
		<-l.gen.turns
		return
	}
	l.gen.chains <- c
}

// furnish gives the lane of a stateful pipeline its chain, with the state where it begins to read.
func (l *lane) furnish(ctx context.Context, at resumption) error {
	if len(l.gen.stateful) == 0 {
		return nil
	}
	m := &l.memory
	if at.saved != nil {
		return l.carryOn(ctx, at)
	}
	stored, err := l.e.states(ctx, l.partition, sink.StateKey{Revision: l.gen.Revision, Segment: at.segment, Offset: at.stored})
	if errors.Is(err, sink.ErrDamaged) {
		return l.missing(at, err)
	}
	if err != nil {
		return err
	}
	if err := l.own(ctx); err != nil {
		return err
	}
	states := make([]sink.StepState, 0, len(l.gen.stateful))
	for _, i := range l.gen.stateful {
		s := l.stateOf(i, at.stored)
		if at.stored > 0 {
			found := false
			for _, have := range stored {
				if have.StateKey == s.StateKey && have.Step == s.Step {
					s, found = have, true
				}
			}
			if !found {
				return l.missing(at, fmt.Errorf("the state of step %s is not there: it was deleted, or has expired", s.Step))
			}
			if err := m.chain.steps[i].(operators.Stateful).Restore(ctx, s.Bytes); err != nil {
				return l.missing(at, fmt.Errorf("step %s: %w", s.Step, err))
			}
		}
		setClock(m.chain.steps[i], at.at)
		states = append(states, s)
	}
	complete := map[int64]int{}
	for _, s := range stored {
		if s.Revision == l.gen.Revision && s.Segment == at.segment {
			complete[s.Offset]++
		}
	}
	for offset, steps := range complete {
		if offset > at.read && offset <= at.position && steps == len(l.gen.stateful) {
			m.marks = append(m.marks, offset)
		}
	}
	slices.Sort(m.marks)
	m.points = []point{{offset: at.read, clock: at.at, stored: at.stored}}
	l.setOthers(stored)
	m.last = hashStates(states)
	return nil
}

// untilMark is how many of the records to replay may go into one batch, so that it ends at the next mark behind its first record: the clock
// of a mark is known only where a batch ends there.
func (m *memory) untilMark(records []batch.Record) int {
	n := len(records)
	for _, mark := range m.marks {
		if mark <= records[0].Offset {
			continue // passed with the first record, if not before
		}
		for records[n-1].Offset >= mark {
			n--
		}
		break
	}
	return n
}

// passMarks makes points of the marks up to the record that is next in the replay. Without it a process that never lives as
// long as its windows take would begin where the first of them did.
func (l *lane) passMarks(next int64) {
	m := &l.memory
	for len(m.marks) > 0 && m.marks[0] <= next {
		m.points = append(m.points, point{offset: m.marks[0], clock: l.window.Clock(), stored: m.marks[0]})
		m.last = [32]byte{} // not known: nothing has this hash
		m.marks = m.marks[1:]
	}
}

// missing says what to do about a state that cannot be had.
func (l *lane) missing(at resumption, err error) error {
	return fmt.Errorf("%s is not read: totals would be wrong without the state that operators had at offset %d of segment %d: %w; "+
		"bring it back into the table weir_state, or delete the offset of the partition from the group: "+
		"weir then builds the segment again from offset %d if the log still has it, and begins a new one with empty state if not",
		l.partition, at.stored, at.segment, err, at.start)
}

// stateOf is the empty state of a step under an offset.
func (l *lane) stateOf(step int, offset int64) sink.StepState {
	return sink.StepState{
		StateKey: sink.StateKey{Revision: l.gen.Revision, Segment: l.segment, Offset: offset}, Step: l.gen.Steps[step].Name(),
	}
}

// remember makes the cut of a stateful pipeline one that a replay can begin at, where that pays, and has it begin where that
// is possible: at the last point that no open window needs more than. It tells under which offset the state there is stored.
//
// A point is made when a quarter of what would be read again lies behind the last one. So replays read a quarter more
// than those of a stateless pipeline at most, and a partition has about five states stored at a time, however long windows
// are and however often is shipped.
//
// A cut that is only saved makes no point, since its states are not stored: what is saved is shipped as a whole, and makes one then.
func (l *lane) remember(w *operators.Cut, cut *sink.Cut, ships bool) (stored int64, err error) {
	m := &l.memory
	if m.chain == nil {
		return 0, nil
	}
	if last := m.points[len(m.points)-1]; ships && l.position > last.offset && 4*(l.position-last.offset) >= l.position-w.ReplayFrom {
		states, err := l.snapshot()
		if err != nil {
			return 0, err
		}
		p := point{offset: l.position, clock: l.window.Clock(), stored: last.stored}
		if hash := hashStates(states); hash != m.last {
			m.last, p.stored, cut.States = hash, l.position, states
		}
		m.points = append(m.points, p)
	}
	begin := m.points[0]
	for _, p := range m.points {
		if p.offset <= w.ReplayFrom {
			begin = p
		}
	}
	w.ReplayFrom, w.Replay = begin.offset, begin.clock
	if ships {
		l.listOthers()
		cut.States = append(cut.States, l.release()...)
	}
	return begin.stored, nil
}

// snapshot takes the states of all stateful steps after the last batch.
func (l *lane) snapshot() ([]sink.StepState, error) {
	c, err := l.borrow()
	if err != nil {
		return nil, err
	}
	defer l.giveBack(c)
	states := make([]sink.StepState, len(l.gen.stateful))
	for n, i := range l.gen.stateful {
		states[n] = l.stateOf(i, l.position)
		if states[n].Bytes, err = c.steps[i].(operators.Stateful).Snapshot(nil); err != nil {
			return nil, fmt.Errorf("take the state of step %s, %s before offset %d: %w", states[n].Step, l.partition, l.position, err)
		}
	}
	return states, nil
}

// maxReleases bounds the states released with one cut.
const maxReleases = 64

// release names the states that nobody will begin with any more, because the group's offset is beyond them. Only a commit
// that succeeded counts: by its generation the broker knows that the partition was this process's then.
func (l *lane) release() []sink.StepState {
	m := &l.memory
	c := m.committed.Load()
	if c == nil {
		return nil
	}
	var in commitMetadata
	if err := json.Unmarshal([]byte(c.Metadata), &in); err != nil || in.Segment != l.segment || in.Revision != sink.RevisionText(l.gen.Revision) {
		return nil // of the segment before
	}
	var out []sink.StepState
	for len(m.points) > 1 && m.points[1].offset <= c.Offset && len(out) < maxReleases {
		old, next := m.points[0].stored, m.points[1].stored
		m.points = m.points[1:]
		if old == next || old == 0 {
			continue
		}
		for _, i := range l.gen.stateful {
			out = append(out, l.stateOf(i, old))
		}
	}
	kept := m.others[:0]
	for _, s := range m.others {
		if here := s.Revision == l.gen.Revision && s.Segment == l.segment; here && s.Offset >= m.points[0].stored || len(out) >= maxReleases {
			kept = append(kept, s)
			continue
		}
		out = append(out, s)
	}
	m.others = kept
	for i := range out {
		out[i].Bytes, out[i].Released = nil, true
	}
	return out
}

// forget begins a segment with empty state, and with a chain of the lane's generation if that is another one now.
func (l *lane) forget() error {
	m := &l.memory
	if m.gen != nil && m.gen != l.gen {
		l.disown()
	}
	if len(l.gen.stateful) == 0 {
		return nil
	}
	if m.chain == nil {
		if err := l.own(l.ctx); err != nil {
			return err
		}
	}
	states := make([]sink.StepState, 0, len(l.gen.stateful))
	for _, i := range l.gen.stateful {
		if err := m.chain.steps[i].(operators.Stateful).Restore(l.ctx, nil); err != nil {
			return fmt.Errorf("%s: begin segment %d: %w", l.partition, l.segment, err)
		}
		setClock(m.chain.steps[i], l.window.Clock())
		states = append(states, l.stateOf(i, 0))
	}
	m.last = hashStates(states)
	m.points, m.marks = []point{{offset: l.start, clock: l.window.Clock()}}, nil
	return nil
}

// abandon has the stored states of a segment that ends released, once a commit is in the next one.
func (l *lane) abandon() {
	m := &l.memory
	for n, p := range m.points {
		if p.stored == 0 || n > 0 && p.stored == m.points[n-1].stored {
			continue
		}
		for _, i := range m.gen.stateful {
			m.others = append(m.others, sink.StepState{
				StateKey: sink.StateKey{Revision: m.gen.Revision, Segment: l.segment, Offset: p.stored}, Step: m.gen.Steps[i].Name(),
			})
		}
	}
	for _, offset := range m.marks {
		for _, i := range m.gen.stateful {
			m.others = append(m.others, sink.StepState{
				StateKey: sink.StateKey{Revision: m.gen.Revision, Segment: l.segment, Offset: offset}, Step: m.gen.Steps[i].Name(),
			})
		}
	}
	m.points, m.marks = nil, nil
}

// carry gives the lane a chain of its generation with states taken from another of the same revision.
func (l *lane) carry(states []sink.StepState) error {
	if len(states) == 0 {
		return nil
	}
	if err := l.own(l.ctx); err != nil {
		return err
	}
	for n, i := range l.gen.stateful {
		if err := l.memory.chain.steps[i].(operators.Stateful).Restore(l.ctx, states[n].Bytes); err != nil {
			return fmt.Errorf("%s: %w", l.partition, err)
		}
		setClock(l.memory.chain.steps[i], l.window.Clock())
	}
	return nil
}

// setClock tells an operator that decides by the clock what it is where its state begins.
func setClock(o operators.Operator, c operators.Clock) {
	if o, ok := o.(operators.Clocked); ok {
		o.SetClock(c)
	}
}

// own makes the lane's chain.
func (l *lane) own(ctx context.Context) error {
	m := &l.memory
	m.gen = l.gen
	select {
	case m.chain = <-l.gen.chains:
		return nil
	default:
	}
	var err error
	if m.chain, err = newChain(ctx, &l.e.cfg, &l.gen.Generation, true); err != nil {
		return fmt.Errorf("%s: make a chain of its own: %w", l.partition, err)
	}
	return nil
}

// disown frees the lane's chain.
func (l *lane) disown() {
	m := &l.memory
	if m.chain == nil {
		return
	}
	if err := m.chain.close(); err != nil {
		l.e.log.Warn("could not close the operators of a partition", "partition", l.partition.String(), "error", err)
	}
	m.chain.countAll(&m.gen.counts)
	m.chain = nil
}

// hashStates is a hash of the states of a moment, whenever that was.
func hashStates(states []sink.StepState) (sum [32]byte) {
	h := sha256.New()
	var n [8]byte
	for _, s := range states {
		binary.LittleEndian.PutUint64(n[:], uint64(len(s.Bytes)))
		h.Write(n[:])
		h.Write(s.Bytes)
	}
	h.Sum(sum[:0])
	return sum
}

// states asks the destination for as long as it takes, unless it has what is damaged.
func (e *Engine) states(ctx context.Context, p batch.Partition, at sink.StateKey) ([]sink.StepState, error) {
	wait := 200 * time.Millisecond
	for {
		states, err := e.cfg.States(ctx, p, at)
		if err == nil || errors.Is(err, sink.ErrDamaged) {
			return states, err
		}
		e.Failed(p, fmt.Errorf("ask the destination for the state of operators: %w", err))
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
			wait = min(2*wait, 10*time.Second)
		}
	}
}
