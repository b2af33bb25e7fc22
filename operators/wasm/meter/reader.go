package meter

import (
	"fmt"

	"github.com/weir-stream/weir/operators/wasm/leb128"
)

// reader reads a part of a Wasm binary. It is as strict as the specification: what two decoders could read in two ways
// is refused. After a failure it only returns zeroes.
type reader struct {
	b   []byte
	at  int
	err error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("at byte %d: "+format, append([]any{r.at}, args...)...)
	}
	r.at = len(r.b)
}

func (r *reader) more() bool { return r.at < len(r.b) }

// left is how many bytes are unread.
func (r *reader) left() int { return len(r.b) - r.at }

func (r *reader) take(n uint64) []byte {
	if n > uint64(r.left()) {
		r.fail("cut short")
		return nil
	}
	b := r.b[r.at : r.at+int(n)]
	r.at += int(n)
	return b
}

func (r *reader) byte() byte {
	if r.at >= len(r.b) {
		r.fail("cut short")
		return 0
	}
	r.at++
	return r.b[r.at-1]
}

// u32 reads an unsigned LEB128 number of 32 bits.
func (r *reader) u32() uint32 {
	v, n := leb128.Uint32(r.b[r.at:])
	switch {
	case n < 0:
		r.fail("a number of more than 32 bits")
	case n == 0:
		r.at = len(r.b)
		r.fail("cut short")
	}
	if n <= 0 {
		return 0
	}
	r.at += n
	return v
}

// signed reads a signed LEB128 number of 32, 33 or 64 bits.
func (r *reader) signed(bits int) int64 {
	var v int64
	for shift := 0; shift < bits; shift += 7 {
		b := r.byte()
		v |= int64(b&0x7f) << shift
		if b < 0x80 {
			if used := bits - shift; used < 7 {
				// The bits beyond the number repeat its sign.
				if top := int8(b<<1) >> used; top != 0 && top != -1 {
					break
				}
			}
			if shift+7 < 64 && b&0x40 != 0 {
				v |= -1 << (shift + 7)
			}
			return v
		}
	}
	r.fail("a number of more than %d bits", bits)
	return 0
}

// count reads the length of a list whose items have at least size bytes.
func (r *reader) count(size int) uint32 {
	n := r.u32()
	if uint64(n)*uint64(size) > uint64(r.left()) {
		r.fail("a list of %d items, more than there are bytes", n)
		return 0
	}
	return n
}

// below reads an index of a space that has n items.
func (r *reader) below(n uint32, what string) uint32 {
	i := r.u32()
	if r.err == nil && i >= n {
		r.fail("%s %d of %d", what, i, n)
		return 0
	}
	return i
}

// valueType reads the type of a value.
func (r *reader) valueType() {
	if t := r.byte(); !isValueType(t) {
		r.fail("value type %#x is not supported", t)
	}
}

func isValueType(t byte) bool { return t >= 0x7b && t <= 0x7f || t == 0x70 || t == 0x6f }

// zero reads a byte that is reserved.
func (r *reader) zero() {
	if r.byte() != 0 {
		r.fail("a reserved byte is not zero")
	}
}

// limits reads the size of a memory or table.
func (r *reader) limits() {
	flags := r.byte()
	if flags > 1 {
		r.fail("limits of kind %d: shared and 64-bit memories are not supported", flags)
	}
	r.u32()
	if flags == 1 {
		r.u32()
	}
}
