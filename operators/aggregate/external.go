package aggregate

import (
	"context"
	"errors"
	"fmt"

	"github.com/weir-stream/weir/ingest/batch"
)

// Program is an aggregate function whose code is not weir's own: it runs in a sandbox. It keeps nothing between calls,
// the states are with their group in [External], so that a program can be restarted and shared. It is safe for concurrent
// use.
type Program interface {
	// Accumulate takes rows into the states of their groups and puts the new states into next, one per group. A
	// *RowError says that it fails on these rows; any other error is about the program or the machine.
	Accumulate(ctx context.Context, fold *Fold, next *States) error
}

// Fold is rows to take into states. The program borrows it for the call.
type Fold struct {
	Cols   []batch.Column // the arguments, as columns of a batch
	Rows   []int32        // numbers of rows of Cols: group by group, and in the order of the stream within each
	Groups []int32        // the group of each of Rows: from 0 and never falling, none left out
	States [][]byte       // of each group; nil where it has none yet
}

// RowError says that a program fails on rows. It does not say which: fewer rows may do, and one row alone is at fault.
type RowError struct {
	// Full is set where it may be just that they are too many at once.
	Full bool
	// Detail is for people, on one line.
	Detail string
	Err    error
}

// Error is the detail.
func (e *RowError) Error() string { return e.Detail }

// Unwrap is the cause.
func (e *RowError) Unwrap() error { return e.Err }

// States is a list of states in memory that is used again. The zero value is an empty list.
type States struct {
	data []byte
	ends []int
}

// Len is the number of states.
func (s *States) Len() int { return len(s.ends) }

// At is a state. It is valid until the next change of the list, and must not be changed.
func (s *States) At(i int) []byte {
	from := 0
	if i > 0 {
		from = s.ends[i-1]
	}
	return s.data[from:s.ends[i]:s.ends[i]]
}

// Append adds a copy of a state.
func (s *States) Append(state []byte) {
	s.data = append(s.data, state...)
	s.ends = append(s.ends, len(s.data))
}

// Reset empties the list. Memory beyond a mebibyte is given back.
func (s *States) Reset() {
	if cap(s.data) > 1<<20 {
		s.data = nil
	}
	s.data, s.ends = s.data[:0], s.ends[:0]
}

// NewExternal plans an aggregate that a program computes: answer is what its states are finished to.
func NewExternal(p Program, answer batch.Field) *Aggregate {
	return &Aggregate{
		Type: answer.Type, Nullable: answer.Nullable,
		States: []State{{Name: "state", Type: batch.Type{Kind: batch.Binary}, Merge: Opaque}},
		Finish: Outside,
		make:   func() Accumulator { return &External{program: p} },
	}
}

// maxStateBytes bounds the states of one accumulator, so that those of a cut fit a column, whose offsets are 32 bits.
const maxStateBytes = 1 << 30

var errStates = errors.New("the states take more than 1 GiB")

// External is the accumulator of a program: the state of each group, as bytes. Rows are not added with Add but in two
// phases, since a program can fail: Prepare has new states made, Commit puts them in place.
type External struct {
	program Program
	states  [][]byte // nil: the group has none yet
	bytes   int64    // capacity of all states

	fold Fold
	next States
}

var _ Accumulator = (*External)(nil)

// Prepare has the program take rows into their groups; ids are the groups that fold numbers. Nothing changes until Commit.
// The columns and the numbers of fold are set by the caller, its states by Prepare.
func (a *External) Prepare(ctx context.Context, cols []batch.Column, rows, groups []int32, ids []uint32) error {
	a.fold.Cols, a.fold.Rows, a.fold.Groups = cols, rows, groups
	a.fold.States = a.fold.States[:0]
	for _, g := range ids {
		a.fold.States = append(a.fold.States, a.states[g])
	}
	a.next.Reset()
	err := a.program.Accumulate(ctx, &a.fold, &a.next)
	a.fold.Cols = nil
	if err == nil && a.next.Len() != len(ids) {
		return fmt.Errorf("%d states were given for %d groups", a.next.Len(), len(ids))
	}
	return err
}

// Commit puts what Prepare made in place; ids are the same.
func (a *External) Commit(ids []uint32) error {
	for i, g := range ids {
		a.set(g, a.next.At(i))
	}
	if a.bytes > maxStateBytes {
		return errStates
	}
	return nil
}

// set gives a group a copy of a state. Its memory is used again unless it is far too large.
func (a *External) set(g uint32, state []byte) {
	old := a.states[g]
	if old == nil || cap(old) < len(state) || cap(old) > 4*len(state)+64 {
		a.bytes -= int64(cap(old))
		old = make([]byte, 0, len(state)+len(state)/4)
		a.bytes += int64(cap(old))
	}
	a.states[g] = append(old[:0], state...)
}

// MemorySize is the bytes of all states.
func (a *External) MemorySize() int64 { return a.bytes + 24*int64(cap(a.states)) }

// Grow implements Accumulator.
func (a *External) Grow(n int) { a.states = grow(a.states, n) }

// Reset implements Accumulator. It gives the memory of the state back.
func (a *External) Reset(g uint32) {
	a.bytes -= int64(cap(a.states[g]))
	a.states[g] = nil
}

// Add implements Accumulator. The rows came by Prepare and Commit.
func (a *External) Add([]uint32, []*batch.Column) {}

// Take implements Accumulator. The state moves.
func (a *External) Take(from Accumulator, src, dst uint32) {
	f := from.(*External)
	a.states[dst] = f.states[src]
	a.bytes += int64(cap(a.states[dst]))
	f.Reset(src)
}

// Emit implements Accumulator.
func (a *External) Emit(groups []uint32, out []batch.Column) { out[0] = emitBytes(a.states, groups) }

// Load implements Accumulator.
func (a *External) Load(groups []uint32, in []batch.Column) error {
	for i, g := range groups {
		if g != Skip {
			a.set(g, in[0].Bytes(i))
		}
	}
	return nil
}
