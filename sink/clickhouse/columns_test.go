package clickhouse

import (
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
)

// devNull takes what a client's column would.
type devNull struct{ read int }

func (d *devNull) Append(v any) error {
	switch v := v.(type) {
	case []string:
		for _, s := range v {
			d.read += len(s)
		}
	case []*string:
		for _, s := range v {
			if s != nil {
				d.read += len(*s)
			}
		}
	}
	return nil
}

func (*devNull) AppendRow(any) error { return nil }

// Whatever a column's buffers are, they are refused or can be converted: nothing panics.
func FuzzColumn(f *testing.F) {
	f.Add(uint8(batch.String), uint8(0), 2, true, 1, []byte{1}, []byte("abc"), []byte{0, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0})
	f.Add(uint8(batch.Timestamp), uint8(1), 1, false, 0, []byte{}, make([]byte, 8), []byte{})
	f.Add(uint8(batch.Bool), uint8(0), 9, true, 2, []byte{1, 1}, []byte{7, 1}, []byte{})
	f.Add(uint8(batch.Date32), uint8(0), 1, true, 0, []byte{}, []byte{0xff, 0xff, 0xff, 0x7f}, []byte{})
	f.Fuzz(func(t *testing.T, k, unit uint8, n int, nullable bool, nulls int, validity, values, offsets []byte) {
		field := batch.Field{Name: "c", Type: batch.Type{Kind: batch.Kind(k%uint8(batch.Timestamp)) + 1}, Nullable: nullable}
		if field.Type.Kind == batch.Timestamp {
			field.Type.Unit = batch.Unit(unit % 4)
		}
		if n < 0 || n > 1000 {
			return
		}
		c := batch.Column{Values: aligned(values), Offsets: aligned(offsets), Nulls: nulls}
		if len(validity) > 0 {
			c.Validity = validity
		}
		if _, err := checkColumn(field, &c, n); err != nil {
			return
		}
		var s scratch
		sink := &devNull{}
		if err := s.appendColumn(sink, field, &c, n); err != nil {
			t.Errorf("checked, and then: %v", err)
		}
		s.clear()
		newToken("t").column(field, &c, n)
		columnBytes(field, &c, n)
	})
}

// aligned copies bytes to where every width may be read, as slots have them.
func aligned(b []byte) []byte {
	words := make([]uint64, len(b)/8+1)
	out := batch.Bytes(words)[:len(b)]
	copy(out, b)
	return out
}
