package decode

import (
	"math"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/ingest/schema"
)

// writer holds the columns of the batch being decoded and the row that is being written.
//
// Fixed width values, bitmaps and offsets get their full size up front. The strings of one column must lie in one
// piece, so each text column has a region of its own, sized by what earlier rows took; when one is full the batch ends
// before that record. A record too large for its regions is decoded alone: with a single row, every column's strings
// are in one piece wherever they are, so all columns then share one region that is as large as the record.
//
// Nothing is undone when a record is rejected: values are written at row, strings at the offset of row, and both stay
// where they are until a whole row is there.
type writer struct {
	schema *batch.Schema
	cols   []column
	texts  []*column // those with strings: of cols, and of the items of its lists
	lists  []*column // those of cols that are lists
	row    int       // the row being written; while a list is read, the item

	alone  bool   // one record shares the region
	region []byte // what is left of it

	nulls  []*column // of the current row
	reject batch.Reject
}

// column is the buffers of one column while it is written. Only those of its type are set.
type column struct {
	batch.Field
	index    int
	validity []byte // set bits are valid; all set until a row is null
	nulls    int
	values   []byte // the whole buffer, as allocated
	v8       []uint8
	v16      []uint16
	v32      []uint32
	v64      []uint64
	v128     []batch.Int128
	bits     []byte
	offsets  []int32
	text     []byte // the region of strings
	perRow   int    // estimate of string bytes per row, with perRowShift fraction bits; of a list, of bytes for its items

	items  *column // of a list: its items, one after the other, as if each were a row
	isItem bool    // these are items
	room   int     // items: how many the buffers hold
}

func (w *writer) init(cols schema.Columns) {
	w.schema = cols.Schema()
	w.cols = make([]column, len(cols))
	for i := range cols {
		c := &w.cols[i]
		c.Field, c.index, c.perRow = cols[i].Field, i, textPerRow<<perRowShift
		switch {
		case c.Type.Variable():
			w.texts = append(w.texts, c)
		case c.Type.Kind == batch.List:
			w.addList(c)
		}
	}
	w.nulls = make([]*column, 0, len(cols))
}

// layout takes buffers for up to n records from the arena and returns for how many there was room. Where that is not
// even two it takes nothing: the next record is to be laid out alone.
func (w *writer) layout(a *batch.Arena, n int) int {
	spare := (len(w.texts) + len(w.lists)) * batch.Align
	for n > 1 {
		need := w.size(n) + spare
		if need <= a.Free() {
			break
		}
		// Sizes grow evenly with rows but for rounding, so this ends after a step or two.
		n = min(n-1, int(int64(n)*int64(a.Free())/int64(need)))
	}
	if n <= 1 {
		return 1
	}
	w.alone, w.region = false, nil
	w.fixed(a, n)
	total := 0
	for _, c := range w.texts {
		total += c.perRow
	}
	for _, c := range w.lists {
		total += c.perRow
	}
	free := int64(a.Free() - spare)
	for _, c := range w.texts {
		c.text = a.Alloc(int(min(free*int64(c.perRow)/int64(total), math.MaxInt32)))
	}
	for _, c := range w.lists {
		c.items.view(a.Alloc(int(min(free*int64(c.perRow)/int64(total), math.MaxInt32))))
	}
	return n
}

// layoutAlone takes buffers for one record with the given bytes of strings.
func (w *writer) layoutAlone(a *batch.Arena, need int) {
	w.alone = true
	w.fixed(a, 1)
	w.region = a.AllocOrHeap(need)
	for _, c := range w.texts {
		c.text = w.region[:0]
	}
	w.listsAlone(a)
}

// size is the arena bytes that n rows are expected to take.
func (w *writer) size(n int) int {
	size := 0
	for i := range w.cols {
		c := &w.cols[i]
		size += fixedSize(c.Field, n)
		if c.Type.Variable() || c.items != nil {
			size += textSize(n, c.perRow)
		}
		if c.items != nil && c.items.Type.Variable() {
			size += textSize(n, c.items.perRow)
		}
	}
	return size
}

