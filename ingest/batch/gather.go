package batch

import "unsafe"

// Gather copies the given rows of the batch, in the given order, into buffers of the arena, so that the batch then has
// exactly those rows. Row numbers must be within the batch. Columns keep their types; Origin follows the rows. The
// caller counts what was left out.
//
// It copies survivors once instead of carrying a selection through every later step: a sandboxed operator needs dense
// Arrow columns anyway.
func (b *Batch) Gather(rows []int32, a *Arena) {
	for i := range b.Cols {
		b.Cols[i] = gatherColumn(&b.Cols[i], b.Schema.Fields[i].Type, rows, a)
	}
	if b.Origin != nil {
		from, to := b.Origin, b.Origins(len(rows))
		for i, r := range rows {
			to[i] = from[r]
		}
		b.Origin = to
	}
	b.Rows = len(rows)
}

func gatherColumn(c *Column, t Type, rows []int32, a *Arena) Column {
	var out Column
	if c.Validity != nil {
		out.Validity = gatherBits(c.Validity, rows, a)
		out.Nulls = len(rows) - CountBits(out.Validity, len(rows))
		if out.Nulls == 0 {
			out.Validity = nil
		}
	}
	switch {
	case t.Kind == Bool:
		out.Values = gatherBits(c.Values, rows, a)
	case t.Kind == List:
		gatherList(c, &out, t, rows, a)
	case t.Variable():
		gatherBytes(c, &out, rows, a)
	default:
		switch t.Width() {
		case 1:
			out.Values = gatherFixed[uint8](c.Values, rows, a)
		case 2:
			out.Values = gatherFixed[uint16](c.Values, rows, a)
		case 4:
			out.Values = gatherFixed[uint32](c.Values, rows, a)
		case 16:
			out.Values = gatherFixed[Int128](c.Values, rows, a)
		default:
			out.Values = gatherFixed[uint64](c.Values, rows, a)
		}
	}
	return out
}

func gatherFixed[T uint8 | uint16 | uint32 | uint64 | Int128](values []byte, rows []int32, a *Arena) []byte {
	from := as[T](values)
	var zero T
	out := a.AllocOrHeap(int(unsafe.Sizeof(zero)) * len(rows))
	to := as[T](out)
	for i, r := range rows {
		to[i] = from[r]
	}
	return out
}

func gatherBits(bm []byte, rows []int32, a *Arena) []byte {
	out := a.AllocOrHeap(BitmapLen(len(rows)))
	clear(out)
	for i, r := range rows {
		out[i>>3] |= bm[r>>3] >> (r & 7) & 1 << (i & 7)
	}
	return out
}

// gatherOffsets gives out the offsets of the gathered rows, and returns the old and the new ones.
func gatherOffsets(c, out *Column, rows []int32, a *Arena) (from, to []int32) {
	from = As[int32](c.Offsets)
	out.Offsets = a.AllocOrHeap(4 * (len(rows) + 1))
	to = As[int32](out.Offsets)
	total := int32(0)
	to[0] = 0
	for i, r := range rows {
		total += from[r+1] - from[r]
		to[i+1] = total
	}
	return from, to
}

func gatherBytes(c, out *Column, rows []int32, a *Arena) {
	from, to := gatherOffsets(c, out, rows, a)
	out.Values = a.AllocOrHeap(int(to[len(rows)]))
	// Rows that follow each other are one copy: a filter mostly keeps or drops stretches.
	for i := 0; i < len(rows); {
		j := runEnd(rows, i)
		copy(out.Values[to[i]:to[j]], c.Values[from[rows[i]]:from[rows[j-1]+1]])
		i = j
	}
}
