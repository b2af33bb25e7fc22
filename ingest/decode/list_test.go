package decode

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/ingest/schema"
)

func TestListRejects(t *testing.T) {
	cols := schema.Columns{value("n", "int64"), value("xs", "list<float64>"), value("ss", "list<string>?"), value("is", "list<int8>?")}
	for in, want := range map[string]string{
		`{"n":1,"xs":[1,2,3,4]}`:          "",
		`{"n":1,"xs":[],"ss":null}`:       "",
		`{"n":1,"xs":[1,2,3,4,5]}`:        `too_large column xs[] (float64): more than 4 items in a list at byte 21`,
		`{"n":1,"xs":null}`:               `missing column xs (list<float64>): null at byte 12; declare it as list<float64>? to allow that`,
		`{"n":1}`:                         `missing column xs (list<float64>): the record has no xs`,
		`{"n":1,"xs":[1,null]}`:           `missing column xs[] (float64): item 1 is null at byte 15: items of a list are never null`,
		`{"n":1,"xs":1.5}`:                `wrong_type column xs (list<float64>): needs an array, not a number: 1.5 at byte 12`,
		`{"n":1,"xs":[1,"2"]}`:            `wrong_type column xs[] (float64): needs a number, not a string: "2" at byte 15 (item 1 of the list)`,
		`{"n":1,"xs":[[1]]}`:              `wrong_type column xs[] (float64): needs a number, not an array: [1] at byte 13 (item 0 of the list)`,
		`{"n":1,"xs":[1],"is":[1,2,200]}`: `out_of_range column is[] (int8): out of range: 200 at byte 26 (item 2 of the list)`,
		`{"n":1,"xs":[1],"ss":["a",1]}`:   `wrong_type column ss[] (string): needs a string, not a number: 1 at byte 26 (item 1 of the list)`,
		`{"n":1,"xs":[1,]}`:               `malformed not JSON at byte 15: found ]} where a value must be (item 1 of the list)`,
		`{"n":1,"xs":[1 2]}`:              `malformed not JSON at byte 15: found 2]} where a comma or the end of an array must be`,
		`{"n":1,"xs":[1`:                  `malformed truncated: the record ends at byte 14 where a comma or the end of an array must follow`,
		`{"n":1,"xs":[`:                   `malformed truncated: the record ends at byte 13 where a value must follow`,
	} {
		for _, arena := range []int{0, 1 << 10, 1 << 16} {
			records := []batch.Record{{Value: []byte(`{"n":7,"xs":[7],"ss":["seven",""],"is":[]}`)}, {Value: []byte(in)}, {Value: []byte(`{"n":8,"xs":[8,8]}`)}}
			rows, rejects, _ := decodeAll(t, cols, Options{MaxItems: 4}, arena, records, batch.Partition{})
			got := ""
			if r := rejects[1]; r != nil {
				got = fmt.Sprint(r.Reason, " ", r.Detail)
			}
			if got != want {
				t.Errorf("%s: got %q\nwant %q", in, got, want)
			}
			if fmt.Sprint(rows[0]) != fmt.Sprint([]any{int64(7), listText([]any{7.0}), listText([]any{"seven", ""}), ""}) ||
				fmt.Sprint(rows[2]) != fmt.Sprint([]any{int64(8), listText([]any{8.0, 8.0}), nil, nil}) {
				t.Errorf("%s spoiled its neighbours: %v", in, rows)
			}
		}
	}
}

