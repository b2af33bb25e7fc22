package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/sink"
)

// What stateful steps carry on is saved with everything else of a lane, in the same change, so that a restart goes on at the position and
// not at a point before. The disk has the newest states only, those of the moment that is saved.
//
// The destination still needs points: somebody without this disk may take the partition over. A point is stored with a cut that
// is shipped; one that is only saved makes none. When what is saved is shipped, its states go with the account that ends it,
// and are a point from then on. Until there is one that open windows do not reach behind, commits name the point that
// the group knew when the lane began, which is stored for sure.

// saveMemory adds what stateful steps carry on to a change, where it is not what is there. It gives the hash of it.
func (l *lane) saveMemory(ch sink.LocalChange) ([32]byte, error) {
	if l.memory.chain == nil {
		return [32]byte{}, nil
	}
	states, err := l.snapshot()
	if err != nil {
		return [32]byte{}, err
	}
	hash := hashStates(states)
	if hash != l.local.carried {
		for _, s := range states {
			ch.PutState(s.Step, s.Bytes)
		}
	}
	return hash, nil
}

// readStates reads what was saved of stateful steps.
func (r *remembered) readStates() error {
	view, err := r.disk.View()
	if err != nil {
		return err
	}
	defer view.Close()
	r.states, err = view.States()
	return err
}

// carries tells whether the state of every stateful step of a generation was saved.
func (r *remembered) carries(g *generation) bool {
	for _, i := range g.stateful {
		if r.state(g.Steps[i].Name()) == nil {
			return false
		}
	}
	return true
}

func (r *remembered) state(step string) *sink.StepState {
	i := slices.IndexFunc(r.states, func(s sink.StepState) bool { return s.Step == step })
	if i < 0 {
		return nil
	}
	return &r.states[i]
}

// carryOn is furnish for a lane that goes on with what was saved. It does not need the destination, which may be away.
func (l *lane) carryOn(ctx context.Context, at resumption) error {
	if err := l.own(ctx); err != nil {
		return err
	}
	m := &l.memory
	for _, i := range l.gen.stateful {
		s := at.saved.state(l.gen.Steps[i].Name())
		if err := m.chain.steps[i].(operators.Stateful).Restore(ctx, s.Bytes); err != nil {
			return fmt.Errorf("%s: go on with what was saved: step %s: %w", l.partition, s.Step, err)
		}
		setClock(m.chain.steps[i], at.at)
	}
	m.points, m.last, m.unlisted = []point{at.from}, [32]byte{}, true
	// The point that the commit was to name may not have been stored before the process ended.
	c := at.saved.at
	c.At, c.State = clockArray(at.from.clock), at.from.stored
	l.local.saved.commit = l.commit(at.from.offset, c)
	return nil
}

// memorize makes the moment that a run over everything saved has shipped a point: its states go with the cut that ends the run.
func (l *lane) memorize(view sink.LocalView, of *saved, cut *sink.Cut) error {
	m := &l.memory
	if m.chain == nil || m.points[len(m.points)-1].offset >= of.coverage.Version {
		return nil
	}
	states, err := view.States()
	if err != nil {
		return err
	}
	byStep := make([]sink.StepState, 0, len(states))
	for _, i := range l.gen.stateful {
		n := slices.IndexFunc(states, func(s sink.StepState) bool { return s.Step == l.gen.Steps[i].Name() })
		if n < 0 {
			return fmt.Errorf("%w: the state of step %s is not saved", sink.ErrDamaged, l.gen.Steps[i].Name())
		}
		s := l.stateOf(i, of.coverage.Version)
		s.Bytes = states[n].Bytes
		byStep = append(byStep, s)
	}
	cut.States = byStep
	m.points = append(m.points, point{offset: of.coverage.Version, clock: of.clock, stored: of.coverage.Version})
	m.last = hashStates(byStep)
	return nil
}

// listOthers asks once which states the destination has that nobody will begin with, where a lane began without asking. What it
// is not told now it asks for again with a later cut.
func (l *lane) listOthers() {
	m := &l.memory
	if !m.unlisted || time.Now().Before(m.listAt) {
		return
	}
	const atMost, again = 2 * time.Second, time.Minute
	ctx, cancel := context.WithTimeout(l.ctx, atMost)
	defer cancel()
	stored, err := l.e.cfg.States(ctx, l.partition, sink.StateKey{Revision: l.gen.Revision, Segment: l.segment, Offset: -1})
	if err != nil {
		m.listAt = time.Now().Add(again)
		return
	}
	m.unlisted = false
	l.setOthers(stored)
}

// setOthers notes which of the states that are stored nobody will begin with.
func (l *lane) setOthers(stored []sink.StepState) {
	m := &l.memory
	m.others = m.others[:0]
	for _, s := range stored {
		here := s.Revision == l.gen.Revision && s.Segment == l.segment
		point := func(p point) bool { return p.stored == s.Offset }
		if !here || !slices.ContainsFunc(m.points, point) && !slices.Contains(m.marks, s.Offset) {
			m.others = append(m.others, s)
		}
	}
}
