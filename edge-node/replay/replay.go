// Package replay builds stretches of a partition's log again, by the stages of the pipeline, and compares what comes out with
// what the destination has, or stores what it lost.
//
// It relies on what makes delivery exact: a row is the aggregate of the records of its segment below its version, whoever builds
// it. So the same records give the same rows, and a row that is stored again with the version its account vouches for replaces
// an equal row, or one that is less complete, and is itself replaced by whatever a node that runs meanwhile stores later.
//
// It knows the contracts, and the stages through [engine.Rebuild]. The pipeline package gives it the log and the store. It
// starts no goroutine.
package replay

import (
	"context"
	"time"

	"github.com/weir-stream/weir/edge-node/engine"
	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/sink"
)

// Log is where records come from.
type Log interface {
	// Partitions lists the partitions with what the log has of them now, and what the group has committed.
	Partitions(ctx context.Context) ([]ingest.Assignment, error)
	// After is, by partition of a topic, the first offset of a record that is not older than a time.
	After(ctx context.Context, topic string, at time.Time) (map[int32]int64, error)
	// Read hands over the records with offsets in [from, to), in order. The slice is the callee's.
	Read(ctx context.Context, p batch.Partition, from, to int64, each func([]batch.Record) error) error
}

// Stored is what the destination has.
type Stored interface {
	// Coverage is as in sink.Sink.
	Coverage(ctx context.Context, ps []batch.Partition) ([][]sink.Coverage, error)
	// States is as in sink.Sink.
	States(ctx context.Context, p batch.Partition, at sink.StateKey) ([]sink.StepState, error)
	// Rows gives the newest rows of a segment for windows that start in [from, to), in milliseconds since 1970, with the version
	// of each.
	Rows(ctx context.Context, of sink.Coverage, from, to int64, each func(rows *batch.Batch, versions []int64) error) error
	// DeadLetters gives those of a segment for records at offsets in [from, to). Those that people deleted on purpose are purged,
	// and have neither key nor payload.
	DeadLetters(ctx context.Context, of sink.Coverage, from, to int64, each func(d sink.DeadLetter, purged bool) error) error
	// CountLetters counts the dead letters of a segment with a reason, for records at offsets in [from, to), those included that
	// were purged.
	CountLetters(ctx context.Context, of sink.Coverage, why batch.Reason, from, to int64) (int64, error)
	// Orphans lists segments that have rows and no account.
	Orphans(ctx context.Context, p batch.Partition) ([]sink.Coverage, error)
}

// Config is what replaying a pipeline needs.
type Config struct {
	Rebuild  *engine.Rebuild // of the pipeline; the replay has it for itself
	Revision uint64
	Log      Log
	Stored   Stored

	Table           sink.Table
	Widening        operators.Widening // merges windows as nodes without room did; nil: such windows are not compared
	MaxOutOfOrder   time.Duration
	AllowedLateness time.Duration
	Stateful        bool
	LateLetters     bool // late rows become dead letters
	Jumps           bool // rows that jump ahead are rejected

	// Windows and DeadLetters are how long the destination keeps them; 0 is for ever.
	Windows, DeadLetters time.Duration
	Now                  time.Time // what that is counted from
	MaxState             int64     // bytes of window state
	Most                 int       // differences that are listed, per segment

	// Progress is told how far reading has come, now and then; nil tells nobody.
	Progress func(Progress)
}

// Progress is how far the reading of a stretch has come.
type Progress struct {
	Partition batch.Partition
	Segment   uint64
	Sending   bool // the second pass, which stores
	Offset    int64
	From, To  int64
	Records   int64 // read in this pass
	Began     time.Time
}

// Choice says which partitions and segments are meant, and which offsets.
type Choice struct {
	Partition int32 // -1: all
	Segment   int64 // -1: all of the pipeline's revision
	From, To  int64 // offsets; -1: the segment's
	Since     time.Time
	Until     time.Time
}

func (c *Choice) takes(p batch.Partition) bool { return c.Partition < 0 || c.Partition == p.ID }
