package decode

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/decimal128"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/ingest/schema"
)

// stream writes batches of a schema as Arrow's own library does.
func stream(t testing.TB, s *arrow.Schema, recs []arrow.Record, opts ...ipc.Option) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := ipc.NewWriter(&buf, append([]ipc.Option{ipc.WithSchema(s)}, opts...)...)
	for _, rec := range recs {
		if err := w.Write(rec); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// arrowRows is what decodeArrow gives.
type arrowRows struct {
	rows    [][]any
	of      []int          // the record of each row
	rejects map[int]string // by record
	batches int
}

// decodeArrow decodes records as a lane does: a record that is cut is gone on with before any other.
func decodeArrow(t testing.TB, d interface {
	Schema() *batch.Schema
	Decode(*batch.Batch, *batch.Arena)
}, arena int, records []batch.Record, part batch.Partition,
) arrowRows {
	t.Helper()
	out := arrowRows{rejects: map[int]string{}}
	mem, poison := batch.Bytes(make([]uint64, (arena+7)/8)), bytes.Repeat([]byte{0xa5}, arena)
	var b batch.Batch
	at := 0
	var in, expanded, filtered, rejected int64
	for resumed := false; at < len(records); {
		copy(mem, poison)
		a := batch.NewArena(mem)
		next := records[at:]
		if resumed {
			next = next[:1]
		}
		b.Begin(d.Schema(), part, next)
		b.Resumed = resumed
		d.Decode(&b, &a)
		checkBatch(t, &b)
		if len(b.Records) == 0 || len(b.Records) > len(next) || b.Unfinished && len(b.Records) != 1 {
			t.Fatalf("took %d of %d records, unfinished %v", len(b.Records), len(next), b.Unfinished)
		}
		if b.Unfinished && b.Rows == 0 {
			t.Fatal("no step forward")
		}
		for i, rec := range b.Origin {
			out.rows = append(out.rows, rowOf(&b, i))
			out.of = append(out.of, at+int(rec))
		}
		for _, r := range b.Rejects {
			if r.Step != "decode" || r.Detail == "" || !utf8.ValidString(r.Detail) || len(r.Detail) > 1000 || strings.ContainsAny(r.Detail, "\n\r\x00") || r.Payload != nil {
				t.Fatalf("reject %+v", r)
			}
			if at+int(r.Record) >= len(records) || out.rejects[at+int(r.Record)] != "" {
				t.Fatalf("a second reject of record %d", at+int(r.Record))
			}
			out.rejects[at+int(r.Record)] = string(r.Reason) + " " + r.Detail
		}
		in, expanded, filtered, rejected = in+int64(b.Begun()), expanded+b.Expanded, filtered+b.Filtered, rejected+int64(len(b.Rejects))
		at, resumed = at+b.Finished(), b.Unfinished
		out.batches++
	}
	if in != int64(len(records)) || in+expanded != int64(len(out.rows))+filtered+rejected {
		t.Fatalf("%d records, %d counted, + %d = %d rows + %d + %d", len(records), in, expanded, len(out.rows), filtered, rejected)
	}
	return out
}

func newArrowDecoder(t testing.TB, cols schema.Columns, opts Options) *arrowDecoder {
	t.Helper()
	for i := range cols {
		cols[i].Epoch = cols[i].Type.Unit
	}
	d, err := New("arrow", cols, opts)
	if err != nil {
		t.Fatal(err)
	}
	return d.(*arrowDecoder)
}

// Every type, as Arrow has it and as a column.
var arrowKinds = []struct {
	from arrow.DataType
	to   string
}{
	{arrow.FixedWidthTypes.Boolean, "bool"},
	{arrow.PrimitiveTypes.Int8, "int8"},
	{arrow.PrimitiveTypes.Int16, "int16"},
	{arrow.PrimitiveTypes.Int32, "int32"},
	{arrow.PrimitiveTypes.Int64, "int64"},
	{arrow.PrimitiveTypes.Uint8, "uint8"},
	{arrow.PrimitiveTypes.Uint16, "uint16"},
	{arrow.PrimitiveTypes.Uint32, "uint32"},
	{arrow.PrimitiveTypes.Uint64, "uint64"},
	{arrow.PrimitiveTypes.Float32, "float32"},
	{arrow.PrimitiveTypes.Float64, "float64"},
	{arrow.BinaryTypes.String, "string"},
	{arrow.BinaryTypes.LargeString, "string"},
	{arrow.BinaryTypes.Binary, "binary"},
	{arrow.BinaryTypes.LargeBinary, "binary"},
	{&arrow.Decimal128Type{Precision: 20, Scale: 3}, "decimal(20, 3)"},
	{&arrow.Decimal128Type{Precision: 20, Scale: 3}, "decimal(38, 10)"},
	{arrow.FixedWidthTypes.Date32, "date32"},
	{arrow.FixedWidthTypes.Timestamp_ms, "timestamp[ms]"},
	{arrow.FixedWidthTypes.Timestamp_us, "timestamp[ms]"},
	{arrow.FixedWidthTypes.Timestamp_s, "timestamp[us]"},
	{&arrow.TimestampType{Unit: arrow.Nanosecond}, "timestamp[ns]"},
	{&arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String}, "string"},
	{&arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Uint32, ValueType: arrow.BinaryTypes.Binary}, "binary"},
}

