package aggregate

import (
	"encoding/binary"
	"math"

	"github.com/weir-stream/weir/ingest/batch"
)

// cells reads a column of any type as bytes: those of a text, or of a number in little endian.
type cells struct {
	width  int // 0 is text, -1 a bool
	stride int // bytes from a value to the next, where width is of numbers
	kind   batch.Kind
}

func cellsOf(t batch.Type) cells {
	switch {
	case t.Variable():
		return cells{kind: t.Kind}
	case t.Kind == batch.Bool:
		return cells{width: -1, kind: t.Kind}
	case t.Kind == batch.Decimal:
		return cells{storedWidth(t), t.Width(), t.Kind}
	}
	return cells{t.Width(), t.Width(), t.Kind}
}

// sized tells whether ClickHouse writes the length of a value before it where values stand in a row: texts, and what it has no
// machine type for.
func (k cells) sized() bool {
	return k.width == 0 || k.kind == batch.Timestamp || k.kind == batch.Date32 || k.kind == batch.Decimal
}

// bools are the cells of a bool column.
var bools = [2][1]byte{{0}, {1}}

// at is the value of row i. It shares the column's memory.
func (k cells) at(c *batch.Column, i int) []byte {
	switch {
	case k.width > 0:
		return c.Values[i*k.stride : i*k.stride+k.width]
	case k.width < 0 && c.Bit(i):
		return bools[1][:]
	case k.width < 0:
		return bools[0][:]
	}
	return c.Bytes(i)
}

// cell keeps one value: ClickHouse's SingleValueData.
type cell struct {
	fixed [16]byte
	text  []byte
	kind  cellKind
	width uint8
}

type cellKind uint8

const (
	noCell cellKind = iota
	fixedCell
	textCell
)

// set keeps a copy. It returns by how much memory of its own grew.
func (x *cell) set(k cells, v []byte) int64 {
	if k.width == 0 {
		before := cap(x.text)
		x.text, x.kind = append(x.text[:0], v...), textCell
		return int64(cap(x.text) - before)
	}
	x.width, x.kind = uint8(copy(x.fixed[:], v)), fixedCell
	return 0
}

func (x *cell) size() int64 { return int64(cap(x.text)) }

// append writes, of a number: a byte 1, its bytes; of a text: int32 length + 1, its bytes, a zero byte.
func (x *cell) append(dst []byte) []byte {
	if x.kind == fixedCell {
		return append(append(dst, 1), x.fixed[:x.width]...)
	}
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(x.text)+1))
	return append(append(dst, x.text...), 0)
}

// load reads what append wrote of a value of width k.
func (x *cell) load(k cells, r *reader) {
	if k.width != 0 {
		if r.byte() != 1 {
			r.bad = true
		}
		x.set(k, r.take(max(k.width, -k.width)))
		return
	}
	n := int64(int32(r.uint32()))
	x.set(k, r.take(int(max(n-1, -1))))
	if r.byte() != 0 {
		r.bad = true
	}
}

// orders reads a column as numbers that are in order as its values are. Only texts have none.
type orders struct {
	kind batch.Kind
	buf  []uint64
}

// ordered tells whether the values of a type have an order in 64 bits. Decimals of more digits than fit have none.
func ordered(t batch.Type) bool {
	return t.Numeric() || t.Kind == batch.Timestamp || t.Kind == batch.Date32 || t.Kind == batch.Bool || t.Kind == batch.Decimal && !wideDecimal(t)
}

// noOrder is the order of a NaN, which has no place among the others.
const noOrder = math.MaxUint64

// read gives n numbers, valid until the next call.
func (o *orders) read(c *batch.Column, n int) []uint64 {
	if cap(o.buf) < n {
		o.buf = make([]uint64, n, n+n/4)
	}
	out := o.buf[:n]
	switch o.kind {
	case batch.Bool:
		for i := range out {
			out[i] = 0
			if c.Bit(i) {
				out[i] = 1
			}
		}
	case batch.Int8:
		orderSigned[int8](out, c)
	case batch.Int16:
		orderSigned[int16](out, c)
	case batch.Int32, batch.Date32:
		orderSigned[int32](out, c)
	case batch.Int64, batch.Timestamp:
		orderSigned[int64](out, c)
	case batch.Uint8:
		orderUnsigned[uint8](out, c)
	case batch.Uint16:
		orderUnsigned[uint16](out, c)
	case batch.Uint32:
		orderUnsigned[uint32](out, c)
	case batch.Uint64:
		orderUnsigned[uint64](out, c)
	case batch.Float32:
		orderFloat[float32](out, c)
	case batch.Float64:
		orderFloat[float64](out, c)
	case batch.Decimal:
		for i, v := range c.Decimals()[:n] {
			out[i] = v.Lo ^ 1<<63
		}
	}
	return out
}

func orderSigned[T ~int8 | ~int16 | ~int32 | ~int64](out []uint64, c *batch.Column) {
	for i, v := range batch.As[T](c.Values)[:len(out)] {
		out[i] = uint64(int64(v)) ^ 1<<63
	}
}

func orderUnsigned[T ~uint8 | ~uint16 | ~uint32 | ~uint64](out []uint64, c *batch.Column) {
	for i, v := range batch.As[T](c.Values)[:len(out)] {
		out[i] = uint64(v)
	}
}

// orderFloat puts the bits of floats in order: negative ones are turned around, and moved below the others.
func orderFloat[T ~float32 | ~float64](out []uint64, c *batch.Column) {
	for i, v := range batch.As[T](c.Values)[:len(out)] {
		switch bits := math.Float64bits(float64(v)); {
		case v != v:
			out[i] = noOrder
		case v == 0:
			out[i] = 1 << 63
		case bits>>63 == 1:
			out[i] = ^bits
		default:
			out[i] = bits ^ 1<<63
		}
	}
}
