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
	fixed := 0 // the most bytes of a row without its texts
	for k := range b.Cols {
		switch t := b.Schema.Fields[k].Type; {
		case t.Variable():
			fixed += 1 + 8
		case t.Kind == Bool:
			fixed += 1 + 1
		default:
			if fixed += 1 + t.Width(); t.Width() == 0 {
				panic("batch: hash of a column of type " + t.String())
			}
		}
	}
	var starts, ends [hashTogether]int // of the rows in buf
	for from := 0; from < b.Rows; {
		n := min(hashTogether, b.Rows-from)
		for i := range n {
			ends[i] = fixed
		}
		for k := range b.Cols {
			if b.Schema.Fields[k].Type.Variable() {
				for i, c := 0, &b.Cols[k]; i < n; i++ {
					if c.Valid(from + i) {
						ends[i] += len(c.Bytes(from + i))
					}
				}
			}
		}
		total := 0
		for i := range n {
			if i > 0 && total+ends[i] > hashBytes {
				n = i
				break
			}
			starts[i], total = total, total+ends[i]
		}
		if cap(buf) < total {
			buf = make([]byte, total+total/4)
		}
		buf = buf[:cap(buf)]
		copy(ends[:n], starts[:n])
		for k := range b.Cols {
			encodeCells(buf, ends[:n], b.Schema.Fields[k].Type, &b.Cols[k], from)
		}
		for i := range n {
			dst[from+i] = xxhash.Sum64(buf[starts[i]:ends[i]])
		}
		from += n
	}
	return buf
}

// Rows are written for the hash so many at a time, column after column, so that what a column is need not be asked for every value; and
// fewer where they are long, so that they stay in the processor's first cache.
const hashTogether, hashBytes = 128, 16 << 10

// encodeCells writes the values of rows from one on, each where its row has come to, and says where that is then. There is room.
func encodeCells(buf []byte, ends []int, t Type, c *Column, from int) {
	if c.Validity == nil && t.Width() == 8 {
		for i, v := range As[uint64](c.Values)[from : from+len(ends)] {
			cell := (*[9]byte)(buf[ends[i]:])
			cell[0] = 1
			binary.LittleEndian.PutUint64(cell[1:], v)
			ends[i] += len(cell)
		}
		return
	}
	for i, at := range ends {
		row := from + i
		if c.Validity != nil && !c.Valid(row) {
			buf[at] = 0
			ends[i] = at + 1
			continue
		}
		buf[at] = 1
		at++
		switch t.Kind {
		case Bool:
			buf[at] = 0
			if c.Bit(row) {
				buf[at] = 1
			}
			at++
		case String, Binary:
			v := c.Bytes(row)
			binary.LittleEndian.PutUint64(buf[at:], uint64(len(v)))
			at += 8 + copy(buf[at+8:], v)
		default:
			switch t.Width() {
			case 1:
				buf[at] = c.Values[row]
			case 2:
				binary.LittleEndian.PutUint16(buf[at:], As[uint16](c.Values)[row])
			case 4:
				binary.LittleEndian.PutUint32(buf[at:], As[uint32](c.Values)[row])
			case 8:
				binary.LittleEndian.PutUint64(buf[at:], As[uint64](c.Values)[row])
			case 16:
				appendInt128(buf[:at], c.Decimals()[row])
			}
			at += t.Width()
		}
		ends[i] = at
	}
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
