package wasm

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators/aggregate"
)

// TestAggregateHostile has modules that grow, spin, trap, lie about their states, and keep what they may not. Whatever they do
// is an error, about the rows or about the module, and the next call is none the worse.
func TestAggregateHostile(t *testing.T) {
	file := guestFile(t, filepath.Join("testdata", "hostile-aggregate", "hostile-aggregate.wasm"))
	args := schemaOf(t, "n: int64")
	for _, c := range []struct {
		mode string
		rows []int64
		row  bool // it is about the rows
		want string
	}{
		{"spins", []int64{13}, true, "out of fuel"},
		{"traps", []int64{1, 13}, true, "trap"},
		{"grows", []int64{1, 1, 1, 1, 1}, true, "over limits.state of 65536"},
		{"empty", []int64{1}, true, "a state is empty"},
		{"offsets fall", []int64{1}, true, "offsets fall"},
		{"lies", []int64{1}, true, ""},
		{"nulls", []int64{1}, true, "declared without nulls"},
		{"remembers", []int64{1, 1, 1}, false, "depends on how the rows are cut"},
		{"batches", []int64{1, 1, 1}, false, "depends on how the rows are cut"},
	} {
		t.Run(c.mode, func(t *testing.T) {
			a := newAggregate(t, Config{Module: file, Config: fmt.Appendf(nil, `{"mode": %q}`, c.mode)}, args)
			if c.mode == "remembers" { // what it remembers shows from the second call on
				if err := foldInts(a, c.rows); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 {
				err := foldInts(a, c.rows)
				var re *aggregate.RowError
				if err == nil || errors.As(err, &re) != c.row || !strings.Contains(err.Error(), c.want) {
					t.Fatalf("error %v", err)
				}
			}
			if c.row && c.mode != "empty" && c.mode != "offsets fall" && c.mode != "lies" && c.mode != "nulls" {
				if err := foldInts(a, []int64{2}); err != nil {
					t.Errorf("a good row behind: %v", err)
				}
			}
		})
	}
}

func foldInts(a *Aggregate, rows []int64) error {
	f := aggregate.Fold{Cols: []batch.Column{{Values: batch.Bytes(rows)}}, States: make([][]byte, 1), Groups: make([]int32, len(rows))}
	for i := range rows {
		f.Rows = append(f.Rows, int32(i))
	}
	var next aggregate.States
	return a.Accumulate(context.Background(), &f, &next)
}

// FuzzAggregateState gives a module states that it never made: it may refuse them, and no more.
func FuzzAggregateState(f *testing.F) {
	f.Add([]byte{1}, []byte("0123456789abcdef"), true)
	a := newAggregate(f, Config{Module: conformanceAggregate(f, "c")}, schemaOf(f, "n: int64", "s: string"))
	f.Fuzz(func(t *testing.T, x, y []byte, one bool) {
		if len(x) == 0 || len(y) == 0 || len(x)+len(y) > 64<<10 {
			return
		}
		lists := [][][]byte{{x, y}, {y}}
		if one {
			lists = append(lists, [][]byte{nil, x})
		}
		merged, err := a.Reduce(context.Background(), lists)
		if err == nil {
			_, err = a.Finish(context.Background(), merged)
		}
		var re *aggregate.RowError
		if err != nil && !errors.As(err, &re) {
			t.Fatal(err)
		}
	})
}

// BenchmarkAggregate takes batches of 8192 rows into 10 and into 10,000 groups of states of 16 bytes and some.
func BenchmarkAggregate(b *testing.B) {
	for _, guest := range []string{"c weighted-mean", "c", "go", "rust", "assemblyscript"} {
		for _, groups := range []int{10, 10_000} {
			b.Run(fmt.Sprintf("%s/%d", guest, groups), func(b *testing.B) { benchmarkAggregate(b, guest, groups) })
		}
	}
}

func benchmarkAggregate(b *testing.B, guest string, groups int) {
	const rows = 8192
	module, args := weightedMean(b), schemaOf(b, "n: float64", "s: float64")
	cols := []batch.Column{{Values: batch.Bytes(make([]float64, rows))}, {Values: batch.Bytes(make([]float64, rows))}}
	if guest != "c weighted-mean" {
		module, args = conformanceAggregate(b, guest), schemaOf(b, "n: int64", "s: string")
		cols = []batch.Column{{Values: batch.Bytes(make([]int64, rows))}, {Offsets: batch.Bytes(make([]int32, rows+1)), Values: []byte{}}}
	}
	a := newAggregate(b, Config{Module: module}, args)
	f := aggregate.Fold{Cols: cols}
	n := min(groups, rows) // as many as a batch can have
	for g := range n {
		for r := g; r < rows; r += n {
			f.Rows, f.Groups = append(f.Rows, int32(r)), append(f.Groups, int32(g))
		}
		f.States = append(f.States, make([]byte, 16))
	}
	var next aggregate.States
	for range probationCalls {
		if err := a.Accumulate(context.Background(), &f, &next); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := a.Accumulate(context.Background(), &f, &next); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
}
