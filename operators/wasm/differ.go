package wasm

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"unsafe"

	"github.com/weir-stream/weir/ingest/batch"
)

// DifferError says that a batch became something else when it was run again. It stops the partition.
type DifferError struct {
	In         string // what it was run again in: "a fresh instance" or "the interpreter"
	Difference string // the first one: "row 3 (offset 17), column temp: 1 here, 2 there"
	Hint       string // what it means and what to do
}

// Error says all three.
func (e *DifferError) Error() string {
	return fmt.Sprintf("the same rows give another result in %s: %s; %s", e.In, e.Difference, e.Hint)
}

// counted is where the counts of a batch stood before a step.
type counted struct {
	rejects            int
	filtered, expanded int64
}

func countsOf(b *batch.Batch) counted { return counted{len(b.Rejects), b.Filtered, b.Expanded} }

// differ finds the first difference between two results of one batch, bit by bit: the rows, their values under the valid
// bits, where they come from, and what was rejected. A NaN is a NaN: WebAssembly leaves its bits open, and two engines may
// choose others. What is under a null is nobody's.
func differ(b, again *batch.Batch, since counted) string {
	if !b.Schema.Equal(again.Schema) {
		return fmt.Sprintf("columns %s here, %s there", b.Schema, again.Schema)
	}
	rejects := b.Rejects[since.rejects:]
	for i := range min(len(rejects), len(again.Rejects)) {
		if x, y := rejectText(b, &rejects[i]), rejectText(b, &again.Rejects[i]); x != y {
			return x + " here, " + y + " there"
		}
	}
	switch {
	case len(rejects) > len(again.Rejects):
		return rejectText(b, &rejects[len(again.Rejects)]) + " here, and not there"
	case len(rejects) < len(again.Rejects):
		return rejectText(b, &again.Rejects[len(rejects)]) + " there, and not here"
	case b.Rows != again.Rows:
		return fmt.Sprintf("%d rows here, %d there", b.Rows, again.Rows)
	}
	for i := range b.Schema.Fields {
		f := &b.Schema.Fields[i]
		if row := differs(f.Type, &b.Cols[i], &again.Cols[i], b.Rows); row >= 0 {
			return fmt.Sprintf("row %d%s, column %s: %s here, %s there", row, offsetText(b, row), f.Name,
				valueText(f.Type, &b.Cols[i], row), valueText(f.Type, &again.Cols[i], row))
		}
	}
	for i := range min(len(b.Origin), len(again.Origin)) {
		if b.Origin[i] != again.Origin[i] {
			return fmt.Sprintf("row %d is from record %d here, %d there", i, b.Origin[i], again.Origin[i])
		}
	}
	if b.Rows > 0 && (b.Origin == nil) != (again.Origin == nil) {
		return fmt.Sprintf("that it is known which records rows are from is %v here, %v there", b.Origin != nil, again.Origin != nil)
	}
	if b.Filtered-since.filtered != again.Filtered || b.Expanded-since.expanded != again.Expanded {
		return fmt.Sprintf("%d rows dropped and %d added here, %d and %d there",
			b.Filtered-since.filtered, b.Expanded-since.expanded, again.Filtered, again.Expanded)
	}
	return ""
}

// differs is the first row in which two columns do, or -1.
func differs(t batch.Type, x, y *batch.Column, rows int) int {
	same := func(a, b []byte) bool { return len(a) == len(b) && unsafe.SliceData(a) == unsafe.SliceData(b) }
	if rows == 0 || same(x.Values, y.Values) && same(x.Offsets, y.Offsets) && same(x.Validity, y.Validity) && same(x.ItemOffsets, y.ItemOffsets) {
		return -1 // passed through
	}
	w := t.Width()
	if x.Nulls == 0 && y.Nulls == 0 && w > 0 && bytes.Equal(x.Values[:rows*w], y.Values[:rows*w]) {
		return -1
	}
	for i := range rows {
		if x.Valid(i) != y.Valid(i) || x.Valid(i) && !equalAt(t, x, y, i) {
			return i
		}
	}
	return -1
}

func equalAt(t batch.Type, x, y *batch.Column, i int) bool {
	switch {
	case t.Kind == batch.Bool:
		return x.Bit(i) == y.Bit(i)
	case t.Variable():
		return bytes.Equal(x.Bytes(i), y.Bytes(i))
	case t.Kind == batch.List:
		return equalItems(t.Items(), x, y, i)
	}
	w := t.Width()
	if bytes.Equal(x.Values[i*w:(i+1)*w], y.Values[i*w:(i+1)*w]) {
		return true
	}
	switch t.Kind {
	case batch.Float32:
		a, b := batch.As[float32](x.Values)[i], batch.As[float32](y.Values)[i]
		return a != a && b != b
	case batch.Float64:
		return math.IsNaN(batch.As[float64](x.Values)[i]) && math.IsNaN(batch.As[float64](y.Values)[i])
	default:
		return false
	}
}

// equalItems compares the lists in row i. Items are never null.
func equalItems(items batch.Type, x, y *batch.Column, i int) bool {
	a, b := batch.As[int32](x.Offsets)[i:i+2], batch.As[int32](y.Offsets)[i:i+2]
	if a[1]-a[0] != b[1]-b[0] {
		return false
	}
	one := func(c *batch.Column, k int32) (batch.Column, bool) { // item k as a column of one row
		switch {
		case items.Kind == batch.Bool:
			return batch.Column{}, c.Bit(int(k))
		case items.Variable():
			return batch.Column{Offsets: c.ItemOffsets[4*k : 4*k+8], Values: c.Values}, false
		default:
			w := int32(items.Width())
			return batch.Column{Values: c.Values[w*k : w*k+w]}, false
		}
	}
	for k := range a[1] - a[0] {
		p, bit := one(x, a[0]+k)
		q, other := one(y, b[0]+k)
		if bit != other || items.Kind != batch.Bool && !equalAt(items, &p, &q, 0) {
			return false
		}
	}
	return true
}

// rejectText is what a reject says but for its message: traces differ from engine to engine.
func rejectText(b *batch.Batch, r *batch.Reject) string {
	fault, _, _ := strings.Cut(r.Detail, ":")
	row := "a row"
	if r.Record >= 0 && int(r.Record) < len(b.Records) {
		row = fmt.Sprintf("offset %d", b.Records[r.Record].Offset)
	} else if r.Record < 0 {
		row += " " + shorten(string(r.Payload), maxShown)
	}
	return fmt.Sprintf("%s rejected (%s)", row, fault)
}

// maxShown is how much of a value a message has, in bytes.
const maxShown = 80

func valueText(t batch.Type, c *batch.Column, i int) string {
	return shorten(string(batch.AppendCellJSON(nil, t, c, i)), maxShown)
}

func offsetText(b *batch.Batch, row int) string {
	if row < len(b.Origin) && int(b.Origin[row]) < len(b.Records) {
		return fmt.Sprintf(" (offset %d)", b.Records[b.Origin[row]].Offset)
	}
	return ""
}
