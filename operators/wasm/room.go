package wasm

import "github.com/weir-stream/weir/ingest/batch"

// oversized tells whether a row of the batch has more bytes of strings and lists than any row may. It looks at single rows only
// where the batch as a whole has that much.
func (o *operator) oversized(b *batch.Batch) bool {
	if textBytes(b.Schema.Fields, b.Cols, 0, b.Rows) <= o.rowMax {
		return false
	}
	for i := range b.Rows {
		if textBytes(b.Schema.Fields, b.Cols, i, i+1) > o.rowMax {
			return true
		}
	}
	return false
}

// textBytes is how many bytes of strings and lists rows lo to hi have, a column that is there twice counted twice.
func textBytes(fields []batch.Field, cols []batch.Column, lo, hi int) int {
	n := 0
	for i := range fields {
		switch t := fields[i].Type; {
		case t.Variable():
			off := batch.As[int32](cols[i].Offsets)
			n += int(off[hi]) - int(off[lo])
		case t.Kind == batch.List:
			n += listBytes(t, &cols[i], lo, hi)
		}
	}
	return n
}

// listBytes is how many bytes the items of rows lo to hi of a list column have.
func listBytes(t batch.Type, c *batch.Column, lo, hi int) int {
	off := batch.As[int32](c.Offsets)
	from, to := int(off[lo]), int(off[hi])
	switch items := t.Items(); {
	case items.Kind == batch.Bool:
		return batch.BitmapLen(to - from)
	case items.Variable():
		text := batch.As[int32](c.ItemOffsets)
		return 4*(to-from) + int(text[to]) - int(text[from])
	default:
		return items.Width() * (to - from)
	}
}

// checkOutput tells whether a row became more bytes than the limit, its own strings and numbers and those of all rows it
// became counted. It looks at single rows only where all together are more.
func (o *operator) checkOutput(r result) *CallError {
	limit, fields, cols := o.step.cfg.OutputLimit, o.step.fields, o.im.cols
	if o.step.width*r.rows+textBytes(fields, cols, 0, r.rows) <= limit {
		return nil
	}
	for lo, hi := 0, 0; lo < r.rows; lo = hi {
		for hi = lo + 1; !r.identity && hi < r.rows && r.from[hi] == r.from[lo]; hi++ {
		}
		if n := o.step.width*(hi-lo) + textBytes(fields, cols, lo, hi); n > limit {
			row := lo
			if !r.identity {
				row = int(r.from[lo])
			}
			return outputError("row %d became %d bytes, over the %d of limits.output", row, n, limit)
		}
	}
	return nil
}

// fixedWidth is the bytes of a row of these columns but for strings and items of lists, the row column left out.
func fixedWidth(fields []batch.Field, row int) int {
	n := 0
	for i, f := range fields {
		if i != row && !f.Type.Variable() {
			n += max(1, f.Type.Width())
		}
	}
	return n
}
