package simulation

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// fault is a kind of trouble.
type fault uint8

const (
	faultKill fault = iota
	faultKillAt
	faultPowerCut
	faultDiskLoss
	faultZombie
	faultStaleWrite
	faultLeaseOver
	faultFreeze
	faultJoin
	faultLeave
	faultOutage
	faultLostInsert
	faultLostAck
	faultLateInsert
	faultTwice
	faultBrokerAway
	faultCoordinator
	faultCommitLost
	faultDeploy
	faultSwap
	faultAskedBack
	faultRetention
	faultRecreated
	faultPartitions
	faultRot
	faultFull
	faultLongOutage
	faultNoRoom
	faultMerged
	faultDropped
	faultState
	faultRestart
	faultCut
	faultForgotten
	faultNumbers
	faultEarly
	faults
)

func (f fault) String() string {
	return [...]string{
		"kill", "kill at a boundary", "power cut", "disk lost", "zombie", "write of a process that was away", "write refused because the lease was over", "process stopped and continued", "node joins", "node leaves",
		"insert during an outage", "insert lost", "acknowledgement of an insert lost", "insert arrives late", "insert arrives twice",
		"broker away", "coordinator error", "answer to a commit lost", "restart in another revision", "hot swap",
		"old revision asked for once more", "records deleted by retention", "topic deleted and made again", "partition added",
		"bits of the local store turned", "disk full", "outage of hours",
		"outage longer than the room for what waits", "account with windows that were merged", "account with windows that were dropped",
		"state of a step taken up", "broker restarts", "log cut back, and other records under the same offsets", "group lost with the end of a log",
		"numbers of count windows taken up", "segment begun early for want of memory",
	}[f]
}

// draft draws faults of one kind into a plan.
type draft struct {
	fault fault
	fits  func(p *plan) bool
	draw  func(p *plan, rng *rand.Rand, at time.Duration)
}

func always(*plan) bool      { return true }
func withStore(p *plan) bool { return p.store }
func withNodes(p *plan) bool { return p.nodes > 1 }

var drafts = []draft{
	{faultKill, always, func(p *plan, rng *rand.Rand, at time.Duration) {
		p.onNode(rng, at, "kill -9", func(w *world, n *node, pr *process) {
			w.hit(faultKill)
			pr.die(false)
		})
	}},
	{faultKillAt, always, func(p *plan, rng *rand.Rand, at time.Duration) {
		after, power := 1+rng.IntN(60), rng.IntN(2) == 0
		p.onNode(rng, at, fmt.Sprintf("dies %d crossings later, power %t", after, power), func(w *world, n *node, pr *process) {
			w.hit(faultKillAt)
			pr.dieAfter(after, power)
		})
	}},
	{faultPowerCut, withStore, func(p *plan, rng *rand.Rand, at time.Duration) {
		p.onNode(rng, at, "power cut", func(w *world, n *node, pr *process) {
			w.hit(faultPowerCut)
			pr.die(true)
		})
	}},
	{faultDiskLoss, withStore, func(p *plan, rng *rand.Rand, at time.Duration) {
		p.onNode(rng, at, "dies with its disk", func(w *world, n *node, pr *process) {
			w.hit(faultDiskLoss)
			pr.die(true)
			n.setDisk(newDisk(w))
		})
	}},
	{faultZombie, withNodes, func(p *plan, rng *rand.Rand, at time.Duration) {
		away, dies := p.session+time.Duration(rng.IntN(60))*time.Second, rng.IntN(2) == 0
		p.onNode(rng, at, fmt.Sprintf("cut off from the broker for %s, then dies %t", away, dies), func(w *world, n *node, pr *process) {
			w.hit(faultZombie)
			pr.cutOff(true)
			w.after(p.session, pr.setStale)
			w.after(away, func() {
				if dies {
					pr.die(false)
				}
				pr.cutOff(false)
			})
		})
	}},
	{faultFreeze, always, func(p *plan, rng *rand.Rand, at time.Duration) {
		away, sending := time.Duration(1+rng.IntN(60))*time.Second, rng.IntN(2) == 0
		p.onNode(rng, at, fmt.Sprintf("stopped for %s, when it sends something %t", away, sending), func(w *world, n *node, pr *process) {
			if sending {
				pr.stopSending(away)
				return
			}
			w.stop(pr, away)
		})
	}},
	{faultJoin, withNodes, func(p *plan, rng *rand.Rand, at time.Duration) {
		i := rng.IntN(p.nodes)
		p.add(at, fmt.Sprintf("n%d joins", i+1), func(w *world) {
			if w.want(w.nodes[i], true) {
				w.hit(faultJoin)
			}
		})
	}},
	{faultLeave, withNodes, func(p *plan, rng *rand.Rand, at time.Duration) {
		i, back := rng.IntN(p.nodes), time.Duration(5+rng.IntN(60))*time.Second
		p.add(at, fmt.Sprintf("n%d leaves for %s", i+1, back), func(w *world) {
			if w.want(w.nodes[i], false) {
				w.hit(faultLeave)
				w.after(back, func() { w.want(w.nodes[i], true) })
			}
		})
	}},
	{faultOutage, always, func(p *plan, rng *rand.Rand, at time.Duration) {
		d, hangs := time.Duration(5+rng.IntN(120))*time.Second, rng.IntN(3) == 0
		p.add(at, fmt.Sprintf("the centre is away for %s, and hangs %t", d, hangs), func(w *world) {
			w.road.hangs.Store(hangs)
			w.road.away.Store(true)
			w.after(d, func() { w.road.away.Store(false) })
		})
	}},
	{faultLostAck, always, func(p *plan, rng *rand.Rand, at time.Duration) {
		d, percent := time.Duration(5+rng.IntN(120))*time.Second, int64(10+rng.IntN(80))
		p.add(at, fmt.Sprintf("of 100 inserts %d go wrong for %s", percent, d), func(w *world) {
			w.road.flaky.Store(percent)
			w.after(d, func() { w.road.flaky.Store(0) })
		})
	}},
	{faultBrokerAway, always, func(p *plan, rng *rand.Rand, at time.Duration) {
		d := time.Duration(1+rng.IntN(40)) * time.Second
		p.add(at, fmt.Sprintf("the broker is away for %s", d), func(w *world) {
			w.hit(faultBrokerAway)
			w.brokerGone(true)
			w.after(d, func() { w.brokerGone(false) })
		})
	}},
	{faultCoordinator, always, func(p *plan, rng *rand.Rand, at time.Duration) {
		n, kind := 1+rng.IntN(8), rng.IntN(4)
		p.add(at, fmt.Sprintf("the coordinator fails %d requests, kind %d", n, kind), func(w *world) { w.coordinatorFails(n, kind) })
	}},
	{faultDeploy, always, (*plan).drawDeploy},
	{faultSwap, always, (*plan).drawSwap},
	{faultRetention, always, (*plan).drawRetention},
	{faultRecreated, always, func(p *plan, rng *rand.Rand, at time.Duration) {
		p.add(at, "the topic is deleted and made again", (*world).recreate)
	}},
	{faultPartitions, always, func(p *plan, rng *rand.Rand, at time.Duration) {
		p.add(at, "the topic gets a partition", (*world).addPartition)
	}},
	{faultRot, withStore, (*plan).drawRot},
	{faultFull, withStore, (*plan).drawFull},
}