// appendRandom appends a random value to a builder, and returns what a row of weir has for it.
func appendRandom(rng *rand.Rand, b array.Builder, to batch.Type) any {
	n := rng.Uint64()
	text := func() string {
		words := []string{"", "a", "ok", "grün", "\U0001f600", strings.Repeat("long ", 1+int(n%30))}
		return words[rng.IntN(len(words))]
	}
	stamp := func(from batch.Unit) any {
		v := int64(n%4e12) - 2e12
		b.(*array.TimestampBuilder).Append(arrow.Timestamp(v))
		out, _ := scaleTime(v, from, to.Unit)
		return out
	}
	switch b := b.(type) {
	case *array.BooleanBuilder:
		b.Append(n&1 == 1)
		return n&1 == 1
	case *array.Int8Builder:
		b.Append(int8(n))
		return int64(int8(n))
	case *array.Int16Builder:
		b.Append(int16(n))
		return int64(int16(n))
	case *array.Int32Builder:
		b.Append(int32(n))
		return int64(int32(n))
	case *array.Int64Builder:
		b.Append(int64(n))
		return int64(n)
	case *array.Uint8Builder:
		b.Append(uint8(n))
		return uint64(uint8(n))
	case *array.Uint16Builder:
		b.Append(uint16(n))
		return uint64(uint16(n))
	case *array.Uint32Builder:
		b.Append(uint32(n))
		return uint64(uint32(n))
	case *array.Uint64Builder:
		b.Append(n)
		return n
	case *array.Decimal128Builder:
		v := int64(n) / 3
		b.Append(decimal128.FromI64(v))
		if to.Kind != batch.Decimal { // no column for it
			return nil
		}
		wide, _ := batch.Int128Of(v).MulPow10(int(to.Scale) - 3)
		return string(batch.AppendDecimal(nil, wide, int(to.Scale)))
	case *array.Float32Builder:
		b.Append(float32(int32(n)))
		return float32(int32(n))
	case *array.Float64Builder:
		b.Append(float64(int64(n)))
		return float64(int64(n))
	case *array.StringBuilder:
		s := text()
		b.Append(s)
		return s
	case *array.LargeStringBuilder:
		s := text()
		b.Append(s)
		return s
	case *array.BinaryBuilder:
		s := text() + "\xff"
		b.Append([]byte(s))
		return s
	case *array.Date32Builder:
		b.Append(arrow.Date32(int32(n)))
		return int64(int32(n))
	case *array.TimestampBuilder:
		return stamp(batch.Unit(b.Type().(*arrow.TimestampType).Unit))
	case *array.BinaryDictionaryBuilder:
		s := text()
		if err := b.AppendString(s); err != nil {
			panic(err)
		}
		return s
	default:
		panic(fmt.Sprintf("%T", b))
	}
}

