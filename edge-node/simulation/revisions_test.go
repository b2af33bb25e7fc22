package simulation

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// deploy has nodes run another revision of the pipeline: one after another, by a restart.
func (p *plan) drawDeploy(rng *rand.Rand, at time.Duration) {
	to := p.anotherRevision(rng)
	kills := rng.IntN(2) == 0
	for i := range p.nodes {
		p.add(at, fmt.Sprintf("n%d is restarted as revision %d, killed %t", i+1, to, kills), func(w *world) {
			w.hit(faultDeploy)
			w.restartAs(w.nodes[i], to, kills)
		})
		at += time.Duration(rng.IntN(20)) * time.Second
	}
}

// anotherRevision is the number of a revision, perhaps a new one.
func (p *plan) anotherRevision(rng *rand.Rand) uint64 {
	n := uint64(len(p.revisions))
	if n == 1 || n < 4 && rng.IntN(2) == 0 {
		n++
		p.revisions = append(p.revisions, revision{number: n, modulo: 2 + int64(n)})
		return n
	}
	return 1 + rng.Uint64N(n)
}

func (p *plan) drawSwap(rng *rand.Rand, at time.Duration) {
	to := p.anotherRevision(rng)
	for i := range p.nodes {
		p.add(at, fmt.Sprintf("n%d swaps to revision %d", i+1, to), func(w *world) { w.swap(w.nodes[i], to) })
		at += time.Duration(rng.IntN(5)) * time.Second
	}
}

// restartAs ends a node's process and has the next one run a revision.
func (w *world) restartAs(n *node, revision uint64, kill bool) {
	w.mu.Lock()
	n.revision = revision
	p := n.now
	w.mu.Unlock()
	switch {
	case p == nil || p.alive() != nil:
	case kill:
		p.die(false)
	default:
		p.stop()
	}
}

// swap has a node's process change to a revision while it runs.
func (w *world) swap(n *node, revision uint64) {
	w.mu.Lock()
	n.revision = revision
	p := n.now
	w.mu.Unlock()
	if p == nil || p.alive() != nil || p.ctx.Err() != nil {
		return
	}
	if _, err := p.engine.Swap(context.WithoutCancel(p.ctx), w.generation(revision)); err == nil {
		w.hit(faultSwap)
	}
}

// askedBack is what the engine says where a process died between rows and coverage, or with rows that it withheld, and the next one
// runs another revision.
const askedBack = "run that revision once more"

// remedy does what the nodes ask people for. It tells whether anybody asked.
func (w *world) remedy() bool {
	for _, n := range w.nodes {
		w.mu.Lock()
		p := n.now
		w.mu.Unlock()
		if p == nil || p.alive() != nil {
			continue
		}
		for _, text := range p.engine.Status().Problems {
			_, after, asked := strings.Cut(text, "revision ")
			if !asked || !strings.Contains(text, askedBack) {
				continue
			}
			number, _, _ := strings.Cut(after, " ")
			old, err := strconv.ParseUint(number, 16, 64)
			if err != nil {
				w.wrong("cannot read %q", text)
				return false
			}
			w.hit(faultAskedBack)
			w.note("%s; so revision %d runs once more", text, old)
			w.rerun(old)
			return true
		}
	}
	return false
}

// rerun has all nodes run an old revision for a while, and then again what they ran.
func (w *world) rerun(old uint64) {
	was := make([]uint64, len(w.nodes))
	for i, n := range w.nodes {
		w.mu.Lock()
		was[i] = n.revision
		w.mu.Unlock()
		w.restartAs(n, old, false)
	}
	_ = sleep(w.life, 2*time.Minute+4*w.plan.session)
	for i, n := range w.nodes {
		w.restartAs(n, was[i], false)
	}
	_ = sleep(w.life, time.Minute+2*w.plan.session)
}
