package builtin

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
)

func must(t testing.TB) func(s operators.Step, err error) operators.Step {
	return func(s operators.Step, err error) operators.Step {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

// randomRows are rows of sensorSchema in which everything that can go wrong does.
func randomRows(r *rand.Rand, n int) [][]any {
	rows := make([][]any, n)
	for i := range rows {
		row := []any{fmt.Sprintf("dev-%d", r.IntN(30)), []string{"ok", "bad", ""}[r.IntN(3)], r.Float64()*200 - 100, r.IntN(8)}
		for c := 1; c < 4; c++ {
			if r.IntN(6) == 0 {
				row[c] = nil
			}
		}
		rows[i] = row
	}
	return rows
}

func chainSteps(t testing.TB) []operators.Step {
	var steps []operators.Step
	in := sensorSchema(t)
	add := func(s operators.Step, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		steps = append(steps, s)
		in = s.Out()
	}
	add(NewFilter("0 filter", in, `status == "ok" || 60 % n < 3 || temp > 50`))
	add(NewMap("1 map", in, []Assign{{"label", `device + "/" + (status ?? "none")`}, {"k", "n * 2 + 60 % (n - 1)"}, {"temp", "round(temp, 2)"}}))
	add(NewRename("2 rename", in, []Rename{{"temp", "celsius"}}))
	add(NewCast("3 cast", in, []Cast{{"k", batch.Type{Kind: batch.Int16}, true}, {"celsius", batch.Type{Kind: batch.Int8}, false}}))
	add(NewDrop("4 drop", in, []string{"device"}))
	return steps
}

// expected is the chain above once more, for one row of Go values: the row after it as JSON, or why it left.
func expected(row []any) string {
	device, status, temp, n := row[0].(string), row[1], row[2], row[3]
	ok := status == "ok"
	if !ok { // 60 % n < 3 || temp > 50, with n and temp maybe null
		if n != nil && n.(int) == 0 {
			return "expression"
		}
		if !(n != nil && 60%n.(int) < 3) && !(temp != nil && temp.(float64) > 50) {
			return "filtered"
		}
	}
	label := device + "/none"
	if status != nil {
		label = device + "/" + status.(string)
	}
	k, js := "null", func(v any) string {
		if v == nil {
			return "null"
		}
		return fmt.Sprint(v)
	}
	if n != nil {
		if n.(int) == 1 {
			return "expression"
		}
		k = fmt.Sprint(n.(int)*2 + 60%(n.(int)-1))
	}
	if temp == nil {
		return "missing"
	}
	statusJSON := "null"
	if status != nil {
		statusJSON = fmt.Sprintf("%q", status)
	}
	return fmt.Sprintf(`{"status":%s,"celsius":%d,"n":%s,"label":%q,"k":%s}`, statusJSON, int(math.Round(temp.(float64)*100)/100), js(n), label, k)
}

// TestChain runs all steps over random batches, whole and one row at a time, with roomy slots and with slots of which
// every batch overflows, with and without origins, against the expectation.
func TestChain(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, origins := range []bool{true, false} {
		for _, slot := range []int{1, 256 << 10} {
			for _, n := range []int{0, 1, 65, 1500} {
				rows := randomRows(r, n)
				var want []string
				reasons := map[string]int{}
				for _, row := range rows {
					if w := expected(row); strings.HasPrefix(w, "{") {
						want = append(want, w)
					} else {
						reasons[w]++
					}
				}
				for _, size := range []int{max(n, 1), 1, 7} {
					var got []string
					gotReasons := map[string]int{}
					steps := chainSteps(t)
					var specs []batch.RangeSpec
					for range steps {
						specs = append(specs, batch.RangeSpec{Slots: 1, SlotSize: slot})
					}
					pool, err := batch.NewPool(specs)
					if err != nil {
						t.Fatal(err)
					}
					ops := make([]operators.Operator, len(steps))
					for i, s := range steps {
						if ops[i], err = s.Open(t.Context(), operators.Env{Pool: pool, Range: pool.Range(i)}); err != nil {
							t.Fatal(err)
						}
					}
					for part := range slices.Chunk(rows, size) {
						b := batchOf(t, steps[0].In(), origins, part...)
						for i, op := range ops {
							if err := op.Process(t.Context(), b); err != nil {
								t.Fatalf("%s: %v", steps[i].Name(), err)
							}
							if got := int64(b.Rows) + b.Filtered + int64(len(b.Rejects)); got != int64(len(part)) {
								t.Fatalf("%s: %d of %d rows are accounted for", steps[i].Name(), got, len(part))
							}
						}
						for i := range b.Rows {
							got = append(got, string(b.RowJSON(i)))
						}
						gotReasons["filtered"] += int(b.Filtered)
						for _, j := range b.Rejects {
							gotReasons[string(j.Reason)]++
							if (j.Record < 0) == origins || (j.Payload == nil) != origins {
								t.Fatalf("origins %v, but record %d and payload %s", origins, j.Record, j.Payload)
							}
						}
						b.Release()
					}
					if !slices.Equal(got, want) {
						i := 0
						for i < min(len(got), len(want)) && got[i] == want[i] {
							i++
						}
						t.Fatalf("%d rows by %d: %d rows, want %d; from row %d on\n got %s\nwant %s", n, size, len(got), len(want), i,
							got[i:min(i+1, len(got))], want[i:min(i+1, len(want))])
					}
					for _, k := range []string{"filtered", "expression", "missing"} {
						if gotReasons[k] != reasons[k] {
							t.Fatalf("%d rows by %d: %s %d, want %d", n, size, k, gotReasons[k], reasons[k])
						}
					}
					if err := pool.Close(); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
}

const manyRows = 8192

func cleanRows() [][]any {
	r := rand.New(rand.NewPCG(7, 8))
	rows := make([][]any, manyRows)
	for i := range rows {
		rows[i] = []any{fmt.Sprintf("dev-%d", r.IntN(1000)), []string{"ok", "ok", "ok", "bad"}[r.IntN(4)], r.Float64()*120 - 45, 2 + r.IntN(6)}
		if i%50 == 0 {
			rows[i][3] = nil
		}
	}
	return rows
}

// restore gives a batch back the columns it had, without allocating.
func restore(b *batch.Batch, s *batch.Schema, cols []batch.Column, origin []int32) {
	b.Release()
	b.Schema, b.Rows, b.Origin = s, manyRows, origin
	b.SetWidth(len(cols))
	copy(b.Cols, cols)
}

func stepsToMeasure(t testing.TB) map[string]operators.Step {
	in := sensorSchema(t)
	m := must(t)
	return map[string]operators.Step{
		"filter": m(NewFilter("0 filter", in, `status == "ok" && temp > -40`)),
		"map":    m(NewMap("1 map", in, []Assign{{"temp_f", "temp * 9 / 5 + 32"}, {"label", `device + "/" + status`}, {"k", "(n ?? 2) * 2 + 60 % (n - 1)"}})),
		"drop":   m(NewDrop("2 drop", in, []string{"device"})),
		"rename": m(NewRename("3 rename", in, []Rename{{"temp", "celsius"}})),
		"cast": m(NewCast("4 cast", in, []Cast{
			{"n", batch.Type{Kind: batch.Int8}, true}, {"temp", batch.Type{Kind: batch.String}, true}, {"status", batch.Type{Kind: batch.Float64}, true},
		})),
	}
}

func TestNoAllocationsPerRow(t *testing.T) {
	for name, s := range stepsToMeasure(t) {
		t.Run(name, func(t *testing.T) {
			b := batchOf(t, s.In(), true, cleanRows()...)
			cols, origin := slices.Clone(b.Cols), slices.Clone(b.Origin)
			op := open(t, s, s.(operators.Sized).RangeSize(manyRows, 1<<20)+1)
			run := func() {
				restore(b, s.In(), cols, origin)
				if err := op.Process(t.Context(), b); err != nil {
					t.Fatal(err)
				}
			}
			run()
			run()
			if n := testing.AllocsPerRun(10, run); n > 2 {
				t.Errorf("%v allocations per batch of %d rows", n, manyRows)
			}
			if b.Rows == 0 {
				t.Error("no row is left")
			}
			b.Release()
		})
	}
}

// TestRangeSize checks that what a step asks for is enough for a typical batch.
func TestRangeSize(t *testing.T) {
	for name, s := range stepsToMeasure(t) {
		b := batchOf(t, s.In(), true, cleanRows()...)
		inBytes := 0
		before := map[*byte]bool{}
		for _, c := range b.Cols {
			inBytes += len(c.Values) + len(c.Offsets) + len(c.Validity)
			before[&c.Values[0]] = true
		}
		size := s.(operators.Sized).RangeSize(manyRows, inBytes)
		if size == 0 {
			continue
		}
		pool, err := batch.NewPool([]batch.RangeSpec{{Slots: 1, SlotSize: size}})
		if err != nil {
			t.Fatal(err)
		}
		op, err := s.Open(t.Context(), operators.Env{Pool: pool, Range: pool.Range(0)})
		if err != nil {
			t.Fatal(err)
		}
		if err := op.Process(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		for i, c := range b.Cols {
			if _, ok := pool.Offset(c.Values); !ok && !before[&c.Values[0]] {
				t.Errorf("%s: column %s is on the heap, though the slot has %d bytes", name, b.Schema.Fields[i].Name, size)
			}
		}
		b.Release()
		if err := pool.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func BenchmarkSteps(b *testing.B) {
	for name, s := range stepsToMeasure(b) {
		b.Run(name, func(b *testing.B) {
			in := batchOf(b, s.In(), true, cleanRows()...)
			cols, origin := slices.Clone(in.Cols), slices.Clone(in.Origin)
			op := open(b, s, s.(operators.Sized).RangeSize(manyRows, 1<<20)+1)
			b.ReportAllocs()
			for b.Loop() {
				restore(in, s.In(), cols, origin)
				if err := op.Process(b.Context(), in); err != nil {
					b.Fatal(err)
				}
			}
			in.Release()
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/manyRows, "ns/row")
		})
	}
}
