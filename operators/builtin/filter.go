package builtin

import (
	"context"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/operators/expr"
)

type filterStep struct {
	step
	program *expr.Program
}

// NewFilter makes a step that keeps the rows for which an expression is true. Rows for which it is false or null are
// dropped and counted in Batch.Filtered; rows on which it fails are rejected.
func NewFilter(name string, in *batch.Schema, src string) (operators.Step, error) {
	p, err := expr.CompileFilter(src, in)
	if err != nil {
		return nil, exprError("", err)
	}
	return &filterStep{step: step{name: name, in: in, out: in}, program: p}, nil
}

// NewFilterIn is NewFilter with functions of the user's in the expression. The step's input has the columns of the scope's
// calls behind its own, and its output has not: the caller makes them with NewCall.
func NewFilterIn(scope *expr.Scope, name, src string) (operators.Step, error) {
	if _, err := scope.Find(src, scope.In(), ""); err != nil {
		return nil, exprError("", err)
	}
	in := scope.Schema(len(scope.Calls()))
	p, err := scope.CompileFilter(src, in)
	if err != nil {
		return nil, exprError("", err)
	}
	return &filterStep{step: step{name: name, in: in, out: scope.In()}, program: p}, nil
}

// RangeSize is all of the input: nearly every row may pass.
func (s *filterStep) RangeSize(_, inBytes int) int {
	return inBytes + 3*batch.Align*len(s.in.Fields)
}

func (s *filterStep) Open(_ context.Context, env operators.Env) (operators.Operator, error) {
	return &filter{instance: instance{step: &s.step, rng: env.Range}, eval: s.program.NewEvaluator()}, nil
}

type filter struct {
	instance
	eval *expr.Evaluator
}

// Process copies the rows that stay, unless all do or none does.
func (o *filter) Process(_ context.Context, b *batch.Batch) error {
	if err := o.check(b); err != nil {
		return err
	}
	o.keep = o.eval.Filter(b, o.keep[:0])
	b.SetWidth(len(o.step.out.Fields)) // without the columns of calls, which the expression alone reads
	b.Schema = o.step.out
	if len(o.keep) == b.Rows {
		return nil
	}
	var a batch.Arena
	if len(o.keep) > 0 {
		var err error
		if a, err = o.arena(b); err != nil {
			return err
		}
	}
	failures := o.eval.Failures()
	for _, f := range failures {
		rejectRow(b, o.step.name, f.Row, f.Reason, f.Text)
	}
	b.Filtered += int64(b.Rows - len(o.keep) - len(failures))
	b.Gather(o.keep, &a)
	return nil
}
