package decode

import (
	"encoding/binary"
	"math"
	"unicode/utf8"

	"github.com/weir-stream/weir/ingest/batch"
)

// arrowBatch is a record batch whose columns were checked.
type arrowBatch struct {
	rows  int
	first int // of its columns in arrowDecoder.columns, one per leaf
}

// arrowColumn is the buffers of a column of a record batch, borrowed from the record or from what was made of it. They were
// checked: as many as the rows need, offsets in order and inside of the values, strings UTF-8, indices inside of the dictionary.
// They are aligned to nothing.
type arrowColumn struct {
	absent   bool // all rows are null
	validity []byte
	nulls    int
	values   []byte
	offsets  []byte
	large    bool // offsets are 64 bits wide
	gaps     bool // a null row has bytes of its own
	index    int  // width of the indices in values, where dict is set
	dict     *arrowDict
	unit     batch.Unit // of timestamps
	scale    uint8      // of decimals
}

// arrowColumnBytes is what an arrowColumn takes: a record of very many batches with few bytes each must not take much memory.
const arrowColumnBytes = 128

// arrowDict is the values of a dictionary.
type arrowDict struct {
	arrowColumn
	n int
}

// load checks the messages of the record, of which rows can be copied after that.
func (d *arrowDecoder) load() outcome {
	d.batches, d.columns = d.batches[:0], d.columns[:0]
	d.batch, d.row = 0, 0
	d.inflate.reset()
	for _, old := range d.dicts {
		d.spare = append(d.spare, old)
	}
	clear(d.dicts)
	for i := range d.messages {
		m := &d.messages[i]
		d.flat = flat{buf: m.meta}
		header := d.flat.root().table(2)
		body := arrowBody{d: d, f: &d.flat, body: m.body}
		out := written
		if m.rows < 0 {
			out = d.loadDictionary(&body, header)
		} else {
			out = d.loadBatch(&body, header, m.rows)
		}
		if out != written {
			return out
		}
	}
	return written
}

// arrowBody hands out the nodes and buffers of a record batch, in order.
type arrowBody struct {
	d       *arrowDecoder
	f       *flat
	body    []byte
	nodes   flatVector
	buffers flatVector
	views   flatVector
	node    int
	buffer  int
	codec   int // of the buffers; -1 for none
}

// begin finds nodes and buffers of a batch, and compares their number with what fields need.
func (y *arrowBody) begin(t flatTable, fields []arrowField) outcome {
	w := &y.d.w
	y.nodes, y.buffers, y.views = t.vector(1, 16), t.vector(2, 16), t.vector(4, 8)
	y.codec = -1
	if t.has(3) {
		c := t.table(3)
		y.codec = int(int8(c.u8(0, 0)))
		if method := c.u8(1, 0); method != 0 || y.codec != codecLZ4 && y.codec != codecZstd {
			return w.refuseRecord(batch.ReasonMalformed, "a batch is compressed by codec %d, method %d: LZ4 frames and Zstandard by buffer are read", y.codec, method)
		}
	}
	if y.f.bad {
		return y.malformed("its metadata is not a flatbuffer")
	}
	nodes, buffers, views := 0, 0, 0
	for i := range fields {
		nodes, buffers, views = nodes+fields[i].nodes, buffers+fields[i].buffers, views+fields[i].views
	}
	if views > y.views.n {
		return y.malformed("it says the number of buffers of %d view fields of %d", y.views.n, views)
	}
	for i := range views {
		n := y.views.i64(i)
		if n < 0 || n > int64(y.buffers.n) {
			return y.malformed("a view field has %d buffers", n)
		}
		buffers += int(n)
	}
	if nodes != y.nodes.n || buffers != y.buffers.n {
		return y.malformed("it has %d nodes and %d buffers, and its schema needs %d and %d", y.nodes.n, y.buffers.n, nodes, buffers)
	}
	for i := range y.buffers.n {
		at, n := y.buffers.pair(i)
		if at < 0 || n < 0 || at > int64(len(y.body)) || n > int64(len(y.body))-at {
			return y.malformed("buffer %d, of %d bytes at %d, is not inside the body of %d bytes", i, n, at, len(y.body))
		}
	}
	return written
}

func (y *arrowBody) malformed(format string, args ...any) outcome {
	return y.d.w.refuseRecord(batch.ReasonMalformed, "a batch is not as Arrow has it: "+format, args...)
}

// skip passes a field that no column needs.
func (y *arrowBody) skip(f *arrowField, view *int) {
	y.node += f.nodes
	y.buffer += f.buffers
	for range f.views {
		y.buffer += int(y.views.i64(*view))
		*view++
	}
}

