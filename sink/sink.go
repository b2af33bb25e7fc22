// Package sink is the contract of the last stage: where windowed aggregates, coverage and dead letters go.
//
// Below it, clickhouse writes them to ClickHouse, and delivery retries until they are there.
package sink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
)

// Sink stores cuts. Storing the same cut twice, or an older one after a newer one, must change nothing: a row's
// identity is (site, pipeline, revision, topic, topic ID, partition, segment, window, key) and the highest version wins.
type Sink interface {
	// Check finds out whether the destination can take cuts: reachable, tables there and of the right shape. A
	// *SchemaError tells what to run.
	Check(ctx context.Context) error
	// Coverage reads what the destination knows of partitions, in their order: of each the newest segment first, of every revision.
	// However many they are, it takes as few questions as it can.
	Coverage(ctx context.Context, ps []batch.Partition) ([][]Coverage, error)
	// States reads what is stored of the stateful steps of a partition and not released, of every revision and segment. The
	// bytes are read where revision, segment and offset are those of at, and are nil elsewhere; what is damaged is an error
	// that wraps ErrDamaged.
	States(ctx context.Context, p batch.Partition, at StateKey) ([]StepState, error)
	// Write stores cuts: what their revisions consist of and states first, then rows, then dead letters, then coverage, so that coverage never promises what is
	// not there. It returns when all is acknowledged. Errors are *Error, with a class. After one of class Reject that
	// wraps a *Rejected, every cut it does not name is stored; after any other error nothing is known, and all cuts
	// are to be written again.
	Write(ctx context.Context, cuts []*Cut) error
	// Close ends connections. Closing twice is fine.
	Close() error
}

// Cut is everything one partition ships at one moment: all that changed since the cut before, complete up to Version.
// A cut owns its memory.
type Cut struct {
	Coverage    Coverage
	Rows        *batch.Batch // changed windows and keys; the schema is the table's, see Table
	DeadLetters []DeadLetter
	States      []StepState // of the partition's stateful steps; those released, too
	// Partial says that other cuts of the same version follow: rows and dead letters are stored, coverage is not.
	Partial bool
	// Backlog says that the rows come from the node's disk, where they waited, or are sent once more.
	Backlog bool
}

// StateKey is a moment of a partition: what its stateful steps carried on to the record at Offset.
type StateKey struct {
	Revision uint64
	Segment  uint64
	Offset   int64
}

// StepState is what a stateful step carried from row to row. Its identity is (site, pipeline, revision, topic, topic ID,
// partition, segment, offset, step). A replay that begins at the offset begins with it.
type StepState struct {
	StateKey
	Step  string
	Bytes []byte
	// Released says that nobody will begin there any more. It is for ever: a released state that is stored again stays
	// released.
	Released bool
}

// ErrDamaged is wrapped in errors about something stored that is not what was written.
var ErrDamaged = errors.New("damaged")

// Coverage is the account of one segment of a partition: every offset from Start to Version is in exactly one of its
// counters.
type Coverage struct {
	Partition batch.Partition
	Revision  uint64 // hash of the pipeline and its operators
	Segment   uint64 // counts breaks of lineage; 0 is the first
	Start     int64  // first offset of the segment
	Version   int64  // offset after the last one accounted for
	Watermark int64  // event time up to which the partition is complete, in microseconds since 1970; MinWatermark before the first row
	Final     int64  // windows that end at or before this, in microseconds since 1970, will not change any more
	Counters  Counters
	Content   Content
	Spans     Spans // windows that are not kept as they were
	Gap       int64 // offsets lost just before Start
	// Lost are rows of the segment before: those in windows that were not final when it ended, which its account calls open and
	// nobody can build any more. GapReason says why.
	Lost      int64
	GapReason string // why offsets or rows were lost, or empty
	// Epoch is one more than a leader epoch that is not lower than that of any record below Version; 0 where it is not known. By it a
	// reader finds out whether the log has these records still, or others under their offsets.
	Epoch int32

	// Began are Watermark and Final where the segment begins, as far as whoever ships of it first knows them. The account that opens the
	// segment has them, so that a reader does not take the partition for one without rows. Sink.Coverage does not fill it.
	Began *Began

	// RowsVersion is the highest version of any row stored for the segment. Sink.Coverage fills it and Write ignores
	// it. It is above Version where a node died between storing rows and coverage.
	RowsVersion int64
}

// Began is how far the event time of a partition is where a segment begins, as Coverage has it.
type Began struct{ Watermark, Final int64 }

// Content is what the rows of a segment are: the sums of their hashes, by batch.HashRows of the columns of Table.Schema, modulo
// 2^64. With it a reader can prove that the rows are those that were shipped.
type Content struct {
	Known bool   // false where an older version of weir had the segment, too
	Final uint64 // of the windows that end at or before Coverage.Final
	All   uint64 // of all rows, as they are at Version
}

