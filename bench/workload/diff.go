package workload

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Difference tells how an answer differs from the truth.
type Difference struct {
	Compared  int // rows of the truth
	Missing   int // rows of the truth that the answer lacks
	Extra     int // rows of the answer that the truth lacks, repetitions included
	Different int // rows in both with another value
	Lines     []string
}

// Exact tells whether there is no difference.
func (d Difference) Exact() bool { return d.Missing+d.Extra+d.Different == 0 }

// String is "exact: N rows", or the differences in figures and the first of them in lines.
func (d Difference) String() string {
	if d.Exact() {
		return fmt.Sprintf("exact: %d rows", d.Compared)
	}
	s := fmt.Sprintf("not exact: of %d rows, %d missing and %d different; %d extra", d.Compared, d.Missing, d.Different, d.Extra)
	for _, line := range d.Lines {
		s += "\n  " + line
	}
	return s
}

// tolerance is the relative difference allowed where a value is not exact: a float64 has 15 to 17 digits, and a sum of
// n values in another order loses at most n units of the last one.
const tolerance = 1e-12

// Diff compares an answer, in any order, with the truth, and describes the first limit differences.
func Diff(columns Columns, truth, got []Row, limit int) Difference {
	truth, got = slices.Clone(truth), slices.Clone(got)
	slices.SortStableFunc(truth, compareRows)
	slices.SortStableFunc(got, compareRows)
	d := Difference{Compared: len(truth)}
	say := func(format string, args ...any) {
		if len(d.Lines) < limit {
			d.Lines = append(d.Lines, fmt.Sprintf(format, args...))
		}
	}
	for len(truth) > 0 || len(got) > 0 {
		switch {
		case len(got) == 0 || len(truth) > 0 && compareRows(truth[0], got[0]) < 0:
			d.Missing++
			say("%s: missing, should be %s", place(columns, truth[0]), values(columns, truth[0]))
			truth = truth[1:]
		case len(truth) == 0 || compareRows(truth[0], got[0]) > 0:
			d.Extra++
			say("%s: should not be there: %s", place(columns, got[0]), values(columns, got[0]))
			got = got[1:]
		default:
			if lines := diffValues(columns, truth[0], got[0]); len(lines) > 0 {
				d.Different++
				say("%s: %s", place(columns, got[0]), strings.Join(lines, ", "))
			}
			truth, got = truth[1:], got[1:]
		}
	}
	return d
}

func compareRows(a, b Row) int {
	return cmp.Or(cmp.Compare(a.Start, b.Start), slices.Compare(a.Keys, b.Keys))
}

func diffValues(columns Columns, want, got Row) []string {
	if len(got.Values) != len(columns.Values) {
		return []string{fmt.Sprintf("%d values instead of %d", len(got.Values), len(columns.Values))}
	}
	var lines []string
	for i, v := range columns.Values {
		if a, b := want.Values[i], got.Values[i]; !agree(a, b, v.Exact, columns.Within[v.Name]) {
			lines = append(lines, fmt.Sprintf("%s is %v, should be %v", v.Name, b, a))
		}
	}
	return lines
}

// agree compares two values; within is the error allowed of an estimate, and 0 of what is none.
func agree(a, b float64, exact bool, within float64) bool {
	if a == b {
		return true
	}
	return !exact && math.Abs(a-b) <= max(within, tolerance)*max(math.Abs(a), math.Abs(b))
}

func place(columns Columns, r Row) string {
	s := time.UnixMilli(r.Start).UTC().Format("2006-01-02T15:04:05.000Z")
	for i, k := range r.Keys {
		name := "?"
		if i < len(columns.Keys) {
			name = columns.Keys[i]
		}
		s += fmt.Sprintf(" %s=%s", name, k)
	}
	return s
}

func values(columns Columns, r Row) string {
	parts := make([]string, 0, len(r.Values))
	for i, v := range r.Values {
		if i < len(columns.Values) {
			parts = append(parts, fmt.Sprintf("%s=%v", columns.Values[i].Name, v))
		}
	}
	return strings.Join(parts, " ")
}