// Items that are decimals are read as columns of them are, in a slot or with regions of their own.
func TestListsOfDecimals(t *testing.T) {
	cols := schema.Columns{value("ds", "list<decimal(38, 2)>"), value("n", "list<decimal(3, 1)>?")}
	for in, want := range map[string]string{
		`{"ds":[0.1,"-2.50",1e3],"n":[99.9,-0.0]}`:                    `[0.10,-2.50,1000.00] [99.9,0.0]`,
		`{"ds":[999999999999999999999999999999999999.99,0],"n":null}`: `[999999999999999999999999999999999999.99,0.00] null`,
		`{"ds":[]}`:            `[] null`,
		`{"ds":[1,0.001]}`:     `out_of_range column ds[] (decimal(38, 2)): more than 2 digits behind the point: 0.001 at byte 9 (item 1 of the list)`,
		`{"ds":[1],"n":[100]}`: `out_of_range column n[] (decimal(3, 1)): more than 2 digits before the point: 100 at byte 15 (item 0 of the list)`,
		`{"ds":["x"]}`:         `wrong_type column ds[] (decimal(38, 2)): not a number: "x" at byte 7 (item 0 of the list)`,
		`{"ds":[true]}`:        `wrong_type column ds[] (decimal(38, 2)): needs a number, or a string that is one, not a boolean: true at byte 7 (item 0 of the list)`,
		`{"ds":[` + strings.Repeat("0.25,", 999) + `7]}`: `[` + strings.Repeat("0.25,", 999) + `7.00] null`,
	} {
		for _, arena := range []int{0, 1 << 10, 1 << 16} {
			d, err := New("json", cols, Options{})
			if err != nil {
				t.Fatal(err)
			}
			records := []batch.Record{{Value: []byte(`{"ds":[7]}`)}, {Value: []byte(in)}, {Value: []byte(`{"ds":[8,8.01]}`)}}
			var rows []string
			for len(records) > 0 {
				var b batch.Batch
				a := batch.NewArena(make([]byte, arena))
				b.Begin(d.Schema(), batch.Partition{}, records)
				d.Decode(&b, &a)
				records = records[len(b.Records):]
				for i := range b.Rows {
					rows = append(rows, string(batch.AppendCellJSON(nil, b.Schema.Fields[0].Type, &b.Cols[0], i))+" "+string(batch.AppendCellJSON(nil, b.Schema.Fields[1].Type, &b.Cols[1], i)))
				}
				for _, r := range b.Rejects {
					rows = append(rows, fmt.Sprint(r.Reason, " ", r.Detail))
				}
			}
			all := strings.Join(rows, "|")
			if !strings.Contains(all, "[7.00] null") || !strings.Contains(all, "[8.00,8.01] null") || !strings.Contains(all, want) || len(rows) != 3 {
				t.Errorf("%.60s: got %.300s\nwant %.300s", in, all, want)
			}
		}
	}
}

// TestListSlot checks that a batch of lists as long as SlotSize plans for is in the slot, all of it, and that longer ones make
// the batch shorter.
func TestListSlot(t *testing.T) {
	const rows = 1000
	cols := schema.Columns{value("xs", "list<float64>"), value("ss", "list<string>"), value("bs", "list<bool>"), value("n", "string")}
	for _, items := range []int{itemsPerRow, 4 * itemsPerRow} {
		list := func(item string) string { return strings.TrimSuffix(strings.Repeat(item+",", items), ",") }
		records := make([]batch.Record, rows)
		for i := range records {
			records[i].Value = fmt.Appendf(nil, `{"xs":[%s],"ss":[%s],"bs":[%s],"n":"x"}`, list("1.5"), list(`"12345678"`), list("true"))
		}
		d, err := New("json", cols, Options{})
		if err != nil {
			t.Fatal(err)
		}
		size := SlotSize(cols, rows, 1<<10)
		pool, err := batch.NewPool([]batch.RangeSpec{{Slots: 1, SlotSize: size}})
		if err != nil {
			t.Fatal(err)
		}
		var b batch.Batch
		took, batches := 0, 0
		for ; took < rows; batches++ {
			a := batch.NewArena(pool.Bytes()[:size])
			b.Begin(d.Schema(), batch.Partition{}, records[took:])
			d.Decode(&b, &a)
			took += len(b.Records)
			for i := range b.Cols {
				c := &b.Cols[i]
				for _, buf := range [][]byte{c.Values, c.Offsets, c.ItemOffsets} {
					if _, in := pool.Offset(buf); len(buf) > 0 && !in {
						t.Errorf("%d items: column %v: %d bytes outside of the slot", items, b.Schema.Fields[i], len(buf))
					}
				}
			}
		}
		if limit := items / itemsPerRow * 2; batches > limit || items == itemsPerRow && batches != 1 {
			t.Errorf("%d items: %d batches", items, batches)
		}
		b.Release()
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	}
}

// BenchmarkJSONList decodes lists of 16 readings.
func BenchmarkJSONList(b *testing.B) {
	cols := schema.Columns{value("n", "int64"), value("xs", "list<float64>")}
	records := make([]batch.Record, 4096)
	for i := range records {
		records[i].Value = fmt.Appendf(nil, `{"n":%d,"xs":[%s21.5]}`, i, strings.Repeat("20.25,", 15))
	}
	d, err := New("json", cols, Options{})
	if err != nil {
		b.Fatal(err)
	}
	mem := batch.Bytes(make([]uint64, SlotSize(cols, 2*len(records), 1<<10)/8)) // estimates keep a quarter to spare
	var to batch.Batch
	for b.Loop() {
		a := batch.NewArena(mem)
		to.Begin(d.Schema(), batch.Partition{}, records)
		d.Decode(&to, &a)
		if to.Rows != len(records) {
			b.Fatal(to.Rows)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(records))/16, "ns/item")
}
