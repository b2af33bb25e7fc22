// Package aggregate keeps the incremental state of aggregates, by column and for many groups at once.
//
// A group is a number that the window package hands out; the state of group g is entry g of an accumulator's arrays.
// Rows arrive as columns with one group number per row, so that an aggregate is one tight loop over a batch and
// allocates nothing. States are mergeable: those of several partitions, sites and segments become one answer by a sum,
// a minimum or a maximum ([Merge]), and a [Finish]. A state that is more than numbers has the bytes of the state of one of
// ClickHouse's own functions, which merges and finishes it there.
//
// Each aggregate is one file here and one line in [Functions]. Those whose code is the user's are [External].
package aggregate

import "github.com/weir-stream/weir/ingest/batch"

// Skip is the group number of a row that belongs to no group: it is left out of every aggregate.
const Skip = ^uint32(0)

// Merge tells how states of several sources become one.
type Merge uint8

// The merges.
const (
	Sum Merge = iota
	Min
	Max
	Opaque // bytes: Aggregate.Function, or else only the program that made them, can merge them
)

// Finish tells how merged states become the answer.
type Finish uint8

// The finishes.
const (
	First    Finish = iota // the first state is the answer
	Ratio                  // the first state divided by the second, null where that is 0
	Outside                // the program that made the state has to be asked
	Function               // Aggregate.Function of ClickHouse merges the states and finishes them
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
	// Function is the function of ClickHouse whose states these are, with its parameters; Of are what it is a function of. A
	// group without a value has the empty text for its state, which is none of that function.
	Function string
	Of       []batch.Field
	// Map says that Of are the types of the keys and values of one map, and that the answer is such a map.
	Map   bool
	input []batch.Field
	level float64 // of a quantile
	make  func() Accumulator
}

// Accumulator holds the states of one aggregate. One goroutine uses it.
type Accumulator interface {
	// Grow makes room for groups below n. New ones are empty.
	Grow(n int)
	// Reset empties a group, to be used again for another key.
	Reset(g uint32)
	// Add takes row i of the arguments into groups[i], for every row. There are as many as the aggregate was planned with.
	Add(groups []uint32, args []*batch.Column)
	// Take copies group src of another accumulator of the same aggregate into the empty group dst.
	Take(from Accumulator, src, dst uint32)
	// Emit writes the states of the groups, in their order, as new columns on the Go heap: out has one per state.
	Emit(groups []uint32, out []batch.Column)
	// Load is the reverse: it gives the groups, which are empty, the states that Emit wrote. Skip leaves a row out. It fails
	// on what Emit cannot have written.
	Load(groups []uint32, in []batch.Column) error
}

// Mergeable is an accumulator that adds states up by itself: all but those of the user's.
type Mergeable interface {
	Accumulator
	// Merge takes states that Emit wrote into groups that may have something already, as ClickHouse would merge them. Rows of one
	// group come in the order of time: those of an earlier window first. Skip leaves a row out. It fails on what Emit cannot have
	// written, and then the groups are undefined.
	Merge(groups []uint32, in []batch.Column) error
}

// CanMerge tells whether the accumulators are Mergeable.
func (a *Aggregate) CanMerge() bool {
	_, ok := a.make().(Mergeable)
	return ok
}

// InOrder tells whether the answer of states that are merged may depend on the order, because that of rows depends on theirs: of first
// and last, and others like them, where rows are the first or last by the same value. Those of the user's say by themselves that it does not.
func (a *Aggregate) InOrder() bool {
	switch a.Func {
	case "first", "last", "argmin", "argmax", "any", "group_array", "delta", "rate", "time_avg":
		return true
	}
	return false
}

// Sized is an accumulator whose states have memory of their own beside 16 bytes a group.
type Sized interface {
	Accumulator
	// MemorySize is that memory in bytes.
	MemorySize() int64
}

// Accumulator makes an empty accumulator.
func (a *Aggregate) Accumulator() Accumulator { return a.make() }

// Sample is a state, of one row of zeroes and empty texts, to try whether a server reads it; nil where states are not bytes.
func (a *Aggregate) Sample() []byte {
	if a.Finish != Function {
		return nil
	}
	acc := a.Accumulator()
	acc.Grow(1)
	var args []*batch.Column
	for _, f := range a.input {
		c := &batch.Column{Values: make([]byte, 16)}
		if f.Type.Variable() {
			c.Offsets = batch.Bytes(make([]int32, 2))
		}
		args = append(args, c)
	}
	acc.Add([]uint32{0}, args)
	out := make([]batch.Column, 1)
	acc.Emit([]uint32{0}, out)
	return out[0].Bytes(0)
}

// grow lengthens a state array to n entries, new ones zero. Where it needs other memory it takes half as much again as there was, at least,
// and not twice as much: with many groups, what is free is the most of what they have beside their states.
func grow[T any](s []T, n int) []T {
	if n <= len(s) {
		return s
	}
	if n <= cap(s) {
		return s[:n]
	}
	t := batch.Huge(make([]T, n, max(n, cap(s)+cap(s)/2)))
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
