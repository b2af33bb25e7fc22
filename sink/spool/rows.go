package spool

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/weir-stream/weir/ingest/batch"
)

// appendRow writes row i of columns: for each, 0 if it is null (where it may be), then its value: fixed width as it is in
// memory, little endian; a bool as a byte; strings with their length before them as a varint.
func appendRow(to []byte, fields []batch.Field, cols []batch.Column, i int) []byte {
	for f := range fields {
		c, t := &cols[f], fields[f].Type
		if fields[f].Nullable {
			if !c.Valid(i) {
				to = append(to, 0)
				continue
			}
			to = append(to, 1)
		}
		switch {
		case t.Kind == batch.Bool:
			b := byte(0)
			if c.Bit(i) {
				b = 1
			}
			to = append(to, b)
		case t.Variable():
			v := c.Bytes(i)
			to = append(binary.AppendUvarint(to, uint64(len(v))), v...)
		default:
			to = append(to, c.Values[i*t.Width():(i+1)*t.Width()]...)
		}
	}
	return to
}

// rowsReader makes columns of rows that appendRow wrote.
type rowsReader struct {
	fields []batch.Field
	kinds  []valueKind
	cols   []batch.Column
	rows   int
}

// valueKind is what decides how values of a field are read.
type valueKind struct {
	nullable, variable, bit bool
	word                    bool // it is 8 bytes and may be null, as most are
	width                   int  // of what is neither variable nor a bit
}

func newRowsReader(fields []batch.Field) *rowsReader {
	r := &rowsReader{fields: fields, kinds: make([]valueKind, len(fields)), cols: make([]batch.Column, len(fields))}
	for f := range fields {
		t := fields[f].Type
		k := valueKind{nullable: fields[f].Nullable, variable: t.Variable(), bit: t.Kind == batch.Bool, width: t.Width()}
		k.word = k.nullable && !k.variable && !k.bit && k.width == 8
		r.kinds[f] = k
	}
	r.reset()
	return r
}

// reserve makes room for so many rows, but for their texts.
func (r *rowsReader) reserve(rows int) {
	for f := range r.cols {
		c, k := &r.cols[f], &r.kinds[f]
		if k.variable {
			c.Offsets = slices.Grow(c.Offsets, 4*rows)
		} else {
			c.Values = slices.Grow(c.Values, k.width*rows)
		}
	}
}

// reset begins anew, in the memory that is there.
func (r *rowsReader) reset() {
	r.rows = 0
	for f := range r.cols {
		c := &r.cols[f]
		c.Values, c.Offsets, c.Validity, c.Nulls = c.Values[:0], c.Offsets[:0], c.Validity[:0], 0
		if r.kinds[f].variable {
			c.Offsets = append(c.Offsets, 0, 0, 0, 0)
		}
	}
}

// group adds a row of a lane: the key behind the lane, which begins with the window, and its value. keys is how many columns of
// the key there are.
func (r *rowsReader) group(key, value []byte, keys int) error {
	if len(key) < 8 {
		return fmt.Errorf("%w: a group without a window", ErrDamaged)
	}
	start := &r.cols[colStart]
	start.Values = binary.LittleEndian.AppendUint64(start.Values, binary.BigEndian.Uint64(key)^1<<63)
	value, err := r.add(colStart+1, colKeys, value)
	if err == nil {
		key, err = r.add(colKeys, colKeys+keys, key[8:])
	}
	if err == nil {
		value, err = r.add(colKeys+keys, len(r.fields), value)
	}
	if err == nil && len(key)+len(value) > 0 {
		err = fmt.Errorf("%w: a group has %d bytes too many", ErrDamaged, len(key)+len(value))
	}
	r.rows++
	return err
}

// add reads values of the fields from first to last from b, and returns what follows them. A row is complete when every
// field was added.
func (r *rowsReader) add(first, last int, b []byte) ([]byte, error) {
	for f := first; f < last; f++ {
		c, k := &r.cols[f], &r.kinds[f]
		if k.word && c.Nulls == 0 && len(b) > 8 && b[0] == 1 {
			c.Values, b = binary.LittleEndian.AppendUint64(c.Values, binary.LittleEndian.Uint64(b[1:])), b[9:]
			continue
		}
		if k.nullable {
			if len(b) < 1 || b[0] > 1 {
				return nil, r.short(f)
			}
			valid := b[0] == 1
			b = b[1:]
			switch {
			case c.Nulls > 0:
				c.Validity = appendBit(c.Validity, r.rows, valid)
			case !valid: // the first; until then nothing is kept of what is valid
				c.Validity = appendBit(setBits(c.Validity[:0], r.rows), r.rows, false)
			}
			if !valid {
				c.Nulls++
				switch {
				case k.bit:
					c.Values = appendBit(c.Values, r.rows, false)
				case k.variable:
					c.Offsets = binary.LittleEndian.AppendUint32(c.Offsets, uint32(len(c.Values)))
				default:
					c.Values = append(c.Values, zeroes[:k.width]...)
				}
				continue
			}
		}
		switch {
		case k.bit:
			if len(b) < 1 {
				return nil, r.short(f)
			}
			c.Values, b = appendBit(c.Values, r.rows, b[0] != 0), b[1:]
		case k.variable:
			l, n := binary.Uvarint(b)
			if n <= 0 || l > uint64(len(b)-n) {
				return nil, r.short(f)
			}
			v := b[n : n+int(l)]
			if len(c.Values)+len(v) > math.MaxInt32 {
				return nil, fmt.Errorf("column %s has over 2 GiB", r.fields[f].Name)
			}
			c.Values, b = append(c.Values, v...), b[n+int(l):]
			c.Offsets = binary.LittleEndian.AppendUint32(c.Offsets, uint32(len(c.Values)))
		case k.width > len(b):
			return nil, r.short(f)
		case k.width == 8: // most are
			c.Values, b = binary.LittleEndian.AppendUint64(c.Values, binary.LittleEndian.Uint64(b)), b[8:]
		default:
			c.Values, b = append(c.Values, b[:k.width]...), b[k.width:]
		}
	}
	return b, nil
}

// zeroes are what lies under a null of fixed width.
var zeroes [8]byte

func (r *rowsReader) short(f int) error {
	return fmt.Errorf("%w: row %d ends in column %s", ErrDamaged, r.rows, r.fields[f].Name)
}

// setBits appends so many bits that are set to an empty bitmap.
func setBits(bm []byte, n int) []byte {
	for range n / 8 {
		bm = append(bm, 0xff)
	}
	if n%8 > 0 {
		bm = append(bm, 1<<(n%8)-1)
	}
	return bm
}

func appendBit(bm []byte, i int, set bool) []byte {
	if i>>3 == len(bm) {
		bm = append(bm, 0)
	}
	if set {
		batch.SetBit(bm, i)
	}
	return bm
}

// borrow lends the rows as a batch, until reset.
func (r *rowsReader) borrow(s *batch.Schema) *batch.Batch {
	b := &batch.Batch{Schema: s, Rows: r.rows, Cols: slices.Clone(r.cols)}
	for f := range b.Cols {
		if c := &b.Cols[f]; c.Nulls == 0 {
			c.Validity = nil
		}
	}
	return b
}

// batch gives the rows away as a batch on the Go heap and begins anew.
func (r *rowsReader) batch(s *batch.Schema) *batch.Batch {
	b := r.borrow(s)
	*r = *newRowsReader(r.fields)
	return b
}
