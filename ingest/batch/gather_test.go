package batch

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
)

// allTypes is a schema with every type and the list of it, nullable.
func allTypes() *Schema {
	s := &Schema{}
	names := TypeNames()
	for _, name := range TypeNames() {
		names = append(names, "list<"+name+">")
	}
	for _, name := range names {
		t, _, err := ParseType(name)
		if err != nil {
			panic(err)
		}
		s.Fields = append(s.Fields, Field{Name: name, Type: t, Nullable: true})
	}
	return s
}

// build makes rows of random values by Arrow's own builders: the independent side of these tests.
func build(rng *rand.Rand, s *Schema, rows int, nulls bool) arrow.Record {
	b := array.NewRecordBuilder(memory.NewGoAllocator(), s.Arrow())
	defer b.Release()
	for i, f := range s.Fields {
		for range rows {
			if nulls && rng.IntN(3) == 0 {
				b.Field(i).AppendNull()
				continue
			}
			if list, ok := b.Field(i).(*array.ListBuilder); ok {
				list.Append(true)
				for range rng.IntN(5) {
					appendRandom(rng, list.ValueBuilder(), f)
				}
				continue
			}
			appendRandom(rng, b.Field(i), f)
		}
	}
	return b.NewRecord()
}

func appendRandom(rng *rand.Rand, to array.Builder, f Field) {
	v := rng.Uint64()
	switch fb := to.(type) {
	case *array.BooleanBuilder:
		fb.Append(v&1 == 0)
	case *array.Int8Builder:
		fb.Append(int8(v))
	case *array.Int16Builder:
		fb.Append(int16(v))
	case *array.Int32Builder:
		fb.Append(int32(v))
	case *array.Int64Builder:
		fb.Append(int64(v))
	case *array.Uint8Builder:
		fb.Append(uint8(v))
	case *array.Uint16Builder:
		fb.Append(uint16(v))
	case *array.Uint32Builder:
		fb.Append(uint32(v))
	case *array.Uint64Builder:
		fb.Append(v)
	case *array.Float32Builder:
		fb.Append(rng.Float32())
	case *array.Float64Builder:
		fb.Append(rng.Float64())
	case *array.StringBuilder:
		fb.Append(strings.Repeat("é", int(v%5)))
	case *array.BinaryBuilder:
		fb.Append(make([]byte, 1+v%9)) // Arrow prints no bytes at all as null
	case *array.Date32Builder:
		fb.Append(arrow.Date32(v))
	case *array.TimestampBuilder:
		fb.Append(arrow.Timestamp(v))
	default:
		panic(fmt.Sprintf("%v: no builder %T", f, fb))
	}
}

// fromRecord is a batch over the buffers of an Arrow record.
func fromRecord(s *Schema, rec arrow.Record) *Batch {
	b := &Batch{Schema: s, Rows: int(rec.NumRows())}
	b.SetWidth(len(s.Fields))
	for i := range s.Fields {
		data, c := rec.Column(i).Data(), &b.Cols[i]
		bufs := data.Buffers()
		if c.Nulls = data.NullN(); c.Nulls > 0 {
			c.Validity = bufs[0].Bytes()
		}
		t := s.Fields[i].Type
		if t.Kind == List {
			bufs = append(bufs[:2:2], data.Children()[0].Buffers()[1:]...)
			if t.Items().Variable() {
				if c.ItemOffsets = make([]byte, 4); bufs[2] != nil && bufs[2].Len() > 0 {
					c.ItemOffsets = bufs[2].Bytes()
				}
			}
		}
		if buf := bufs[len(bufs)-1]; buf != nil {
			c.Values = buf.Bytes()
		}
		if t.Variable() || t.Kind == List {
			if c.Offsets = make([]byte, 4); b.Rows > 0 {
				c.Offsets = bufs[1].Bytes()
			}
		}
	}
	return b
}

func TestRecordEqualsArrow(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	s := allTypes()
	for _, rows := range []int{0, 1, 7, 8, 9, 64, 65, 1000} {
		for _, nulls := range []bool{false, true} {
			want := build(rng, s, rows, nulls)
			got := fromRecord(s, want).Record()
			if !array.RecordEqual(got, want) || !got.Schema().Equal(want.Schema()) {
				t.Errorf("%d rows:\ngot  %v\nwant %v", rows, got, want)
			}
			for i := range s.Fields {
				if got.Column(i).NullN() != want.Column(i).NullN() {
					t.Errorf("%v: %d nulls, want %d", s.Fields[i], got.Column(i).NullN(), want.Column(i).NullN())
				}
			}
		}
	}
}

