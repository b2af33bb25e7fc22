package builtin

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
)

// Rename is one column's new name.
type Rename struct{ From, To string }

type renameStep struct{ step }

// NewRename makes a step that renames columns, all at once: two can exchange their names. It moves no data.
func NewRename(name string, in *batch.Schema, renames []Rename) (operators.Step, error) {
	if len(renames) == 0 {
		return nil, &Error{Err: errors.New("rename names no column")}
	}
	out := &batch.Schema{Fields: slices.Clone(in.Fields)}
	for i, r := range renames {
		at := in.Index(r.From)
		if at < 0 {
			return nil, unknownColumn(r.From, in)
		}
		if slices.ContainsFunc(renames[:i], func(p Rename) bool { return p.From == r.From }) {
			return nil, &Error{Key: r.From, Name: true, Err: errors.New("the column is renamed twice")}
		}
		if err := checkName(r.To); err != nil {
			return nil, &Error{Key: r.From, Err: err}
		}
		out.Fields[at].Name = r.To
	}
	for _, r := range renames {
		at := in.Index(r.From)
		for i, f := range out.Fields {
			if i != at && f.Name == r.To {
				return nil, &Error{Key: r.From, Err: fmt.Errorf("there would be two columns %q: drop or rename the other one", r.To)}
			}
		}
	}
	return &renameStep{step{name: name, in: in, out: out}}, nil
}

// RangeSize is 0: no column is made.
func (s *renameStep) RangeSize(_, _ int) int { return 0 }

func (s *renameStep) Open(context.Context, operators.Env) (operators.Operator, error) {
	return &rename{instance{step: &s.step}}, nil
}

type rename struct{ instance }

func (o *rename) Process(_ context.Context, b *batch.Batch) error {
	if err := o.check(b); err != nil {
		return err
	}
	b.Schema = o.step.out
	return nil
}
