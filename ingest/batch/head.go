package batch

// Head is the first n rows as a batch of flat columns that borrows those of b.
func (b *Batch) Head(n int) *Batch {
	h := &Batch{Schema: b.Schema, Rows: n, Cols: make([]Column, len(b.Cols))}
	for i := range b.Cols {
		c, t := &b.Cols[i], b.Schema.Fields[i].Type
		out := &h.Cols[i]
		switch {
		case t.Kind == Bool:
			out.Values = c.Values[:BitmapLen(n)]
		case t.Variable():
			out.Offsets = c.Offsets[:4*(n+1)]
			out.Values = c.Values[:As[int32](c.Offsets)[n]]
		default:
			out.Values = c.Values[:n*t.Width()]
		}
		if c.Nulls == 0 {
			continue
		}
		if out.Nulls = n - CountBits(c.Validity, n); out.Nulls > 0 {
			out.Validity = c.Validity[:BitmapLen(n)]
		}
	}
	return h
}
