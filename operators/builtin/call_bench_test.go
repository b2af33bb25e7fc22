package builtin

import (
	"context"
	"os"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/operators/expr"
	"github.com/weir-stream/weir/operators/wasm"
)

// BenchmarkDewpoint is one formula as a function in WebAssembly and as an expression, over batches of 8192 rows. The
// expression has to compute its inner part first, in a step of its own.
func BenchmarkDewpoint(b *testing.B) {
	const rows = 8192
	in := schemaOf(b, "temp:float64", "humidity:float64?")
	data := make([][]any, rows)
	for i := range data {
		data[i] = []any{float64(i%600)/10 - 20, float64(1 + i%99)}
		if i%97 == 3 {
			data[i][1] = nil
		}
	}
	module, err := os.ReadFile("../../examples/operators/dewpoint/dewpoint.wasm")
	if err != nil {
		b.Fatal(err)
	}
	function := func(b *testing.B) []operators.Step {
		var inner operators.Step
		scope := expr.NewScope(in, expr.Scalars{Names: []string{"dewpoint"}, Plan: func(_ string, args *batch.Schema) (batch.Field, error) {
			s, err := wasm.New(context.Background(), wasm.Config{Name: "x", Module: module, MaxExpansion: 1}, args)
			if err != nil {
				return batch.Field{}, err
			}
			inner = s
			return s.Out().Fields[0], nil
		}})
		step, err := NewMapIn(scope, "x", []Assign{{"dp", "dewpoint(temp, humidity)"}})
		if err != nil {
			b.Fatal(err)
		}
		call, err := NewCall("x dewpoint", in, scope.Calls()[0], inner)
		if err != nil {
			b.Fatal(err)
		}
		return []operators.Step{call, step}
	}
	native := func(b *testing.B) []operators.Step {
		step, err := NewMap("x", in, []Assign{
			{"g", "log(humidity / 100) + 17.62 * temp / (243.12 + temp)"}, {"dp", "243.12 * g / (17.62 - g)"},
		})
		if err != nil {
			b.Fatal(err)
		}
		return []operators.Step{step}
	}
	for name, plan := range map[string]func(*testing.B) []operators.Step{"function": function, "expression": native} {
		b.Run(name, func(b *testing.B) {
			p := &planned{steps: plan(b)}
			ops := p.open(b, rows)
			pool, err := batch.NewPool([]batch.RangeSpec{{Slots: 1, SlotSize: 1 << 20}})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = pool.Close() })
			source := batchOf(b, in, true, data...)
			var work batch.Batch
			b.ReportAllocs()
			for b.Loop() {
				work.Begin(in, batch.Partition{}, source.Records)
				copy(work.Cols, source.Cols)
				work.Rows, work.Origin = rows, source.Origin
				for _, op := range ops {
					if err := op.Process(context.Background(), &work); err != nil {
						b.Fatal(err)
					}
				}
				work.Release()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
		})
	}
}
