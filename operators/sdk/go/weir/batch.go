//go:build wasip1

package weir

import (
	"errors"
	"unsafe"
)

// errFull unwinds an operator whose output does not fit the window: the host then calls again with fewer rows.
var errFull = errors.New("weir: the output does not fit")

// Batch is one batch on its way through the operator. It is valid during the call of Process alone.
type Batch struct {
	in   *arrowArray
	cols []*arrowArray // of the input
	out  []column
	rows int // of the input
	made int // of the output

	room []byte // what is left of the output window
	end  uint32 // the addresses of the window
	from uint32

	mask []byte // of Filter
}

// column is an output column of the batch.
type column struct {
	typ      Type
	from     int
	made     bool
	validity uint32
	offsets  []int32
	values   uint32
	data     []byte // of strings, as long as filled

	ends  []int32 // of the items of lists of strings
	items int     // of lists, so far
}

// Rows is the number of input rows.
func (b *Batch) Rows() int { return b.rows }

// buffer is the i-th buffer of an input column, as n values of T.
func buffer[T Fixed](b *Batch, column, i, n int) []T {
	p := *(*uint32)(at(b.cols[column].buffers + uint32(4*i)))
	if p == 0 || n == 0 {
		return nil
	}
	return unsafe.Slice((*T)(at(p)), n)
}

// Values is an input column of fixed width. T must have the width of the column's type.
func Values[T Fixed](b *Batch, column int) []T { return buffer[T](b, column, 1, b.rows) }

// Valid tells whether a row of an input column is not null.
func (b *Batch) Valid(column, row int) bool {
	bits := buffer[uint8](b, column, 0, (b.rows+7)/8)
	return bits == nil || bits[row>>3]&(1<<(row&7)) != 0
}

// Validity is the bitmap of the rows of an input column that are not null. It is faster than Valid in a loop.
type Validity []byte

// Validity tells which rows of an input column are not null.
func (b *Batch) Validity(column int) Validity { return buffer[uint8](b, column, 0, (b.rows+7)/8) }

// At tells whether a row is not null.
func (v Validity) At(row int) bool { return v == nil || v[row>>3]&(1<<(row&7)) != 0 }

// Bool is a row of a bool column.
func (b *Batch) Bool(column, row int) bool {
	return buffer[uint8](b, column, 1, (b.rows+7)/8)[row>>3]&(1<<(row&7)) != 0
}

// Text is a view of a string or binary column.
type Text struct {
	offsets []int32
	data    unsafe.Pointer
}

// Strings is an input column of strings or binary.
func (b *Batch) Strings(column int) Text {
	return Text{buffer[int32](b, column, 1, b.rows+1), at(*(*uint32)(at(b.cols[column].buffers + 8)))}
}

// At is the value of a row. It shares the input's memory.
func (t Text) At(row int) string {
	from, to := t.offsets[row], t.offsets[row+1]
	if from == to {
		return ""
	}
	return unsafe.String((*byte)(unsafe.Add(t.data, from)), int(to-from))
}

// alloc takes n bytes of the output window.
func (b *Batch) alloc(n int) []byte {
	if n > len(b.room) {
		panic(errFull)
	}
	out := b.room[:n:n]
	b.room = b.room[min((n+63)&^63, len(b.room)):]
	return out
}

// New makes the values of an output column of fixed width, with undefined contents. T must have the width of the column's type.
func New[T Fixed](b *Batch, out, rows int) []T {
	var zero T
	mem := b.alloc(rows * int(unsafe.Sizeof(zero)))
	c := &b.out[out]
	c.made, c.values = true, addr(mem)
	if rows == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(mem))), rows)
}

// NewBools makes the values of a bool column, all false, as a bitmap: row i is bit i%8 of byte i/8.
func (b *Batch) NewBools(out, rows int) []byte {
	mem := b.alloc((rows + 7) / 8)
	clear(mem)
	b.out[out].made, b.out[out].values = true, addr(mem)
	return mem
}

// NewStrings starts a column of strings or binary for so many rows, whose values have at most so many bytes together.
// Each row is then added with Add.
func (b *Batch) NewStrings(out, rows, bytes int) *Strings {
	c := &b.out[out]
	mem := b.alloc(4 * (rows + 1))
	c.offsets = unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(mem))), rows+1)[:1]
	c.offsets[0] = 0
	c.data = b.alloc(bytes)[:0]
	c.made, c.values = true, addr(c.data)
	return (*Strings)(c)
}

// Strings is a column of strings that is being made.
type Strings column

// Add is the next row.
func (s *Strings) Add(v string) {
	if len(v) > cap(s.data)-len(s.data) || len(s.offsets) == cap(s.offsets) {
		panic("weir: more strings, or longer ones, than NewStrings was told")
	}
	s.data = append(s.data, v...)
	s.offsets = append(s.offsets, int32(len(s.data)))
}

// SetNull makes a row of an output column null. The column has so many rows.
func (b *Batch) SetNull(out, rows, row int) {
	c, n := &b.out[out], (rows+7)/8
	if c.validity < b.from || c.validity >= b.end {
		mem := b.alloc(n)
		if c.validity == 0 {
			for i := range mem {
				mem[i] = 0xff
			}
		} else { // shared with the input, whose memory is not ours to write
			copy(mem, unsafe.Slice((*byte)(at(c.validity)), n))
		}
		c.validity = addr(mem)
	}
	*(*byte)(at(c.validity + uint32(row>>3))) &^= 1 << (row & 7)
}

// KeepNulls gives an output column with new values the nulls of an input column. The batch must have as many rows as before.
func (b *Batch) KeepNulls(out, column int) {
	b.out[out].validity = *(*uint32)(at(b.cols[column].buffers))
}

// Length sets the number of output rows, where every column was made new. Take does it otherwise.
func (b *Batch) Length(rows int) { b.made = rows }

// Selection is room for row numbers, to fill and to give to Take. It may be shorter than the batch has rows.
func (b *Batch) Selection(n int) []int32 {
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(b.alloc(4*n)))), n)
}
