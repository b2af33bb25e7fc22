package engine

import (
	"encoding/hex"
	"slices"
	"sync/atomic"
	"time"

	"github.com/weir-stream/weir/operators"
)

// The names of the two stages that are not steps, as StepStatus and dead letters have them.
const (
	stageDecode = "decode"
	stageWindow = "window"
)

// stageCounts are what the stages of a pipeline have done, over all its lanes.
type stageCounts struct {
	decode, window stepCount
	steps          []stepCount
}

// stepCount counts what one stage has done. It is added to once per batch.
type stepCount struct {
	batches, nanos         atomic.Int64
	in, out, rejected      atomic.Int64 // rows
	bytesIn, bytesOut      atomic.Int64
	copied, fuel, nulled   atomic.Int64
	instances, ended       atomic.Int64
	traps, retries, unsaid atomic.Int64
	verified, differed     atomic.Int64
	stores                 atomic.Int64
}

// volume is how much went into a stage, or came out.
type volume struct {
	rows  int
	bytes int64
}

// add counts a batch that took from the one time to the other.
func (c *stepCount) add(from, to time.Time, in, out volume, rejected int) {
	c.batches.Add(1)
	c.nanos.Add(int64(to.Sub(from)))
	c.in.Add(int64(in.rows))
	c.out.Add(int64(out.rows))
	c.bytesIn.Add(in.bytes)
	c.bytesOut.Add(out.bytes)
	c.rejected.Add(int64(rejected))
}

// use adds what an operator has used since it was at was.
func (c *stepCount) use(now, was operators.Usage) {
	c.copied.Add(now.BytesCopied - was.BytesCopied)
	c.fuel.Add(now.Fuel - was.Fuel)
	c.nulled.Add(now.Nulled - was.Nulled)
	c.instances.Add(now.Instances - was.Instances)
	c.ended.Add(now.Ended - was.Ended)
	c.traps.Add(now.Traps - was.Traps)
	c.retries.Add(now.Retries - was.Retries)
	c.unsaid.Add(now.LogDropped - was.LogDropped)
	c.verified.Add(now.Verified - was.Verified)
	c.differed.Add(now.Differed - was.Differed)
	c.stores.Add(now.Stores - was.Stores)
}

// StepStatus is what a stage has done since the engine was made, records that were read again included.
type StepStatus struct {
	Name   string // of the step, "decode", "window", or "window NAME" of an aggregate of the user's
	Digest string // SHA-256 of the step's module in hexadecimal, or empty
	// Batches it was given, and the time it spent on them.
	Batches int64
	Time    time.Duration
	// Rows it was given, gave, and rejected. Decode is given records; the window gives the rows of its cuts.
	In, Out, Rejected int64
	// Bytes of these rows as Arrow columns; what decode is given is the bytes of the records' values.
	BytesIn, BytesOut int64
	Usage             operators.Usage
	Shadow            *operators.ShadowStatus // of the newest generation's candidate, or nil
}

func (c *stepCount) status(name string) StepStatus {
	return StepStatus{
		Name: name, Batches: c.batches.Load(), Time: time.Duration(c.nanos.Load()),
		In: c.in.Load(), Out: c.out.Load(), Rejected: c.rejected.Load(), BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load(),
		Usage: operators.Usage{
			BytesCopied: c.copied.Load(), Fuel: c.fuel.Load(), Nulled: c.nulled.Load(),
			Instances: c.instances.Load(), Ended: c.ended.Load(),
			Traps: c.traps.Load(), Retries: c.retries.Load(), LogDropped: c.unsaid.Load(),
			Verified: c.verified.Load(), Differed: c.differed.Load(), Stores: c.stores.Load(),
		},
	}
}

// add adds what another generation's stage of the same name has done.
func (s *StepStatus) add(o *StepStatus) {
	s.Batches += o.Batches
	s.Time += o.Time
	s.In += o.In
	s.Out += o.Out
	s.Rejected += o.Rejected
	s.BytesIn += o.BytesIn
	s.BytesOut += o.BytesOut
	s.Usage = s.Usage.Plus(o.Usage)
}

// Used is what the stages of one revision have used since the engine was made.
type Used struct {
	Revision uint64
	Steps    []StepStatus
}

// Used lists what every revision has used that the engine has run, the current one first. It may be called at any time,
// from any goroutine.
func (e *Engine) Used() []Used {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.usedLocked()
}

func (e *Engine) usedLocked() []Used {
	var all []Used
	for _, g := range slices.Backward(e.generations) {
		all = addUsed(all, Used{g.Revision, g.counts.status(&g.Generation)})
	}
	for _, u := range e.stats.used {
		all = addUsed(all, u)
	}
	return all
}

// addUsed adds to what the same revision has used, or appends a copy. Two generations of a revision have the same steps.
func addUsed(to []Used, u Used) []Used {
	i := slices.IndexFunc(to, func(o Used) bool { return o.Revision == u.Revision })
	if i < 0 {
		return append(to, Used{u.Revision, slices.Clone(u.Steps)})
	}
	to[i].Steps = addSteps(to[i].Steps, u.Steps)
	return to
}

// addSteps adds to the stages of the same names, and appends the others.
func addSteps(to, more []StepStatus) []StepStatus {
	for i := range more {
		s := &more[i]
		if at := slices.IndexFunc(to, func(o StepStatus) bool { return o.Name == s.Name }); at >= 0 {
			to[at].add(s)
		} else {
			to = append(to, *s)
		}
	}
	return to
}

// stepStatus adds up the revisions, and counts the lanes that are not in the current generation.
func (e *Engine) stepStatus() (steps []StepStatus, moving int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, u := range e.usedLocked() {
		steps = addSteps(steps, u.Steps)
	}
	for _, g := range e.generations {
		if g != e.current.Load() {
			moving += g.lanes
		}
	}
	return steps, moving
}

// status lists the stages in the order of the data. Programs of the window come before it, and have but what they used: their
// rows are the window's.
func (c *stageCounts) status(g *Generation) []StepStatus {
	all := []StepStatus{c.decode.status(stageDecode)}
	for i, s := range g.Steps {
		st := c.steps[i].status(s.Name())
		if d, ok := s.(operators.Digested); ok {
			digest := d.Digest()
			st.Digest = hex.EncodeToString(digest[:])
		}
		if sh, ok := s.(operators.Shadowed); ok {
			status := sh.Shadow()
			st.Shadow = &status
		}
		all = append(all, st)
	}
	for _, p := range g.Programs {
		digest := p.Of.Digest()
		all = append(all, StepStatus{Name: p.Name, Digest: hex.EncodeToString(digest[:]), Usage: p.Of.Usage()})
	}
	return append(all, c.window.status(stageWindow))
}