// RevisionText is a revision as people and commits have it: 16 hexadecimal digits.
func RevisionText(revision uint64) string { return fmt.Sprintf("%016x", revision) }

// MinWatermark is the watermark of a partition that has had no row.
const MinWatermark = -1 << 63

// Counters account for the records of a segment, cumulatively:
// RecordsIn + Expanded = Aggregated + Open + Late + Filtered + Rejected + Dropped.
type Counters struct {
	RecordsIn  int64 // records read
	Aggregated int64 // rows in windows
	Late       int64 // rows behind the allowed lateness
	Filtered   int64 // rows that steps dropped on purpose
	Rejected   int64 // records and rows that went to dead letters, the late ones not included
	Expanded   int64 // rows that steps added
	Dropped    int64 // rows in windows that were dropped before they were stored, see Spans
	// Open are rows in windows that are shipped when they are final, and are not. While there are any, rows that are stored of
	// windows that end behind Coverage.Final do not count.
	Open int64
}

// DeadLetter is a record or row that could not go on, with what is needed to look at it and to replay it. Its
// identity is (site, pipeline, revision, topic, topic ID, partition, segment, offset, step, index): the segment is part
// of it because offsets are used again by other records after a log was truncated.
type DeadLetter struct {
	Partition batch.Partition
	Revision  uint64
	Segment   uint64
	Offset    int64 // of the record, or of the first record of the batch where that is all that is known
	Index     int32 // tells rows of one record and step apart
	Time      time.Time
	Step      string
	Reason    batch.Reason
	Detail    string
	Key       []byte
	Payload   []byte
	Truncated bool // the payload was larger than what is kept
	Row       bool // the payload is a row as JSON, because its record has many, or is not known: then Key is empty
}

// Overflow is the name of a key of weir's own, a bool: rows in which it is true have those of all keys that were too many. No name
// of a user's begins like it.
const Overflow = "_overflow"

// WindowNumber is the name of a key of weir's own: the number of a window in its segment, where windows are of so many rows.
const WindowNumber = "_window"

// Table describes what a pipeline ships, in terms every destination understands. The rows of a cut have the columns
// window_start and window_end (timestamp[ms]), _rows (uint64: how many rows the window and key have taken, for the
// audit), then Keys, then every state of Aggregates, in this order; see Schema.
type Table struct {
	Site, Node, Pipeline string
	Keys                 []batch.Field
	Aggregates           []Aggregate
	Computed             []Computed
	Window               time.Duration
	Stateful             bool // cuts have States
	Final                bool // windows are stored when they are final
	Rollups              []Rollup
	// Sessions says that windows are of one key and as long as it takes: the start of one may change, and then a row of the old start
	// without _rows takes back what was stored. Those of several sources that meet are one. Each is in one of the stretches of Window that
	// begin at multiples of it, Offset later.
	Sessions bool
	Offset   time.Duration
	// Full says that windows are of one key and so many rows, in one partition, and end Window behind their start where they do not get them.
	// The number of each in its segment is the last of the keys, WindowNumber. Those that are full are final, whenever they end. 0 says
	// that windows are not of that kind.
	Full uint64
}

// Rollup is a reader's view of the same rows in wider windows, by fewer keys, or both. Every window of the table is in one of its
// windows as a whole, but for those that others were merged into, see Spans.
type Rollup struct {
	Name string
	Keys []string // of the table's, that are kept apart; Overflow is one of them where the table has it
	// Windows of Every begin Offset after multiples of it since 1970 in UTC; or are of the Calendar. Where there is neither there is
	// one window, of all time.
	Every, Offset time.Duration
	Calendar      *Calendar
	Computed      []Computed // columns of the table's that can be computed of these keys
}

// Global tells whether there is one window, of all time.
func (r *Rollup) Global() bool { return r.Every == 0 && r.Calendar == nil }

// Calendar is days, weeks or months of a time zone: Unit is "day", "week" or "month", and Zone its IANA name.
type Calendar struct{ Unit, Zone string }

// Schema is the schema of the rows of a cut.
func (t *Table) Schema() *batch.Schema {
	ms := batch.TimestampOf(batch.Millisecond)
	s := &batch.Schema{Fields: []batch.Field{
		{Name: "window_start", Type: ms},
		{Name: "window_end", Type: ms},
		{Name: "_rows", Type: batch.Type{Kind: batch.Uint64}},
	}}
	s.Fields = append(s.Fields, t.Keys...)
	for _, a := range t.Aggregates {
		for _, st := range a.States {
			s.Fields = append(s.Fields, st.Field)
		}
	}
	return s
}

