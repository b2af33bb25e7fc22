package spool

import (
	"encoding/binary"
	"fmt"
	"math"

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
	cols   []batch.Column
	rows   int
}

func newRowsReader(fields []batch.Field) *rowsReader {
	r := &rowsReader{fields: fields, cols: make([]batch.Column, len(fields))}
	for f := range fields {
		if fields[f].Type.Variable() {
			r.cols[f].Offsets = make([]byte, 4)
		}
	}
	return r
}

// add reads values of the fields from first to last from b, and returns what follows them. A row is complete when every
// field was added; then comes row.
func (r *rowsReader) add(first, last int, b []byte) ([]byte, error) {
	for f := first; f < last; f++ {
		c, t := &r.cols[f], r.fields[f].Type
		valid := true
		if r.fields[f].Nullable {
			if len(b) < 1 || b[0] > 1 {
				return nil, r.short(f)
			}
			valid, b = b[0] == 1, b[1:]
			c.Validity = appendBit(c.Validity, r.rows, valid)
			if !valid {
				c.Nulls++
			}
		}
		n := t.Width()
		var v []byte
		if valid {
			switch {
			case t.Kind == batch.Bool:
				n = 1
			case t.Variable():
				l, k := binary.Uvarint(b)
				if k <= 0 || l > uint64(len(b)) {
					return nil, r.short(f)
				}
				n, b = int(l), b[k:]
			}
			if n > len(b) {
				return nil, r.short(f)
			}
			v, b = b[:n], b[n:]
		}
		switch {
		case t.Kind == batch.Bool:
			c.Values = appendBit(c.Values, r.rows, valid && v[0] != 0)
		case t.Variable():
			if len(c.Values)+len(v) > math.MaxInt32 {
				return nil, fmt.Errorf("column %s has over 2 GiB", r.fields[f].Name)
			}
			c.Values = append(c.Values, v...)
			c.Offsets = binary.LittleEndian.AppendUint32(c.Offsets, uint32(len(c.Values)))
		case valid:
			c.Values = append(c.Values, v...)
		default:
			c.Values = append(c.Values, make([]byte, n)...)
		}
	}
	return b, nil
}

func (r *rowsReader) short(f int) error {
	return fmt.Errorf("%w: row %d ends in column %s", ErrDamaged, r.rows, r.fields[f].Name)
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

// batch gives the rows away as a batch on the Go heap and begins anew.
func (r *rowsReader) batch(s *batch.Schema) *batch.Batch {
	b := &batch.Batch{Schema: s, Rows: r.rows, Cols: r.cols}
	for f := range b.Cols {
		if c := &b.Cols[f]; c.Nulls == 0 {
			c.Validity = nil
		}
	}
	*r = *newRowsReader(r.fields)
	return b
}
