package clickhouse

import (
	"fmt"
	"time"
	"unsafe"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/shopspring/decimal"

	"github.com/weir-stream/weir/ingest/batch"
)

// scratch is memory that converting columns reuses. The client copies every value out of it at once.
type scratch struct {
	strs  []string
	times []time.Time
	ptrs  []unsafe.Pointer
	decs  []decimal.Decimal
}

// clear lets go of the memory of batches, which the buffers point into.
func (s *scratch) clear() {
	clear(s.strs[:cap(s.strs)])
	clear(s.ptrs[:cap(s.ptrs)])
}

// resize makes a buffer n long. What is in it is undefined.
func resize[T any](buf *[]T, n int) []T {
	if cap(*buf) < n {
		*buf = make([]T, n, n+n/8)
	}
	*buf = (*buf)[:n]
	return *buf
}

// appendColumn appends all n values of a column to the client's column of the same field. Fixed width values go as
// they are, without a copy of ours.
func (s *scratch) appendColumn(dst driver.BatchColumn, f batch.Field, c *batch.Column, n int) error {
	if n == 0 {
		return nil
	}
	switch f.Type.Kind {
	case batch.Bool:
		v := make([]bool, n)
		for i := range v {
			v[i] = c.Bit(i)
		}
		return appendValues(s, dst, v, c)
	case batch.Int8:
		return appendValues(s, dst, batch.As[int8](c.Values)[:n], c)
	case batch.Int16:
		return appendValues(s, dst, batch.As[int16](c.Values)[:n], c)
	case batch.Int32:
		return appendValues(s, dst, batch.As[int32](c.Values)[:n], c)
	case batch.Int64:
		return appendValues(s, dst, batch.As[int64](c.Values)[:n], c)
	case batch.Uint8:
		return appendValues(s, dst, batch.As[uint8](c.Values)[:n], c)
	case batch.Uint16:
		return appendValues(s, dst, batch.As[uint16](c.Values)[:n], c)
	case batch.Uint32:
		return appendValues(s, dst, batch.As[uint32](c.Values)[:n], c)
	case batch.Uint64:
		return appendValues(s, dst, batch.As[uint64](c.Values)[:n], c)
	case batch.Float32:
		return appendValues(s, dst, batch.As[float32](c.Values)[:n], c)
	case batch.Float64:
		return appendValues(s, dst, batch.As[float64](c.Values)[:n], c)
	case batch.String, batch.Binary:
		return appendValues(s, dst, s.stringsOf(c, n), c)
	case batch.Date32:
		v := resize(&s.times, n)
		for i, d := range batch.As[int32](c.Values)[:n] {
			v[i] = time.Unix(int64(d)*86400, 0).UTC()
		}
		if f.Nullable {
			// The client forgets the null flags of a []time.Time in this one type.
			return dst.Append(pointers(s, v, c))
		}
		return dst.Append(v)
	case batch.Timestamp:
		v := resize(&s.times, n)
		for i, t := range batch.As[int64](c.Values)[:n] {
			v[i] = inTime(t, f.Type.Unit)
		}
		return appendValues(s, dst, v, c)
	case batch.Decimal:
		v := resize(&s.decs, n)
		for i, d := range c.Decimals()[:n] {
			v[i] = inDecimal(d, int(f.Type.Scale))
		}
		return appendValues(s, dst, v, c)
	default:
		return fmt.Errorf("column %s: type %s cannot be sent", f.Name, f.Type)
	}
}

// appendValues appends values, with nil pointers for nulls where there are any.
func appendValues[T any](s *scratch, dst driver.BatchColumn, v []T, c *batch.Column) error {
	if c.Nulls == 0 {
		return dst.Append(v)
	}
	return dst.Append(pointers(s, v, c))
}

// pointers is a slice of pointers to the values, nil where a row is null: how the client takes nullable columns.
func pointers[T any](s *scratch, v []T, c *batch.Column) []*T {
	raw := resize(&s.ptrs, len(v))
	// One buffer serves every type: a []unsafe.Pointer and a []*T differ in nothing but their name.
	p := unsafe.Slice((**T)(unsafe.Pointer(unsafe.SliceData(raw))), len(raw))
	for i := range v {
		p[i] = nil
		if c.Valid(i) {
			p[i] = &v[i]
		}
	}
	return p
}

