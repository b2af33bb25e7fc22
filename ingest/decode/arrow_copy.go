package decode

import (
	"encoding/binary"
	"sort"

	"github.com/weir-stream/weir/ingest/batch"
)

// fit is how many of the next n rows have room in the regions of strings.
func (d *arrowDecoder) fit(r *batch.Record, p batch.Partition, n int) int {
	w := &d.w
	for i := range d.meta {
		if size := d.meta[i].size(r, p); size > 0 {
			n = min(n, d.meta[i].col.left(w.row)/size)
		}
	}
	for i := range d.leafs {
		l := &d.leafs[i]
		if !l.col.Type.Variable() {
			continue
		}
		room, fits := l.col.left(w.row), 0
		for k, at := d.batch, d.row; fits < n; k, at = k+1, 0 {
			b := &d.batches[k]
			rows := min(n-fits, b.rows-at)
			took, bytes := d.columns[b.first+i].fit(at, rows, room)
			room -= bytes
			fits += took
			if took < rows {
				n = fits
			}
		}
	}
	return n
}

// left is the room in the region of a text column.
func (c *column) left(row int) int { return len(c.text) - int(c.offsets[row]) }

// fit is how many of n rows have no more than room bytes of text, and how many these have.
func (c *arrowColumn) fit(from, n, room int) (rows, bytes int) {
	switch {
	case c.absent || n == 0:
		return n, 0
	case c.dict != nil:
		for i := range n {
			size := c.size(from + i)
			if size > room-bytes {
				return i, bytes
			}
			bytes += size
		}
		return n, bytes
	}
	start, _ := c.span(from)
	size := func(rows int) int { // of so many; with gaps it is less
		if rows == 0 {
			return 0
		}
		_, end := c.span(from + rows - 1)
		return end - start
	}
	if size(n) > room {
		n = sort.Search(n, func(i int) bool { return size(i+1) > room })
	}
	return n, size(n)
}

// size is the bytes of text in row i.
func (c *arrowColumn) size(i int) int { return len(c.text(i)) }

// text is that of row i; nil where it is null.
func (c *arrowColumn) text(i int) []byte {
	switch {
	case c.absent || !c.valid(i):
		return nil
	case c.dict != nil:
		lo, hi := c.dict.span(int(c.entry(i)))
		return c.dict.values[lo:hi]
	}
	lo, hi := c.span(i)
	return c.values[lo:hi]
}

// rowText is the bytes of text that the next row has.
func (d *arrowDecoder) rowText(r *batch.Record, p batch.Partition) int {
	n := 0
	for i := range d.meta {
		n += d.meta[i].size(r, p)
	}
	b := &d.batches[d.batch]
	for i := range d.leafs {
		if d.leafs[i].col.Type.Variable() {
			n += d.columns[b.first+i].size(d.row)
		}
	}
	return n
}

// copyRows copies the next n rows, which fit.
func (d *arrowDecoder) copyRows(r *batch.Record, p batch.Partition, n int) {
	w := &d.w
	for i := range d.meta {
		d.meta[i].repeat(w, r, p, n)
	}
	for n > 0 {
		b := &d.batches[d.batch]
		rows := min(n, b.rows-d.row)
		for i := range d.leafs {
			d.columns[b.first+i].copyTo(w, d.leafs[i].col, d.row, rows)
		}
		w.row += rows
		n -= rows
		d.left -= rows
		if d.row += rows; d.row == b.rows {
			d.batch, d.row = d.batch+1, 0
		}
	}
}

