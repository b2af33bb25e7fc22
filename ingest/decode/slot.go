package decode

import (
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/ingest/schema"
)

// textPerRow is the string bytes per row and column that slots are sized for, and what a decoder expects of a column
// before it has seen any value.
const textPerRow = 32

// SlotSize is the bytes of arena that hold a batch of the given rows with strings of up to 32 bytes on average, and
// in any case a single record of maxRecord bytes. 0 for maxRecord is DefaultMaxRecord. Longer strings only make
// batches shorter.
func SlotSize(cols schema.Columns, rows, maxRecord int) int {
	if maxRecord <= 0 {
		maxRecord = DefaultMaxRecord
	}
	rows = max(rows, 1)
	size, texts := 0, 0
	for i := range cols {
		size += fixedSize(cols[i].Field, rows)
		if cols[i].Type.Variable() {
			texts++
		}
	}
	if texts == 0 {
		return size
	}
	// The slack is the spare that layout keeps per text column.
	return size + max(texts*(textSize(rows, textPerRow<<perRowShift)+batch.Align), maxRecord*textCopies(cols))
}

// fixedSize is the arena bytes of the parts of a column whose size follows from the number of rows.
func fixedSize(f batch.Field, rows int) int {
	size := 0
	if f.Nullable {
		size += aligned(batch.BitmapLen(rows))
	}
	switch {
	case f.Type.Variable():
		size += aligned(4 * (rows + 1))
	case f.Type.Kind == batch.Bool:
		size += aligned(batch.BitmapLen(rows))
	default:
		size += aligned(f.Type.Width() * rows)
	}
	return size
}

// perRowShift is the fraction bits of estimates of string bytes per row.
const perRowShift = 4

// textSize is the arena bytes for the strings of rows at an estimate.
func textSize(rows, perRow int) int {
	return aligned((rows*perRow + 1<<perRowShift - 1) >> perRowShift)
}

func aligned(n int) int { return (n + batch.Align - 1) &^ (batch.Align - 1) }

// textCopies is the most text columns that are filled from one path.
func textCopies(cols schema.Columns) int {
	most := 1
	for i := range cols {
		n := 0
		for k := range cols {
			if cols[i].From == schema.FromValue && cols[k].From == schema.FromValue &&
				cols[k].Type.Variable() && samePath(cols[i].Path, cols[k].Path) {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

func samePath(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