// Aggregate is one answer column: the states shipped for it and how a reader finishes them.
type Aggregate struct {
	Name     string
	Type     batch.Type // of the finished value
	Nullable bool       // whether the finished value may be null where its states are not
	States   []State
	Finish   Finish

	// Function is the aggregate function of the destination whose states these are, with its parameters, and Args are what
	// it is a function of: for FinishFunction.
	Function string
	Args     []batch.Field
	// Map says that Args are the types of the keys and values of a map, which is the one argument, and the answer.
	Map bool
	// Sample is a state to try whether the destination can read it; or nil.
	Sample []byte
}

// Answer is the column a reader is given; not ok where that is a list of states, or a map.
func (a *Aggregate) Answer() (f batch.Field, ok bool) {
	f = batch.Field{Name: a.Name, Type: a.Type, Nullable: a.Nullable}
	switch a.Finish {
	case FinishFirst, FinishRatio:
		f.Nullable = a.Nullable || a.States[0].Nullable
	case FinishNone:
		return f, false
	}
	return f, !a.Map
}

// Computed is a column that a reader is given beside the answers, and of which nothing is shipped: an expression in the language of
// the destination, over the keys, the answers, window_start and window_end.
type Computed struct {
	batch.Field
	Expr string
}

// State is one shipped column of an aggregate. It is named like its aggregate, or <aggregate>__<part> where there is
// more than one, or where it is not a value but bytes.
type State struct {
	batch.Field
	Merge Merge
}

// Merge tells how the states of several partitions become one.
type Merge uint8

// The merges.
const (
	MergeSum Merge = iota
	MergeMin
	MergeMax
	MergeOpaque // bytes that only Finish knows how to merge
)

// Finish tells how merged states become the answer.
type Finish uint8

// The finishes.
const (
	FinishFirst    Finish = iota // the first state is the answer
	FinishRatio                  // the first state divided by the second, null where that is 0
	FinishFunction               // Aggregate.Function of the destination merges and finishes the one state
	FinishNone                   // the destination cannot: a reader is given the states
)

// Class tells what to do about an error.
type Class uint8

// The classes of errors.
const (
	Retry  Class = iota // passes by itself: network, overload, a server that starts
	Stop                // needs a person: password, missing table, missing right. Retried slowly, and not ready meanwhile
	Reject              // these rows will never be accepted
)

// String is the class as metrics and logs name it.
func (c Class) String() string { return [...]string{"retry", "stop", "reject"}[c] }

// Error is what a Sink returns.
type Error struct {
	Class Class
	Hint  string // what a person should do, or empty
	Err   error
	// Overload says that the destination has more to do than it can, so that less should be sent at a time, and later.
	Overload bool
}

// Error implements error.
func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Err.Error()
	}
	return e.Err.Error() + "; " + e.Hint
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Rejected names the cuts that the destination will never take as they are. Nothing of their coverage is stored. It
// comes wrapped in an *Error of class Reject.
type Rejected struct {
	Cuts []RejectedCut
}

// RejectedCut is one refused cut of a Write.
type RejectedCut struct {
	Index int    // in the slice given to Write
	Row   string // a row that is refused, for people; empty where the whole cut is
	Err   error
}

// Error implements error.
func (e *Rejected) Error() string {
	var b strings.Builder
	for i, c := range e.Cuts {
		if i == 3 {
			fmt.Fprintf(&b, "; and %d more", len(e.Cuts)-i)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		if c.Row != "" {
			b.WriteString("row " + c.Row + ": ")
		}
		b.WriteString(c.Err.Error())
	}
	return b.String()
}

// Unwrap gives the causes.
func (e *Rejected) Unwrap() []error {
	errs := make([]error, len(e.Cuts))
	for i := range e.Cuts {
		errs[i] = e.Cuts[i].Err
	}
	return errs
}

// SchemaError says that tables are missing or differ, and has the exact statements that mend it. Its text has them where they change
// what is there. It comes wrapped in
// an *Error of class Stop.
type SchemaError struct {
	Problems []string // what is missing or different, a line each
	DDL      []string // statements to run, in order; empty where no statement mends it without losing data
}

// Error implements error.
func (e *SchemaError) Error() string {
	s := "the tables do not fit the pipeline:"
	for _, p := range e.Problems {
		s += "\n  " + p
	}
	if slices.ContainsFunc(e.Problems, func(p string) bool { return strings.HasSuffix(p, " is missing") }) {
		s += "\nwhat is there and looks missing, this user has no grant for: deploy/README.md lists what a role needs"
	}
	if len(e.DDL) == 0 {
		return s
	}
	creates := func(d string) bool { return strings.HasPrefix(d, "CREATE ") && strings.Contains(d, " IF NOT EXISTS ") }
	if !slices.ContainsFunc(e.DDL, func(d string) bool { return !creates(d) }) {
		return s + "\nrun 'weir schema apply', or set 'schema: apply'; 'weir schema print' shows the statements"
	}
	s += "\nrun 'weir schema apply', set 'schema: apply', or run:\n"
	for _, d := range e.DDL {
		s += "\n" + d + ";\n"
	}
	return s
}
