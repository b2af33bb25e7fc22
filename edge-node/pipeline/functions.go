package pipeline

import (
	"context"
	"errors"
	"fmt"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/operators/builtin"
	"github.com/weir-stream/weir/operators/expr"
	"github.com/weir-stream/weir/operators/wasm"
)

// checkFunctions refuses functions whose names mean something else.
func (p *Plan) checkFunctions() error {
	var errs config.Errors
	for _, f := range p.Spec.Functions {
		if err := expr.CheckScalarName(f.Name); err != nil {
			errs = append(errs, p.Spec.Errorf(f.Pos, "functions: %v", err).WithHint("give yours another name"))
		} else if p.Spec.Source.Columns.Schema().Index(f.Name) >= 0 {
			errs = append(errs, p.Spec.Errorf(f.Pos, "functions: %s is a column", f.Name).WithHint("give the function another name"))
		}
	}
	return errs.Err()
}

// calls plans the calls of functions in the expressions of one step. Each is a step of its own before it, so that it is
// metered and bounded as operators are.
type calls struct {
	p     *Plan
	ctx   context.Context //nolint:containedctx // of one call of planStep, which the expressions call back in
	opts  Options
	name  string // of the step
	scope *expr.Scope
	made  []operators.Step
}

func (p *Plan) newCalls(ctx context.Context, name string, in *batch.Schema, opts Options) *calls {
	c := &calls{p: p, ctx: ctx, opts: opts, name: name}
	names := make([]string, len(p.Spec.Functions))
	for i, f := range p.Spec.Functions {
		names[i] = f.Name
	}
	c.scope = expr.NewScope(in, expr.Scalars{Names: names, Plan: c.plan})
	return c
}

// plan proves a call by opening the module with the arguments as its columns.
func (c *calls) plan(function string, args *batch.Schema) (batch.Field, error) {
	name := c.name + " " + function
	for n, i := 1, 0; i < len(c.made); i++ { // names of steps tell them apart in metrics and dead letters
		if c.made[i].Name() == name {
			n, i = n+1, -1
			name = fmt.Sprintf("%s %s %d", c.name, function, n)
		}
	}
	s, err := wasm.New(c.ctx, c.p.wasmConfig(name, &c.p.Spec.Function(function).Wasm, c.opts), args)
	if err != nil {
		return batch.Field{}, err
	}
	c.made = append(c.made, s)
	if n := len(s.Out().Fields); n != 1 {
		return batch.Field{}, fmt.Errorf("it gives %d columns (%s), and a function gives one", n, s.Out())
	}
	if operators.IsStateful(s) {
		return batch.Field{}, errors.New("it keeps state from row to row, and a function may not: use it as a wasm step")
	}
	return s.Out().Fields[0], nil
}

// before puts the calls before their step, which has been planned, and passes it on; err is the error of planning it.
func (c *calls) before(step operators.Step, err error) operators.Step {
	p := c.p
	if err != nil {
		for _, s := range c.made {
			_ = s.Close()
		}
		return nil
	}
	for i, call := range c.scope.Calls() {
		s, err := builtin.NewCall(c.made[i].Name(), c.scope.Schema(i), call, c.made[i])
		if err != nil {
			panic("pipeline: " + err.Error()) // plan has counted the columns
		}
		spec := &p.Spec.Function(call.Name).Wasm
		module := explainModule(spec, s)
		p.Steps = append(p.Steps, s)
		p.Stages = append(p.Stages, Stage{Name: s.Name(), Schema: c.scope.In(), Does: []string{"call " + call.Text, "run " + spec.Module}, Module: module})
		p.Modules = append(p.Modules, Module{Step: s.Name(), Function: call.Name, File: spec.File, Digest: module.Digest})
	}
	return step
}
