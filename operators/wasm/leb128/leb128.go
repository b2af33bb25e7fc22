// Package leb128 reads the numbers of WebAssembly binaries.
//
// The host's admission, the meter and the tools of operator authors each read binaries in a way of their own, and fail in a way of
// their own; what a number is they must agree on, or one of them could be shown another module than the next. Format:
// https://webassembly.github.io/spec/core/binary/values.html#integers.
package leb128

// Uint32 reads an unsigned number of 32 bits from the beginning of b, and says how many bytes it has: 0 where b ends before it does,
// and -1 where it has more than 32 bits. It may be padded, with at most 5 bytes in all.
func Uint32(b []byte) (v uint32, n int) {
	const most = 5
	for i := range most {
		if i == len(b) {
			return 0, 0
		}
		c := b[i]
		if i == most-1 && c > 0x0f {
			return 0, -1
		}
		v |= uint32(c&0x7f) << (7 * i)
		if c < 0x80 {
			return v, i + 1
		}
	}
	return 0, -1
}
