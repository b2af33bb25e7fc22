package leb128

import (
	"encoding/binary"
	"math"
	"testing"
)

func TestUint32(t *testing.T) {
	for _, c := range []struct {
		in string
		v  uint32
		n  int
	}{
		{"", 0, 0},
		{"\x00", 0, 1},
		{"\x7f\xff", 127, 1},
		{"\x80", 0, 0},
		{"\x80\x01", 128, 2},
		{"\x83\x80\x00", 3, 3}, // padded
		{"\xff\xff\xff\xff\x0f", math.MaxUint32, 5},
		{"\xff\xff\xff\xff\x1f", 0, -1},         // 33 bits
		{"\x80\x80\x80\x80\x80\x00", 0, -1},     // 6 bytes
		{"\x80\x80\x80\x80\x10", 0, -1},         // bit 32 alone
		{"\xff\xff\xff\xff", 0, 0},              // cut short
		{"\x80\x80\x80\x80\x00rest", 0, 5},      // zero, padded as far as can be
		{"\x80\x80\x80\x80\xff\x0f", 0, -1},     // goes on behind 5 bytes
		{"\xe5\x8e\x26\xff\xff\xff", 624485, 3}, // the example of the DWARF standard
	} {
		if v, n := Uint32([]byte(c.in)); v != c.v || n != c.n {
			t.Errorf("%x: %d of %d bytes, want %d of %d", c.in, v, n, c.v, c.n)
		}
	}
}

// FuzzUint32 holds it to the decoder of the standard library, which reads the same numbers of up to 64 bits.
func FuzzUint32(f *testing.F) {
	f.Add([]byte("\xff\xff\xff\xff\x0f"))
	f.Add([]byte("\x80"))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, n := Uint32(b)
		want, length := binary.Uvarint(b)
		switch {
		case n > 0 && (uint64(v) != want || n != length):
			t.Errorf("%x: %d of %d bytes, want %d of %d", b, v, n, want, length)
		case n == 0 && length != 0:
			t.Errorf("%x is not cut short", b)
		case n < 0 && length > 0 && length <= 5 && want <= math.MaxUint32:
			t.Errorf("%x is refused, and is %d", b, want)
		}
	})
}
