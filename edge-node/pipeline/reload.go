package pipeline

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/engine"
)

// Change is a change of plan that has begun.
type Change struct {
	From, To *Plan
	swap     *engine.Swap
}

// Wait waits until every partition runs the new plan, or ctx ends.
func (c *Change) Wait(ctx context.Context) (engine.Swapped, error) { return c.swap.Wait(ctx) }

// RestartError says that a plan cannot take the place of a running one.
type RestartError struct {
	Keys []string // what differs, as the pipeline file calls it
}

// Error implements error.
func (e *RestartError) Error() string {
	return fmt.Sprintf("a restart is needed: %s changed; a running pipeline can change its steps, its modules, and how records are decoded",
		strings.Join(e.Keys, ", "))
}

// Reload makes a plan and lets it take the place of the one that runs, at a batch boundary of each partition; see
// engine.Engine.Swap. The old one goes on meanwhile, and goes on if there is an error. The runner owns the new plan.
func (r *Runner) Reload(ctx context.Context, plan func(context.Context) (*Plan, error)) (*Change, error) {
	r.reloading.Lock()
	defer r.reloading.Unlock()
	c, err := r.reload(ctx, plan)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.refused++
		return nil, err
	}
	r.plan = c.To
	r.swaps++
	return c, nil
}

func (r *Runner) reload(ctx context.Context, plan func(context.Context) (*Plan, error)) (*Change, error) {
	p, err := plan(ctx)
	if err != nil {
		return nil, err
	}
	old := r.current()
	if keys := old.fixed(p); len(keys) > 0 {
		return nil, errors.Join(&RestartError{Keys: keys}, p.Close())
	}
	r.sink.Describe(p.Describe(r.version)) // before anything of it can be shipped
	spec := p.generation()
	spec.Close = p.Close
	swap, err := r.engine.Swap(ctx, spec)
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return &Change{From: old, To: p, swap: swap}, nil
}

// current is the newest plan.
func (r *Runner) current() *Plan {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.plan
}

// fixed lists what differs and cannot change while a pipeline runs: all that is not in the engine's generation, and time,
// whose clock is carried over.
func (p *Plan) fixed(to *Plan) []string {
	var keys []string
	differs := func(key string, a, b any) {
		if !reflect.DeepEqual(a, b) {
			keys = append(keys, key)
		}
	}
	a, b := p.Spec, to.Spec
	differs("pipeline", a.Name, b.Name)
	differs("tags", a.Tags, b.Tags)
	differs("source.kafka", kafkaSettings(a), kafkaSettings(b))
	differs("time", timeSettings(a), timeSettings(b))
	differs("window or the columns of the table", p.Table, to.Table)
	differs("late", a.Late, b.Late)
	differs("outputs", outputSettings(a), outputSettings(b))
	differs("modules of outputs", p.outputModules, to.outputModules)
	differs("sink.clickhouse", a.Sink.ClickHouse, b.Sink.ClickHouse)
	differs("sink.spool", a.Sink.Spool, b.Sink.Spool)
	return keys
}

// kafkaSettings leaves out where things stand in the file.
func kafkaSettings(spec *config.Pipeline) config.Kafka {
	k := spec.Source.Kafka
	k.Topics = slices.Clone(k.Topics)
	for i := range k.Topics {
		t := &k.Topics[i]
		if t.Pos = (config.Pos{}); t.Regex != nil {
			t.Regex = &regexp.Regexp{} // the name says which
		}
	}
	return k
}

func timeSettings(spec *config.Pipeline) config.Time {
	t := spec.Time
	t.Column.Pos = config.Pos{}
	return t
}