// copyTo copies n rows to the writer's row and those after it. What is under a null becomes 0 or no bytes, as it is in other
// formats: what a sender left there is nobody's business.
func (c *arrowColumn) copyTo(w *writer, to *column, from, n int) {
	switch {
	case c.absent:
		to.nullRows(w.row, n)
		return
	case c.nulls > 0:
		copyBits(to.validity, w.row, c.validity, from, n)
		nulls := n - countBits(c.validity, from, n)
		to.nulls += nulls
	}
	switch width := to.Type.Width(); {
	case to.Type.Variable():
		c.copyText(w, to, from, n)
		return
	case to.Type.Kind == batch.Bool:
		copyBits(to.bits, w.row, c.values, from, n)
	case to.Type.Kind == batch.Timestamp && c.unit != to.Type.Unit:
		for i := range n {
			v, _ := scaleTime(int64(binary.LittleEndian.Uint64(c.values[8*(from+i):])), c.unit, to.Type.Unit)
			to.v64[w.row+i] = uint64(v)
		}
	case to.Type.Kind == batch.Decimal && c.scale != to.Type.Scale:
		for i := range n {
			to.v128[w.row+i], _ = c.decimal(to.Type, from+i)
		}
	default:
		copy(to.values[width*w.row:width*(w.row+n)], c.values[width*from:])
	}
	if c.nulls == 0 {
		return
	}
	for i := range n {
		if i&7 == 0 && (from+i)&7 == 0 && i+8 <= n && c.validity[(from+i)>>3] == 0xff {
			continue // as are the next seven
		}
		if c.valid(from + i) {
			continue
		}
		if to.Type.Kind == batch.Bool {
			batch.ClearBit(to.bits, w.row+i)
		} else {
			to.putBits(w.row+i, 0)
		}
	}
}

// copyText copies the text of n rows.
func (c *arrowColumn) copyText(w *writer, to *column, from, n int) {
	if w.alone || c.dict != nil || c.gaps {
		row := w.row
		for i := range n {
			w.row = row + i
			w.copyText(to, c.text(from+i)) // there is room
		}
		w.row = row
		return
	}
	lo, _ := c.span(from)
	_, hi := c.span(from + n - 1)
	end := to.offsets[w.row]
	copy(to.text[end:], c.values[lo:hi])
	shift := end - int32(lo)
	offsets := to.offsets[w.row+1 : w.row+1+n]
	if c.large {
		src := c.offsets[8*(from+1):]
		for i := range offsets {
			offsets[i] = int32(binary.LittleEndian.Uint64(src[8*i:])) + shift
		}
		return
	}
	src := c.offsets[4*(from+1):]
	for i := range offsets {
		offsets[i] = int32(binary.LittleEndian.Uint32(src[4*i:])) + shift
	}
}

// nullRows makes rows null.
func (c *column) nullRows(row, n int) {
	for i := row; i < row+n; i++ {
		batch.ClearBit(c.validity, i)
	}
	c.nulls += n
	switch width := c.Type.Width(); {
	case c.Type.Variable():
		for i := row; i < row+n; i++ {
			c.offsets[i+1] = c.offsets[i]
		}
	case c.Type.Kind == batch.Bool: // its bits are clear
	default:
		clear(c.values[width*row : width*(row+n)])
	}
}

// copyBits copies n bits of src from bit s on to dst from bit d on.
func copyBits(dst []byte, d int, src []byte, s, n int) {
	bit := func() {
		v := src[s>>3] >> (s & 7) & 1
		dst[d>>3] = dst[d>>3]&^(1<<(d&7)) | v<<(d&7)
		d, s, n = d+1, s+1, n-1
	}
	for n > 0 && d&7 != 0 {
		bit()
	}
	shift := s & 7
	for n >= 8 {
		v := src[s>>3] >> shift
		if shift > 0 {
			v |= src[s>>3+1] << (8 - shift)
		}
		dst[d>>3] = v
		d, s, n = d+8, s+8, n-8
	}
	for n > 0 {
		bit()
	}
}

// countBits counts the set bits among n from bit s on.
func countBits(bm []byte, s, n int) int {
	count := 0
	for n > 0 && s&7 != 0 {
		count += int(bm[s>>3] >> (s & 7) & 1)
		s, n = s+1, n-1
	}
	return count + batch.CountBits(bm[s>>3:], n)
}
