package batch

import (
	"fmt"
	"reflect"
	"testing"
)

// TestSlice compares every slice of a batch with its rows gathered one by one.
func TestSlice(t *testing.T) {
	const n = 37
	b := &Batch{Rows: n, Schema: &Schema{Fields: []Field{
		{Name: "i", Type: Type{Kind: Int64}, Nullable: true},
		{Name: "h", Type: Type{Kind: Int16}},
		{Name: "s", Type: Type{Kind: String}, Nullable: true},
		{Name: "f", Type: Type{Kind: Bool}},
	}}}
	b.SetWidth(len(b.Schema.Fields))
	is, hs, offsets, text := make([]int64, n), make([]int16, n), []int32{0}, []byte(nil)
	flags, some := make([]byte, BitmapLen(n)), make([]byte, BitmapLen(n))
	nulls := 0
	for i := range n {
		is[i], hs[i] = int64(i)*7, int16(i)
		text = append(text, fmt.Sprintf("text %04d", i*i)[:i%8]...)
		offsets = append(offsets, int32(len(text)))
		if i%3 == 0 {
			SetBit(flags, i)
		}
		if i%5 != 2 {
			SetBit(some, i)
		} else {
			nulls++
		}
	}
	b.Cols[0] = Column{Values: Bytes(is), Validity: some, Nulls: nulls}
	b.Cols[1] = Column{Values: Bytes(hs)}
	b.Cols[2] = Column{Offsets: Bytes(offsets), Values: text, Validity: some, Nulls: nulls}
	b.Cols[3] = Column{Values: flags}
	for from := range n {
		for to := from + 1; to <= n; to++ {
			var rows []int32
			for i := from; i < to; i++ {
				rows = append(rows, int32(i))
			}
			want := &Batch{Schema: b.Schema, Rows: n, Cols: append([]Column(nil), b.Cols...)}
			want.Gather(rows, &Arena{})
			got := b.Slice(from, to)
			if got.Rows != to-from {
				t.Fatalf("[%d, %d) has %d rows", from, to, got.Rows)
			}
			for k, f := range b.Schema.Fields {
				g, w := got.Cols[k], want.Cols[k]
				if g.Nulls != w.Nulls || !reflect.DeepEqual(orEmpty(g.Validity), orEmpty(w.Validity)) ||
					!reflect.DeepEqual(orEmpty(g.Values), orEmpty(w.Values)) || !reflect.DeepEqual(orEmpty(g.Offsets), orEmpty(w.Offsets)) {
					t.Fatalf("[%d, %d) of %s is %+v, and its rows gathered are %+v", from, to, f.Name, g, w)
				}
			}
		}
	}
}

// orEmpty makes nothing and an empty buffer the same.
func orEmpty(b []byte) []byte { return append([]byte{}, b...) }
