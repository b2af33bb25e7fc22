package wasm

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators/aggregate"
)

// probationCalls is how many calls of an aggregate are made twice, differently cut.
const probationCalls = 8

// errCut says that an aggregate does not keep its promise.
var errCut = errors.New("its state depends on how the rows are cut into calls, or on what other groups had: " +
	"it must be a function of the state before and the rows, taken one after the other")

// try makes a call once more, in another instance and cut in two within each group, for the first calls of an aggregate.
// An aggregate that keeps something between calls, or that computes otherwise for many rows than for few, gives another
// state; where these finish to another value, no total of it could be vouched for. want is what the call gave.
func (a *Aggregate) try(ctx context.Context, fold *aggregate.Fold, want *aggregate.States) error {
	if len(fold.Rows) == len(fold.States) || a.probation.Load() >= probationCalls {
		return nil
	}
	a.probation.Add(1)
	f := newFolder(a)
	defer f.close()
	first, second, which := halves(fold)
	var got, behind aggregate.States
	if err := f.accumulate(ctx, first, &got); err != nil {
		return tried(err)
	}
	states := make([][]byte, got.Len())
	for i := range states {
		states[i] = got.At(i)
	}
	for _, g := range which {
		second.States = append(second.States, states[g])
	}
	if err := f.accumulate(ctx, second, &behind); err != nil {
		return tried(err)
	}
	for i, g := range which {
		states[g] = behind.At(i)
	}
	var x, y [][]byte
	for i, s := range states {
		if !bytes.Equal(s, want.At(i)) {
			x, y = append(x, s), append(y, want.At(i))
		}
	}
	if len(x) == 0 {
		return nil
	}
	// Bytes may differ where values do not: the order of a set, say.
	p, err := f.finish(ctx, x)
	if err == nil {
		p = copied(p)
		var q batch.Column
		if q, err = f.finish(ctx, y); err == nil && sameColumn(&p, &q, a.answer.Type, len(x)) {
			return nil
		}
	}
	if err != nil {
		return tried(err)
	}
	return fmt.Errorf("%s: %w", a.step.cfg.label(), errCut)
}

// tried says that the second attempt failed, where the first did not. It is not about the rows: these were taken.
func tried(err error) error {
	var re *aggregate.RowError
	if errors.As(err, &re) {
		return fmt.Errorf("rows that it took at once fail when they are cut in two (%s): %w", re.Detail, errCut)
	}
	return err
}

// halves cuts the rows of each group in two. The second half leaves out groups of one row; which says what groups it has.
func halves(fold *aggregate.Fold) (first, second *aggregate.Fold, which []int) {
	first = &aggregate.Fold{Cols: fold.Cols, States: fold.States}
	second = &aggregate.Fold{Cols: fold.Cols}
	for from := 0; from < len(fold.Rows); {
		g, to := fold.Groups[from], from
		for to < len(fold.Rows) && fold.Groups[to] == g {
			to++
		}
		mid := from + (to-from+1)/2
		first.Rows = append(first.Rows, fold.Rows[from:mid]...)
		first.Groups = append(first.Groups, fold.Groups[from:mid]...)
		if mid < to {
			second.Rows = append(second.Rows, fold.Rows[mid:to]...)
			for range to - mid {
				second.Groups = append(second.Groups, int32(len(which)))
			}
			which = append(which, int(g))
		}
		from = to
	}
	return first, second, which
}

// copied is a column in memory of its own.
func copied(c batch.Column) batch.Column {
	return batch.Column{
		Validity: bytes.Clone(c.Validity), Offsets: bytes.Clone(c.Offsets), Values: bytes.Clone(c.Values), Nulls: c.Nulls,
	}
}

// sameColumn tells whether n values are the same, bit by bit.
func sameColumn(x, y *batch.Column, t batch.Type, n int) bool {
	for i := range n {
		if x.Valid(i) != y.Valid(i) {
			return false
		}
		if !bytes.Equal(batch.AppendCellJSON(nil, t, x, i), batch.AppendCellJSON(nil, t, y, i)) {
			return false
		}
	}
	return true
}
