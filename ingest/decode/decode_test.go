package decode

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/ingest/schema"
)

func TestNewErrors(t *testing.T) {
	cases := []struct {
		format string
		cols   schema.Columns
		opts   Options
		want   string
	}{
		{"xml", sensorColumns, Options{}, `unknown format "xml": use one of [json arrow]`},
		{"json", nil, Options{}, "no columns"},
		{"json", sensorColumns, Options{MaxRecord: -1}, "must not be negative"},
		{"json", sensorColumns, Options{MaxRecord: 1 << 30}, "over the limit of 268435456 bytes"},
		{"json", schema.Columns{value("a", "int8", "x"), value("b", "int8", "x", "y")}, Options{}, `column "b" is below "x", which is the value of column "a"`},
		{"json", schema.Columns{value("b", "int8", "x", "y"), value("a", "int8", "x")}, Options{}, `column "b" is below "x", which is the value of column "a"`},
		{"json", schema.Columns{value("b", "int8", make([]string, 65)...)}, Options{}, "at most 64 deep"},
		{"arrow", schema.Columns{value("b", "int8", "x", "y")}, Options{}, `its path leads into "x", and fields inside of structs are not read`},
		{"arrow", schema.Columns{value("b", "list<int8>")}, Options{}, `column "b": lists are not read from Arrow`},
		{"arrow", schema.Columns{epoch(batch.Second, value("b", "timestamp[ms]"))}, Options{}, `column "b": an epoch is for numbers in text`},
	}
	for _, c := range cases {
		if _, err := New(c.format, c.cols, c.opts); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
	if _, err := New("json", schema.Columns{value("b", "int8", make([]string, 64)...)}, Options{}); err != nil {
		t.Error(err)
	}
}

// metaColumns has every part of a record.
func metaColumns(suffix string) schema.Columns {
	cols := schema.Columns{
		value("v", "int64"), value("key", "string"+suffix), value("keyb", "binary"+suffix), value("at", "timestamp[ns]"+suffix),
		value("offset", "int64"), value("uoffset", "uint64"), value("part", "int32"), value("part64", "int64"),
		value("topic", "string"), value("trace", "string"+suffix), value("raw", "binary"+suffix),
	}
	for i, from := range []schema.Meta{
		schema.FromValue, schema.FromKey, schema.FromKey, schema.FromTimestamp, schema.FromOffset, schema.FromOffset,
		schema.FromPartition, schema.FromPartition, schema.FromTopic, schema.FromHeader, schema.FromHeader,
	} {
		cols[i].From = from
	}
	cols[9].Header, cols[10].Header = "trace", "raw"
	return cols
}

func TestMeta(t *testing.T) {
	part := batch.Partition{Topic: "sensors", ID: -3}
	full := batch.Record{
		Offset: 42, Time: 1700000000123, Key: []byte("k\u00e9y"), Value: []byte(`{"v":1}`),
		Headers: []batch.Header{{Key: "trace", Value: []byte("old")}, {Key: "raw", Value: []byte("\xff\x00")}, {Key: "trace", Value: []byte("new")}},
	}
	bare := batch.Record{Offset: 43, Time: -1, Value: []byte(`{"v":2}`)}
	empty := batch.Record{Offset: 44, Time: 0, Key: []byte{}, Value: []byte(`{"v":3}`), Headers: []batch.Header{{Key: "trace", Value: []byte{}}, {Key: "raw", Value: []byte{}}}}
	notText := full
	notText.Key = []byte("a\xff\n")
	far := full
	far.Time = 1 << 60
	badValue := bare
	badValue.Value = []byte(`{"v":"x"}`)

	fullRow := []any{int64(1), "kéy", "kéy", int64(1700000000123000000), int64(42), uint64(42), int64(-3), int64(-3), "sensors", "new", "\xff\x00"}
	for _, arena := range []int{0, 1 << 16} {
		records := []batch.Record{full, bare, empty, notText, far, badValue, full}
		rows, rejects, _ := decodeAll(t, metaColumns("?"), Options{}, arena, records, part)
		want := [][]any{
			fullRow,
			{int64(2), nil, nil, nil, int64(43), uint64(43), int64(-3), int64(-3), "sensors", nil, nil},
			{int64(3), "", "", int64(0), int64(44), uint64(44), int64(-3), int64(-3), "sensors", "", ""},
			nil, nil, nil, fullRow,
		}
		if !reflect.DeepEqual(rows, want) {
			t.Errorf("got  %v\nwant %v", rows, want)
		}
		for i, detail := range map[int]string{
			3: `wrong_type column key (string): the record key is not UTF-8 text: a\xff\x0a; declare it as binary`,
			4: `out_of_range column at (timestamp[ns]): the record timestamp 1152921504606846976 ms does not fit`,
			5: `wrong_type column v (int64): needs a number, not a string: "x" at byte 5`,
		} {
			if got := fmt.Sprint(rejects[i].Reason, " ", rejects[i].Detail); got != detail {
				t.Errorf("got  %s\nwant %s", got, detail)
			}
		}
		_, rejects, _ = decodeAll(t, metaColumns(""), Options{}, arena, []batch.Record{full, bare}, part)
		if r := rejects[1]; rejects[0] != nil || r == nil || r.Reason != batch.ReasonMissing || r.Detail != "column key (string): the record has no key" {
			t.Errorf("rejects %+v %+v", rejects[0], r)
		}
	}
}

func TestRecordSize(t *testing.T) {
	cols := schema.Columns{value("s", "string")}
	ok, over := []byte(`{"s":"0123456789"}`), []byte(`{"s":"01234567890"}`)
	_, rejects, _ := decodeAll(t, cols, Options{MaxRecord: len(ok)}, 1<<16, []batch.Record{{Value: ok}, {Value: over}, {Value: nil}, {Value: []byte{}}}, batch.Partition{})
	if rejects[0] != nil {
		t.Error(rejects[0])
	}
	for i, want := range map[int]string{
		1: "too_large the record's value has 19 bytes; the limit is 18",
		2: "empty the record has no value (a tombstone)",
		3: "empty the record's value has no bytes",
	} {
		if got := fmt.Sprint(rejects[i].Reason, " ", rejects[i].Detail); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// randomRecords makes records of very different sizes, some of them broken, some with nulls.
func randomRecords(rng *rand.Rand, n int) []batch.Record {
	text := func(n int) string { return strings.Repeat("x", rng.IntN(n+1)) }
	records := make([]batch.Record, n)
	for i := range records {
		size := []int{4, 4, 40, 400, 4000}[rng.IntN(5)]
		switch rng.IntN(12) {
		case 0:
			records[i].Value = fmt.Appendf(nil, `{"a":%q,"b":%q,"n":"not a number"}`, text(size), text(size))
		case 1:
			records[i].Value = fmt.Appendf(nil, `{"a":%q,"b":null,"f":null,"n":%d}`, text(size), i)
		case 2:
			records[i].Value = fmt.Appendf(nil, `{"n":%d,"b":"\u00e9%s","a":"","a":%q,"ok":true`, i, text(size), text(9)) // cut off
		default:
			records[i].Value = fmt.Appendf(nil, `{"n":%d,"a":%q,"b":"\u00e9%s","f":%d.25,"ok":%t}`, i, text(size), text(size), i, i&1 == 0)
		}
		records[i].Key = []byte(text(20))
		if rng.IntN(2) == 0 {
			continue
		}
		var nums, texts, bools []string
		for range rng.IntN(size) {
			nums, texts, bools = append(nums, fmt.Sprint(rng.IntN(1000))), append(texts, fmt.Sprintf("%q", text(9))), append(bools, fmt.Sprint(rng.IntN(2) == 0))
		}
		records[i].Value = fmt.Appendf(bytes.TrimSuffix(records[i].Value, []byte("}")), `,"l":[%s],"ls":[%s],"lb":[%s]}`,
			strings.Join(nums, ","), strings.Join(texts, ", "), strings.Join(bools, ","))
	}
	return records
}

var randomColumns = func() schema.Columns {
	cols := schema.Columns{
		value("n", "int64"), value("a", "string"), value("b", "string?"), value("b2", "string?", "b"), value("f", "float64?"), value("ok", "bool?"), value("key", "string"),
		value("l", "list<float64>?"), value("ls", "list<string>?"), value("lb", "list<bool>?", "lb"), value("l2", "list<int32>?", "l"),
	}
	cols[6].From = schema.FromKey
	return cols
}()

// TestCuts decodes the same records into arenas of many sizes: however they are cut into batches, the rows are the
// same, and each batch takes something.
func TestCuts(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	records := randomRecords(rng, 300)
	want, wantRejects, _ := decodeAll(t, randomColumns, Options{}, 8<<20, records, batch.Partition{})
	single, _, n := decodeAll(t, randomColumns, Options{MaxRows: 1}, 64<<10, records, batch.Partition{})
	if n != len(records) || !reflect.DeepEqual(single, want) {
		t.Errorf("one record per batch: %d batches, other rows", n)
	}
	for _, arena := range []int{0, 64, 500, 4 << 10, 20 << 10, 64 << 10, 100 << 10, 1 << 20} {
		rows, rejects, batches := decodeAll(t, randomColumns, Options{}, arena, records, batch.Partition{})
		if !reflect.DeepEqual(rows, want) {
			t.Errorf("arena of %d: other rows", arena)
		}
		for i := range rejects {
			if (rejects[i] == nil) != (wantRejects[i] == nil) || rejects[i] != nil && rejects[i].Detail != wantRejects[i].Detail {
				t.Errorf("arena of %d: record %d: reject %+v, want %+v", arena, i, rejects[i], wantRejects[i])
			}
		}
		t.Logf("arena of %7d bytes: %3d batches", arena, batches)
	}
}

// TestSlotSize checks what SlotSize promises: all rows of ordinary strings, and any one record, without the heap.
func TestSlotSize(t *testing.T) {
	const maxRecord = 64 << 10
	for _, rows := range []int{1, 7, 100, 4096} {
		arena := SlotSize(randomColumns, rows, maxRecord)
		d, err := New("json", randomColumns, Options{MaxRecord: maxRecord})
		if err != nil {
			t.Fatal(err)
		}
		pool, err := batch.NewPool([]batch.RangeSpec{{Slots: 1, SlotSize: arena}})
		if err != nil {
			t.Fatal(err)
		}
		small := make([]batch.Record, rows)
		for i := range small {
			small[i].Value = fmt.Appendf(nil, `{"n":%d,"a":"%032d","b":"%032d"}`, i, i, i)
			small[i].Key = make([]byte, 16)
		}
		big := fmt.Appendf(nil, `{"n":1,"a":"","b":%q}`, strings.Repeat("b", maxRecord-21))
		if len(big) != maxRecord {
			t.Fatal(len(big))
		}
		for _, records := range [][]batch.Record{small, {{Value: big, Key: []byte{}}}, append([]batch.Record{{Value: big, Key: []byte{}}}, small...)} {
			a := batch.NewArena(pool.Bytes()[:arena])
			var b batch.Batch
			b.Begin(d.Schema(), batch.Partition{}, records)
			d.Decode(&b, &a)
			if want := rows; len(records) == rows && b.Rows != want && rows > 1 {
				t.Errorf("%d rows: took %d", rows, b.Rows)
			}
			if b.Rows < 1 {
				t.Errorf("%d rows, %v", b.Rows, b.Rejects)
			}
			for i := range b.Cols {
				for _, buf := range [][]byte{b.Cols[i].Values, b.Cols[i].Offsets, b.Cols[i].Validity} {
					if _, in := pool.Offset(buf); len(buf) > 0 && !in {
						t.Errorf("%d rows: column %v: %d bytes outside of the slot", rows, b.Schema.Fields[i], len(buf))
					}
				}
			}
		}
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	}
	if n := SlotSize(sensorColumns, 8192, 0); n > 4<<20 {
		t.Errorf("a slot of 8192 sensor rows has %d bytes", n)
	}
}

// TestNoAllocs decodes good records again and again: nothing may be allocated once buffers have their size.
func TestNoAllocs(t *testing.T) {
	cols := append(schema.Columns{
		value("x", "binary?"), value("p", "float64?", "p", "q"), value("day", "date32?"), value("g", "float32?"), value("b", "bool?"),
		value("l", "list<float64>?"), value("ls", "list<string>?"), value("lb", "list<bool>?"),
	}, sensorColumns...)
	cols = append(cols, metaColumns("?")[1:]...)
	records := sensorRecords(500)
	for i := range records {
		if i%3 == 0 {
			records[i].Value = append(bytes.TrimSuffix(records[i].Value, []byte("}")),
				`,"x":"\u0061GVsbG8=","p":{"q":1.2345678901234567890123e-3,"r":["\u00e9"]},"day":"2024-01-01","g":0.1,"b":true,"\u0070q":"h\u00e9","l":[1.5,2,3],"ls":["a","\u00e9"],"lb":[true,false]}`...)
		}
		records[i].Key = []byte("key")
		records[i].Headers = []batch.Header{{Key: "trace", Value: []byte("v")}}
	}
	d, err := New("json", cols, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var b batch.Batch
	var a batch.Arena
	for _, size := range []int{SlotSize(cols, 500, 0), 20 << 10} {
		mem := batch.Bytes(make([]uint64, size/8))
		n := testing.AllocsPerRun(20, func() {
			for rest := records; len(rest) > 0; rest = rest[len(b.Records):] {
				a = batch.NewArena(mem)
				b.Begin(d.Schema(), batch.Partition{Topic: "t"}, rest)
				d.Decode(&b, &a)
				if len(b.Rejects) > 0 {
					t.Fatal(b.Rejects)
				}
			}
		})
		if n != 0 {
			t.Errorf("arena of %d: %v allocations", size, n)
		}
	}
}

// TestHints changes the order and number of keys from record to record, which must only cost time.
func TestHints(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	cols := schema.Columns{value("a", "int64?"), value("bb", "string?"), value("c", "int64?", "o", "c"), value("a_key_longer_than_two_words", "int64?")}
	parts := []string{`"a":1`, `"bb":"x"`, `"o":{"c":3}`, `"o":{"x":1,"c":4}`, `"a_key_longer_than_two_words":5`, `"u":[]`, `"":0`, `"` + strings.Repeat("k", 200) + `":1`, `"a" : 1`, `"a":  6`, `"a_key_LONGER_than_two_words":7`}
	var records []batch.Record
	for range 2000 {
		rng.Shuffle(len(parts), func(i, k int) { parts[i], parts[k] = parts[k], parts[i] })
		records = append(records, batch.Record{Value: []byte("{" + strings.Join(parts[:rng.IntN(len(parts)+1)], ",") + "}")})
	}
	rows, rejects, _ := decodeAll(t, cols, Options{}, 1<<20, records, batch.Partition{})
	for i := range records {
		if want := oracle(cols, records[i].Value); rejects[i] != nil || !reflect.DeepEqual(rows[i], want.row) {
			t.Fatalf("%s: got %v %+v, want %v", records[i].Value, rows[i], rejects[i], want.row)
		}
	}
}

func TestNoRecords(t *testing.T) {
	d, err := New("json", randomColumns, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var b batch.Batch
	a := batch.NewArena(nil)
	b.Begin(d.Schema(), batch.Partition{}, nil)
	d.Decode(&b, &a)
	if b.Rows != 0 || len(b.Records) != 0 {
		t.Errorf("%d rows of %d records", b.Rows, len(b.Records))
	}
	checkBatch(t, &b)
}
