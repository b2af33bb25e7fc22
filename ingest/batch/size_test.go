package batch

import "testing"

func TestSize(t *testing.T) {
	fields := []Field{
		{Name: "i", Type: Type{Kind: Int32}},
		{Name: "b", Type: Type{Kind: Bool}},
		{Name: "t", Type: TimestampOf(Millisecond), Nullable: true},
		{Name: "s", Type: Type{Kind: String}},
	}
	b := Batch{Schema: &Schema{Fields: fields}, Rows: 9, Cols: []Column{
		{Values: make([]byte, 64)},
		{Values: make([]byte, 64)},
		{Values: make([]byte, 128), Validity: make([]byte, 64), Nulls: 9},
		{Offsets: Bytes([]int32{3, 4, 4, 5, 5, 5, 5, 5, 5, 20}), Values: make([]byte, 64)},
	}}
	// 9 x 4, 9 bits, 9 x 8 and 9 bits, 10 offsets and 17 bytes of text.
	if got, want := b.Size(), int64(36+2+72+2+40+17); got != want {
		t.Errorf("size %d, want %d", got, want)
	}
	lists := Batch{Schema: &Schema{Fields: []Field{
		{Name: "i", Type: ListOf(Type{Kind: Int16})}, {Name: "b", Type: ListOf(Type{Kind: Bool})}, {Name: "s", Type: ListOf(Type{Kind: String})},
	}}, Rows: 2, Cols: []Column{
		{Offsets: Bytes([]int32{1, 1, 4}), Values: make([]byte, 64)},
		{Offsets: Bytes([]int32{0, 8, 9}), Values: make([]byte, 64)},
		{Offsets: Bytes([]int32{1, 2, 3}), ItemOffsets: Bytes([]int32{0, 5, 6, 9}), Values: make([]byte, 64)},
	}}
	// Three offsets each; 3 x 2, 9 bits, 3 offsets and 4 bytes of text.
	if got, want := lists.Size(), int64(3*12+6+2+12+4); got != want {
		t.Errorf("size %d of lists, want %d", got, want)
	}
	b.Rows = 0
	if got := b.Size(); got != 0 {
		t.Errorf("size %d of no rows", got)
	}
}
