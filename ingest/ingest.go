// Package ingest is the contract of the first stage: where records come from and how they become batches.
//
// Below it, kafka reads partitions and decode turns record values into columns. The engine drives both and knows only
// what is written here.
package ingest

import (
	"context"

	"github.com/weir-stream/weir/ingest/batch"
)

// Decoder turns the records of one partition into the rows of a batch. A decoder is used by one goroutine.
type Decoder interface {
	// Schema is what every batch has after Decode.
	Schema() *batch.Schema
	// Decode writes rows for a prefix of b.Records, in order, into buffers of the arena, and cuts b.Records down to
	// the records it took: fewer than given when the arena is full, never none. A record that cannot be decoded
	// becomes a Reject with its reason; the others go on. Origin is set.
	//
	// A record of many rows that do not all fit is the only one that is taken, and b.Unfinished says so. The next call must then
	// be for the same record, with b.Resumed set, or else its other rows are forgotten.
	Decode(b *batch.Batch, a *batch.Arena)
}

// Assignment is a partition that this node now owns, and what the group remembers of it.
type Assignment struct {
	Partition batch.Partition
	LogStart  int64 // first offset the broker still has
	LogEnd    int64 // offset after the last that consumers may have: open transactions are behind it
	Begin     int64 // where the configuration says to begin without a commit
	Committed int64 // committed offset, or -1
	// SameUpTo is the offset up to which the log has the records that it had when the commit was made. Where more was handled by
	// then, the log was cut back since. -1 where nobody can tell.
	SameUpTo int64
	// EpochEnd asks the same for what the handler knows to be of leader epochs up to one: up to which offset the log has these records still.
	// -1 where nobody can tell. It is nil where the source does not know leader epochs.
	EpochEnd func(ctx context.Context, epoch int32) (int64, error)
	Epoch    int32 // one more than the leader epoch that the commit was made with; 0 where it has none
	Metadata string
	Refused  error // why the source will not read the partition, whatever the handler says; mostly nil
}

// Start is where a partition that was assigned begins.
type Start struct {
	Offset int64 // the first to read
	// Epoch is one more than a leader epoch that is not lower than that of any record below Offset; 0 where it is not known. With it the
	// source finds out where the log is cut back before it has read anything.
	Epoch int32
	Err   error // why the partition is left unread, which the source reports; nil where it is read
}

// Handler is told by a Source what happens to partitions. Calls for one partition never overlap.
type Handler interface {
	// Assigned is given all partitions of an assignment at once, so that what is asked about each can be asked together. It returns
	// where each begins, in their order. Those that begin are the handler's, also where ctx ends before others could.
	Assigned(ctx context.Context, as []Assignment) []Start
	// Records hands over records of a partition in offset order. It does not block: a handler that has enough calls
	// Source.Pause. The slice now belongs to the handler; what it points to stays valid while it is referenced.
	// logEnd is the offset after the last record that the broker has for consumers now.
	Records(p batch.Partition, records []batch.Record, logEnd int64)
	// Skipped says that offsets up to to, behind the last record handed over, are the log's own: ends of transactions, and
	// records of those that were aborted. logEnd is as for Records.
	Skipped(p batch.Partition, to, logEnd int64)
	// Revoked asks to finish with partitions: ship, commit, forget. It returns when that is done or ctx ends.
	Revoked(ctx context.Context, ps []batch.Partition)
	// Lost says that partitions now belong to somebody else: forget, and commit nothing.
	Lost(ps []batch.Partition)
	// Gap says that offsets [from, to) of a partition are no longer in the log, or are other records than before,
	// and that reading goes on at to.
	Gap(ctx context.Context, p batch.Partition, from, to int64, why GapReason)
	// Failed reports a partition that cannot be read, and why; with an empty topic, the whole source. Reading is
	// retried where that makes sense; a nil error says that it works again.
	Failed(p batch.Partition, err error)
}

// GapReason tells why offsets were not read.
type GapReason string

// The reasons of a gap.
const (
	GapRetention GapReason = "retention" // deleted by the broker before they were read
	GapTruncated GapReason = "truncated" // the log was cut back and offsets are reused
	GapRecreated GapReason = "recreated" // the topic was deleted and made anew
	GapCommit    GapReason = "commit"    // the commit is beyond the end of the log
)

// Source reads partitions and commits how far they are done.
type Source interface {
	// Run joins the group and feeds the handler until ctx ends, then leaves. It returns an error only when it
	// cannot go on at all.
	Run(ctx context.Context, h Handler) error
	// Pause and Resume stop and restart the fetching of one partition. They do not wait for anything, since they are called with a
	// lock held.
	Pause(p batch.Partition)
	Resume(p batch.Partition)
	// Commit records offsets with metadata in the group. It fails as a whole.
	Commit(ctx context.Context, commits []Commit) error
	// LeaderEpoch is not lower than the leader epoch of any record of a partition that was handed over; -1 where it is not known.
	LeaderEpoch(p batch.Partition) int32
}

// Commit is how far a partition is done: below Offset nothing is needed any more.
type Commit struct {
	Partition batch.Partition
	Offset    int64
	// Epoch is one more than a leader epoch that is not lower than that of any record that was done with; 0 where the handler does not
	// know it, and then the commit is made with that of the newest record that was handed over.
	Epoch    int32
	Metadata string // at most 4096 bytes, the broker's default limit
}
