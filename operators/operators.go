// Package operators is the contract of the middle stage: the steps that change batches, and the window that
// aggregates them.
//
// Below it, builtin has the steps written in Go, wasm runs those of users, expr evaluates expressions by column, and
// window with aggregate keeps the event-time state.
package operators

import (
	"context"
	"log/slog"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
)

// Step is a planned operator: its configuration checked and its schemas known. It is made once per pipeline, is
// immutable, and is safe for concurrent use.
type Step interface {
	// Name is how errors, metrics and dead letters call the step: its position and kind, "2 wasm calibrate".
	Name() string
	// In and Out are the schemas before and after the step.
	In() *batch.Schema
	Out() *batch.Schema
	// Open makes an instance for one chain. It must be closed before the chain's pool is.
	Open(ctx context.Context, env Env) (Operator, error)
	// Close ends what the instances share. All instances are closed before.
	Close() error
}

// Env is what an instance lives in.
type Env struct {
	Pool  *batch.Pool
	Range *batch.Range // the part of the pool this instance writes
	Log   *slog.Logger
	// Lazy lets the instance make what it needs with its first batch and not before. A step that was opened once without it
	// can be opened.
	Lazy bool
}

// Operator is an instance of a step. One goroutine uses it at a time.
type Operator interface {
	// Process changes the batch in place from the step's In schema to its Out schema. Rows that cannot be handled
	// become rejects. An error means the operator cannot go on with this batch at all; the batch is then undefined.
	//
	// New columns live in a slot of Env.Range that the operator hands to the batch with Hold. The results must be a
	// function of the rows alone, not of how they were cut into batches.
	Process(ctx context.Context, b *batch.Batch) error
	// Close frees the instance. Closing twice is fine.
	Close() error
}

// Window is the event-time state of one partition. One goroutine uses it.
type Window interface {
	// Add takes the rows of a batch; offset is that of the batch's first record. Rows it cannot take become rejects
	// of the batch. What it does is a function of the rows in order, not of how they were cut into batches. An error
	// comes from an aggregate of the user's that cannot go on; the window is undefined then.
	Add(ctx context.Context, b *batch.Batch, offset int64) (Counts, error)
	// Announce gives the rows of the windows that are final and were not announced before, each with its whole aggregate, as Cut.Rows
	// has them, in an order that follows from the rows alone but where the window was given state by Load; nil where there are none. It
	// owns its memory. Whoever wants to know of all calls it before each cut. Windows that a replay builds and that were final where
	// it ends are not announced: it is called behind the replay, after EndReplay.
	Announce() *batch.Batch
	// Cut takes out what changed since the last cut and closes the windows that are final; next is the offset after
	// the last record.
	Cut(next int64) Cut
	// Restore makes an empty window one whose partition is replayed: at is the clock before the first replayed record,
	// reached the clock the partition had come to. Windows that were final then are not built again.
	Restore(at, reached Clock)
	// Load gives an empty window state that was saved: rows are those of cuts, each window and key once, and open the
	// windows of the last cut. Rows of other windows are left out. It may be called several times with the same open,
	// before any Add; nothing of what is loaded counts as changed. The clock is set by Restore. hashes are those of the rows, as of
	// batch.HashRows.
	Load(rows *batch.Batch, hashes []uint64, open []OpenWindow) error
	// Touch makes every group count as changed since the last cut.
	Touch()
	// Reset forgets all windows but not the clock. What was cut before stays true; what comes adds to it.
	Reset()
	// Clock is what decides about the next row.
	Clock() Clock
	// Watermark is the event time up to which the partition is complete but for late rows; windows that end at or
	// before Final take no more rows. Both in microseconds since 1970, Unset before the first row.
	Watermark() int64
	Final() int64
	// Windows and Groups count what is open, MemorySize estimates its bytes, Dirty counts groups changed since the cut.
	Windows() int
	Groups() int
	MemorySize() int64
	Dirty() int
}

// Closing is a window that knows how much the next cut takes out of it.
type Closing interface {
	// Closing counts the groups of the windows that are final, which the next cut closes.
	Closing() int
}