// exclusions are pairs of kinds that are never in one schedule, and why. Everything else is.
var exclusions = []struct {
	these, those []fault
	why          string
}{
	{
		[]fault{faultLateInsert},
		[]fault{faultDeploy, faultSwap},
		"a server drops an insert whose end does not come in time, within the lease of who sent it; one that arrives whole after " +
			"others have the partition, in another revision, would count twice",
	},
	{
		[]fault{faultLateInsert},
		[]fault{faultRetention},
		"the same with a segment that begins behind records that are gone",
	},
	{
		[]fault{faultLateInsert},
		[]fault{faultEarly},
		"the same with a segment that begins early",
	},
}

// excludes tells whether a kind must not be in the schedule, because of another that is.
func (p *plan) excludes(f fault) bool {
	has := func(all []fault) bool { return slices.ContainsFunc(all, func(o fault) bool { return p.kinds[o] }) }
	for _, x := range exclusions {
		if slices.Contains(x.these, f) && has(x.those) || slices.Contains(x.those, f) && has(x.these) {
			return true
		}
	}
	return false
}

// onNode adds an event to a node's process.
func (p *plan) onNode(rng *rand.Rand, at time.Duration, what string, do func(*world, *node, *process)) {
	i := rng.IntN(p.nodes)
	p.add(at, fmt.Sprintf("n%d %s", i+1, what), func(w *world) {
		n := w.nodes[i]
		if pr := w.process(n); pr != nil {
			do(w, n, pr)
		}
	})
}

// stop stops a process for a while.
func (w *world) stop(p *process, away time.Duration) {
	w.hit(faultFreeze)
	p.freeze()
	w.after(away, func() { p.thaw(away > w.plan.session) })
}

// process is the living process of a node, or nil.
func (w *world) process(n *node) *process {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n.now == nil || n.now.alive() != nil {
		return nil
	}
	return n.now
}

// after does something later, unless the schedule is over.
func (w *world) after(d time.Duration, do func()) {
	w.background.Go(func() {
		_ = sleep(w.quiet, d) // or at once, when the faults stop
		do()
	})
}
