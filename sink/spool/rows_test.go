package spool

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
)

// TestReadNulls reads columns whose nulls begin, end and lie at any place, with and without room that was made before, and in memory
// that had others: a reader keeps nothing of what is valid until the first null.
func TestReadNulls(t *testing.T) {
	const most = 20
	word, half, text, bit := batch.Type{Kind: batch.Float64}, batch.Type{Kind: batch.Int16}, batch.Type{Kind: batch.String}, batch.Type{Kind: batch.Bool}
	schema := &batch.Schema{}
	for _, typ := range []batch.Type{word, half, text, bit} {
		schema.Fields = append(schema.Fields, batch.Field{Name: fmt.Sprint(typ), Type: typ, Nullable: true})
	}
	patterns := map[string]func(i int) bool{
		"none": func(int) bool { return false },
		"all":  func(int) bool { return true },
		"some": func(i int) bool { return i%3 == 1 },
	}
	for at := range most {
		patterns[fmt.Sprint("only ", at)] = func(i int) bool { return i == at }
		patterns[fmt.Sprint("from ", at)] = func(i int) bool { return i >= at }
	}
	used := newRowsReader(schema.Fields)
	used.reserve(5)
	for name, null := range patterns {
		for _, r := range []*rowsReader{used, newRowsReader(schema.Fields)} {
			var rows [][]byte
			for i := range most {
				row := bytes.Repeat([]byte{0}, len(schema.Fields))
				if !null(i) {
					row = append([]byte{1, byte(i), 2, 3, 4, 5, 6, 7, 8}, 1, byte(i), 9)
					row = append(row, 1, 2, 'a', byte('a'+i))
					row = append(row, 1, byte(i%2))
				}
				rows = append(rows, row)
				if rest, err := r.add(0, len(schema.Fields), row); err != nil || len(rest) > 0 {
					t.Fatalf("nulls %s: row %d: %d bytes are left, %v", name, i, len(rest), err)
				}
				r.rows++
			}
			b := r.borrow(schema)
			for i, want := range rows {
				if got := appendRow(nil, schema.Fields, b.Cols, i); !bytes.Equal(got, want) {
					t.Errorf("nulls %s: row %d is %x, want %x", name, i, got, want)
				}
			}
			for f := range b.Cols {
				want := 0
				for i := range most {
					if null(i) {
						want++
					}
				}
				if got := b.Cols[f].Nulls; got != want {
					t.Errorf("nulls %s: column %s says that it has %d, want %d", name, schema.Fields[f].Name, got, want)
				}
			}
			r.reset()
		}
	}
}

// BenchmarkReadRows reads rows like those of a window with two keys and thirty states that may be null.
func BenchmarkReadRows(b *testing.B) {
	var fields []batch.Field
	var row []byte
	for i := range 30 {
		fields = append(fields, batch.Field{Name: fmt.Sprint("s", i), Type: batch.Type{Kind: batch.Float64}, Nullable: true})
		row = append(row, 1, byte(i), 2, 3, 4, 5, 6, 7, 8)
	}
	r := newRowsReader(fields)
	r.reserve(loadRows)
	b.ReportAllocs()
	for b.Loop() {
		for range loadRows {
			if _, err := r.add(0, len(fields), row); err != nil {
				b.Fatal(err)
			}
			r.rows++
		}
		r.reset()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/loadRows, "ns/row")
}
