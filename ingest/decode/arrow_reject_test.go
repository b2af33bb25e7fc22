package decode

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/ingest/schema"
)

// arrowRecord makes a record batch of JSON objects.
func arrowRecord(t testing.TB, s *arrow.Schema, rows string) arrow.Record {
	t.Helper()
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, s, strings.NewReader(rows))
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func arrowSchemaOf(pairs ...any) *arrow.Schema {
	var fields []arrow.Field
	for i := 0; i < len(pairs); i += 2 {
		fields = append(fields, arrow.Field{Name: pairs[i].(string), Type: pairs[i+1].(arrow.DataType), Nullable: true})
	}
	return arrow.NewSchema(fields, nil)
}

// TestArrowRejects holds reasons and details, which people read and search for.
func TestArrowRejects(t *testing.T) {
	i64, text := arrow.PrimitiveTypes.Int64, arrow.BinaryTypes.String
	dictionary := func(index, value arrow.DataType) arrow.DataType {
		return &arrow.DictionaryType{IndexType: index, ValueType: value}
	}
	one := func(s *arrow.Schema, rows string, opts ...ipc.Option) []byte {
		return stream(t, s, []arrow.Record{arrowRecord(t, s, rows)}, opts...)
	}
	plain := arrowSchemaOf("n", i64, "s", text)
	good := one(plain, `[{"n":1,"s":"a"}]`)
	changed := func(at int, to ...byte) []byte {
		out := append([]byte(nil), good...)
		copy(out[at:], to)
		return out
	}
	binaryColumn := array.NewBinaryBuilder(memory.DefaultAllocator, arrow.BinaryTypes.Binary)
	binaryColumn.Append([]byte("x\xffy"))
	notText := array.NewData(text, 1, binaryColumn.NewArray().Data().Buffers(), nil, 0, 0)
	number := array.NewInt64Builder(memory.DefaultAllocator)
	number.Append(1)
	spoiled := array.NewRecord(plain, []arrow.Array{number.NewArray(), array.MakeFromData(notText)}, 1)
	firstMeta := 8 + int(binary.LittleEndian.Uint32(good[4:]))

	cols := schema.Columns{value("n", "int64"), value("s", "string?"), value("t", "timestamp[ns]?")}
	for _, c := range []struct {
		name  string
		value []byte
		want  string // "" is a good record
	}{
		{"good", good, ""},
		{"tombstone", nil, "empty the record has no value (a tombstone)"},
		{"text", []byte(`{"n":1}`), "malformed not an Arrow IPC stream: truncated: the record ends at byte 7 inside a message"},
		{"json", []byte(`{"n":1,"s":"a"}`), `malformed not an Arrow IPC stream: found {"n":1,"s":"a"} where a message must begin, at byte 0`},
		{"file", []byte("ARROW1\x00\x00...."), "malformed not an Arrow IPC stream: this is an Arrow file; send the stream format"},
		{"long", changed(4, 0xff, 0xff, 0xff, 0x7f), "malformed not an Arrow IPC stream: a message of 2147483647 bytes at byte 0 does not fit the record"},
		{"negative", changed(4, 0xff, 0xff, 0xff, 0xff), "malformed not an Arrow IPC stream: a message of -1 bytes at byte 0 does not fit the record"},
		{"root", changed(8, 0xff, 0xff, 0xff, 0x7f), "malformed not an Arrow IPC stream: the message at byte 0 is not a flatbuffer of Arrow"},
		{"only a schema", good[:firstMeta], "filtered"},
		{"no schema", good[firstMeta:], "malformed not an Arrow IPC stream: it does not begin with a schema"},
		{"end alone", []byte("\xff\xff\xff\xff\x00\x00\x00\x00"), "malformed not an Arrow IPC stream: there is no message in it"},
		{"two streams", append(append([]byte(nil), good...), good...), fmt.Sprintf("malformed not an Arrow IPC stream: %d bytes follow its end, at byte %[1]d", len(good))},
		{"cut", good[:len(good)-20], "malformed not an Arrow IPC stream: the body of"},
		{"no field", one(arrowSchemaOf("s", text), `[{"s":"a"}]`), "missing column n (int64): the record's Arrow schema has no field n"},
		{"null", one(plain, `[{"n":1},{"n":null},{"n":null}]`), "missing column n (int64): field n is null in 2 of 3 rows"},
		{"other type", one(arrowSchemaOf("n", arrow.PrimitiveTypes.Int32), `[{"n":1}]`), "wrong_type column n (int64): field n is int32"},
		{"unsigned", one(arrowSchemaOf("n", arrow.PrimitiveTypes.Uint64), `[{"n":1}]`), "wrong_type column n (int64): field n is uint64"},
		{"list", one(arrowSchemaOf("n", arrow.ListOf(i64)), `[{"n":[1]}]`), "wrong_type column n (int64): field n is list"},
		{"decimal", one(arrowSchemaOf("n", &arrow.Decimal128Type{Precision: 9, Scale: 2}), `[{"n":"1.00"}]`), "wrong_type column n (int64): field n is decimal"},
		{"twice", one(arrowSchemaOf("n", i64, "n", i64), `[]`), "malformed the Arrow schema has two fields n"},
		{
			"dictionary of numbers", one(arrowSchemaOf("n", dictionary(arrow.PrimitiveTypes.Int8, i64)), `[{"n":1}]`),
			"wrong_type column n (int64): field n is a dictionary of int64: dictionaries are read for columns of string and binary only",
		},
		{"not text", stream(t, plain, []arrow.Record{spoiled}), `wrong_type column s (string): row 0 of field s is not UTF-8 text: x\xffy`},
		{
			"far time", one(arrowSchemaOf("n", i64, "t", arrow.FixedWidthTypes.Timestamp_s), `[{"n":1,"t":"2500-01-01"}]`),
			"out_of_range column t (timestamp[ns]): row 0 of field t is 16725225600 s, which does not fit",
		},
		{"rows", one(arrowSchemaOf("n", arrow.Null, "s", text), "["+strings.Repeat("{},", 1024)+"{}]"), "wrong_type column n (int64): field n is null"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newArrowDecoder(t, cols, Options{MaxRecord: 64 << 10})
			records := []batch.Record{{Value: good}, {Value: c.value}, {Value: good}, {Value: c.value}}
			got := decodeArrow(t, d, 1<<16, records, batch.Partition{})
			switch {
			case c.want == "":
				if len(got.rejects) > 0 || len(got.rows) != 4 {
					t.Errorf("%d rows, rejects %v", len(got.rows), got.rejects)
				}
			case c.want == "filtered":
				if len(got.rejects) > 0 || len(got.rows) != 2 {
					t.Errorf("%d rows, rejects %v", len(got.rows), got.rejects)
				}
			case !strings.HasPrefix(got.rejects[1], c.want) || got.rejects[3] != got.rejects[1] || len(got.rows) != 2:
				t.Errorf("%d rows, got %s\nwant %s", len(got.rows), got.rejects[1], c.want)
			}
		})
	}
}

