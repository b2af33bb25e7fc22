package batch

// Slice is the rows from one to another as a batch of flat columns. It borrows values from b; bitmaps and offsets, which
// have to begin at row 0, are copied.
func (b *Batch) Slice(from, to int) *Batch {
	n := to - from
	s := &Batch{Schema: b.Schema, Rows: n, Cols: make([]Column, len(b.Cols))}
	for i := range b.Cols {
		c, t := &b.Cols[i], b.Schema.Fields[i].Type
		out := &s.Cols[i]
		switch {
		case t.Kind == Bool:
			out.Values = sliceBits(c.Values, from, n)
		case t.Variable():
			offsets := make([]int32, n+1)
			of := As[int32](c.Offsets)[from : to+1]
			for k, o := range of {
				offsets[k] = o - of[0]
			}
			out.Offsets, out.Values = Bytes(offsets), c.Values[of[0]:of[n]]
		default:
			out.Values = c.Values[from*t.Width() : to*t.Width()]
		}
		if c.Nulls == 0 {
			continue
		}
		bm := sliceBits(c.Validity, from, n)
		if out.Nulls = n - CountBits(bm, n); out.Nulls > 0 {
			out.Validity = bm
		}
	}
	return s
}

// sliceBits copies n bits of a bitmap from one on. Those behind them are zero.
func sliceBits(bm []byte, from, n int) []byte {
	out := make([]byte, BitmapLen(n))
	shift := from & 7
	in := bm[from>>3:]
	for i := range out {
		v := in[i] >> shift
		if shift > 0 && i+1 < len(in) {
			v |= in[i+1] << (8 - shift)
		}
		out[i] = v
	}
	if rest := n & 7; rest > 0 {
		out[len(out)-1] &= 1<<rest - 1
	}
	return out
}
