package harness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/weir-stream/weir/bench/report"
	"github.com/weir-stream/weir/bench/workload"
)

// step is one of the things that a run measures.
type step struct {
	name, about string
	// expect is about how long it takes on two cores that do nothing else. Only its share of all of them matters once the
	// first step is done.
	expect time.Duration
	run    func(context.Context) error
}

// aboutTargets tells whether a workload is one that numbers are asked of. The others are measured briefly where Options.Brief is set.
func aboutTargets(name string) bool { return name == "sensors" || name == "project" }

// briefRounds is how often other workloads are measured then.
const briefRounds = 3

// rounds is how often a workload is measured, and cores on how many cores.
func (b *bench) rounds(c workload.Case) int {
	if b.opts.Brief && !aboutTargets(c.Name) {
		return min(b.opts.Rounds, briefRounds)
	}
	return b.opts.Rounds
}

func (b *bench) cores(c workload.Case) []int {
	if b.opts.TwoCores && runtime.NumCPU() > 1 && (!b.opts.Brief || aboutTargets(c.Name)) {
		return []int{1, 2}
	}
	return []int{1}
}

// plan lists what is to be measured, in order.
func (b *bench) plan() ([]step, error) {
	var steps []step
	for _, c := range b.cases {
		steps = append(steps, step{c.Name, c.About, b.expect(c), func(ctx context.Context) error { return b.throughput(ctx, c) }})
	}
	for _, name := range b.opts.Scenarios {
		i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no workload %q; there are %s", name, strings.Join(Names(), ", "))
		}
		s := scenarios[i]
		steps = append(steps, step{name, s.about, s.expect(b), func(ctx context.Context) error { return s.run(b, ctx) }})
	}
	return steps, nil
}

// expect guesses how long a workload takes.
func (b *bench) expect(c workload.Case) time.Duration {
	contenders := 2 + len(b.opts.Contenders)
	if aboutTargets(c.Name) {
		contenders++ // the one written by hand
	}
	runs := b.rounds(c) * len(b.cores(c)) * contenders
	return b.cost(c.Name, cmp.Or(b.opts.Events, c.Events*rowsOf(c)), runs)
}

// cost guesses how long it takes to fill a topic and to let runs read it.
func (b *bench) cost(name string, events int64, runs int) time.Duration {
	fill, read := 1600*time.Nanosecond, 500*time.Nanosecond
	if name == "wide" || name == "keys" || name == "rows" {
		fill, read = 4*fill, 4*read
	}
	return time.Duration(events)*(fill+time.Duration(runs)*read) + time.Duration(runs+1)*500*time.Millisecond + time.Second
}

// runAll takes the steps in turn. One that fails is noted and does not keep the others from being taken; the end of ctx does. What
// was measured is in the document in any case.
func (b *bench) runAll(ctx context.Context, steps []step) error {
	began := time.Now()
	var expected, done time.Duration
	for _, s := range steps {
		expected += s.expect
	}
	var failed []error
	for i, s := range steps {
		if ctx.Err() != nil {
			b.doc.Skipped = append(b.doc.Skipped, s.name)
			continue
		}
		gone := time.Since(began)
		b.say("[%d of %d, %s gone, about %s left] %s: %s", i+1, len(steps), roundly(gone), roundly(left(gone, done, expected)), s.name, s.about)
		// Nothing a workload waits for takes so long; what hangs must not keep the others from being measured.
		stepCtx, cancel := context.WithTimeoutCause(ctx, 10*time.Minute+10*s.expect, fmt.Errorf("it took more than ten times as long as expected"))
		err := s.run(stepCtx)
		if err != nil && stepCtx.Err() != nil && ctx.Err() == nil {
			err = fmt.Errorf("%w: %w", context.Cause(stepCtx), err)
		}
		cancel()
		done += s.expect
		switch {
		case err == nil:
		case ctx.Err() != nil:
			b.doc.Skipped = append(b.doc.Skipped, s.name)
		default:
			err = fmt.Errorf("workload %s: %w", s.name, err)
			failed = append(failed, err)
			b.doc.Failed = append(b.doc.Failed, report.Failure{Name: s.name, Reason: err.Error()})
			b.say("FAILED: %v", err)
		}
	}
	if b.doc.TookS = time.Since(began).Seconds(); ctx.Err() != nil {
		b.doc.Interrupted = true
		failed = append(failed, fmt.Errorf("the run was ended before all was measured: %w", ctx.Err()))
	}
	return errors.Join(failed...)
}

// left guesses how long the rest takes from how long what is done took.
func left(gone, done, expected time.Duration) time.Duration {
	rest := expected - done
	if done < 10*time.Second {
		return rest
	}
	return time.Duration(float64(rest) * float64(gone) / float64(done))
}

// roundly is a duration without what nobody wants to know.
func roundly(d time.Duration) string {
	d = d.Round(time.Second)
	if d < time.Minute {
		return d.String()
	}
	return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
}