// stringsOf views the values of a string column as Go strings, which share its memory.
func (s *scratch) stringsOf(c *batch.Column, n int) []string {
	v, off := resize(&s.strs, n), batch.As[int32](c.Offsets)
	for i := range v {
		v[i] = unsafe.String(unsafe.SliceData(c.Values[off[i]:]), off[i+1]-off[i])
	}
	return v
}

// repeatText appends a text n times.
func (s *scratch) repeatText(dst driver.BatchColumn, v string, n int) error {
	strs := resize(&s.strs, n)
	for i := range strs {
		strs[i] = v
	}
	return dst.Append(strs)
}

// repeat appends a value n times.
func repeat[T any](dst driver.BatchColumn, v T, n int) error {
	s := make([]T, n)
	for i := range s {
		s[i] = v
	}
	return dst.Append(s)
}

// checkColumn tells whether n values of a column can be stored as its field says, before any is sent: that its buffers
// are large enough for the conversion not to panic, nulls are where they may be, and times within what ClickHouse can
// hold. row is the first that cannot, or -1 where it is the column as a whole.
func checkColumn(f batch.Field, c *batch.Column, n int) (row int, err error) {
	need := n * f.Type.Width()
	if f.Type.Kind == batch.Bool {
		need = batch.BitmapLen(n)
	}
	if c.Validity != nil && len(c.Validity) < batch.BitmapLen(n) || len(c.Values) < need {
		return -1, fmt.Errorf("column %s: %d bytes are too few for %d rows", f.Name, len(c.Values), n)
	}
	if f.Type.Variable() {
		if err := checkOffsets(f, c, n); err != nil {
			return -1, err
		}
	}
	if c.Validity == nil && c.Nulls != 0 {
		return -1, fmt.Errorf("column %s: %d nulls and no bitmap of them", f.Name, c.Nulls)
	}
	if c.Nulls != 0 && !f.Nullable {
		for i := range n {
			if !c.Valid(i) {
				return i, fmt.Errorf("column %s is null and may not be", f.Name)
			}
		}
	}
	switch f.Type.Kind {
	case batch.Timestamp:
		lo, hi := timeBounds(f.Type.Unit)
		for i, v := range batch.As[int64](c.Values)[:n] {
			if (v < lo || v > hi) && c.Valid(i) {
				return i, fmt.Errorf("column %s: %d (%s since 1970) is outside the years 1900 to 2262 that ClickHouse can hold", f.Name, v, f.Type.Unit)
			}
		}
	case batch.Date32:
		for i, v := range batch.As[int32](c.Values)[:n] {
			if (v < minDay || v > maxDay) && c.Valid(i) {
				return i, fmt.Errorf("column %s: day %d since 1970 is outside the years 1900 to 2299 that ClickHouse can hold", f.Name, v)
			}
		}
	}
	return 0, nil
}

func checkOffsets(f batch.Field, c *batch.Column, n int) error {
	if len(c.Offsets) < (n+1)*4 {
		if n == 0 {
			return nil
		}
		return fmt.Errorf("column %s: %d bytes of offsets are too few for %d rows", f.Name, len(c.Offsets), n)
	}
	prev := int32(0)
	for i, o := range batch.As[int32](c.Offsets)[:n+1] {
		if o < prev || int(o) > len(c.Values) {
			return fmt.Errorf("column %s: offset %d of row %d is out of order", f.Name, o, i)
		}
		prev = o
	}
	return nil
}

// columnBytes is the memory of the n values of a column.
func columnBytes(f batch.Field, c *batch.Column, n int) int {
	switch {
	case n == 0:
		return 0
	case f.Type.Variable():
		off := batch.As[int32](c.Offsets)
		return int(off[n]-off[0]) + 4*n
	case f.Type.Kind == batch.Bool:
		return n
	default:
		return n * f.Type.Width()
	}
}
