package config

import (
	"fmt"
	"math"
	"time"
)

// Count is what windows are that end when a key has had so many rows.
type Count struct {
	// Rows is how many rows of a key, in a partition, make a window.
	Rows int64
	// Timeout ends a window that does not get them: so long after its first row, in event time. Whole milliseconds. Default 1d.
	Timeout time.Duration
}

// defaultTimeout is Count.Timeout where the file does not say it.
const defaultTimeout = 24 * time.Hour

func countTable() object[Count] {
	return object[Count]{
		what: "count",
		fields: []field[Count]{
			at("rows", intKind(1, math.MaxInt32), func(c *Count) *int64 { return &c.Rows },
				"How many rows of a key, in the order of their partition's log, make a window.").must(),
			at("timeout", windowLength(time.Millisecond), func(c *Count) *time.Duration { return &c.Timeout },
				"A window ends so long after its first row in event time, however many rows it has, so that keys that stop are not kept for ever. Default 1d."),
		},
	}
}

// String is how windows of so many rows are told of to people.
func (c *Count) String() string {
	return fmt.Sprintf("%d rows or %s", c.Rows, FormatDuration(c.Timeout))
}

// checkCount finds what does not fit windows of so many rows.
func checkCount(r *reader, v value, w *Window) {
	w.Size, w.Every = w.Count.Timeout, w.Count.Timeout
	switch {
	case w.Offset != 0:
		r.failf(v, "windows of so many rows begin with a row, and have no offset").Hint = "leave offset out"
	case w.Emit == EmitFinal:
		r.failf(v, "windows of so many rows are shipped whenever they have changed, and not with emit: final").Hint = "leave emit out; those that are full, or end at or before complete_until, do not change any more"
	case w.MaxKeys > 0:
		r.failf(v, "windows of so many rows have no max_keys: each is of one key").Hint = "leave max_keys out"
	}
	for _, a := range w.Aggregates {
		if a.Wasm != nil {
			r.addf(a.Pos, v.path+".aggregates", "window.aggregates.%s: aggregates of your own are not in windows of so many rows: a row on which a module fails would have been counted", a.Name)
		}
	}
}
