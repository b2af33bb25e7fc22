package builtin

import (
	"context"
	"errors"
	"slices"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
)

type dropStep struct {
	step
	keep []int // the columns that stay, ascending
}

// NewDrop makes a step that removes columns. It moves no data.
func NewDrop(name string, in *batch.Schema, columns []string) (operators.Step, error) {
	if len(columns) == 0 {
		return nil, &Error{Err: errors.New("drop names no column")}
	}
	for i, c := range columns {
		if in.Index(c) < 0 {
			return nil, unknownColumn(c, in)
		}
		if slices.Contains(columns[:i], c) {
			return nil, &Error{Key: c, Name: true, Err: errors.New("the column is named twice")}
		}
	}
	s := &dropStep{step: step{name: name, in: in, out: &batch.Schema{}}}
	for i, f := range in.Fields {
		if !slices.Contains(columns, f.Name) {
			s.keep = append(s.keep, i)
			s.out.Fields = append(s.out.Fields, f)
		}
	}
	if len(s.keep) == 0 {
		return nil, &Error{Err: errors.New("drop would leave no column: keep at least one")}
	}
	return s, nil
}

// RangeSize is 0: no column is made.
func (s *dropStep) RangeSize(_, _ int) int { return 0 }

func (s *dropStep) Open(context.Context, operators.Env) (operators.Operator, error) {
	return &drop{instance: instance{step: &s.step}, keep: s.keep}, nil
}

type drop struct {
	instance
	keep []int
}

func (o *drop) Process(_ context.Context, b *batch.Batch) error {
	if err := o.check(b); err != nil {
		return err
	}
	for to, from := range o.keep {
		b.Cols[to] = b.Cols[from]
	}
	clear(b.Cols[len(o.keep):])
	b.SetWidth(len(o.keep))
	b.Schema = o.step.out
	return nil
}
