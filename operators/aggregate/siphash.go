package aggregate

import (
	"encoding/binary"
	"math/bits"
)

// sipHash128 is the hash that ClickHouse's uniqExact keeps of a text: SipHash-2-4 with key 0, after Aumasson and Bernstein,
// "SipHash: a fast short-input PRF" (2012), of which it takes the four words folded into two.
func sipHash128(data []byte) [2]uint64 {
	v0, v1, v2, v3 := uint64(0x736f6d6570736575), uint64(0x646f72616e646f6d), uint64(0x6c7967656e657261), uint64(0x7465646279746573)
	last := uint64(len(data)) << 56
	round := func() {
		v0 += v1
		v1 = bits.RotateLeft64(v1, 13) ^ v0
		v0 = bits.RotateLeft64(v0, 32)
		v2 += v3
		v3 = bits.RotateLeft64(v3, 16) ^ v2
		v0 += v3
		v3 = bits.RotateLeft64(v3, 21) ^ v0
		v2 += v1
		v1 = bits.RotateLeft64(v1, 17) ^ v2
		v2 = bits.RotateLeft64(v2, 32)
	}
	compress := func(m uint64) {
		v3 ^= m
		round()
		round()
		v0 ^= m
	}
	for ; len(data) >= 8; data = data[8:] {
		compress(binary.LittleEndian.Uint64(data))
	}
	for i, b := range data {
		last |= uint64(b) << (8 * i)
	}
	compress(last)
	v2 ^= 0xff
	for range 4 {
		round()
	}
	return [2]uint64{v0 ^ v1, v2 ^ v3}
}
