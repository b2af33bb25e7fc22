package simulation

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/weir-stream/weir/edge-node/engine"
)

// plan is a schedule: everything that a seed decides.
type plan struct {
	seed      uint64
	parts     int32
	nodes     int // boxes there are
	begin     int // of them, how many run from the beginning
	protocol  string
	static    bool // members have names that outlive their processes
	store     bool // nodes have a local store
	session   time.Duration
	flush     time.Duration
	restart   time.Duration // from the end of a process to the next
	batchRows int
	devices   int
	partRows  int  // of what waits on a disk, at most
	stateful  bool // every other revision carries sums from row to row
	revisions []revision
	emitFinal bool      // windows are shipped when they are final
	sessions  bool      // windows are sessions
	counts    *counting // windows are of so many rows; or nil
	outputs   bool      // windows that are final are told of
	length    time.Duration
	events    []event

	mutant mutant
	damage func() // called when bits of a store are turned; nil: nobody wants to know

	durable bool // the broker keeps what it has on a disk

	mayFill  bool            // disks may be full
	whenFull engine.WhenFull // what nodes do that have no room for more than the budget; Block: there is no budget
	budget   int             // entries of the local store that there is room for, by lane
	maxState int64           // bytes of window state that a node may have; 0: more than there ever is
	quietly  bool            // no faults are drawn
	forced   []fault         // kinds that are drawn in any case
	kinds    map[fault]bool  // drawn faults
	rest     time.Duration   // how long the world may take to come to rest
}

// event is something that happens at a moment.
type event struct {
	at   time.Duration
	what string
	do   func(w *world)
}

func (p *plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %d partitions, %d of %d nodes, protocol %s, static %t, local store %t with policy %d and room for %d entries, %d bytes of window state, session %s, flush %s, restart %s, batches of %d rows, %d devices, %d revisions, final windows only %t, sessions %t, rows of a window %s, stateful %t, outputs %t, %s\n",
		p.seed, p.parts, p.begin, p.nodes, p.protocol, p.static, p.store, p.whenFull, p.budget, p.maxState, p.session, p.flush, p.restart, p.batchRows, p.devices, len(p.revisions), p.emitFinal, p.sessions, p.counts, p.stateful, p.outputs, p.length)
	for _, e := range p.events {
		if e.what != "" {
			fmt.Fprintf(&b, "  %8.3f  %s\n", e.at.Seconds(), e.what)
		}
	}
	return b.String()
}

// newPlanOf draws a schedule, after a change of what was drawn about the world where there is one.
func newPlanOf(seed uint64, change func(p *plan)) *plan {
	rng := rand.New(rand.NewPCG(seed, 1))
	p := &plan{
		seed: seed, parts: int32(1 + rng.IntN(3)), nodes: 1 + rng.IntN(3), protocol: []string{"classic", "consumer"}[rng.IntN(2)],
		store: rng.IntN(2) == 0, session: 10 * time.Second, flush: time.Duration(1+rng.IntN(8)) * time.Second,
		restart: time.Duration(rng.IntN(8)) * time.Second, batchRows: 1 + rng.IntN(64), devices: 1 + rng.IntN(6),
		length: time.Duration(60+rng.IntN(240)) * time.Second, rest: time.Hour, kinds: map[fault]bool{},
	}
	p.partRows = []int{50_000, 1 + int(seed%7), 20}[seed/3%3]
	p.emitFinal = seed%3 == 1 // not drawn, so that seeds of before give the schedules of before
	p.static = p.protocol == "classic" && rng.IntN(3) == 0
	if rng.IntN(100) == 0 {
		p.long(rng)
	}
	p.begin = 1 + rng.IntN(p.nodes)
	p.stateful = rand.New(rand.NewPCG(seed, 11)).IntN(4) == 0
	p.revisions = []revision{{number: 1, modulo: 7}}
	if change != nil {
		change(p)
	}
	p.sessions = !p.quietly && p.mutant == sound && (seed%5 < 2 || seed%5 == 2 && !p.store)
	if !p.quietly && (p.mutant == sound && seed%5 == 3 || p.mutant == mutantUncounted) {
		c := countingOf(seed)
		p.counts, p.emitFinal = &c, false
	}
	p.outputs = !p.quietly && seed%4 != 1
	if p.store && !p.quietly {
		p.small()
		if p.sessions || p.counts != nil { // none are dropped or merged
			p.whenFull = engine.Block
		}
	}
	p.tight()
	p.draw(rng)
	p.drawRestarts()
	for i := range p.revisions {
		p.revisions[i].stateful = p.stateful && p.revisions[i].number%2 == 1
		p.revisions[i].sessions, p.revisions[i].counts = p.sessions, p.counts
	}
	slices.SortStableFunc(p.events, func(a, b event) int { return int(a.at - b.at) })
	return p
}

// long makes it one of hours, for most of which the centre is away. Timers are slower, or they would take all the time.
func (p *plan) long(rng *rand.Rand) {
	p.length = time.Duration(2+rng.IntN(9)) * time.Hour
	p.session, p.flush, p.rest = 5*time.Minute, time.Minute, 12*time.Hour
	at, d := time.Duration(rng.Int64N(int64(p.length/4))), p.length/2+time.Duration(rng.Int64N(int64(p.length/4)))
	p.add(at, fmt.Sprintf("the centre is away for %s", d), func(w *world) {
		w.hit(faultLongOutage)
		w.road.away.Store(true)
		w.after(d, func() { w.road.away.Store(false) })
	})
}

// draw fills a plan with records and faults.
func (p *plan) draw(rng *rand.Rand) {
	for at := time.Duration(0); at < p.length; {
		over := time.Duration(1+rng.IntN(8)) * max(time.Second, p.length/400)
		at += over
		n := 1 + rng.IntN(30)
		p.add(at, "", func(w *world) { w.produce(n, over) })
	}
	if p.quietly {
		return
	}
	var possible []*draft
	for i := range drafts {
		if drafts[i].fits(p) {
			possible = append(possible, &drafts[i])
		}
	}
	chosen := make([]*draft, 1+rng.IntN(4))
	for i := range chosen {
		chosen[i] = possible[rng.IntN(len(possible))]
	}
	for _, f := range p.forced {
		chosen = append(chosen, &drafts[slices.IndexFunc(drafts, func(d draft) bool { return d.fault == f })])
	}
	for _, d := range chosen {
		if p.excludes(d.fault) {
			continue
		}
		p.kinds[d.fault] = true
		for range 1 + rng.IntN(4) {
			d.draw(p, rng, time.Duration(rng.Int64N(int64(p.length))))
		}
	}
}

func (p *plan) add(at time.Duration, what string, do func(w *world)) {
	p.events = append(p.events, event{at, what, do})
}

// play runs the events of a schedule.
func (w *world) play() {
	for _, e := range w.plan.events {
		if sleep(w.life, time.Until(w.began.Add(e.at))) != nil || w.isWrong() {
			return
		}
		if e.what != "" {
			w.note("%s", e.what)
		}
		e.do(w)
	}
}
