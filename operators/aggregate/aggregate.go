// Package aggregate keeps the incremental state of aggregates, by column and for many groups at once.
//
// A group is a number that the window package hands out; the state of group g is entry g of an accumulator's arrays.
// Rows arrive as columns with one group number per row, so that an aggregate is one tight loop over a batch and
// allocates nothing. States are mergeable: those of several partitions, sites and segments become one answer by a sum,
// a minimum or a maximum ([Merge]), and a [Finish].
//
// Each aggregate is one file here and one case in New. Those whose code is the user's are [External].
package aggregate

import (
	"fmt"
	"strings"

	"github.com/weir-stream/weir/ingest/batch"
)

// Skip is the group number of a row that belongs to no group: it is left out of every aggregate.
const Skip = ^uint32(0)

// Merge tells how states of several sources become one.
type Merge uint8

// The merges.
const (
	Sum Merge = iota
	Min
	Max
	Opaque // only the program that made them can merge them
)

// Finish tells how merged states become the answer.
type Finish uint8

// The finishes.
const (
	First   Finish = iota // the first state is the answer
	Ratio                 // the first state divided by the second, null where that is 0
	Outside               // the program that made the state has to be asked
)

// State is one column of an aggregate's state. Its name is empty for an aggregate of one state, and otherwise what
// tells it from its siblings.
type State struct {
	Name     string
	Type     batch.Type
	Nullable bool
	Merge    Merge
}

// Aggregate is a planned aggregate: it is immutable and makes accumulators.
type Aggregate struct {
	Func     string
	Type     batch.Type // of the answer
	Nullable bool
	States   []State
	Finish   Finish
	make     func() Accumulator
}

// Accumulator holds the states of one aggregate. One goroutine uses it.
type Accumulator interface {
	// Grow makes room for groups below n. New ones are empty.
	Grow(n int)
	// Reset empties a group, to be used again for another key.
	Reset(g uint32)
	// Add takes row i of the column into groups[i], for every row. The column is nil for an aggregate of no argument.
	Add(groups []uint32, c *batch.Column)
	// Take copies group src of another accumulator of the same aggregate into the empty group dst.
	Take(from Accumulator, src, dst uint32)
	// Emit writes the states of the groups, in their order, as new columns on the Go heap: out has one per state.
	Emit(groups []uint32, out []batch.Column)
	// Load is the reverse: it gives the groups, which are empty, the states that Emit wrote. Skip leaves a row out.
	Load(groups []uint32, in []batch.Column)
}

// Accumulator makes an empty accumulator.
func (a *Aggregate) Accumulator() Accumulator { return a.make() }

// Names lists every aggregate function.
func Names() []string { return []string{"count", "sum", "min", "max", "avg"} }

// New plans an aggregate function over a column, or over whole rows where arg is nil.
func New(fn string, arg *batch.Field) (*Aggregate, error) {
	if arg == nil && fn != "count" {
		for _, n := range Names() {
			if n == fn {
				return nil, fmt.Errorf("%s needs a column: %s(column)", fn, fn)
			}
		}
	}
	if arg != nil && arg.Type.Kind == batch.List {
		return nil, fmt.Errorf("%s of %s: a list, %s, has many values: take one in a map step, such as %s[0], len(%s) or max(%s), or make a row of each with an operator",
			fn, arg.Name, arg.Type, arg.Name, arg.Name, arg.Name)
	}
	var a *Aggregate
	switch fn {
	case "count":
		a = newCount(arg)
	case "sum":
		a = newSum(*arg)
	case "min":
		a = newExtreme(*arg, Min)
	case "max":
		a = newExtreme(*arg, Max)
	case "avg":
		a = newAvg(*arg)
	default:
		return nil, fmt.Errorf("unknown aggregate %q; supported: %s", fn, strings.Join(Names(), " "))
	}
	if a == nil {
		return nil, fmt.Errorf("%s of %s: a column of type %s has no %s", fn, arg.Name, arg.Type, fn)
	}
	a.Func = fn
	return a, nil
}

// grow lengthens a state array to n entries, new ones zero.
func grow[T any](s []T, n int) []T {
	if n <= len(s) {
		return s
	}
	if n <= cap(s) {
		return s[:n]
	}
	t := make([]T, n, max(n, 2*cap(s)))
	copy(t, s)
	return t
}

// emitFixed gathers the states of groups into a column.
func emitFixed[T batch.Fixed](state []T, groups []uint32) batch.Column {
	out := make([]T, len(groups))
	for i, g := range groups {
		out[i] = state[g]
	}
	return batch.Column{Values: batch.Bytes(out)}
}

// loadFixed scatters a column over the states of groups.
func loadFixed[T batch.Fixed](state []T, groups []uint32, c *batch.Column) {
	values := batch.As[T](c.Values)
	for i, g := range groups {
		if g != Skip {
			state[g] = values[i]
		}
	}
}

// loadSeen marks the groups that have a value.
func loadSeen(seen []bool, groups []uint32, c *batch.Column) {
	for i, g := range groups {
		if g != Skip {
			seen[g] = c.Valid(i)
		}
	}
}

// emitNulls marks the groups that have seen no value.
func emitNulls(seen []bool, groups []uint32, c *batch.Column) {
	bm := make([]byte, batch.BitmapLen(len(groups)))
	for i, g := range groups {
		if seen[g] {
			batch.SetBit(bm, i)
		} else {
			c.Nulls++
		}
	}
	if c.Nulls > 0 {
		c.Validity = bm
	}
}
