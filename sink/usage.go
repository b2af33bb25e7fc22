package sink

import (
	"context"
	"time"
)

// UsageStore stores what pipelines use. It is not part of delivery: a usage that cannot be stored holds nothing up.
type UsageStore interface {
	// WriteUsage stores rows. Storing a row again, or an older version after a newer one, changes nothing. Errors are
	// *Error, with a class; after one, nothing is known, and all rows may be written again.
	WriteUsage(ctx context.Context, rows []Usage) error
}

// Usage is what a step of a pipeline used within an hour in one run of the node: whole so far, not a difference. Its
// identity is (site, node, pipeline, revision, step, digest, run, hour), and the highest version wins.
type Usage struct {
	Revision uint64
	Step     string    // "2 wasm calibrate", or "decode" or "window"
	Digest   string    // SHA-256 of the step's module in hexadecimal, or empty
	Run      uint64    // tells runs of one node apart
	Started  time.Time // when the run began, for people
	Hour     time.Time // the beginning of the hour, UTC
	Version  uint64    // grows with every row sent for the identity
	Tags     map[string]string
	Used     Used
}

// Used is the amounts of a Usage. They never shrink within one identity.
type Used struct {
	Batches    int64 // given to the step
	RowsIn     int64 // given to the step; to decode, records
	RowsOut    int64 // given by the step; by the window, rows of cuts
	Rejected   int64 // rows the step rejected
	BytesIn    int64 // of the rows as Arrow columns; to decode, of the values of the records
	BytesOut   int64
	Copied     int64 // bytes copied between pool and sandbox
	Nanos      int64 // time spent in the step
	Fuel       int64 // what sandboxes ran, in WebAssembly instructions or about
	Instances  int64 // sandboxes started
	Traps      int64
	Retries    int64
	LogDropped int64 // lines of operators that were not logged
}