// randomStream is a stream of a few batches over some of the kinds, the columns that read it, and the rows in it.
func randomStream(t testing.TB, rng *rand.Rand, wide bool) (schema.Columns, []byte, [][]any) {
	t.Helper()
	var cols schema.Columns
	var fields []arrow.Field
	var kinds []int
	for k, kind := range arrowKinds {
		if !wide && rng.IntN(3) > 0 {
			continue
		}
		name := fmt.Sprintf("c%d", k)
		fields = append(fields, arrow.Field{Name: name, Type: kind.from, Nullable: true})
		nullable := ""
		if rng.IntN(2) == 0 {
			nullable = "?"
		}
		if rng.IntN(5) == 0 && !wide { // no column for it
			kinds = append(kinds, -1)
			continue
		}
		kinds = append(kinds, len(cols))
		cols = append(cols, value(name, kind.to+nullable))
	}
	cols = append(cols, value("absent", "float64?"), value("gone", "string?"), value("never", "bool?"))
	rng.Shuffle(len(cols), func(i, j int) {
		cols[i], cols[j] = cols[j], cols[i]
		for k := range kinds {
			switch kinds[k] {
			case i:
				kinds[k] = j
			case j:
				kinds[k] = i
			}
		}
	})
	s := arrow.NewSchema(fields, nil)
	var want [][]any
	var recs []arrow.Record
	// Dictionaries stay as they are in a stream, since Arrow's library does not replace them by itself.
	b := array.NewRecordBuilder(memory.DefaultAllocator, s)
	n := rng.IntN(120)
	cut := rng.IntN(3)
	for range n {
		row := make([]any, len(cols))
		for f := range fields {
			nullable := kinds[f] < 0 || cols[kinds[f]].Nullable
			if nullable && rng.IntN(4) == 0 {
				b.Field(f).AppendNull()
				continue
			}
			var to batch.Type
			if kinds[f] >= 0 {
				to = cols[kinds[f]].Type
			}
			v := appendRandom(rng, b.Field(f), to)
			if kinds[f] >= 0 {
				row[kinds[f]] = v
			}
		}
		want = append(want, row)
	}
	whole := b.NewRecord()
	for at := int64(0); at < int64(n); {
		size := min(int64(n)-at, 1+rng.Int64N(int64(n)))
		if cut == 0 {
			size = int64(n)
		}
		recs = append(recs, whole.NewSlice(at, at+size))
		at += size
	}
	if n == 0 && cut == 1 {
		recs = append(recs, whole)
	}
	opts := [][]ipc.Option{nil, {ipc.WithLZ4()}, {ipc.WithZstd()}}[rng.IntN(3)]
	return cols, stream(t, s, recs, opts...), want
}

// TestArrowRandom compares what is decoded with what was written, however batches are cut.
func TestArrowRandom(t *testing.T) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 7))
		cols, value, want := randomStream(t, rng, seed%3 == 0)
		records := []batch.Record{{Value: value}, {Value: []byte("no stream")}, {Value: value}, {Value: nil}, {Value: value}}
		for _, rows := range []int{0, 1, 7, 64, 1000} {
			for _, arena := range []int{0, 1 << 9, 1 << 12, 1 << 20} {
				d := newArrowDecoder(t, cols, Options{MaxRows: rows})
				got := decodeArrow(t, d, arena, records, batch.Partition{})
				if len(got.rows) != 3*len(want) || len(got.rejects) != 2 || !strings.HasPrefix(got.rejects[1], "malformed ") || !strings.HasPrefix(got.rejects[3], "empty ") {
					t.Fatalf("seed %d, %d rows, arena %d: %d rows of %d, rejects %v", seed, rows, arena, len(got.rows), 3*len(want), got.rejects)
				}
				for i, row := range got.rows {
					if !sameRow(row, want[i%len(want)]) || got.of[i] != 2*(i/len(want)) {
						t.Fatalf("seed %d, %d rows, arena %d: row %d of record %d:\ngot  %#v\nwant %#v", seed, rows, arena, i, got.of[i], row, want[i%len(want)])
					}
				}
			}
		}
	}
}
