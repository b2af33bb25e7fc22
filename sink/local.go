package sink

import (
	"errors"

	"github.com/weir-stream/weir/ingest/batch"
)

// Local is the part of the node's own disk that belongs to one partition of one revision of a pipeline: what it would
// otherwise have to build again from the log, or could not, after a long outage. One goroutine uses it at a time. Package
// spool implements it.
type Local interface {
	// Load reads what Commit was last given, and checks that everything is there that was then; nil when nothing was ever
	// saved. An error wraps ErrDamaged where it is not. It comes before everything else.
	//
	// Where rows is not nil, it is given all rows that are not queued on the way with their hashes, in the order of their windows, some thousands at a time;
	// they are borrowed for the call. It comes before the end of the check: when Load fails, what was made of the rows is worth nothing.
	// Its errors are those of Load.
	Load(rows func(meta []byte, rows *batch.Batch, hashes []uint64) error) (meta []byte, err error)
	// Room tells whether something can be saved now; ErrFull says that not. If it can, the change that is begun next is not
	// refused for that.
	Room() error
	// Settling tells whether what was removed still takes disk, but will not for long: then Room says nothing about what more
	// should be removed.
	Settling() bool
	// Entries is how many rows and dead letters are saved.
	Entries() int
	// Change begins a change.
	Change() LocalChange
	// View reads what is saved, as it is now, whatever is changed meanwhile.
	View() (LocalView, error)
	// Clear removes everything.
	Clear() error
	// Only removes what is saved of the partition under other revisions.
	Only() error
	// SetAside keeps a copy of the store for people to look at, and then removes everything of the partition.
	SetAside() error
}

// LocalChange collects what is saved at once. It ends with Commit or Discard.
type LocalChange interface {
	// Put saves the rows of a cut, each in place of the one for its window and key. hashes are theirs, as of batch.HashRows, and
	// before those of the rows in whose place they come, 0 where there are none; nil says that there are none at all. A store that
	// was cleared has none, whatever before says. What is not so makes the store a damaged one to the next Load.
	Put(rows *batch.Batch, hashes, before []uint64)
	// DropWindow removes the rows of a window that starts at a time in milliseconds since 1970, and of says which they are. No row
	// of it may be Put in the same change.
	DropWindow(start int64, of Sum)
	// DropWindows removes the rows of all windows that start from a time on and before another. Rows of such windows may be Put after
	// it, in their place, and none before.
	DropWindows(from, to int64, of Sum)
	// DropRows removes rows that were Put, each by its window and key: of the batch only window_start and the keys count. hashes are those
	// that they were Put with.
	DropRows(rows *batch.Batch, hashes []uint64)
	// Queue saves rows from one of a batch on behind those that are queued: nothing takes their place any more, and they only wait to be shipped.
	// DropQueued removes the n oldest of those that were there before the change.
	Queue(rows *batch.Batch, from int)
	DropQueued(n int)
	// PutState saves what a stateful step carries on, in place of what it did before.
	PutState(step string, state []byte)
	// PutLetters saves dead letters behind those that are there; DropLetters removes the n oldest.
	PutLetters(letters []DeadLetter)
	DropLetters(n int)
	// Commit makes the change durable. Errors wrap ErrFull, and then nothing has changed, or are of reading the store. A change
	// that removes more than it puts is made even when there is no room.
	Commit(meta []byte) error
	Discard()
}

// Sum tells of rows, whatever their order, whether any is missing, too many, or another.
type Sum struct {
	Rows int
	Hash uint64 // of their hashes, as of batch.HashRows, modulo 2^64
}

// Add adds rows.
func (s *Sum) Add(hashes ...uint64) {
	s.Rows += len(hashes)
	for _, h := range hashes {
		s.Hash += h
	}
}

// LocalView reads what is saved. It must be closed.
type LocalView interface {
	// Skip leaves out the n oldest of the rows that are queued. It comes before Rows.
	Skip(n int)
	// From moves to the rows of the first window that starts at a time, in milliseconds since 1970, or later.
	From(start int64)
	// Rows returns the next rows, at most n; nil at the end: those that are queued, oldest first, then the others in the order of their
	// windows. They belong to the caller.
	Rows(n int) (*batch.Batch, error)
	// Letters returns the next dead letters, oldest first, of about bytes together; none at the end.
	Letters(bytes int) ([]DeadLetter, error)
	// States returns what stateful steps carried on when the lane was saved, in the order of their names. Their keys are empty.
	States() ([]StepState, error)
	Close() error
}

// ErrFull is wrapped in errors about a local disk or a budget that is used up.
var ErrFull = errors.New("the local store is full")