// take is the next buffer, uncompressed.
func (y *arrowBody) take() ([]byte, outcome) {
	at, n := y.buffers.pair(y.buffer)
	y.buffer++
	b := y.body[at : at+n]
	if y.codec < 0 || n == 0 {
		return b, written
	}
	// A compressed buffer begins with its uncompressed length; -1 says that it is not compressed after all.
	if n < 8 {
		return nil, y.malformed("a compressed buffer has %d bytes", n)
	}
	size := int64(binary.LittleEndian.Uint64(b))
	b = b[8:]
	if size == -1 {
		return b, written
	}
	if size < 0 {
		return nil, y.malformed("a compressed buffer says that it has %d bytes", size)
	}
	if out := y.d.grow(size); out != written {
		return nil, out
	}
	plain, err := y.d.inflate.buffer(y.codec, b, int(size))
	if err != nil {
		return nil, y.malformed("uncompress a buffer of %d bytes: %v", size, err)
	}
	return plain, written
}

// loadBatch checks a record batch and adds its columns.
func (d *arrowDecoder) loadBatch(y *arrowBody, t flatTable, rows int) outcome {
	fields := d.schema.fields
	if out := y.begin(t, fields); out != written {
		return out
	}
	if out := d.grow(int64(len(d.leafs)) * arrowColumnBytes); out != written {
		return out
	}
	first := len(d.columns)
	for i := range d.leafs {
		d.columns = append(d.columns, arrowColumn{absent: !d.schema.found[i]})
	}
	view := 0
	for i := range fields {
		f := &fields[i]
		if f.leaf < 0 {
			y.skip(f, &view)
			continue
		}
		length, nulls := y.nodes.pair(y.node)
		y.node++
		l := &d.leafs[f.leaf]
		if length != int64(rows) {
			return y.malformed("field %s has %d rows of %d", snippet([]byte(l.name)), length, rows)
		}
		if out := d.loadColumn(y, &d.columns[first+f.leaf], f, l, rows, nulls); out != written {
			return out
		}
	}
	if rows == 0 {
		d.columns = d.columns[:first]
		return written
	}
	d.batches = append(d.batches, arrowBatch{rows: rows, first: first})
	return written
}

func (d *arrowDecoder) loadColumn(y *arrowBody, c *arrowColumn, f *arrowField, l *arrowLeaf, rows int, nulls int64) outcome {
	if out := c.loadValidity(y, l, rows, nulls); out != written {
		return out
	}
	if c.nulls > 0 && !l.col.Nullable {
		return d.w.refuse(batch.ReasonMissing, l.col, "field %s is null in %d of %d rows", snippet([]byte(l.name)), c.nulls, rows)
	}
	switch typ := l.col.Type; {
	case f.encoded:
		return d.loadIndices(y, c, f, l, rows)
	case typ.Variable():
		c.large = f.large
		return c.loadText(y, l, rows)
	case typ.Kind == batch.Bool:
		return c.loadFixed(y, l, int64(batch.BitmapLen(rows)))
	case typ.Kind == batch.Timestamp:
		c.unit = f.unit
		if out := c.loadFixed(y, l, 8*int64(rows)); out != written {
			return out
		}
		return d.checkTimes(c, l, rows)
	case typ.Kind == batch.Decimal:
		c.scale = f.scale
		if out := c.loadFixed(y, l, 16*int64(rows)); out != written {
			return out
		}
		return d.checkDecimals(c, l, rows)
	default:
		return c.loadFixed(y, l, int64(typ.Width())*int64(rows))
	}
}

// loadValidity reads the bitmap, which alone says what is null.
func (c *arrowColumn) loadValidity(y *arrowBody, l *arrowLeaf, rows int, nulls int64) outcome {
	b, out := y.take()
	if out != written {
		return out
	}
	switch {
	case len(b) == 0 && nulls > 0 && rows > 0:
		return y.malformed("field %s has %d nulls, and no bitmap of them", snippet([]byte(l.name)), nulls)
	case len(b) == 0 || rows == 0:
		return written
	case len(b) < batch.BitmapLen(rows):
		return y.malformed("field %s has a bitmap of %d bytes for %d rows", snippet([]byte(l.name)), len(b), rows)
	}
	c.validity = b
	c.nulls = rows - batch.CountBits(b, rows)
	if nulls >= 0 && int64(c.nulls) != nulls {
		return y.malformed("field %s says that %d rows are null, and its bitmap that %d are", snippet([]byte(l.name)), nulls, c.nulls)
	}
	return written
}

func (c *arrowColumn) loadFixed(y *arrowBody, l *arrowLeaf, need int64) outcome {
	b, out := y.take()
	if out != written {
		return out
	}
	if int64(len(b)) < need {
		return y.malformed("the values of field %s have %d bytes, and its rows need %d", snippet([]byte(l.name)), len(b), need)
	}
	c.values = b
	return written
}

