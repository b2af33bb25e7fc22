package batch

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// HashRows sets dst[i] to a hash of the values of row i; dst has a place for each row. It depends on the values, their types and
// their order alone: not on the names of columns, and not on the rows beside it. The columns must be those of the schema, none
// of them a list. buf is memory to work in; what is returned is to be given the next time.
//
// It is XXH64 with seed 0 of, for every column in turn,
//
//	one byte, 0 where the value is null and 1 where it is not; and in the latter case
//	the value: little-endian in the width of its type, a bool a byte of 0 or 1;
//	a string or bytes behind their length in 8 bytes, little-endian.
//
// XXH64 is specified at https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md; databases have it, and that is why it is
// this one. It is no protection against somebody who wants two rows to have one hash.
func HashRows(dst []uint64, b *Batch, buf []byte) []byte {
	for i := range b.Rows {
		buf = buf[:0]
		for k := range b.Cols {
			c := &b.Cols[k]
			if c.Validity != nil && !c.Valid(i) {
				buf = append(buf, 0)
				continue
			}
			buf = append(buf, 1)
			switch t := b.Schema.Fields[k].Type; t.Kind {
			case Bool:
				v := byte(0)
				if c.Bit(i) {
					v = 1
				}
				buf = append(buf, v)
			case String, Binary:
				v := c.Bytes(i)
				buf = binary.LittleEndian.AppendUint64(buf, uint64(len(v)))
				buf = append(buf, v...)
			default:
				switch t.Width() {
				case 1:
					buf = append(buf, c.Values[i])
				case 2:
					buf = binary.LittleEndian.AppendUint16(buf, As[uint16](c.Values)[i])
				case 4:
					buf = binary.LittleEndian.AppendUint32(buf, As[uint32](c.Values)[i])
				case 8:
					buf = binary.LittleEndian.AppendUint64(buf, As[uint64](c.Values)[i])
				case 16:
					buf = appendInt128(buf, c.Decimals()[i])
				default:
					panic("batch: hash of a column of type " + t.String())
				}
			}
		}
		dst[i] = xxhash.Sum64(buf)
	}
	return buf
}

// Hashes are the hashes of all rows, see HashRows.
func Hashes(b *Batch) []uint64 {
	hashes := make([]uint64, b.Rows)
	HashRows(hashes, b, nil)
	return hashes
}

// SumHashes is the sum of the hashes of all rows, modulo 2^64. See HashRows.
func SumHashes(b *Batch) (sum uint64) {
	for _, h := range Hashes(b) {
		sum += h
	}
	return sum
}
