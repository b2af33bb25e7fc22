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

// Cast is one column's new type.
type Cast struct {
	Column   string
	Type     batch.Type
	Nullable bool // type?: what cannot be converted becomes null instead of rejecting the row
}

type castStep struct {
	step
	casts []castColumn
}

type castColumn struct {
	index    int
	field    batch.Field // after the cast
	program  *expr.Program
	nullable bool
}

// NewCast makes a step that changes the types of columns.
//
// A value that has no counterpart in the new type rejects its row: with out_of_range where a number or time does not
// fit, with wrong_type where a text is no such value. A null rejects its row with missing. Where the new type is
// nullable, either becomes null; operators.Usage counts them.
//
// Numbers lose their fraction towards zero, timestamps go to the coarser unit downwards, an integer becomes a timestamp
// in the timestamp's unit.
func NewCast(name string, in *batch.Schema, casts []Cast) (operators.Step, error) {
	if len(casts) == 0 {
		return nil, &Error{Err: errors.New("cast names no column")}
	}
	s := &castStep{step: step{name: name, in: in, out: &batch.Schema{Fields: slices.Clone(in.Fields)}}}
	for i, c := range casts {
		at := in.Index(c.Column)
		if at < 0 {
			return nil, unknownColumn(c.Column, in)
		}
		if slices.ContainsFunc(casts[:i], func(p Cast) bool { return p.Column == c.Column }) {
			return nil, &Error{Key: c.Column, Name: true, Err: errors.New("the column is cast twice")}
		}
		p, err := expr.CompileCast(at, c.Type, c.Nullable, in)
		if err != nil {
			return nil, exprError(c.Column, err)
		}
		f := batch.Field{Name: c.Column, Type: c.Type, Nullable: c.Nullable}
		s.out.Fields[at] = f
		s.casts = append(s.casts, castColumn{index: at, field: f, program: p, nullable: c.Nullable})
	}
	return s, nil
}

// RangeSize is the columns it changes.
func (s *castStep) RangeSize(rows, inBytes int) int {
	n := 0
	for _, c := range s.casts {
		n += columnBytes(c.field, rows, inBytes)
	}
	return n
}

func (s *castStep) Open(_ context.Context, env operators.Env) (operators.Operator, error) {
	o := &cast{instance: instance{step: &s.step, rng: env.Range}, casts: s.casts, cols: make([]batch.Column, len(s.casts))}
	for _, c := range s.casts {
		o.evals = append(o.evals, c.program.NewEvaluator())
	}
	return o, nil
}

type cast struct {
	instance
	casts []castColumn
	evals []*expr.Evaluator
	cols  []batch.Column
}

// Usage implements operators.Metered.
func (o *cast) Usage() operators.Usage {
	n := int64(0)
	for _, e := range o.evals {
		n += e.Nulled()
	}
	return operators.Usage{Nulled: n}
}

func (o *cast) Process(_ context.Context, b *batch.Batch) error {
	if err := o.check(b); err != nil {
		return err
	}
	a, err := o.arena(b)
	if err != nil {
		return err
	}
	for i, c := range o.casts {
		if o.cols[i], err = o.evals[i].Eval(b, &a); err != nil {
			return fmt.Errorf("step %s: column %s: %w", o.step.name, c.field.Name, err)
		}
		for _, f := range o.evals[i].Failures() {
			o.reject(b, f.Row, f.Reason, f.Text)
		}
		if !c.nullable && b.Cols[c.index].Nulls > 0 {
			o.rejectNulls(b, c.index)
		}
	}
	// Only now: a rejected row is rendered as it came in.
	for i, c := range o.casts {
		b.Cols[c.index] = o.cols[i]
	}
	clear(o.cols)
	b.Schema = o.step.out
	o.removeRejected(b, &a)
	return nil
}

func (o *cast) rejectNulls(b *batch.Batch, index int) {
	col := &b.Cols[index]
	for row := range b.Rows {
		if !col.Valid(row) {
			o.reject(b, int32(row), batch.ReasonMissing, "column "+o.step.in.Fields[index].Name+": null")
		}
	}
}