// TestArrowGrowth holds the bounds of what a small record may become.
func TestArrowGrowth(t *testing.T) {
	s := arrowSchemaOf("s", &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Uint8, ValueType: arrow.BinaryTypes.String}, "n", arrow.PrimitiveTypes.Int64)
	record := func(rows, text int, opts ...ipc.Option) []byte {
		b := array.NewRecordBuilder(memory.DefaultAllocator, s)
		for range rows {
			if err := b.Field(0).(*array.BinaryDictionaryBuilder).AppendString(strings.Repeat("x", text)); err != nil {
				t.Fatal(err)
			}
			b.Field(1).(*array.Int64Builder).Append(0)
		}
		return stream(t, s, []arrow.Record{b.NewRecord()}, opts...)
	}
	const limit = 16 << 10
	cols := schema.Columns{value("s", "string"), value("n", "int64"), value("gone", "string?")}
	for _, c := range []struct {
		value []byte
		rows  int
		want  string
	}{
		{record(100, 2000), 100, ""}, // 200 KB of 16 KB
		{record(200, 2000), 0, "too_large the record's rows take more than 262144 bytes, 16 times max_record"},
		{record(4096, 1, ipc.WithZstd()), 4096, ""},
		{record(4097, 1, ipc.WithZstd()), 0, "too_large the record has more than 4096 rows, one for 4 bytes of max_record"},
		{record(3000, 60, ipc.WithLZ4()), 3000, ""},
		{record(3000, 80, ipc.WithLZ4()), 0, "too_large the record's rows take"},
		{record(1, limit), 0, "too_large the record's value has"},
	} {
		for _, arena := range []int{0, 1 << 10, 1 << 16} {
			got := decodeArrow(t, newArrowDecoder(t, cols, Options{MaxRecord: limit}), arena, []batch.Record{{Value: c.value}}, batch.Partition{})
			if len(got.rows) != c.rows || !strings.HasPrefix(got.rejects[0], c.want) {
				t.Errorf("%d bytes, arena %d: %d rows, %q; want %d, %q", len(c.value), arena, len(got.rows), got.rejects[0], c.rows, c.want)
			}
		}
	}
}

// TestFlat reads flatbuffers whose numbers lead elsewhere.
func TestFlat(t *testing.T) {
	u32 := func(n ...uint32) (b []byte) {
		for _, n := range n {
			b = binary.LittleEndian.AppendUint32(b, n)
		}
		return b
	}
	for name, buf := range map[string][]byte{
		"empty": nil, "short": {1}, "root outside": u32(100, 0), "root behind the end": u32(math.MaxUint32, 0), "vtable outside": u32(4, 0x7fffffff),
		"vtable before": u32(4, 5), "vtable of nothing": u32(4, 0, 0), "vtable too long": append(u32(8), 0xff, 0xff, 4, 0, 4, 0, 0, 0), "table too long": append(u32(8), 4, 0, 0xff, 0xff, 4, 0, 0, 0),
	} {
		f := flat{buf: buf}
		root := f.root()
		_, _, _ = root.i64(0), root.text(1), root.vector(2, 16)
		root.table(3).u8(0, 0)
		if !f.bad {
			t.Errorf("%s: it is taken for a flatbuffer", name)
		}
	}
}
