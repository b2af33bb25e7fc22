package batch

// Size is the bytes that the columns take as Arrow arrays: values, offsets, and bitmaps of columns with nulls, without
// padding. It looks at each column once and at no row.
func (b *Batch) Size() int64 {
	if b.Schema == nil || b.Rows == 0 {
		return 0
	}
	size := int64(0)
	for i := range b.Cols {
		size += int64(b.Cols[i].size(b.Schema.Fields[i].Type, b.Rows))
	}
	return size
}

// size is the bytes of the first n values of a column.
func (c *Column) size(t Type, n int) int {
	size := 0
	if c.Validity != nil {
		size = BitmapLen(n)
	}
	switch {
	case t.Variable():
		off := As[int32](c.Offsets)
		return size + 4*(n+1) + int(off[n]-off[0])
	case t.Kind == List:
		off := As[int32](c.Offsets)
		size += 4 * (n + 1)
		lo, hi := int(off[0]), int(off[n])
		if !t.Items().Variable() {
			items := Column{}
			return size + items.size(t.Items(), hi-lo)
		}
		text := As[int32](c.ItemOffsets)
		if hi == lo {
			return size + 4
		}
		return size + 4*(hi-lo+1) + int(text[hi]-text[lo])
	case t.Kind == Bool:
		return size + BitmapLen(n)
	default:
		return size + n*t.Width()
	}
}
