package expr

import (
	"encoding/binary"
	"unsafe"

	"github.com/weir-stream/weir/ingest/batch"
)

// chunk is the number of rows evaluated at a time, and words how many 64-bit words their bitmap takes.
const (
	chunk = 1024
	words = chunk / 64
)

// mask is a bitmap of one chunk. Bits behind the last row are undefined unless said otherwise.
type mask [words]uint64

func (m *mask) get(i int) bool { return m[i>>6]>>(i&63)&1 != 0 }
func (m *mask) set(i int)      { m[i>>6] |= 1 << (i & 63) }
func (m *mask) clear(i int)    { m[i>>6] &^= 1 << (i & 63) }

func (m *mask) any() bool {
	var x uint64
	for _, w := range m {
		x |= w
	}
	return x != 0
}

// ones sets the first n bits and clears the rest.
func (m *mask) ones(n int) {
	for w := range m {
		switch k := n - w*64; {
		case k >= 64:
			m[w] = ^uint64(0)
		case k > 0:
			m[w] = 1<<k - 1
		default:
			m[w] = 0
		}
	}
}

// load reads n bits of an Arrow bitmap from row start, a multiple of 64.
func (m *mask) load(src []byte, start, n int) {
	src = src[start>>3 : (start+n+7)>>3]
	w := 0
	for ; len(src) >= 8; src = src[8:] {
		m[w] = binary.LittleEndian.Uint64(src)
		w++
	}
	if len(src) > 0 {
		m[w] = 0
		for i, b := range src {
			m[w] |= uint64(b) << (8 * i)
		}
	}
}

// store writes n bits to an Arrow bitmap at row start, a multiple of 64; padding bits are cleared.
func (m *mask) store(dst []byte, start, n int) {
	dst = dst[start>>3 : (start+n+7)>>3]
	for w := range (n + 63) >> 6 {
		x := m[w]
		if rest := n - w*64; rest < 64 {
			x &= 1<<rest - 1
		}
		if len(dst) >= 8 {
			binary.LittleEndian.PutUint64(dst, x)
			dst = dst[8:]
			continue
		}
		for i := range dst {
			dst[i] = byte(x >> (8 * i))
		}
	}
}

// vec is a column of one chunk while it is computed. Which of num, bits and off+data holds the values follows from the
// node's type. The slices point into a register, into the batch or into a constant, and are only read.
type vec struct {
	num    []uint64       // integers, timestamps and dates as int64 or uint64, floats as float64, by bit pattern
	dec    []batch.Int128 // decimals
	bits   *mask          // bool; never scalar
	off    []int32        // string and binary: offsets into data
	data   []byte
	valid  *mask // nil when nothing is null
	scalar bool  // num or dec has one value, or off two: it stands for every row
}

// number is what a num can be viewed as.
type number interface{ int64 | uint64 | float64 }

// view looks at a num as numbers of another type of 8 bytes.
func view[T number](num []uint64) []T {
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(num))), len(num))
}

func (v *vec) ok(i int) bool { return v.valid == nil || v.valid.get(i) }

func (v *vec) bytes(i int) []byte {
	if v.scalar {
		i = 0
	}
	return v.data[v.off[i]:v.off[i+1]]
}

// reg is scratch memory for one intermediate column. Its parts are made when first used.
type reg struct {
	num         []uint64
	dec         []batch.Int128
	bits, valid mask
	off         []int32
	data        []byte
}

// maxScratch is the string scratch in bytes a register keeps from one batch to the next.
const maxScratch = 1 << 20

func (e *Evaluator) reg(d int) *reg {
	for len(e.regs) <= d {
		e.regs = append(e.regs, &reg{})
	}
	return e.regs[d]
}

// nums is the register's number buffer for the current chunk.
func (e *Evaluator) nums(d int) []uint64 {
	r := e.reg(d)
	if r.num == nil {
		r.num = make([]uint64, chunk)
	}
	return r.num[:e.n]
}

// text is the register's string buffer: offsets for the current chunk, the first set to 0, and empty data to append to.
// The caller gives the data back with keep.
func (e *Evaluator) text(d int) (off []int32, data []byte) {
	r := e.reg(d)
	if r.off == nil {
		r.off = make([]int32, chunk+1)
	}
	r.off[0] = 0
	return r.off[:e.n+1], r.data[:0]
}

