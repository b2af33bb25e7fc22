package simulation

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestFound plays what schedules have found, by hand, since another draw would not come by it.
func TestFound(t *testing.T) {
	for _, c := range []struct {
		name  string
		world func(p *plan)
	}{
		{"a node without a partition of the topic that is made again", func(p *plan) {
			p.parts, p.nodes, p.begin, p.protocol, p.static = 2, 3, 3, "classic", false
			p.add(30*time.Second, "the topic is deleted and made again", (*world).recreate)
		}},
		{"rot in a store that has rows of the revision before", func(p *plan) {
			p.parts, p.nodes, p.begin, p.protocol, p.static, p.store, p.flush = 2, 1, 1, "classic", true, true, time.Second
			p.revisions = append(p.revisions, revision{number: 2, modulo: 3})
			p.add(20*time.Second, "the centre is away", func(w *world) { w.road.away.Store(true) })
			p.add(50*time.Second, "n1 dies, its store rots, and it comes back as another revision", func(w *world) {
				n := w.nodes[0]
				w.process(n).die(false)
				if err := n.getDisk().rot(rand.New(rand.NewPCG(p.seed, 5)), 16); err != nil {
					w.wrong("the store could not be damaged: %v", err)
				}
				w.restartAs(n, 2, false)
			})
			p.add(58*time.Second, "the centre is back", func(w *world) { w.road.away.Store(false) })
		}},
		{"a gap before a hot swap, and nothing stored between them", func(p *plan) {
			p.parts, p.nodes, p.begin, p.protocol, p.static, p.store, p.flush = 2, 1, 1, "classic", true, false, 8*time.Second
			p.revisions = append(p.revisions, revision{number: 2, modulo: 3})
			p.add(30*time.Second, "n1 leaves", func(w *world) { w.want(w.nodes[0], false) })
			p.add(50*time.Second, "retention deletes all that there is, n1 comes back, and swaps when it has met the gap", func(w *world) {
				for part := range p.parts {
					w.deleteRecords(part, 100)
				}
				w.want(w.nodes[0], true)
				for met := false; !met; met = w.beganAnother(w.nodes[0]) {
					if sleep(w.life, time.Millisecond) != nil {
						return
					}
				}
				w.swap(w.nodes[0], 2)
			})
		}},
		{"records that are saved are cut off, and those that the commit needs deleted", func(p *plan) {
			p.parts, p.nodes, p.begin, p.protocol, p.static, p.store, p.flush, p.durable = 1, 1, 1, "classic", true, true, time.Second, true
			p.add(20*time.Second, "the centre is away", func(w *world) { w.road.away.Store(true) })
			p.add(40*time.Second, "n1 leaves, the broker loses what it has read last, and retention deletes half of the rest", func(w *world) {
				w.want(w.nodes[0], false)
				w.restartBroker(time.Second, 20)
				w.deleteRecords(0, 60)
			})
			p.add(50*time.Second, "the centre is back, and n1", func(w *world) {
				w.road.away.Store(false)
				w.want(w.nodes[0], true)
			})
		}},
		{"the group is forgotten, and the log cut back", func(p *plan) { p.forgetAndCut(1) }},
		{"the group is forgotten, the log cut back, and the revision another one", func(p *plan) { p.forgetAndCut(2) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(4) { // where partitions go is not decided by the seed
				p := newPlanOf(seed, func(p *plan) { p.quietly = true; c.world(p) })
				if out := run(t, p); len(out.problems) > 0 {
					report(t, out)
					return
				}
			}
		})
	}
}

// forgetAndCut has the centre alone know how far a node came whose records are cut off the log then; it comes back in a revision.
func (p *plan) forgetAndCut(revisionThen uint64) {
	p.parts, p.nodes, p.begin, p.protocol, p.static, p.store, p.flush, p.durable = 2, 1, 1, "classic", false, false, time.Second, true
	p.revisions = append(p.revisions, revision{number: 2, modulo: 3})
	p.add(40*time.Second, "n1 leaves, the group is deleted, and the broker loses what n1 has read last", func(w *world) {
		w.want(w.nodes[0], false)
		for {
			answer, err := w.adm.DeleteGroup(w.life, "weir")
			if err == nil && answer.Err == nil {
				break
			}
			if sleep(w.life, 100*time.Millisecond) != nil { // it is not empty yet
				return
			}
		}
		w.restartBroker(time.Second, 42)
	})
	p.add(55*time.Second, "n1 is back", func(w *world) {
		w.restartAs(w.nodes[0], revisionThen, false)
		w.want(w.nodes[0], true)
	})
}

// beganAnother tells whether a node has all partitions, in segments that are not their first.
func (w *world) beganAnother(n *node) bool {
	p := w.process(n)
	if p == nil {
		return false
	}
	lanes := p.engine.Status().Lanes
	for _, l := range lanes {
		if !l.Owned || l.Segment == 0 {
			return false
		}
	}
	return len(lanes) == len(w.places())
}
