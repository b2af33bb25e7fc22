package simulation

import (
	"context"
	"slices"
	"time"

	"github.com/weir-stream/weir/edge-node/engine"
	"github.com/weir-stream/weir/ingest/batch"
)

// What is told on site of windows that are final, as outputs are. Of all that is final by an account somebody was told before the account came,
// and everybody was told the same. Where the log was cut back, what was told of the records that went is right, too.

// told is what was said of a window. Mostly it is said once.
type told struct {
	total
	end     int64
	version int64 // how far the log had been read when it was said first
}

type toldOf struct {
	segment segment
	start   int64 // of the segment
	group   group
}

// announce takes windows that are final. Whether it was done is known to a process that lives on.
func (p *process) announce(ctx context.Context, f *engine.Finals) error {
	p.pass()
	if err := p.step(); err != nil {
		return err
	}
	if p.w.rand(20) == 0 { // whoever is told may be away
		if err := sleep(ctx, time.Duration(1+p.w.rand(3000))*time.Millisecond); err != nil {
			return err
		}
		p.pass()
		if err := p.alive(); err != nil {
			return err
		}
	}
	if p.w.plan.mutant == mutantEarly { // it is kept in memory until the next
		p.mu.Lock()
		f, p.later = p.later, f
		p.mu.Unlock()
		if f == nil {
			return nil
		}
	}
	p.w.tell(f)
	return p.step()
}

// tellLater has processes that live tell what a mutant has kept: what is not told then is what a process died with.
func (w *world) tellLater() {
	for _, n := range w.nodes {
		w.mu.Lock()
		p := n.now
		w.mu.Unlock()
		if p == nil || p.alive() != nil {
			continue
		}
		p.mu.Lock()
		f := p.later
		p.mu.Unlock()
		if f != nil {
			w.tell(f)
		}
	}
}

// tell remembers what is told.
func (w *world) tell(f *engine.Finals) {
	s := segment{f.Revision, place{f.Partition.TopicID, f.Partition.ID}, f.Segment}
	b := f.Rows
	states := b.Cols[4:]
	var numbers []uint64
	if w.plan.counts != nil {
		numbers, states = batch.As[uint64](states[0].Values), states[1:]
	}
	n, sum := batch.As[uint64](states[0].Values), batch.As[int64](states[1].Values)
	c := w.centre
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range b.Rows {
		of := toldOf{s, f.Start, group{start: batch.As[int64](b.Cols[0].Values)[i], device: string(b.Cols[3].Bytes(i))}}
		if numbers != nil {
			of.group.number = numbers[i]
		}
		t := told{total{int64(n[i]), sum[i]}, batch.As[int64](b.Cols[1].Values)[i], f.Version}
		all := c.told[of]
		if at := slices.IndexFunc(all, func(o told) bool { return o.total == t.total && o.end == t.end }); at >= 0 {
			all[at].version = min(all[at].version, t.version)
			w.count(&w.tally.toldAgain)
			continue
		}
		c.told[of] = append(all, t)
		w.count(&w.tally.told)
	}
}

// isFinal tells whether a window of so many rows takes no more by a clock.
func (a *account) isFinal(n, start, end int64, k clock) bool {
	if c := a.rev.counts; c != nil {
		return n == c.rows || k.set && start+c.timeout+lateness <= k.max-disorder
	}
	if a.rev.sessions {
		end += gapMS
	}
	return k.set && end+lateness <= k.max-disorder
}

// windowsAt are all windows of the records below an offset.
func (a *account) windowsAt(offset int64) map[group]visited {
	if a.rev.sessions {
		return a.sessionsAt(offset)
	}
	length := int64(windowMS)
	if a.rev.counts != nil {
		length = a.rev.counts.timeout
	}
	all := map[group]visited{}
	for g := range a.groups {
		if t, ok := a.totalAt(g, offset); ok {
			all[g] = visited{t, g.start + length}
		}
	}
	return all
}

// checkOwed has all windows that are final by an account be told of.
func (w *world) checkOwed(s segment, version int64, a *account) {
	k := a.clockBefore(version)
	for g, v := range a.windowsAt(version) {
		if a.isFinal(v.n, g.start, v.end, k) && len(w.centre.told[toldOf{s, a.start, g}]) == 0 {
			w.wrong("%s, %s: final at %d, with count %d and sum %d, and nobody was told", s, g, version, v.n, v.sum)
		}
	}
}

// checkTold has everything that was told be true when it was said, of the log as it was.
func (w *world) checkTold() {
	readings := map[segment][]*account{}
	windows := map[*account]map[group]visited{}
	for of, all := range w.centre.told {
		accounts := w.centre.accounts[of.segment]
		if of.segment.place.topic != w.topicID || len(accounts) == 0 || accounts[0].start != of.start {
			continue // of a topic that is gone, or of a segment of which nothing was stored, or that began anew elsewhere
		}
		if readings[of.segment] == nil {
			for _, a := range accounts {
				for era := range a.log.eras {
					reading := newAccount(a.rev, a.log, era, a.start, a.from)
					reading.to(int64(len(a.log.eras[era])))
					readings[of.segment] = append(readings[of.segment], reading)
					windows[reading] = reading.windowsAt(reading.end())
				}
			}
		}
		for _, t := range all {
			if !slices.ContainsFunc(readings[of.segment], func(a *account) bool {
				return t.version <= a.end() && windows[a][of.group] == visited{t.total, t.end} && a.isFinal(t.n, of.group.start, t.end, a.clockBefore(t.version))
			}) {
				w.wrong("%s, %s to %d: at %d it was told that it has count %d and sum %d", of.segment, of.group, t.end, t.version, t.n, t.sum)
			}
		}
	}
}
