package simulation

import (
	"context"
	"fmt"

	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/operators/window"
)

// counting is how many rows of a device make a window, where windows are of so many rows, and how long they wait for them.
type counting struct {
	rows    int64
	timeout int64 // milliseconds
}

func (c *counting) String() string {
	if c == nil {
		return "any"
	}
	return fmt.Sprintf("%d or %d ms", c.rows, c.timeout)
}

// countingOf is drawn with the seed, so that windows are full, time out, or mostly do both.
func countingOf(seed uint64) counting {
	return counting{2 + int64(seed/5%9), []int64{1_500, 6_000, 20_000}[seed/7%3]}
}

// filling is the window of a device that takes its next row.
type filling struct {
	group
	rows int64
}

// takeInCount is take where windows are of so many rows:
//
//	late     a window that the row would begin has timed out, the lateness allowed included, by the watermark before the row
//	joins    the window that the row of its device before was in, unless that was full then, or has timed out by the same
func (a *account) takeInCount(offset int64, m *meaning, v int64) fate {
	c := a.rev.counts
	over := func(start int64) bool { return a.now.set && start+c.timeout+lateness <= a.now.max-disorder }
	if over(m.ts) {
		return late
	}
	if !a.plausible(m) {
		return future
	}
	in, any := a.last[m.device]
	if !any || in.rows == c.rows || over(in.start) {
		a.begun++
		in = filling{group: group{m.ts, m.device, a.begun}}
	}
	if !a.now.set || m.ts > a.now.max {
		a.now.set, a.now.max = true, m.ts
	}
	in.rows++
	a.last[m.device] = in
	var t total
	if steps := a.groups[in.group]; len(steps) > 0 {
		t = steps[len(steps)-1].total
	}
	a.groups[in.group] = append(a.groups[in.group], step{offset, total{t.n + 1, t.sum + v}})
	return counted
}

// final tells of a row whether its window takes no more, by an account; where windows are of so many rows, one that is full does not.
func (w *world) final(r *row, end int64) bool {
	return r.end*1000 <= end || w.plan.counts != nil && int64(r.rows) == w.plan.counts.rows
}

// forgetful is a step that may not take up the state of another.
type forgetful struct {
	*window.Numbering
	w *world
}

func (s forgetful) Open(ctx context.Context, env operators.Env) (operators.Operator, error) {
	o, err := s.Numbering.Open(ctx, env)
	return forgetfulOperator{o, s.w}, err
}

type forgetfulOperator struct {
	operators.Operator
	w *world
}

func (o forgetfulOperator) SetClock(c operators.Clock) { o.Operator.(operators.Clocked).SetClock(c) }

func (o forgetfulOperator) Snapshot(dst []byte) ([]byte, error) {
	return o.Operator.(operators.Stateful).Snapshot(dst)
}

func (o forgetfulOperator) Restore(ctx context.Context, state []byte) error {
	if len(state) > 0 {
		o.w.hit(faultNumbers)
		if o.w.plan.mutant == mutantUncounted {
			state = nil
		}
	}
	if err := o.Operator.(operators.Stateful).Restore(ctx, state); err != nil {
		return fmt.Errorf("restore numbers: %w", err)
	}
	return nil
}