// cell is a value as text, through Arrow's arrays.
func cell(rec arrow.Record, col, row int) string {
	if rec.Column(col).IsNull(row) {
		return "null"
	}
	return rec.Column(col).ValueStr(row)
}

func TestGather(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	s := allTypes()
	for _, rows := range []int{1, 8, 63, 500} {
		for _, nulls := range []bool{false, true} {
			for _, take := range []int{0, 1, 8, 9, 64, 700} {
				for _, arena := range []int{0, 1 << 10, 1 << 20} {
					rec := build(rng, s, rows, nulls)
					b := fromRecord(s, rec)
					b.Origin = b.Origins(rows)
					for i := range b.Origin {
						b.Origin[i] = int32(i * 3)
					}
					pick := make([]int32, take)
					for i := range pick {
						pick[i] = int32(rng.IntN(rows))
					}
					mem := Bytes(make([]uint64, arena/8))
					for i := range mem {
						mem[i] = 0xa5
					}
					a := NewArena(mem)
					b.Gather(pick, &a)
					got := b.Record()
					if b.Rows != take || len(b.Origin) != take {
						t.Fatalf("%d rows, %d origins, want %d", b.Rows, len(b.Origin), take)
					}
					for i, r := range pick {
						if b.Origin[i] != r*3 {
							t.Fatalf("origin %d is %d, want %d", i, b.Origin[i], r*3)
						}
						for c := range s.Fields {
							if g, w := cell(got, c, i), cell(rec, c, int(r)); g != w {
								t.Fatalf("%d of %d rows, arena of %d: %v row %d is %s, want %s", take, rows, arena, s.Fields[c], i, g, w)
							}
						}
					}
					for c := range b.Cols {
						if v := b.Cols[c].Validity; v != nil && take-CountBits(v, take) != b.Cols[c].Nulls || v == nil && b.Cols[c].Nulls != 0 {
							t.Fatalf("%v: %d nulls", s.Fields[c], b.Cols[c].Nulls)
						}
					}
				}
			}
		}
	}
}

// TestGatherTwice reads origins of one gathering while the next writes them.
func TestGatherTwice(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	s := allTypes()
	b := fromRecord(s, build(rng, s, 100, true))
	b.Origin = b.Origins(100)
	for i := range b.Origin {
		b.Origin[i] = int32(i)
	}
	var a Arena
	want := b.Origin
	for range 5 {
		var rows []int32
		var next []int32
		for i := range want {
			if rng.IntN(4) > 0 {
				rows, next = append(rows, int32(i)), append(next, want[i])
			}
		}
		b.Gather(rows, &a)
		if !reflect.DeepEqual(b.Origin, next) {
			t.Fatalf("got %v, want %v", b.Origin, next)
		}
		want = next
	}
}

func TestBatchLife(t *testing.T) {
	p, err := NewPool([]RangeSpec{{Slots: 1, SlotSize: PageAlign}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	s := &Schema{Fields: []Field{{Name: "a", Type: Type{Kind: Int64}}}}
	var b Batch
	for range 3 {
		records := make([]Record, 4)
		b.Begin(s, Partition{Topic: "t", ID: 7}, records)
		if b.Schema != s || len(b.Cols) != 1 || b.Partition.String() != "t/7" || len(b.Records) != 4 || b.Rows != 0 || len(b.Rejects) != 0 || b.Cols[0].Values != nil {
			t.Fatalf("%+v", b)
		}
		slot, err := p.Range(0).Acquire()
		if err != nil {
			t.Fatal("the slot of the batch before was not given back:", err)
		}
		b.Hold(slot)
		b.Cols[0].Values = slot.Mem()[:16]
		b.Rows, b.Filtered = 2, 1
		b.Reject(1, "1 filter", ReasonExpression, "no origin known")
		b.Origin = b.Origins(2)
		b.Origin[0], b.Origin[1] = 1, 3
		b.Reject(1, "1 filter", ReasonExpression, "x")
		if r := b.Rejects; r[0].Record != -1 || r[1].Record != 3 || r[1].Step != "1 filter" {
			t.Errorf("%+v", r)
		}
	}
	b.Release()
	b.Release()
	if b.Records != nil || b.Rows != 0 || b.Filtered != 0 {
		t.Errorf("%+v", b)
	}
	seen := map[Reason]bool{}
	for _, r := range Reasons() {
		if seen[r] || r == "" {
			t.Errorf("reason %q", r)
		}
		seen[r] = true
	}
}
