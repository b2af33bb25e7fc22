package expr

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
)

const benchRows = 8192

// sensorBatch is a batch like those of the demo: 90 % of the rows are ok, and nearly all are above -40.
func sensorBatch() *batch.Batch { return sensorBatchOf(3) }

func sensorBatchOf(seed uint64) *batch.Batch {
	r := rand.New(rand.NewPCG(seed, 4))
	device, status, temp, n := make([]any, benchRows), make([]any, benchRows), make([]any, benchRows), make([]any, benchRows)
	for i := range benchRows {
		device[i] = "device-" + string(rune('a'+r.IntN(26)))
		status[i] = []string{"ok", "ok", "ok", "ok", "ok", "ok", "ok", "ok", "ok", "fault"}[r.IntN(10)]
		temp[i] = r.Float64()*100 - 45
		n[i] = r.IntN(1000)
	}
	text, float := batch.Type{Kind: batch.String}, batch.Type{Kind: batch.Float64}
	return &batch.Batch{
		Rows: benchRows,
		Schema: &batch.Schema{Fields: []batch.Field{
			{Name: "device", Type: text}, {Name: "status", Type: text}, {Name: "temp", Type: float}, {Name: "n", Type: batch.Type{Kind: batch.Int64}},
		}},
		Cols: []batch.Column{columnOf(text, device...), columnOf(text, status...), columnOf(float, temp...), columnOf(batch.Type{Kind: batch.Int64}, n...)},
	}
}

// BenchmarkDecimals computes with decimals of 64 bits, and with wider ones.
func BenchmarkDecimals(b *testing.B) {
	in := sensorBatchOf(1)
	price := make([]batch.Int128, in.Rows)
	wide := make([]batch.Int128, in.Rows)
	for i := range price {
		price[i] = batch.Int128Of(int64(i)*997 + 1)
		wide[i], _ = price[i].MulPow10(20)
	}
	in.Schema.Fields = append(in.Schema.Fields, batch.Field{Name: "price", Type: batch.DecimalOf(12, 2)}, batch.Field{Name: "wide", Type: batch.DecimalOf(38, 18)})
	in.Cols = append(in.Cols, batch.Column{Values: batch.DecimalBytes(price)}, batch.Column{Values: batch.DecimalBytes(wide)})
	slot := make([]byte, 1<<20)
	for _, src := range []string{"price + price", "price * price", "price * 1.19", "price / 7", "price / price", "wide / 7", "wide / wide", "round(price, 1)", "-wide"} {
		benchEval(b, in, slot, src)
	}
}

// BenchmarkFilter goes round many batches: the branches of a loop over one batch alone are soon known by heart.
func BenchmarkFilter(b *testing.B) {
	var ins []*batch.Batch
	for seed := range uint64(32) {
		ins = append(ins, sensorBatchOf(seed))
	}
	b.Run("expr", func(b *testing.B) {
		p, err := CompileFilter(`status == "ok" && temp > -40`, ins[0].Schema)
		if err != nil {
			b.Fatal(err)
		}
		e := p.NewEvaluator()
		keep := e.Filter(ins[0], nil)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			keep = e.Filter(ins[i%len(ins)], keep[:0])
		}
		perRow(b)
	})
	b.Run("handwritten", func(b *testing.B) {
		keep := make([]int32, 0, benchRows)
		for i := 0; b.Loop(); i++ {
			in := ins[i%len(ins)]
			keep = keep[:0]
			off, data, temp := batch.As[int32](in.Cols[1].Offsets), in.Cols[1].Values, batch.As[float64](in.Cols[2].Values)
			for i := range in.Rows {
				if string(data[off[i]:off[i+1]]) == "ok" && temp[i] > -40 {
					keep = append(keep, int32(i))
				}
			}
		}
		perRow(b)
	})
}

func BenchmarkEval(b *testing.B) {
	in := sensorBatch()
	slot := batch.Bytes(make([]uint64, 1<<17))
	for _, src := range []string{
		`temp * 9 / 5 + 32`, `n * 3 + 1`, `temp > 0 ? temp : 0.0`, `device + status`, `n in [1, 5, 7]`, `device matches "^device-[a-f]"`, `string(n)`,
	} {
		benchEval(b, in, slot, src)
	}
	b.Run("handwritten temp * 9 / 5 + 32", func(b *testing.B) {
		out := make([]float64, benchRows)
		for b.Loop() {
			for i, v := range batch.As[float64](in.Cols[2].Values) {
				out[i] = v*9/5 + 32
			}
		}
		perRow(b)
	})
}

// benchEval measures an expression that no row fails in.
func benchEval(b *testing.B, in *batch.Batch, slot []byte, src string) {
	b.Run(src, func(b *testing.B) {
		p, err := Compile(src, in.Schema)
		if err != nil {
			b.Fatal(err)
		}
		e := p.NewEvaluator()
		b.ReportAllocs()
		for b.Loop() {
			a := batch.NewArena(slot)
			if _, err := e.Eval(in, &a); err != nil || len(e.Failures()) > 0 {
				b.Fatal(err, e.Failures())
			}
		}
		perRow(b)
	})
}

func perRow(b *testing.B) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchRows, "ns/row")
}

func TestNoAllocations(t *testing.T) {
	in := sensorBatch()
	slot := batch.Bytes(make([]uint64, 1<<18))
	for _, src := range []string{
		`status == "ok" && temp > -40`, `temp * 9 / 5 + 32`, `n % 7 + n * 2 - n`, `device + "/" + status`, `n in [1, 5, 7] || status in ["a", "ok"]`,
		`device matches "^device-[a-f]"`, `string(temp)`, `int(string(n))`, `upper(substr(device, 2, 3)) ?? "x"`, `splitPart(device, "-", 1) ?? status`,
		`n > 500 ? device : status`, `round(temp, 1) ** 2`, `len(trim(replace(device, "e", "é")))`, `min(n, 3, temp)`, `device < status`,
		`decimal(n, 20, 2) * 1.19 / 7`, `round(decimal(n, 30, 4) / (n + 1), 1)`, `abs(-decimal(n, 9, 0))`, `max(decimal(n, 9, 0), 0.5)`,
		`status in ["a","b","c","d","e","f","g","h","ok"]`, `n in [1,2,3,4,5,6,7,8,9,10]`,
	} {
		if raceEnabled && strings.Contains(src, "matches") {
			continue
		}
		p, err := Compile(src, in.Schema)
		if err != nil {
			t.Fatal(err)
		}
		e := p.NewEvaluator()
		keep := make([]int32, 0, benchRows)
		run := func() {
			a := batch.NewArena(slot)
			if _, err := e.Eval(in, &a); err != nil {
				t.Fatal(err)
			}
			if p.Type() == boolType {
				keep = e.Filter(in, keep[:0])
			}
		}
		run()
		if n := testing.AllocsPerRun(10, run); n > 1 { // the regexp package's own pool may be emptied by the collector
			t.Errorf("%s: %v allocations per batch of %d rows", src, n, benchRows)
		}
	}
}
