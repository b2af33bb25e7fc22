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
	steps      []assignment
	own, calls int // columns of calls that the step leaves out in the end, and how many stand before them
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
	if err := checkAssigns(assigns); err != nil {
		return nil, err
	}
	s, err := newMap(name, in, assigns, expr.Compile)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// NewMapIn is NewMap with functions of the user's in the expressions. The step's input has the columns of the scope's calls
// behind its own, and its output has not: the caller makes them with NewCall.
func NewMapIn(scope *expr.Scope, name string, assigns []Assign) (operators.Step, error) {
	if err := checkAssigns(assigns); err != nil {
		return nil, err
	}
	seen := scope.In()
	for _, a := range assigns {
		f, err := scope.Find(a.Src, seen, a.Name)
		if err != nil {
			return nil, exprError(a.Name, err)
		}
		seen, _ = assign(seen, f)
	}
	own, calls := len(scope.In().Fields), len(scope.Calls())
	s, err := newMap(name, scope.Schema(calls), assigns, scope.Compile)
	if err != nil {
		return nil, err
	}
	s.own, s.calls = own, calls
	s.out = &batch.Schema{Fields: slices.Delete(slices.Clone(s.out.Fields), own, own+calls)}
	return s, nil
}

func checkAssigns(assigns []Assign) error {
	if len(assigns) == 0 {
		return &Error{Err: errors.New("map has no assignment: write name: expression")}
	}
	for i, a := range assigns {
		if err := checkName(a.Name); err != nil {
			return &Error{Key: a.Name, Name: true, Err: err}
		}
		if slices.ContainsFunc(assigns[:i], func(b Assign) bool { return b.Name == a.Name }) {
			return &Error{Key: a.Name, Name: true, Err: errors.New("the column is assigned twice in this step: use two map steps")}
		}
	}
	return nil
}

func newMap(name string, in *batch.Schema, assigns []Assign, compile func(string, *batch.Schema) (*expr.Program, error)) (*mapStep, error) {
	s := &mapStep{step: step{name: name, in: in, out: in}}
	for _, a := range assigns {
		p, err := compile(a.Src, s.out)
		if err != nil {
			return nil, exprError(a.Name, err)
		}
		out, at := assign(s.out, batch.Field{Name: a.Name, Type: p.Type(), Nullable: p.Nullable()})
		s.steps = append(s.steps, assignment{name: a.Name, program: p, index: at, out: out})
		s.out = out
	}
	return s, nil
}

// assign is a schema with a field set: in place where its name is there, or else at the end.
func assign(s *batch.Schema, f batch.Field) (out *batch.Schema, at int) {
	out = &batch.Schema{Fields: slices.Clone(s.Fields)}
	if at = out.Index(f.Name); at >= 0 {
		out.Fields[at] = f
		return out, at
	}
	out.Fields = append(out.Fields, f)
	return out, len(out.Fields) - 1
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
	o := &mapper{instance: instance{step: &s.step, rng: env.Range}, steps: s.steps, own: s.own, calls: s.calls}
	for _, a := range s.steps {
		o.evals = append(o.evals, a.program.NewEvaluator())
	}
	return o, nil
}

type mapper struct {
	instance
	steps      []assignment
	evals      []*expr.Evaluator
	own, calls int
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
	if o.calls > 0 {
		copy(b.Cols[o.own:], b.Cols[o.own+o.calls:])
		b.SetWidth(len(o.step.out.Fields))
		b.Schema = o.step.out
	}
	o.removeRejected(b, &a)
	return nil
}
