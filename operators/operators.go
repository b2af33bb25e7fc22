// Package operators is the contract of the middle stage: the steps that change batches, and the window that
// aggregates them.
//
// Below it, builtin has the steps written in Go, wasm runs those of users, expr evaluates expressions by column, and
// window with aggregate keeps the event-time state.
package operators

import (
	"context"
	"log/slog"

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

// Metered is implemented by operators that account for what they use.
type Metered interface {
	Usage() Usage
}

// Usage is what an operator instance has used since it was opened.
type Usage struct {
	BytesCopied int64 // bytes the transport copied between the pool and the sandbox; 0 on the pool transport
	Instances   int64 // sandboxes started
	Traps       int64 // calls that ended in a trap
}
