package authoring

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
)

// TestGenerate gives the same rows for the same seed, of every type.
func TestGenerate(t *testing.T) {
	var text strings.Builder
	for _, name := range batch.TypeNames() {
		text.WriteString(name + ": " + name + "\nmaybe_" + name + ": " + name + "?\n")
	}
	cols := columns(t, text.String())
	const rows = 333
	render := func(seed uint64) string {
		a := batch.NewArena(make([]byte, 1<<20))
		b := batch.Batch{Schema: cols.Schema(), Rows: rows, Cols: generate(cols, rows, seed, &a)}
		var out bytes.Buffer
		for i := range rows {
			out.Write(b.RowJSON(i))
		}
		for i, c := range b.Cols {
			if (c.Nulls > 0) != cols[i].Nullable || c.Nulls > rows/5 {
				t.Errorf("%s has %d nulls", cols[i].Name, c.Nulls)
			}
		}
		return out.String()
	}
	first := render(1)
	if first != render(1) || first == render(2) {
		t.Error("rows do not follow from the seed")
	}
	for _, want := range []string{`"timestamp[ms]":"2024-01-01T00:00:01.000Z"`, `"date32":"2024-01-02"`, `"string":"item-`, `"bool":true`, `"maybe_int8":null`} {
		if !strings.Contains(first, want) {
			t.Errorf("no %s in %.500s", want, first)
		}
	}
}

func TestBench(t *testing.T) {
	for _, c := range []struct {
		module, columns string
		input           []string
		out             func(n int) bool
	}{
		{"calibrate", "device: string, temp: float64?", nil, func(n int) bool { return n == 512 }},
		{"severity", "device: string, temp: float64?", nil, func(n int) bool { return n > 50 && n < 400 }},
		{"severity", "device: string, temp: float64?", []string{`{"device":"a","temp":100}`, `{"device":"b","temp":1}`}, func(n int) bool { return n == 256 }},
	} {
		r, err := Bench(t.Context(), example(t, c.module), "op", BenchOptions{
			Columns: columns(t, c.columns), Input: c.input, Rows: 512, Time: 50 * time.Millisecond, Seed: 1,
		})
		if err != nil {
			t.Fatal(err)
		}
		if r.Rows != 512 || !c.out(r.RowsOut) || r.Bytes < 512*12 || r.FuelPerRow < 1 || r.StartP50 <= 0 || r.StartP99 < r.StartP50 {
			t.Errorf("%+v", r)
		}
		if r.Native.Ratio != 1 || r.Native.NsPerRow <= 0 || r.Copy.Ratio <= 0 || r.Copy.Copied < 8 || r.Copy.Samples < 5 {
			t.Errorf("%+v", r)
		}
		if r.Pool != nil && (r.Pool.Copied != 0 || r.Pool.NsPerRow <= 0) {
			t.Errorf("%+v", r.Pool)
		}
	}
}

func TestBenchProblems(t *testing.T) {
	opt := BenchOptions{Columns: columns(t, "id: int64, name: string, v: float64?"), Rows: 10, Time: time.Millisecond, Config: []byte(`{"mode": 2}`)}
	if _, err := Bench(t.Context(), guest(t, "hostile"), "op", opt); err == nil || !strings.Contains(err.Error(), "fails on the rows it is measured with") {
		t.Error(err)
	}
	opt.Config, opt.Input = nil, []string{"{}"}
	if _, err := Bench(t.Context(), guest(t, "hostile"), "op", opt); err == nil || !strings.Contains(err.Error(), "input line 1 does not fit the schema: missing") {
		t.Error(err)
	}
	opt.Rows = MaxBenchRows + 1
	if _, err := Bench(t.Context(), guest(t, "hostile"), "op", opt); err == nil || !strings.Contains(err.Error(), "from 1 to 65536") {
		t.Error(err)
	}
	if _, err := Bench(t.Context(), example(t, "calibrate"), "op", BenchOptions{Columns: columns(t, "a: int8"), Rows: 1}); err == nil {
		t.Error("a refused schema was measured")
	}
}

// TestNative holds the native operator to what the guest made: the same rows gathered, and as many bytes.
func TestNative(t *testing.T) {
	cols := columns(t, "name: string, temp: float64?")
	a := batch.NewArena(make([]byte, 1<<20))
	input := generate(cols, 100, 1, &a)
	before := &batch.Batch{Schema: cols.Schema(), Rows: 100}
	after := &batch.Batch{Schema: cols.Schema(), Rows: 100, Cols: append([]batch.Column(nil), input...)}
	after.Cols = append([]batch.Column(nil), input...)
	after.Rows, after.Origin = 100, before.Origins(100)
	for i := range after.Origin {
		after.Origin[i] = int32(i)
	}
	a2 := batch.NewArena(make([]byte, 1<<20))
	sel := []int32{3, 5, 6, 99}
	want := &batch.Batch{Schema: cols.Schema(), Rows: 100, Cols: append([]batch.Column(nil), input...), Origin: append([]int32(nil), after.Origin...)}
	want.Gather(sel, &a2)
	n := newNative(before, want, input, 1<<16)
	n.run()
	for i := range sel {
		if got := n.in.RowJSON(i); n.in.Rows != len(sel) || !bytes.Equal(got, want.RowJSON(i)) {
			t.Errorf("row %d of %d: %s, want %s", i, n.in.Rows, got, want.RowJSON(i))
		}
	}
	// What is passed is not moved.
	if n := newNative(before, after, input, 1<<16); len(n.cols)+len(n.copies) != 0 {
		t.Errorf("%d columns, %d copies", len(n.cols), len(n.copies))
	}
}