func (e *Evaluator) keep(d int, off []int32, data []byte, valid *mask) vec {
	e.regs[d].data = data
	return vec{off: off, data: data, valid: valid}
}

// dense gives a scalar number one value per row, in register d. Scalar strings stay as they are and are read through
// vec.bytes: a long literal must not be copied a thousand times.
func (e *Evaluator) dense(v vec, d int) vec {
	if v.scalar && v.dec != nil {
		out := e.decs(d)
		for i := range out {
			out[i] = v.dec[0]
		}
		return vec{dec: out}
	}
	if !v.scalar || v.num == nil {
		return v
	}
	out := e.nums(d)
	for i := range out {
		out[i] = v.num[0]
	}
	return vec{num: out}
}

// both is where both inputs are not null, in register d.
func (e *Evaluator) both(d int, l, r *mask) *mask {
	switch {
	case l == nil && r == nil:
		return nil
	case l == nil:
		return e.hold(d, r)
	case r == nil:
		return e.hold(d, l)
	}
	out := &e.reg(d).valid
	for w := range out {
		out[w] = l[w] & r[w]
	}
	return out
}

// hold copies a validity to register d, unless it is there already.
func (e *Evaluator) hold(d int, m *mask) *mask {
	if m == nil {
		return nil
	}
	out := &e.reg(d).valid
	if out != m {
		*out = *m
	}
	return out
}

// repr is how values of a type are held in a vec.
type repr uint8

const (
	reprNone    repr = iota
	reprBits         // bool
	reprInt          // int64 in num: signed and narrow unsigned integers, dates, timestamps, durations
	reprUint         // uint64 in num
	reprFloat        // float64 in num
	reprText         // string and binary
	reprDecimal      // decimal
	reprList         // a list column, of which only the nulls are read
)

// duration is the type of a duration constant, in nanoseconds. It is no column type.
const duration batch.Kind = 200

func reprOf(t batch.Type) repr {
	switch {
	case t.Kind == batch.Bool:
		return reprBits
	case t.Kind == batch.Uint64:
		return reprUint
	case t.Integer(), t.Kind == batch.Date32, t.Kind == batch.Timestamp, t.Kind == duration:
		return reprInt
	case t.Float():
		return reprFloat
	case t.Variable():
		return reprText
	case t.Kind == batch.Decimal:
		return reprDecimal
	case t.Kind == batch.List:
		return reprList
	default:
		return reprNone
	}
}

func widenNum(dst []uint64, t batch.Type, values []byte, start int) []uint64 {
	switch t.Kind {
	case batch.Int8:
		return widen(dst, batch.As[int8](values)[start:])
	case batch.Int16:
		return widen(dst, batch.As[int16](values)[start:])
	case batch.Int32, batch.Date32:
		return widen(dst, batch.As[int32](values)[start:])
	case batch.Uint8:
		return widen(dst, batch.As[uint8](values)[start:])
	case batch.Uint16:
		return widen(dst, batch.As[uint16](values)[start:])
	case batch.Uint32:
		return widen(dst, batch.As[uint32](values)[start:])
	default: // float32
		src, out := batch.As[float32](values)[start:], view[float64](dst)
		src = src[:len(out)]
		for i, v := range src {
			out[i] = float64(v)
		}
		return dst
	}
}

func widen[T int8 | int16 | int32 | uint8 | uint16 | uint32](dst []uint64, src []T) []uint64 {
	src = src[:len(dst)]
	for i, v := range src {
		dst[i] = uint64(int64(v))
	}
	return dst
}

// narrowNum writes computed numbers as values of a type. They are within its range: the checker saw to that.
func narrowNum(dst []byte, t batch.Type, num []uint64, start int) {
	switch t.Kind {
	case batch.Int8, batch.Uint8:
		narrow(batch.As[uint8](dst)[start:], num)
	case batch.Int16, batch.Uint16:
		narrow(batch.As[uint16](dst)[start:], num)
	case batch.Int32, batch.Uint32, batch.Date32:
		narrow(batch.As[uint32](dst)[start:], num)
	case batch.Float32:
		out := batch.As[float32](dst)[start:]
		for i, v := range view[float64](num) {
			out[i] = float32(v)
		}
	default:
		copy(batch.As[uint64](dst)[start:], num)
	}
}

func narrow[T uint8 | uint16 | uint32](dst []T, num []uint64) {
	dst = dst[:len(num)]
	for i, v := range num {
		dst[i] = T(v)
	}
}