// Widening merges windows of cuts into wider ones, each of which is made of whole windows. It is safe for concurrent use.
// All times are in milliseconds; starts and ends are since 1970.
type Widening interface {
	// Size is how wide windows are, and Coarsest how wide they may be made. A width is Size times a power of two.
	Size() int64
	Coarsest() int64
	// Start is where the window of a width begins that a time is in.
	Start(at, width int64) int64
	// Merge gives the rows of the windows of a width that rows make together, or nil where there are none. Rows are those of cuts, or
	// of Merge, in the order of their windows, with each window and key once. The result owns its memory. It is the same,
	// bit by bit, whether windows are merged at once or step by step.
	Merge(rows []*batch.Batch, width int64) (*batch.Batch, error)
}

// Unset is the event time of a partition that has had no row.
const Unset = -1 << 63

// Clock is the event-time state of a partition.
type Clock struct {
	Max   int64 // greatest event time accepted, in microseconds since 1970, or Unset
	Jump  int64 // where the stream may have jumped to, see window.Config.MaxJump
	JumpN int64 // rows in sequence that say so
}

// Counts tells what became of the rows of one Add.
type Counts struct {
	Aggregated int64
	Late       int64 // behind the allowed lateness; rejects of the batch as well where late rows are kept
	Replayed   int64 // rows of windows that were final before a restart
	Overflowed int64 // of Aggregated, those of keys beyond the limit of a window
}

// Cut is what changed since the cut before, and where a replay would have to start.
type Cut struct {
	// Rows has the whole current aggregate of every window and key that changed. It owns its memory and is nil when
	// nothing changed.
	Rows *batch.Batch
	// Hashes are those of Rows, as of batch.HashRows, and Before those of the rows that the same groups were at the cut before, 0
	// where there was none. Both are borrowed until the window is used again.
	Hashes, Before []uint64
	// ReplayFrom is the lowest offset that a window which is not final needs, and Replay the clock before it.
	ReplayFrom int64
	Replay     Clock
	// FinalHash is the sum of the hashes of all rows of the windows that the cut closed, OpenHash that of the windows that stay
	// open: of batch.HashRows over rows as they were shipped last, modulo 2^64.
	FinalHash, OpenHash uint64
	// Final has the rows of the windows that the cut closed, changed or not, where windows are shipped when they are final; Rows
	// has what changed all the same. OpenRows is how many rows the windows that stay open have taken. Elsewhere they are nil and 0.
	Final    *batch.Batch
	OpenRows int64
	// Open are the windows that are open after the cut, and Closed those that it closed, both in no particular order.
	Open   []OpenWindow
	Closed []ClosedWindow
	// Of windows that are Keyed, where they are kept. Stay is how many of Rows, from the first on, are of windows that stay open; those behind
	// them take no more rows, or take back what was. Over has the rows of the windows that the cut closed and that had not changed since
	// the one before. Left are rows of cuts before that are not those of an open window any more: only their starts and keys are
	// there, and LeftHashes are what they were hashed to; borrowed as Hashes are.
	Stay       int
	Over, Left *batch.Batch
	LeftHashes []uint64
}

// Keyed is implemented by windows of one key each, which do not end together where they begin together. A local store has their rows one by one:
// those of open windows, and apart from them, in the order in which they came, those that only wait to be shipped.
//
// Their cuts have no Closed, and of Open, where they are kept, no more than some places in the log where a replay can begin, in order: windows that start
// at or after the Start of one need no record before its Offset, and the first is for all.
type Keyed interface {
	// Keep has the next cut say what a local store needs to know. waits says that cuts before may not have been shipped yet: only then there is
	// an Over, and where windows are shipped when they are final, never.
	Keep(kept, waits bool)
}

// ClosedWindow is a window that takes no more rows.
type ClosedWindow struct {
	Start, End int64 // in milliseconds since 1970
	// Groups is how many of its groups were in the rows of cuts, and Hash the sum of the hashes of their last rows, modulo 2^64.
	Groups int
	Hash   uint64
}

// OpenWindow is a window that still takes rows.
type OpenWindow struct {
	Start  int64 // in milliseconds since 1970; see Keyed
	Offset int64 // reading from here, with Clock, builds the window again
	Clock  Clock
}