// loadText reads offsets and bytes.
func (c *arrowColumn) loadText(y *arrowBody, l *arrowLeaf, rows int) outcome {
	var out outcome
	if c.offsets, out = y.take(); out != written {
		return out
	}
	if c.values, out = y.take(); out != written {
		return out
	}
	if rows == 0 {
		return written
	}
	width := 4
	if c.large {
		width = 8
	}
	if len(c.offsets)/width < rows+1 {
		return y.malformed("the offsets of field %s have %d bytes for %d rows", snippet([]byte(l.name)), len(c.offsets), rows)
	}
	if bad := c.disorder(rows); bad >= 0 {
		return y.malformed("the offsets of field %s are out of order, or outside of its %d bytes, in row %d", snippet([]byte(l.name)), len(c.values), bad)
	}
	if c.nulls > 0 {
		for i := range rows {
			if lo, hi := c.span(i); hi > lo && !c.valid(i) {
				c.gaps = true
				break
			}
		}
	}
	if l.col.Type.Kind != batch.String {
		return written
	}
	lo, _ := c.span(0)
	_, hi := c.span(rows - 1)
	if text := c.values[lo:hi]; !ascii(text) {
		for i := range rows {
			if lo, hi := c.span(i); c.valid(i) && !utf8.Valid(c.values[lo:hi]) {
				return y.d.w.refuse(batch.ReasonWrongType, l.col, "row %d of field %s is not UTF-8 text: %s", i, snippet([]byte(l.name)), snippet(c.values[lo:hi]))
			}
		}
	}
	return written
}

// disorder is the first row whose offsets are not in order or not inside the values, or -1.
func (c *arrowColumn) disorder(rows int) int {
	limit := uint64(min(len(c.values), math.MaxInt32))
	if c.large {
		last := uint64(0)
		for i := range rows + 1 {
			o := binary.LittleEndian.Uint64(c.offsets[8*i:])
			if o < last || o > limit {
				return max(0, i-1)
			}
			last = o
		}
		return -1
	}
	last := uint32(0)
	for i := range rows + 1 {
		o := binary.LittleEndian.Uint32(c.offsets[4*i:])
		if o < last || uint64(o) > limit {
			return max(0, i-1)
		}
		last = o
	}
	return -1
}

// span is where the bytes of row i are in the values.
func (c *arrowColumn) span(i int) (lo, hi int) {
	if c.large {
		return int(binary.LittleEndian.Uint64(c.offsets[8*i:])), int(binary.LittleEndian.Uint64(c.offsets[8*i+8:]))
	}
	return int(binary.LittleEndian.Uint32(c.offsets[4*i:])), int(binary.LittleEndian.Uint32(c.offsets[4*i+4:]))
}

func (c *arrowColumn) valid(i int) bool {
	return c.nulls == 0 || c.validity[i>>3]>>(i&7)&1 != 0
}

// ascii tells whether bytes are UTF-8 wherever they are cut.
func ascii(b []byte) bool {
	for len(b) >= 8 {
		if binary.LittleEndian.Uint64(b)&0x8080808080808080 != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// checkTimes finds timestamps that the column's unit cannot hold.
func (d *arrowDecoder) checkTimes(c *arrowColumn, l *arrowLeaf, rows int) outcome {
	to := l.col.Type.Unit
	if to <= c.unit {
		return written
	}
	most := math.MaxInt64 / (to.PerSecond() / c.unit.PerSecond())
	for i := range rows {
		v := int64(binary.LittleEndian.Uint64(c.values[8*i:]))
		if (v > most || v < -most) && c.valid(i) {
			return d.w.refuse(batch.ReasonOutOfRange, l.col, "row %d of field %s is %d %s, which does not fit", i, snippet([]byte(l.name)), v, c.unit)
		}
	}
	return written
}

// decimal is the value of row i, and whether it is one of the column's type.
func (c *arrowColumn) decimal(to batch.Type, i int) (batch.Int128, bool) {
	v := batch.Int128{Lo: binary.LittleEndian.Uint64(c.values[16*i:]), Hi: int64(binary.LittleEndian.Uint64(c.values[16*i+8:]))}
	v, ok := v.MulPow10(int(to.Scale - c.scale))
	return v, ok && v.Fits(int(to.Precision))
}

// checkDecimals finds decimals that the column's type cannot hold. What a sender says of their digits is not believed.
func (d *arrowDecoder) checkDecimals(c *arrowColumn, l *arrowLeaf, rows int) outcome {
	for i := range rows {
		if _, ok := c.decimal(l.col.Type, i); !ok && c.valid(i) {
			v := batch.Int128{Lo: binary.LittleEndian.Uint64(c.values[16*i:]), Hi: int64(binary.LittleEndian.Uint64(c.values[16*i+8:]))}
			return d.w.refuse(batch.ReasonOutOfRange, l.col, "row %d of field %s is %s, which does not fit", i, snippet([]byte(l.name)), batch.AppendDecimal(nil, v, int(c.scale)))
		}
	}
	return written
}
