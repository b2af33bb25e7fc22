// Package builtin has the steps written in Go: filter, map, drop, rename and cast, one file each, and call,
// which runs a function of the user's for an expression of a filter or a map.
//
// The planner makes them from a pipeline's steps. Each is row-wise: what it does to a row depends on that row alone.
// Rows on which an expression or a conversion fails become rejects of the batch and leave it; the others go on. Nothing
// is allocated per row, save for rows that are rejected.
//
// A constructor's error is an [*Error], which tells the planner where in the step's configuration to point.
package builtin

import (
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/operators/expr"
)

// Error is what is wrong with a step, and where in its configuration.
type Error struct {
	Key    string // the assignment or column at fault; empty where the step is one scalar
	Offset int    // byte offset in that key's scalar; 0 where Name is at fault
	Name   bool   // the key itself is at fault, not its value
	Err    error  // what and how to mend it; often an *expr.Error
}

// Error is "key: what is wrong".
func (e *Error) Error() string {
	if e.Key == "" {
		return e.Err.Error()
	}
	return e.Key + ": " + e.Err.Error()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// exprError puts an expression's error at its place in a scalar.
func exprError(key string, err error) *Error {
	var e *expr.Error
	if errors.As(err, &e) {
		return &Error{Key: key, Offset: e.Offset, Err: e}
	}
	return &Error{Key: key, Err: err}
}

func unknownColumn(name string, in *batch.Schema) *Error {
	return &Error{Key: name, Name: true, Err: fmt.Errorf("unknown column %q: %s", name, expr.Suggest(name, in.Names()))}
}

// maxName is the longest column name a step may make, in bytes.
const maxName = 256

// checkName tells what is wrong with a new column's name.
func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("a column needs a name")
	case len(name) > maxName:
		return fmt.Errorf("the column name is %d bytes long, the limit is %d", len(name), maxName)
	case !utf8.ValidString(name):
		return errors.New("the column name is not UTF-8 text")
	}
	for _, r := range name {
		if unicode.IsControl(r) {
			return fmt.Errorf("the column name has the control character %U", r)
		}
	}
	return nil
}

// step is what all steps have.
type step struct {
	name    string
	in, out *batch.Schema
}

func (s *step) Name() string       { return s.name }
func (s *step) In() *batch.Schema  { return s.in }
func (s *step) Out() *batch.Schema { return s.out }
func (s *step) Close() error       { return nil }

// instance is what all operators have.
type instance struct {
	step *step
	rng  *batch.Range // nil: all new columns are on the heap

	keep    []int32  // rows that stay, reused
	dropped []uint64 // bitmap of rejected rows, reused; empty when there is none
}

func (o *instance) Close() error { return nil }

// check begins a batch.
func (o *instance) check(b *batch.Batch) error {
	o.dropped = o.dropped[:0]
	if len(b.Cols) != len(o.step.in.Fields) {
		return fmt.Errorf("step %s: the batch has %d columns, expected %d", o.step.name, len(b.Cols), len(o.step.in.Fields))
	}
	return nil
}

// arena takes a slot for a batch's new columns and hands it to the batch. Where that fails with [batch.ErrNoSlot]
// nothing has been changed yet: the batch can be processed again once a slot is free.
func (o *instance) arena(b *batch.Batch) (batch.Arena, error) {
	if o.rng == nil || b.Rows == 0 {
		return batch.Arena{}, nil
	}
	s, err := o.rng.Acquire()
	if err != nil {
		return batch.Arena{}, fmt.Errorf("step %s: take memory for a batch: %w", o.step.name, err)
	}
	b.Hold(s)
	return batch.NewArena(s.Mem()), nil
}

// reject takes a row out of account, once. The row itself stays until removeRejected; it must still be as it was, as it
// is kept where its record is not known.
func (o *instance) reject(b *batch.Batch, row int32, reason batch.Reason, text string) {
	if len(o.dropped) == 0 {
		n := (b.Rows + 63) / 64
		if cap(o.dropped) < n {
			o.dropped = make([]uint64, n)
		}
		o.dropped = o.dropped[:n]
		clear(o.dropped)
	}
	if o.dropped[row>>6]>>(row&63)&1 != 0 {
		return
	}
	o.dropped[row>>6] |= 1 << (row & 63)
	rejectRow(b, o.step.name, row, reason, text)
}

func rejectRow(b *batch.Batch, name string, row int32, reason batch.Reason, text string) {
	b.Reject(int(row), name, reason, text)
	if b.Origin == nil {
		b.Rejects[len(b.Rejects)-1].Payload = b.RowJSON(int(row))
	}
}

// removeRejected removes the rows given to reject.
func (o *instance) removeRejected(b *batch.Batch, a *batch.Arena) {
	if len(o.dropped) == 0 {
		return
	}
	keep := o.keep[:0]
	for i := range b.Rows {
		if o.dropped[i>>6]>>(i&63)&1 == 0 {
			keep = append(keep, int32(i))
		}
	}
	o.keep, o.dropped = keep, o.dropped[:0]
	b.Gather(keep, a)
}

// columnBytes is about what a column of a type takes.
func columnBytes(f batch.Field, rows, inBytes int) int {
	n := batch.Align
	switch {
	case f.Type.Kind == batch.Bool:
		n += batch.BitmapLen(rows)
	case f.Type.Kind == batch.List:
		n += 4*(rows+1) + batch.Align + inBytes
	case f.Type.Variable():
		// The longest number or time has about 24 characters; strings made of strings are as long as a column or two.
		n += 4*(rows+1) + batch.Align + 24*rows + inBytes/4
	default:
		n += f.Type.Width() * rows
	}
	if f.Nullable {
		n += batch.BitmapLen(rows) + batch.Align
	}
	return n
}

var (
	_ operators.Step = (*filterStep)(nil)
	_ operators.Step = (*mapStep)(nil)
	_ operators.Step = (*dropStep)(nil)
	_ operators.Step = (*renameStep)(nil)
	_ operators.Step = (*castStep)(nil)

	_ operators.Sized = (*filterStep)(nil)
	_ operators.Sized = (*mapStep)(nil)
	_ operators.Sized = (*dropStep)(nil)
	_ operators.Sized = (*renameStep)(nil)
	_ operators.Sized = (*castStep)(nil)
)
