package aggregate

import (
	"encoding/binary"
	"math"
)

// reader reads the bytes of a state. After a read that found too few bytes all others give zero, and err says so.
type reader struct {
	src []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.src) {
		r.src, r.bad = nil, true
		return nil
	}
	out := r.src[:n]
	r.src = r.src[n:]
	return out
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.src)
	if n <= 0 {
		r.src, r.bad = nil, true
		return 0
	}
	r.src = r.src[n:]
	return v
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *reader) float() float64 { return math.Float64frombits(r.uint64()) }

// count reads how many items of at least the given size follow.
func (r *reader) count(itemSize int) int {
	n := r.uvarint()
	if n > uint64(len(r.src)/max(1, itemSize)) {
		r.src, r.bad = nil, true
		return 0
	}
	return int(n)
}

// end is the error of what was read; it must be all there is.
func (r *reader) end() error {
	if r.bad || len(r.src) > 0 {
		return errState
	}
	return nil
}

func appendFloat(dst []byte, v float64) []byte {
	return binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.src)
	if n <= 0 {
		r.src, r.bad = nil, true
		return 0
	}
	r.src = r.src[n:]
	return v
}
