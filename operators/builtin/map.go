package builtin

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/operators/expr"
)

// Assign is one assignment of a map step.
type Assign struct {
	Name string // the column to add, or to replace where it exists
	Src  string // the expression
}

type mapStep struct {
	step
	steps []assignment
}

type assignment struct {
	name    string
	program *expr.Program
	index   int           // of the column it sets
	out     *batch.Schema // after it
}

// NewMap makes a step that computes columns. Assignments run from first to last, and each sees those before it. One that
// names an existing column replaces it in place; the others are added at the end. Rows on which an expression fails are
// rejected.
func NewMap(name string, in *batch.Schema, assigns []Assign) (operators.Step, error) {
	if len(assigns) == 0 {
		return nil, &Error{Err: errors.New("map has no assignment: write name: expression")}
	}
	s := &mapStep{step: step{name: name, in: in, out: in}}
	for i, a := range assigns {
		if err := checkName(a.Name); err != nil {
			return nil, &Error{Key: a.Name, Name: true, Err: err}
		}
		if slices.ContainsFunc(assigns[:i], func(b Assign) bool { return b.Name == a.Name }) {
			return nil, &Error{Key: a.Name, Name: true, Err: errors.New("the column is assigned twice in this step: use two map steps")}
		}
		p, err := expr.Compile(a.Src, s.out)
		if err != nil {
			return nil, exprError(a.Name, err)
		}
		f := batch.Field{Name: a.Name, Type: p.Type(), Nullable: p.Nullable()}
		out := &batch.Schema{Fields: slices.Clone(s.out.Fields)}
		at := out.Index(a.Name)
		if at < 0 {
			at = len(out.Fields)
			out.Fields = append(out.Fields, f)
		} else {
			out.Fields[at] = f
		}
		s.steps = append(s.steps, assignment{name: a.Name, program: p, index: at, out: out})
		s.out = out
	}
	return s, nil
}

// RangeSize is the columns it sets.
func (s *mapStep) RangeSize(rows, inBytes int) int {
	n := 0
	for _, a := range s.steps {
		n += columnBytes(a.out.Fields[a.index], rows, inBytes)
	}
	return n
}

func (s *mapStep) Open(_ context.Context, env operators.Env) (operators.Operator, error) {
	o := &mapper{instance: instance{step: &s.step, rng: env.Range}, steps: s.steps}
	for _, a := range s.steps {
		o.evals = append(o.evals, a.program.NewEvaluator())
	}
	return o, nil
}

type mapper struct {
	instance
	steps []assignment
	evals []*expr.Evaluator
}

func (o *mapper) Process(_ context.Context, b *batch.Batch) error {
	if err := o.check(b); err != nil {
		return err
	}
	a, err := o.arena(b)
	if err != nil {
		return err
	}
	for i, s := range o.steps {
		col, err := o.evals[i].Eval(b, &a)
		if err != nil {
			return fmt.Errorf("step %s: %s: %w", o.step.name, s.name, err)
		}
		for _, f := range o.evals[i].Failures() {
			o.reject(b, f.Row, f.Reason, s.name+": "+f.Text)
		}
		b.SetWidth(len(s.out.Fields))
		b.Cols[s.index], b.Schema = col, s.out
	}
	o.removeRejected(b, &a)
	return nil
}
