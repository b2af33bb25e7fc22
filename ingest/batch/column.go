package batch

import (
	"math/bits"
	"unsafe"
)

// Column is the buffers of one column. Its length is the row count of the batch that holds it, its type the schema's.
//
// The slices are borrowed: from a slot of the pool, or from the Go heap where an operator's output did not fit one.
// Every buffer starts at row 0: an Arrow offset is resolved when a column enters the host.
//
// A list column has the layout of Arrow's list, with the buffers of its one child in it: Offsets count items, and Values,
// with ItemOffsets where items are strings, are those of the items. See [Column.Items].
type Column struct {
	Validity    []byte // bitmap of valid rows, or nil when there is no null
	Offsets     []byte // string, binary and list: rows+1 int32 values
	Values      []byte // fixed width values, the bitmap of a bool, or the bytes of strings; of a list's items
	ItemOffsets []byte // list of string or binary: items+1 int32 values
	Nulls       int    // null rows; 0 when Validity is nil
}

// Fixed is any value that a fixed width column holds.
type Fixed interface {
	~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~float32 | ~float64
}

// As views a buffer as values of one width. The buffer must be aligned to that width, as every buffer of a slot is.
// The result shares the buffer's memory and ends with it.
func As[T Fixed](b []byte) []T { return as[T](b) }

func as[T any](b []byte) []T {
	var zero T
	n := len(b) / int(unsafe.Sizeof(zero))
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), n)
}

// Bytes views values as the bytes they are made of. The result shares memory with v.
func Bytes[T Fixed](v []T) []byte { return bytesOf(v) }

func bytesOf[T any](v []T) []byte {
	if len(v) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), len(v)*int(unsafe.Sizeof(v[0])))
}

// Valid tells whether row i is not null.
func (c *Column) Valid(i int) bool {
	return c.Validity == nil || c.Validity[i>>3]&(1<<(i&7)) != 0
}

// Bit tells the value of row i of a bool column.
func (c *Column) Bit(i int) bool { return c.Values[i>>3]&(1<<(i&7)) != 0 }

// Bytes is the value of row i of a string or binary column; it shares the column's memory.
func (c *Column) Bytes(i int) []byte {
	off := As[int32](c.Offsets)
	return c.Values[off[i]:off[i+1]]
}

// BitmapLen is the bytes a bitmap of n rows takes.
func BitmapLen(n int) int { return (n + 7) >> 3 }

// SetBit sets bit i of a bitmap.
func SetBit(bm []byte, i int) { bm[i>>3] |= 1 << (i & 7) }

// ClearBit clears bit i of a bitmap.
func ClearBit(bm []byte, i int) { bm[i>>3] &^= 1 << (i & 7) }

// FillBits sets the first n bits of a bitmap and clears the padding behind them.
func FillBits(bm []byte, n int) {
	full := n >> 3
	for i := range bm[:full] {
		bm[i] = 0xff
	}
	if rest := n & 7; rest != 0 {
		bm[full] = 1<<rest - 1
	}
}

// CountBits counts the set bits among the first n of a bitmap.
func CountBits(bm []byte, n int) int {
	count, i := 0, 0
	for ; i+64 <= n; i += 64 {
		b := bm[i>>3:]
		count += bits.OnesCount64(uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
			uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56)
	}
	for ; i < n; i++ {
		count += int(bm[i>>3] >> (i & 7) & 1)
	}
	return count
}
