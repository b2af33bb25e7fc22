package builtin

import (
	"context"
	"fmt"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/operators/expr"
)

type callStep struct {
	step
	call     *expr.Call
	function operators.Step
}

// NewCall makes a step that calls a function of the user's for every row and appends what it gives as a column. function
// gets the arguments as its only columns, without a copy where they are columns already, and gives one column; the step
// owns it. A row that the function rejects, or has no value for, is rejected.
func NewCall(name string, in *batch.Schema, call *expr.Call, function operators.Step) (operators.Step, error) {
	if n := len(function.Out().Fields); n != 1 {
		return nil, fmt.Errorf("a function gives one column, and this gives %d: %s", n, function.Out())
	}
	out := &batch.Schema{Fields: append(append([]batch.Field(nil), in.Fields...), call.Out)}
	return &callStep{step: step{name: name, in: in, out: out}, call: call, function: function}, nil
}

// RangeSize is what the function needs, or the arguments that have to be computed: they share the range.
func (s *callStep) RangeSize(rows, inBytes int) int {
	args := 0
	for i, p := range s.call.Args {
		if !s.bare(i) {
			args += columnBytes(batch.Field{Type: p.Type(), Nullable: p.Nullable()}, rows, inBytes)
		}
	}
	if sized, ok := s.function.(operators.Sized); ok {
		args = max(args, sized.RangeSize(rows, inBytes))
	}
	return args
}

// bare tells whether an argument is a column as it is.
func (s *callStep) bare(i int) bool { return s.call.Args[i].IsColumn() }

// Digest is that of the function's module.
func (s *callStep) Digest() [32]byte {
	if d, ok := s.function.(operators.Digested); ok {
		return d.Digest()
	}
	return [32]byte{}
}

func (s *callStep) Close() error { return s.function.Close() }

func (s *callStep) Open(ctx context.Context, env operators.Env) (operators.Operator, error) {
	function, err := s.function.Open(ctx, env)
	if err != nil {
		return nil, err
	}
	o := &caller{instance: instance{step: &s.step, rng: env.Range}, call: s, function: function}
	for i, p := range s.call.Args {
		o.evals = append(o.evals, p.NewEvaluator())
		o.computes = o.computes || !s.bare(i)
	}
	return o, nil
}

type caller struct {
	instance
	call     *callStep
	function operators.Operator
	evals    []*expr.Evaluator
	computes bool        // some argument is not a column as it is
	args     batch.Batch // what the function gets
}

// Usage is what the function has used.
func (o *caller) Usage() operators.Usage {
	if m, ok := o.function.(operators.Metered); ok {
		return m.Usage()
	}
	return operators.Usage{}
}

// Release gives up the function's sandbox, as far as it can be made anew.
func (o *caller) Release() bool {
	r, ok := o.function.(operators.Releaser)
	return ok && r.Release()
}

func (o *caller) Close() error {
	o.args.Release()
	return o.function.Close()
}

func (o *caller) Process(ctx context.Context, b *batch.Batch) error {
	if err := o.check(b); err != nil {
		return err
	}
	defer o.args.Release()
	if err := o.evaluate(b); err != nil {
		return err
	}
	if len(o.dropped) > 0 {
		// Rows without arguments go first. The others have some, so the second time none is left out.
		o.args.Release()
		o.removeRejected(b, &batch.Arena{})
		if err := o.evaluate(b); err != nil {
			return err
		}
	}
	rows := b.Rows
	if rows > 0 {
		if err := o.function.Process(ctx, &o.args); err != nil {
			return err
		}
	}
	if err := o.sortOut(b); err != nil {
		return err
	}
	last := len(o.step.in.Fields)
	b.SetWidth(last + 1)
	b.Cols[last] = batch.Column{}
	switch {
	case b.Rows > 0:
		b.Cols[last] = o.args.Cols[0]
	case o.call.call.Out.Type.Variable():
		b.Cols[last].Offsets = make([]byte, 4)
	}
	b.Schema = o.step.out
	b.TakeSlots(&o.args)
	return nil
}

// evaluate makes the batch of arguments: Origin is the row in b. It rejects the rows that have none.
func (o *caller) evaluate(b *batch.Batch) error {
	in := &o.args
	in.Begin(o.call.function.In(), b.Partition, nil)
	in.Rows = b.Rows
	in.Origin = in.Origins(b.Rows)
	for i := range in.Origin {
		in.Origin[i] = int32(i)
	}
	var a batch.Arena
	if o.computes && b.Rows > 0 {
		var err error
		if a, err = o.arena(in); err != nil {
			return err
		}
	}
	for i, e := range o.evals {
		col, err := e.Eval(b, &a)
		if err != nil {
			return fmt.Errorf("step %s: argument %d: %w", o.step.name, i+1, err)
		}
		in.Cols[i] = col
		for _, f := range e.Failures() {
			o.reject(b, f.Row, f.Reason, f.Text)
		}
	}
	return nil
}

// sortOut removes the rows for which the function gave no value, so that b has a row for each row of the result.
func (o *caller) sortOut(b *batch.Batch) error {
	in := &o.args
	if in.Rows == b.Rows && len(in.Rejects) == 0 && in.Filtered == 0 && in.Expanded == 0 {
		return nil
	}
	if in.Origin == nil && in.Rows > 0 {
		return fmt.Errorf("step %s: %s does not say which row a value is for", o.step.name, o.call.call.Name)
	}
	for _, r := range in.Rejects {
		if r.Record < 0 || int(r.Record) >= b.Rows {
			return fmt.Errorf("step %s: %s rejects a row that it was not given", o.step.name, o.call.call.Name)
		}
		o.reject(b, r.Record, r.Reason, r.Detail)
	}
	last := int32(-1)
	for _, row := range in.Origin[:in.Rows] {
		if row <= last || int(row) >= b.Rows {
			return fmt.Errorf("step %s: %s gave several values for a row: a function gives one for each", o.step.name, o.call.call.Name)
		}
		for missing := last + 1; missing < row; missing++ {
			o.reject(b, missing, batch.ReasonOperator, o.call.call.Name+" gave no value")
		}
		last = row
	}
	for missing := last + 1; int(missing) < b.Rows; missing++ {
		o.reject(b, missing, batch.ReasonOperator, o.call.call.Name+" gave no value")
	}
	o.removeRejected(b, &batch.Arena{})
	return nil
}
