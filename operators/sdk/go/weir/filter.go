//go:build wasip1

package weir

import (
	"math/bits"
	"unsafe"
)

// Mask is room for a truth value per row, all false, to fill and to give to Filter.
func (b *Batch) Mask() []bool {
	if b.rows == 0 {
		return nil
	}
	mem := b.alloc(b.rows)
	clear(mem)
	return unsafe.Slice((*bool)(unsafe.Pointer(unsafe.SliceData(mem))), b.rows)
}

// Filter gives every passed column just the rows for which keep is true and none of the columns notNull is null. keep has a
// value per row:
//
//	keep := b.Mask()
//	for i, v := range weir.Values[float64](b, temp) {
//		keep[i] = v > 30
//	}
//	b.Filter(keep, temp)
//
// It is faster than Take of a selection that is made with a branch for each row.
func (b *Batch) Filter(keep []bool, notNull ...int) {
	if len(keep) != b.rows {
		panic("weir: Filter needs a value for each row of the batch")
	}
	b.mask = append(b.mask[:0], make([]byte, (b.rows+7)/8)...)
	pack(b.mask, keep)
	for _, c := range notNull {
		for i, v := range b.Validity(c) {
			b.mask[i] &= v
		}
	}
	rows := b.Selection(b.rows)
	if len(rows) > 0 {
		rows = rows[:pick(rows, b.mask)]
	}
	b.Take(rows)
}

// pack makes a bitmap of truth values.
func pack(to []byte, from []bool) {
	at := 0
	for ; len(from)-at >= 8; at += 8 {
		// Each byte is 0 or 1: the product has all of them in its highest byte, and nothing that carries into it.
		eight := *(*uint64)(unsafe.Pointer((*[8]bool)(from[at:])))
		to[at>>3] = byte(eight * 0x0102040810204080 >> 56)
	}
	for i, v := range from[at:] {
		if v {
			to[at>>3] |= 1 << i
		}
	}
}

// picked has the rows that four bits say, two of them in a number.
var picked = [16][2]uint64{
	1: {0}, 2: {1}, 3: {0 | 1<<32}, 4: {2}, 5: {0 | 2<<32}, 6: {1 | 2<<32}, 7: {0 | 1<<32, 2}, 8: {3}, 9: {0 | 3<<32}, 10: {1 | 3<<32},
	11: {0 | 1<<32, 3}, 12: {2 | 3<<32}, 13: {0 | 2<<32, 3}, 14: {1 | 2<<32, 3}, 15: {0 | 1<<32, 2 | 3<<32},
}

// pick stores the rows that a bitmap says, and returns how many there are. There is room for all rows: for each four bits four
// are stored, and what is too much is written over by the next.
func pick(to []int32, mask []byte) int {
	const both = 1 | 1<<32
	p, kept, row := unsafe.Pointer(unsafe.SliceData(to)), uint32(0), uint64(0)
	full := len(to) / 8
	for _, m := range mask[:full] {
		low, high := uint64(m&15), uint64(m>>4)
		a, b := &picked[low], &picked[high]
		at := (*[2]uint64)(unsafe.Add(p, uintptr(kept)*4))
		at[1] = a[1] + row*both
		at[0] = a[0] + row*both
		kept += uint32(bits.OnesCount64(low))
		at = (*[2]uint64)(unsafe.Add(p, uintptr(kept)*4))
		at[1] = b[1] + (row+4)*both
		at[0] = b[0] + (row+4)*both
		kept += uint32(bits.OnesCount64(high))
		row += 8
	}
	for i := full * 8; i < len(to); i++ {
		if mask[full]&(1<<(i&7)) != 0 {
			to[kept] = int32(i)
			kept++
		}
	}
	return int(kept)
}
