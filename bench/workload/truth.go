package workload

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Rules are the settings of a pipeline that its answer depends on.
type Rules struct {
	Window          time.Duration // tumbling, counted from 1970; or the gap of sessions
	MaxLength       time.Duration // sessions, which are cut at multiples of it since 1970; 0 is tumbling windows
	MaxOutOfOrder   time.Duration
	AllowedLateness time.Duration
	MaxRecord       int // size in bytes above which a record's value is rejected as too large
}

// Columns names what an answer consists of.
type Columns struct {
	Keys   []string // the columns grouped by
	Values []Value
	// Within is the relative error allowed of values that are estimates, by name.
	Within map[string]float64
}

// Value is one aggregate of an answer.
type Value struct {
	Name string
	// Exact values (counts, extremes, sums of integers) must be equal to the last bit. The others contain a sum of
	// float64, which depends on the order of the addition; they must agree to a relative 1e-12.
	Exact bool
}

// Row is one line of an answer: a window, its group, and the aggregates in the order of [Columns]. Counts and sums of
// integers are given as float64, exact up to 2^53.
type Row struct {
	Start  int64 // beginning of the window, in milliseconds since 1970
	Keys   []string
	Values []float64
}

// Counts accounts for records: Records = Aggregated + Late + Filtered + the sum of Rejected.
type Counts struct {
	Records, Aggregated, Late, Filtered int64
	Rejected                            map[string]int64 // by reason
}

// AllRejected is the sum of Rejected.
func (c Counts) AllRejected() int64 {
	var n int64
	for _, v := range c.Rejected {
		n += v
	}
	return n
}

// Truth works out the answer to a stream of records. It is used by one goroutine; its memory grows with the number of
// windows and groups.
//
// The rules, for each partition on its own, and for its rows in offset order:
//
//   - A record that is empty, larger than Rules.MaxRecord, not JSON, lacks a column, or has a value of another type in one
//     is rejected. A row that the filter drops is filtered. Neither moves the watermark.
//   - The window of a row with time t is [start, start + window), start = floor(t / window) · window. With sessions it is [t, t + window).
//   - If start + window + allowed lateness <= watermark, the row is late.
//   - Otherwise it is aggregated, and watermark = max(watermark, t - max out of order). There is no watermark before the
//     first row.
//
// Windows of sessions that overlap are one then, whichever partitions they are of, unless a multiple of Rules.MaxLength is between their starts.
//
// Sums of float64 are taken in offset order within a partition, then over partitions in ascending order.
type Truth struct {
	rules   Rules
	columns Columns
	read    func(*Record) reading
	finish  func(total) []float64
	keep    bool // the measures of every row, for finish

	counts     map[int32]*Counts
	watermarks map[int32]int64 // microseconds
	totals     map[cell]*total
}

// reading is what a record says, or why it says nothing.
type reading struct {
	reason   string // why it is rejected, or empty
	filtered bool
	time     int64 // microseconds since 1970
	keys     [2]string
	measures []float64
}

type cell struct {
	start     int64 // microseconds
	keys      [2]string
	partition int32
}

// total is everything any example asks of a group.
type total struct {
	rows          int64
	sum, min, max []float64   // one per measure
	all           [][]float64 // the measures of every row, where the truth keeps them
}

func newTruth(rules, defaults Rules, columns Columns, read func(*Record) reading, finish func(total) []float64) (*Truth, error) {
	if rules == (Rules{}) {
		rules = defaults
	}
	if rules.MaxRecord == 0 {
		rules.MaxRecord = defaults.MaxRecord
	}
	if rules.Window < time.Millisecond || rules.MaxOutOfOrder < 0 || rules.AllowedLateness < 0 || rules.MaxRecord < 0 || rules.MaxLength < 0 {
		return nil, fmt.Errorf("work out a truth: a window of at least a millisecond and no negative rule is needed, not %+v", rules)
	}
	return &Truth{
		rules: rules, columns: columns, read: read, finish: finish,
		counts: map[int32]*Counts{}, watermarks: map[int32]int64{}, totals: map[cell]*total{},
	}, nil
}

