package decode

import (
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/ingest/schema"
)

// textPerRow is the string bytes per row and column that slots are sized for, and what a decoder expects of a column
// before it has seen any value. itemsPerRow is the same for the items of a list; strings in it are taken for short.
const (
	textPerRow  = 32
	itemsPerRow = 16
	textPerItem = 8
)

// SlotSize is the bytes of arena that hold a batch of the given rows with strings of up to 32 bytes and lists of up to
// 16 items on average, and in any case the strings of a single record of maxRecord bytes. 0 for maxRecord is
// DefaultMaxRecord. Longer strings and lists only make batches shorter.
func SlotSize(cols schema.Columns, rows, maxRecord int) int {
	if maxRecord <= 0 {
		maxRecord = DefaultMaxRecord
	}
	rows = max(rows, 1)
	size, texts := 0, 0
	for i := range cols {
		size += fixedSize(cols[i].Field, rows)
		switch t := cols[i].Type; {
		case t.Variable():
			texts++
		case t.Kind == batch.List:
			size += textSize(rows, itemBytesPerRow(t.Items())) + batch.Align
			if t.Items().Variable() {
				size += textSize(rows, itemsPerRow*textPerItem<<perRowShift) + batch.Align
			}
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
	case f.Type.Variable(), f.Type.Kind == batch.List:
		size += aligned(4 * (rows + 1))
	case f.Type.Kind == batch.Bool:
		size += aligned(batch.BitmapLen(rows))
	default:
		size += aligned(f.Type.Width() * rows)
	}
	return size
}

// itemBytesPerRow is what the items of a list take per row before any was seen, with perRowShift fraction bits: their
// values, or the offsets of those that are strings.
func itemBytesPerRow(t batch.Type) int {
	switch {
	case t.Kind == batch.Bool:
		return itemsPerRow << perRowShift / 8
	case t.Variable():
		return itemsPerRow * 4 << perRowShift
	default:
		return itemsPerRow * t.Width() << perRowShift
	}
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
