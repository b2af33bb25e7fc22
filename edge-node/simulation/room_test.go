package simulation

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/weir-stream/weir/edge-node/engine"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/sink"
)

// coarsest is how wide windows become at most.
const coarsest = 16 * windowMS

// small gives the nodes of a plan little room for what waits, and takes the centre away for so long that it does not suffice. It
// draws by itself, so that the other plans stay as they were.
func (p *plan) small() {
	rng := rand.New(rand.NewPCG(p.seed, 9))
	if p.whenFull == engine.Block {
		p.whenFull = []engine.WhenFull{engine.Block, engine.Block, engine.Block, engine.Coarsen, engine.Coarsen, engine.DropOldest}[rng.IntN(6)]
	}
	p.budget = 5 + rng.IntN(40)
	for range 1 + rng.IntN(2) {
		at, d := time.Duration(rng.Int64N(int64(p.length/2))), p.length/4+time.Duration(rng.Int64N(int64(p.length/3)))
		if p.whenFull != engine.Block {
			p.add(at, fmt.Sprintf("the centre is away for %s, and there is room for %d entries", d, p.budget), func(w *world) {
				if w.plan.whenFull != engine.Block {
					w.hit(faultNoRoom)
				}
				w.road.away.Store(true)
				w.after(d, func() { w.road.away.Store(false) })
			})
		}
	}
}

// tight gives the nodes of a plan less memory than its open windows need, so that segments begin early. That is for windows whose parts add
// up, and for one plan of five. It draws by itself, so that the other plans stay as they were.
func (p *plan) tight() {
	rng := rand.New(rand.NewPCG(p.seed, 13))
	if rng.IntN(5) > 0 || p.quietly || p.mutant != sound {
		return
	}
	p.maxState = groupBytes * (20 + rng.Int64N(60))
	p.devices, p.batchRows = 8+rng.IntN(30), 1+rng.IntN(16)
	p.stateful, p.emitFinal, p.sessions, p.counts, p.outputs = false, false, false, nil, false
	p.kinds[faultEarly] = true
}

// groupBytes is what a group takes where there is little memory.
const groupBytes = 100

// frugal are windows that take memory by the group: the real ones have room for a thousand groups at once, which is all that there ever are.
type frugal struct{ operators.Window }

func (f frugal) MemorySize() int64 { return groupBytes * int64(f.Groups()) }

func (f frugal) Closing() int { return f.Window.(operators.Closing).Closing() }

// Room is that of a node with a budget for each lane.
func (l *lane) Room() error {
	if p := l.p.w.plan; p.whenFull != engine.Block && l.Entries() > p.budget {
		return fmt.Errorf("%w: %d entries, and there may be %d", sink.ErrFull, l.Entries(), p.budget)
	}
	return l.Local.Room()
}

// span is a stretch of windows that an account says were merged or dropped; width 0 is the latter.
type span struct{ from, to, width int64 }

// spanOf is the span of an account that a time is in.
func spanOf(cov *sink.Coverage, at int64) (span, bool) {
	flat := cov.Spans.Flat()
	for i := 0; i < len(flat); i += 3 {
		if s := (span{flat[i], flat[i+1], flat[i+2]}); s.from <= at && at < s.to {
			return s, true
		}
	}
	return span{}, false
}

// counts tells whether a row counts by an account.
func (w *world) counts(cov *sink.Coverage, id rowID) bool {
	if w.plan.sessions {
		r := w.centre.rows[id]
		return r.rows > 0 && (!w.plan.emitFinal || finished(cov, r.end) && (!r.open || cov.Counters.Open == 0 && r.version == cov.Version))
	}
	if !finished(cov, id.group.start+max(windowMS, id.width)) {
		return false
	}
	s, in := spanOf(cov, id.group.start)
	if in && w.plan.mutant == mutantAllCount {
		return true
	}
	if in {
		return id.width > 0 && id.width == s.width
	}
	return id.width == 0
}

// widthOf checks a window that is wider than they are by nature, and gives the width that its row is stored with.
func (c *centre) widthOf(cov *sink.Coverage, g group, end int64) int64 {
	width := end - g.start
	if width == windowMS || c.w.plan.sessions || c.w.plan.counts != nil {
		return 0
	}
	s, in := spanOf(cov, g.start)
	times, final := width/windowMS, cov.Final/1000
	made := times > 1 && width%windowMS == 0 && times&(times-1) == 0 && width <= coarsest && g.start%width == 0 && end <= final
	if !made || !in || s.width != width || s.to < end || c.w.plan.whenFull != engine.Coarsen {
		c.w.wrong("%s: %s to %d, and the account has final windows until %d and the spans %v", segmentOf(cov), g, end, final, cov.Spans)
	}
	return width
}

// checkSpans checks those of an account for themselves.
func (w *world) checkSpans(s segment, cov *sink.Coverage) {
	flat := cov.Spans.Flat()
	for i := 0; i < len(flat); i += 3 {
		at := span{flat[i], flat[i+1], flat[i+2]}
		final, policy, hit := cov.Final/1000, w.plan.whenFull, faultDropped
		sound := at.from < at.to && at.to-1+windowMS <= final && policy == engine.DropOldest
		if at.width > 0 {
			hit = faultMerged
			sound = at.from < at.to && at.from%at.width == 0 && at.to%at.width == 0 && at.to <= final && policy == engine.Coarsen
		}
		if !sound {
			w.wrong("%s: the account has the span %+v, and final windows until %d", s, at, final)
		}
		w.hit(hit)
	}
}

// wideAt is the total of all windows that begin within a width, over the records below an offset.
func (a *account) wideAt(g group, width, offset int64) (sum total, any bool) {
	for start := g.start; start < g.start+max(width, 1); start += windowMS {
		if t, ok := a.totalAt(group{start, g.device, g.number}, offset); ok {
			sum, any = total{sum.n + t.n, sum.sum + t.sum}, true
		}
	}
	return sum, any
}

// expected are the rows that an account says there are, of the records below an offset, and how many rows were dropped.
func (a *account) expected(cov *sink.Coverage, at int64) (rows map[rowID]total, dropped int64) {
	rows = map[rowID]total{}
	if a.rev.sessions {
		for g, v := range a.sessionsAt(at) {
			if finished(cov, v.end) {
				rows[rowID{segmentOf(cov), g, 0}] = v.total
			}
		}
		return rows, 0
	}
	for g := range a.groups {
		t, ok := a.totalAt(g, at)
		if !ok {
			continue
		}
		id := rowID{segmentOf(cov), g, 0}
		if s, in := spanOf(cov, g.start); in {
			if s.width == 0 {
				dropped += t.n
				continue
			}
			id.width = s.width
			id.group.start = g.start / s.width * s.width
		}
		have := rows[id]
		rows[id] = total{have.n + t.n, have.sum + t.sum}
	}
	return rows, dropped
}