// fixed takes the buffers whose size follows from the number of rows.
func (w *writer) fixed(a *batch.Arena, n int) {
	w.row, w.nulls = 0, w.nulls[:0]
	for i := range w.cols {
		c := &w.cols[i]
		c.nulls = 0
		if c.Nullable {
			c.validity = a.AllocOrHeap(batch.BitmapLen(n))
			batch.FillBits(c.validity, n)
		}
		switch width := c.Type.Width(); {
		case c.Type.Variable(), c.items != nil:
			c.values = a.AllocOrHeap(4 * (n + 1))
			c.offsets = batch.As[int32](c.values)
			c.offsets[0] = 0
			if c.items != nil {
				c.items.view(nil)
				c.items.text = nil
			}
		case c.Type.Kind == batch.Bool:
			c.values = a.AllocOrHeap(batch.BitmapLen(n))
			c.bits = c.values
			clear(c.bits)
		default:
			c.values = a.AllocOrHeap(width * n)
			switch width {
			case 1:
				c.v8 = batch.As[uint8](c.values)
			case 2:
				c.v16 = batch.As[uint16](c.values)
			case 4:
				c.v32 = batch.As[uint32](c.values)
			case 16:
				c.v128 = (&batch.Column{Values: c.values}).Decimals()
			default:
				c.v64 = batch.As[uint64](c.values)
			}
		}
	}
}

// open returns the region of a text column and where in it the value of the current row starts. A value written
// before for the same row is overwritten.
func (w *writer) open(c *column) (dst []byte, at int) {
	if w.alone && !c.isItem {
		c.text = w.region
	}
	return c.text, int(c.offsets[w.row])
}

// close ends the value of the current row at an index into the region.
func (w *writer) close(c *column, end int) {
	c.offsets[w.row+1] = int32(end)
	if w.alone && !c.isItem {
		w.region = w.region[end:]
	}
}

// copyText writes a value of a text column; it tells whether there was room.
func (w *writer) copyText(c *column, v []byte) bool {
	dst, at := w.open(c)
	if len(v) > len(dst)-at {
		return false
	}
	w.close(c, at+copy(dst[at:], v))
	return true
}

// null says that the current row of a nullable column is null. It takes effect with commit.
func (w *writer) null(c *column) { w.nulls = append(w.nulls, c) }

// commit ends the current row, of which every column was written or is null.
func (w *writer) commit() {
	for _, c := range w.nulls {
		w.setNull(c)
	}
	w.nulls = w.nulls[:0]
	w.row++
}

func (w *writer) setNull(c *column) {
	batch.ClearBit(c.validity, w.row)
	c.nulls++
	switch {
	case c.Type.Variable(), c.items != nil:
		c.offsets[w.row+1] = c.offsets[w.row]
	case c.Type.Kind == batch.Bool:
		batch.ClearBit(c.bits, w.row)
	default:
		c.putBits(w.row, 0)
	}
}

// putBits writes a fixed width value, given as its bits.
func (c *column) putBits(row int, v uint64) {
	switch {
	case c.v128 != nil:
		c.v128[row] = batch.Int128{Lo: v}
	case c.v64 != nil:
		c.v64[row] = v
	case c.v32 != nil:
		c.v32[row] = uint32(v)
	case c.v16 != nil:
		c.v16[row] = uint16(v)
	default:
		c.v8[row] = uint8(v)
	}
}

// finish hands the columns over to the batch, cut to the rows that were written.
func (w *writer) finish(b *batch.Batch) {
	n := w.row
	b.Rows = n
	for i := range w.cols {
		c, out := &w.cols[i], &b.Cols[i]
		*out = batch.Column{Nulls: c.nulls}
		if c.nulls > 0 {
			out.Validity = trimBits(c.validity, n)
		}
		switch {
		case c.Type.Variable():
			used := int(c.offsets[n])
			out.Offsets, out.Values = c.values[:4*(n+1)], c.text[:used]
			if n > 0 && !w.alone {
				c.learn(used, n)
			}
		case c.items != nil:
			out.Offsets = c.values[:4*(n+1)]
			w.finishList(c, out, n)
		case c.Type.Kind == batch.Bool:
			out.Values = trimBits(c.bits, n)
		default:
			out.Values = c.values[:n*c.Type.Width()]
		}
	}
}

// trimBits cuts a bitmap to n bits and clears those behind them.
func trimBits(bm []byte, n int) []byte {
	bm = bm[:batch.BitmapLen(n)]
	if rest := n & 7; rest != 0 {
		bm[len(bm)-1] &= 1<<rest - 1
	}
	return bm
}

// learn moves the estimate of string bytes per row: up at once, down by halves, with a quarter to spare.
func (c *column) learn(used, rows int) {
	seen := used<<perRowShift/rows*5/4 + 1<<perRowShift
	c.perRow = max(seen, (c.perRow+seen)/2)
}