// Add takes the next record of its partition. It keeps nothing of r.
func (t *Truth) Add(r *Record) {
	n := t.counts[r.Partition]
	if n == nil {
		n = &Counts{Rejected: map[string]int64{}}
		t.counts[r.Partition] = n
	}
	n.Records++
	var row reading
	switch {
	case len(r.Value) == 0:
		row.reason = "empty"
	case len(r.Value) > t.rules.MaxRecord:
		row.reason = "too_large"
	default:
		row = t.read(r)
	}
	switch {
	case row.reason != "":
		n.Rejected[row.reason]++
	case row.filtered:
		n.Filtered++
	case t.aggregate(r.Partition, row):
		n.Aggregated++
	default:
		n.Late++
	}
}

// aggregate reports whether the row was in time.
func (t *Truth) aggregate(partition int32, row reading) bool {
	size := t.rules.Window.Microseconds()
	start := row.time
	if t.rules.MaxLength == 0 {
		start -= (row.time%size + size) % size // % has the sign of the time
	}
	watermark, has := t.watermarks[partition]
	if has && start+size+t.rules.AllowedLateness.Microseconds() <= watermark {
		return false
	}
	c := cell{start, row.keys, partition}
	sum := t.totals[c]
	if sum == nil {
		sum = &total{}
		t.totals[c] = sum
	}
	sum.add(total{rows: 1, sum: row.measures, min: row.measures, max: row.measures})
	if t.keep {
		sum.all = append(sum.all, row.measures)
	}
	if w := row.time - t.rules.MaxOutOfOrder.Microseconds(); !has || w > watermark {
		t.watermarks[partition] = w
	}
	return true
}

func (a *total) add(b total) {
	a.all = append(a.all, b.all...)
	if a.rows == 0 {
		a.rows, a.sum, a.min, a.max = b.rows, slices.Clone(b.sum), slices.Clone(b.min), slices.Clone(b.max)
		return
	}
	a.rows += b.rows
	for i := range a.sum {
		a.sum[i] += b.sum[i]
		a.min[i] = min(a.min[i], b.min[i])
		a.max[i] = max(a.max[i], b.max[i])
	}
}

// Columns names the keys and values of Windows.
func (t *Truth) Columns() Columns { return t.columns }

// Rules are the rules in force, defaults filled in.
func (t *Truth) Rules() Rules { return t.rules }

// Windows is the answer so far, sorted by window and keys. The caller owns it.
func (t *Truth) Windows() []Row {
	if t.rules.MaxLength > 0 {
		return t.sessions()
	}
	cells := slices.SortedFunc(maps.Keys(t.totals), func(a, b cell) int {
		return cmp.Or(cmp.Compare(a.start, b.start), slices.Compare(a.keys[:], b.keys[:]), cmp.Compare(a.partition, b.partition))
	})
	var rows []Row
	for len(cells) > 0 {
		first := cells[0]
		var sum total
		for len(cells) > 0 && cells[0].start == first.start && cells[0].keys == first.keys {
			sum.add(*t.totals[cells[0]])
			cells = cells[1:]
		}
		rows = append(rows, Row{
			Start: first.start / 1000, Keys: slices.Clone(first.keys[:len(t.columns.Keys)]), Values: t.finish(sum),
		})
	}
	return rows
}

// Counts accounts for all records so far. The caller owns it.
func (t *Truth) Counts() Counts {
	all := Counts{Rejected: map[string]int64{}}
	for _, c := range t.counts {
		all.Records += c.Records
		all.Aggregated += c.Aggregated
		all.Late += c.Late
		all.Filtered += c.Filtered
		for reason, n := range c.Rejected {
			all.Rejected[reason] += n
		}
	}
	return all
}

// PartitionCounts accounts for the records of each partition that had any. The caller owns it.
func (t *Truth) PartitionCounts() map[int32]Counts {
	out := make(map[int32]Counts, len(t.counts))
	for p, c := range t.counts {
		one := *c
		one.Rejected = maps.Clone(c.Rejected)
		out[p] = one
	}
	return out
}

// unmarshal reads JSON into v and says in the words of a pipeline what is wrong with it.
func unmarshal(value []byte, v any) (reason string) {
	err := json.Unmarshal(value, v)
	var wrong *json.UnmarshalTypeError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &wrong):
		return "wrong_type"
	default:
		return "malformed"
	}
}
