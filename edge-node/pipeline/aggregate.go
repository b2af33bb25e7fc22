package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators/aggregate"
	"github.com/weir-stream/weir/operators/builtin"
	"github.com/weir-stream/weir/operators/window"
)

// Arguments of aggregates that are more than a column, and filters, are computed by a map step of their own before the window.
// Their columns are named after the expressions, so that the same one is computed once.

// maxArgumentName is the longest text that is a column's name as it is.
const maxArgumentName = 200

// computed is an expression that the step before the window computes.
type computed struct {
	name string // of the column
	part config.Part
	of   *config.Aggregate
}

// computedBy lists what the aggregates need beside the columns there are.
func computedBy(spec *config.Window, in *batch.Schema) []computed {
	var all []computed
	add := func(a *config.Aggregate, p config.Part) {
		if p.IsColumn() || in.Index(p.Value) >= 0 || slices.ContainsFunc(all, func(c computed) bool { return c.part.Value == p.Value }) {
			return
		}
		name := p.Value
		if len(name) > maxArgumentName {
			name = fmt.Sprintf("%s… (%d)", name[:32], len(all))
		}
		all = append(all, computed{name, p, a})
	}
	for i := range spec.Aggregates {
		a := &spec.Aggregates[i]
		if a.Wasm != nil {
			continue
		}
		args, _ := arguments(a)
		for _, arg := range args {
			add(a, arg)
		}
		if a.Filter.Value != "" {
			add(a, a.Filter)
		}
	}
	return all
}

// arguments takes the arguments of an aggregate apart: what it is of, and the numbers behind.
func arguments(a *config.Aggregate) (args, params []config.Part) {
	f, _ := aggregate.Find(a.Func)
	n := min(f.Args, len(a.Args))
	return a.Args[:n], a.Args[n:]
}

// planArguments plans the step that computes arguments, if one is needed.
func (p *Plan) planArguments(ctx context.Context, in *batch.Schema, opts Options) (*batch.Schema, *config.Error) {
	const name = "arguments"
	need := computedBy(&p.Spec.Window, in)
	if len(need) == 0 {
		return in, nil
	}
	assigns := make([]builtin.Assign, len(need))
	for i, c := range need {
		assigns[i] = builtin.Assign{Name: c.name, Src: c.part.Value}
	}
	f := p.newCalls(ctx, name, in, opts)
	s, err := builtin.NewMapIn(f.scope, name, assigns)
	step := f.before(s, err)
	if err != nil {
		at := need[0]
		var e *builtin.Error
		off := 0
		if errors.As(err, &e) {
			off, err = e.Offset, e.Err
			if i := slices.IndexFunc(need, func(c computed) bool { return c.name == e.Key }); i >= 0 {
				at = need[i]
			}
		}
		return nil, p.Spec.Errorf(at.of.Expr.PosAt(at.part.Off+off), "%v", err)
	}
	p.Steps = append(p.Steps, step)
	does := make([]string, len(need))
	for i, c := range need {
		does[i] = "compute " + oneLine(c.part.Value)
	}
	p.Stages = append(p.Stages, Stage{Name: step.Name(), Schema: step.Out(), Does: does})
	return step.Out(), nil
}

// planAggregate plans an aggregate function over the columns there are then; eventTime is that of the event time.
func (p *Plan) planAggregate(a *config.Aggregate, in *batch.Schema, need []computed, eventTime int) (*window.Aggregate, config.Errors) {
	f, _ := aggregate.Find(a.Func)
	planned := &window.Aggregate{Name: a.Name}
	var errs config.Errors
	column := func(part config.Part) int {
		name := part.Value
		if i := slices.IndexFunc(need, func(c computed) bool { return c.part.Value == name }); i >= 0 {
			name = need[i].name
		}
		i := in.Index(name)
		if i < 0 {
			errs = append(errs, p.Spec.Errorf(a.Expr.PosAt(part.Off), "%s: no column %q after the steps", oneLine(a.Expr.Value), name).
				WithHint("%s", columnsHint(name, in)))
		}
		return i
	}
	args, params := arguments(a)
	spec := aggregate.Spec{Func: a.Func}
	for _, part := range args {
		if i := column(part); i >= 0 {
			planned.Args = append(planned.Args, i)
			spec.Args = append(spec.Args, in.Fields[i])
		}
	}
	for _, part := range params {
		v, err := strconv.ParseFloat(part.Value, 64)
		if err != nil {
			errs = append(errs, p.Spec.Errorf(a.Expr.PosAt(part.Off), "%s is not a number", strconv.Quote(part.Value)).WithHint("it is written %s", f.Usage))
		}
		spec.Params = append(spec.Params, v)
	}
	if a.Filter.Value != "" {
		planned.Filtered, planned.Filter = true, column(a.Filter)
		if i := planned.Filter; i >= 0 && in.Fields[i].Type.Kind != batch.Bool {
			errs = append(errs, p.Spec.Errorf(a.Expr.PosAt(a.Filter.Off), "a filter must be true or false, this is %s", in.Fields[i].Type).
				WithHint("compare it with something, for example x > 0"))
		}
	}
	if f.Time && len(args) == f.Args {
		if eventTime < 0 {
			return nil, errs // reported already
		}
		planned.Args = append(planned.Args, eventTime)
		spec.Args = append(spec.Args, in.Fields[eventTime])
	}
	if len(errs) > 0 {
		return nil, errs
	}
	if planned.Filtered { // a key may have rows, and none that counts: then there is no value, as in SQL
		for i := range spec.Args {
			spec.Args[i].Nullable = true
		}
	}
	agg, err := aggregate.New(spec)
	if err != nil {
		return nil, config.Errors{p.Spec.Errorf(a.Expr.Pos, "%v", err)}
	}
	planned.Aggregate = agg
	return planned, nil
}