// Sized is implemented by steps that write to the pool.
type Sized interface {
	// RangeSize is how many bytes of a slot suffice for the step's output in most cases, for batches of at most rows
	// rows that take about bytes.
	RangeSize(rows, bytes int) int
}

// StatefulStep is implemented by steps whose operators may be [Stateful].
type StatefulStep interface {
	// Stateful tells whether the step's operators carry something from row to row. Such an operator belongs to one
	// partition, and its instances have no part in the state of each other.
	Stateful() bool
}

// Stateful is what operators of a step that is stateful implement. The state is a function of the rows processed, in
// order, and not of how they were cut into batches; a row that was rejected, and a call of Process that failed, leave no
// trace in it.
type Stateful interface {
	// Snapshot appends the state after the last batch to dst. The batch must have been released. The bytes need not be the
	// same for the same state.
	Snapshot(dst []byte) ([]byte, error)
	// Restore makes the state what an instance of the same step gave. No bytes are the state before the first row. The
	// operator keeps a copy.
	Restore(ctx context.Context, state []byte) error
}

// Clocked is implemented by stateful operators that decide by the clock of their partition, as windows do. The clock is no part of their
// state: where that begins or is restored, SetClock says what the clock was there.
type Clocked interface {
	SetClock(Clock)
}

// Replaying is implemented by windows that have to be told that a replay has come to its end: windows that are final by then were shipped,
// and are forgotten. Where nothing is replayed it is told at once.
type Replaying interface {
	EndReplay()
}

// IsStateful tells whether a step's operators carry something from row to row.
func IsStateful(s Step) bool {
	st, ok := s.(StatefulStep)
	return ok && st.Stateful()
}

// Releaser is implemented by operators that hold much between batches, and can do without.
type Releaser interface {
	// Release gives up what the next batch can make anew, and tells whether there was anything. An operator keeps what
	// cannot be made anew: state that is stored nowhere else.
	Release() bool
}

// Metered is implemented by operators that account for what they use.
type Metered interface {
	Usage() Usage
}

// Usage is what an operator instance has used since it was opened. All of it only grows.
type Usage struct {
	BytesCopied int64 // bytes the transport copied between the pool and the sandbox; 0 on the pool transport
	Instances   int64 // sandboxes started
	Ended       int64 // sandboxes that are gone; those that live are Instances less Ended
	Traps       int64 // calls that ended in a trap
	Retries     int64 // calls that were made once more, in a fresh sandbox
	Fuel        int64 // what guests ran, in Wasm instructions or about
	LogDropped  int64 // lines of guests that were not logged because they were too many
	Verified    int64 // batches that were run again in the interpreter
	Differed    int64 // of these, those that became something else there
	Stores      int64 // pages of its input that a guest was found to have written to, which then take memory
	Nulled      int64 // values that became null because the new type could not hold them
}

// Plus is the sum of both.
func (u Usage) Plus(o Usage) Usage {
	u.BytesCopied += o.BytesCopied
	u.Instances += o.Instances
	u.Ended += o.Ended
	u.Traps += o.Traps
	u.Retries += o.Retries
	u.Fuel += o.Fuel
	u.LogDropped += o.LogDropped
	u.Nulled += o.Nulled
	u.Verified += o.Verified
	u.Differed += o.Differed
	u.Stores += o.Stores
	return u
}

// Shadowed is implemented by steps that show their batches to a candidate.
type Shadowed interface {
	Shadow() ShadowStatus
}

// ShadowStatus is how a candidate does beside a live operator. Its output goes nowhere.
type ShadowStatus struct {
	Digest  [32]byte // SHA-256 of the candidate's module
	Batches int64    // that were compared
	Skipped int64    // that passed it by because it was busy, or was left alone after a failure
	Failed  int64    // that it could not be run on
	GivenUp bool     // it failed too often
	Rows    int64    // that the live operator gave in the batches compared
	// Rows that only one of them gave, rows both gave and that differ, by column as well, and rejects that only one had.
	OnlyLive, OnlyCandidate, Changed, Rejects int64
	Columns                                   map[string]int64
	// What the batches compared took.
	LiveFuel, CandidateFuel int64
	LiveTime, CandidateTime time.Duration
}

// Digested is implemented by steps that run a module.
type Digested interface {
	// Digest is the SHA-256 of the module.
	Digest() [32]byte
}
