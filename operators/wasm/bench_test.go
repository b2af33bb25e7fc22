package wasm

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
)

// benchRows has five columns, 28 % of whose rows pass the filter.
func benchRows(t testing.TB, n int) (*batch.Schema, [][]any) {
	rows := make([][]any, n)
	rnd := rand.New(rand.NewPCG(1, 2)) // a pattern would be learned by the branch predictor
	for i := range rows {
		rows[i] = []any{i, fmt.Sprintf("name-%04d", i%10000), rnd.Float64() * 42, float64(i) / 3, i * 3}
		if i%50 == 7 {
			rows[i][2] = nil
		}
	}
	return schemaOf(t, "id: int64", "name: string", "temp: float64?", "hum: float64", "ts: timestamp[ms]"), rows
}

// nativeFilter is the kernel of testdata/filter/filter.c in Go, into a slot.
func nativeFilter(b *batch.Batch, mem []byte, sel []int32) (rows int, cols [3]batch.Column) {
	a := batch.NewArena(mem)
	temp := &b.Cols[2]
	v := batch.As[float64](temp.Values)
	kept := 0
	for i, x := range v {
		sel[kept] = int32(i)
		if x > 30 && temp.Valid(i) {
			kept++
		}
	}
	sel = sel[:kept]
	ids := batch.As[int64](b.Cols[0].Values)
	outID := batch.As[int64](a.Alloc(8 * kept))
	outTemp := batch.As[float64](a.Alloc(8 * kept))
	for i, r := range sel {
		outID[i], outTemp[i] = ids[r], v[r]
	}
	off := batch.As[int32](b.Cols[1].Offsets)
	outOff := batch.As[int32](a.Alloc(4 * (kept + 1)))
	total := int32(0)
	outOff[0] = 0
	for i, r := range sel {
		total += off[r+1] - off[r]
		outOff[i+1] = total
	}
	text, from := a.Alloc(int(total)), b.Cols[1].Values
	for i, r := range sel {
		copy(text[outOff[i]:outOff[i+1]], from[off[r]:off[r+1]])
	}
	cols[0].Values, cols[2].Values = batch.Bytes(outID), batch.Bytes(outTemp)
	cols[1] = batch.Column{Offsets: batch.Bytes(outOff), Values: text}
	return kept, cols
}

// BenchmarkFilter compares one step in the pool, the same step copied, and native Go, interleaved in one run. The ratios
// are what counts.
func BenchmarkFilter(b *testing.B) {
	for _, n := range []int{1 << 10, 8 << 10, 64 << 10} {
		b.Run(fmt.Sprintf("rows=%d", n), func(b *testing.B) { benchFilter(b, n) })
	}
}

func benchFilter(b *testing.B, n int) {
	schema, rows := benchRows(b, n)
	cfg := Config{Module: guestFile(b, "testdata/filter/filter.wasm")}
	pool := newRerun(b, newChain(b, schema, 8<<20, cfg), schema, rows)
	cfg.Transport = Copy
	copied := newRerun(b, newChain(b, schema, 8<<20, cfg), schema, rows)
	cfg.Transport, cfg.unmetered = Auto, true
	free := newRerun(b, newChain(b, schema, 8<<20, cfg), schema, rows)
	sel := make([]int32, n+1)
	slot, _ := pool.c.pool.Range(0).Acquire()
	defer slot.Release()
	pool.run(b)
	pool.reset()
	if rows, _ := nativeFilter(&pool.c.batch, slot.Mem(), sel); rows < n/5 || rows > n/3 {
		b.Fatalf("%d of %d rows pass", rows, n)
	}
	t := interleave(b, func() {
		pool.reset()
		nativeFilter(&pool.c.batch, slot.Mem(), sel)
	}, func() { pool.run(b) }, func() { copied.run(b) }, func() { free.run(b) })
	b.ReportMetric(t.median(0)/float64(n), "native-ns/row")
	b.ReportMetric(t.median(1)/float64(n), "pool-ns/row")
	b.ReportMetric(t.median(2)/float64(n), "memcpy-ns/row")
	b.ReportMetric(t.ratio(1, 0), "pool/native")
	b.ReportMetric(t.ratio(3, 0), "unmetered/native")
	b.ReportMetric(t.ratio(1, 3), "pool/unmetered")
	b.ReportMetric(t.ratio(2, 0), "memcpy/native")
}

// filterGuests is the kernel of nativeFilter in each language, as its users would write it.
var filterGuests = []struct{ language, file string }{
	{"c", "testdata/filter/filter.wasm"},
	{"rust", "testdata/filter-rust/filter-rust.wasm"},
	{"go", "testdata/filter-go/filter-go.wasm"},
}

// BenchmarkFilterLanguages is the same step in C, Rust and Go, metered and not, beside native Go: as multiples of it in the
// same run.
func BenchmarkFilterLanguages(b *testing.B) {
	const n = 8 << 10
	schema, rows := benchRows(b, n)
	var steps []*rerun
	var funcs []func()
	for _, g := range filterGuests {
		for _, unmetered := range []bool{false, true} {
			r := newRerun(b, newChain(b, schema, 8<<20, Config{Module: guestFile(b, g.file), unmetered: unmetered}), schema, rows)
			steps = append(steps, r)
			funcs = append(funcs, func() { r.run(b) })
		}
	}
	sel := make([]int32, n+1)
	slot, err := steps[0].c.pool.Range(0).Acquire()
	if err != nil {
		b.Fatal(err)
	}
	defer slot.Release()
	t := interleave(b, append(funcs, func() {
		steps[0].reset()
		nativeFilter(&steps[0].c.batch, slot.Mem(), sel)
	})...)
	native := len(t) - 1
	b.ReportMetric(t.median(native)/n, "native-ns/row")
	for i, g := range filterGuests {
		b.ReportMetric(t.ratio(2*i, native), g.language+"/native")
		b.ReportMetric(t.ratio(2*i, 2*i+1), g.language+"-metered/unmetered")
	}
}

// TestFilterGuests: what is compared does the same, whatever the number of rows and the length of strings, and in a slot
// that the output nearly fills.
func TestFilterGuests(t *testing.T) {
	schema, many := benchRows(t, 300)
	rnd := rand.New(rand.NewPCG(3, 4))
	for _, g := range filterGuests {
		ch := newChain(t, schema, 32<<10, Config{Module: guestFile(t, g.file)})
		for n := range 60 {
			rows, size := many[:n], 20
			if n > 40 {
				rows, size = many, n*2
			}
			for i := range rows {
				rows[i][1] = strings.Repeat("x", rnd.IntN(size))
				if n%3 == 0 {
					rows[i][1] = strings.Repeat("ä", rnd.IntN(size/2))
				}
			}
			b := ch.decode(t, schema, rows)
			if err := ch.ops[0].Process(context.Background(), b); err != nil {
				t.Fatal(err)
			}
			var want strings.Builder
			kept := 0
			fmt.Fprintln(&want, b.Schema)
			for i, r := range rows {
				if v, ok := r[2].(float64); ok && v > 30 {
					fmt.Fprintf(&want, "{\"id\":%d,\"name\":%q,\"temp\":%s} <- %d\n", r[0], r[1], strconv.FormatFloat(v, 'g', -1, 64), i)
					kept++
				}
			}
			fmt.Fprintf(&want, "filtered %d expanded 0\n", len(rows)-kept)
			if got := render(b); got != want.String() {
				t.Fatalf("%s, %d rows:\n%s\nwant\n%s", g.language, len(rows), got, want.String())
			}
			b.Release()
		}
	}
}

// rounds is what each of some functions took, in nanoseconds of its thread, round by round.
type rounds [][]float64

// interleave runs the functions in turn for as long as the benchmark lasts. Other work on the machine slows them down, but
// those of a round about alike: look at ratios. What it takes of the processor is not counted, as far as the system can tell.
func interleave(b *testing.B, funcs ...func()) rounds {
	const calls = 4 // of a function in a round, since looking at the time takes some, too
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	took := make(rounds, len(funcs))
	for b.Loop() {
		for i, f := range funcs {
			start := threadTime()
			for range calls {
				f()
			}
			took[i] = append(took[i], float64(threadTime()-start)/calls)
		}
	}
	b.ReportMetric(0, "ns/op")
	return took
}

// median is the median over the rounds of what a function took.
func (r rounds) median(i int) float64 {
	return middle(slices.Clone(r[i]))
}

// ratio is the median over the rounds of what one function took as a multiple of another one: not that of the medians, which
// are of different moments.
func (r rounds) ratio(i, to int) float64 {
	v := make([]float64, len(r[i]))
	for k := range v {
		v[k] = r[i][k] / r[to][k]
	}
	return middle(v)
}

func middle(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// BenchmarkChain compares four steps that change one column, in the pool and copied.
func BenchmarkChain(b *testing.B) {
	for _, n := range []int{1 << 10, 8 << 10, 64 << 10} {
		b.Run(fmt.Sprintf("rows=%d", n), func(b *testing.B) {
			schema, rows := sensors(b, n)
			cfg := Config{Module: example(b, "calibrate"), Config: []byte(`{"offset": 0.4}`)}
			pool := newRerun(b, newChain(b, schema, 8<<20, cfg, cfg, cfg, cfg), schema, rows)
			cfg.Transport = Copy
			copied := newRerun(b, newChain(b, schema, 8<<20, cfg, cfg, cfg, cfg), schema, rows)
			t := interleave(b, func() { pool.run(b) }, func() { copied.run(b) })
			b.ReportMetric(t.median(0)/4e3, "pool-us/hop")
			b.ReportMetric(t.median(1)/4e3, "memcpy-us/hop")
			b.ReportMetric(t.ratio(1, 0), "memcpy/pool")
		})
	}
}

// BenchmarkMeter is what the fuel checks cost each example operator.
func BenchmarkMeter(b *testing.B) {
	for _, m := range []string{"calibrate", "calibrate-go", "severity", "severity-go"} {
		b.Run(m, func(b *testing.B) {
			const n = 8 << 10
			schema, rows := sensors(b, n)
			cfg := Config{Module: example(b, m), Config: []byte(exampleConfigs[m])}
			metered := newRerun(b, newChain(b, schema, 8<<20, cfg), schema, rows)
			cfg.unmetered = true
			free := newRerun(b, newChain(b, schema, 8<<20, cfg), schema, rows)
			t := interleave(b, func() { metered.run(b) }, func() { free.run(b) })
			before := metered.c.ops[0].Usage().Fuel
			metered.run(b)
			b.ReportMetric(float64(metered.c.ops[0].Usage().Fuel-before)/n, "fuel/row")
			b.ReportMetric(t.median(1)/n, "unmetered-ns/row")
			b.ReportMetric(t.ratio(0, 1), "metered/unmetered")
		})
	}
}

var exampleConfigs = map[string]string{
	"calibrate":    `{"offset": 0.4, "classes": {"pump": -1.5, "oven": 2}, "by": "device"}`,
	"calibrate-go": `{"offset": 0.4, "classes": {"pump": -1.5, "oven": 2}, "by": "device"}`,
	"severity":     `{"warning": 30, "critical": 75.5}`,
	"severity-go":  `{"warning": 30, "critical": 75.5}`,
}

// BenchmarkCall is what a call costs beside the guest's own work: a batch of 16 rows, passed through. The guest's work is that of
// the call by the runtime, with fuel that stays from before.
func BenchmarkCall(b *testing.B) {
	const calls = 100
	schema, rows := hostileRows(b, 16)
	r := newRerun(b, newChain(b, schema, 64<<10, Config{Module: example(b, "calibrate"), Config: []byte(`{"column": "v"}`)}), schema, rows)
	o := r.c.ops[0]
	r.run(b)
	r.reset()
	slot, err := o.env.Range.Acquire()
	if err != nil {
		b.Fatal(err)
	}
	out, room, _ := o.export(&r.c.batch, slot)
	array := o.wins.scratch
	slot.Release()
	t := interleave(b, func() {
		for range calls {
			r.run(b)
		}
	}, func() {
		g := o.g
		g.tank.fuel.Set(1 << 40)
		for range calls {
			g.stack[0], g.stack[1], g.stack[2] = uint64(array), uint64(out), uint64(room)
			g.tank.stack.Set(g.tank.depth)
			if err := g.process.CallWithStack(g.ctx, g.stack[:]); err != nil {
				b.Fatal(err)
			}
		}
	})
	whole, guest := t.median(0)/calls, t.median(1)/calls
	b.ReportMetric(whole, "cpu-ns/call")
	b.ReportMetric(whole-guest, "host-ns/call")
}

// BenchmarkInstantiate is a new instance of compiled code with its windows, beside 300 (of Go 20) that live: percentiles in microseconds, of starts alone,
// beside the CPU time of a start and an end. On a machine with other work look at the latter.
func BenchmarkInstantiate(b *testing.B) {
	for _, m := range []string{"calibrate", "calibrate-rust", "calibrate-assemblyscript", "calibrate-go"} {
		b.Run(m, func(b *testing.B) {
			schema, _ := sensors(b, 0)
			c := newChain(b, schema, 16<<20, Config{Module: example(b, m)})
			o, live := c.ops[0], 300
			if m == "calibrate-go" {
				live = 20
			}
			for range live {
				other, err := o.step.Open(context.Background(), o.env)
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { _ = other.Close() })
			}
			var times []time.Duration
			used := cpuTime()
			for b.Loop() {
				_ = o.Close()
				start := time.Now()
				if err := o.ensure(context.Background()); err != nil {
					b.Fatal(err)
				}
				times = append(times, time.Since(start))
			}
			b.ReportMetric(float64((cpuTime()-used).Microseconds())/float64(len(times)), "cpu-us")
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)/2].Nanoseconds())/1e3, "p50-us")
			b.ReportMetric(float64(times[len(times)*99/100].Nanoseconds())/1e3, "p99-us")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// rerun gives the same decoded columns to a chain again and again.
type rerun struct {
	c       *chain
	schema  *batch.Schema
	cols    []batch.Column
	rows    int
	records []batch.Record
}

func newRerun(t testing.TB, c *chain, s *batch.Schema, rows [][]any) *rerun {
	b := c.decode(t, s, rows)
	return &rerun{c, s, append([]batch.Column(nil), b.Cols...), len(rows), b.Records}
}

// reset gives the batch its decoded columns. Their slot is released, but nothing else takes it.
func (r *rerun) reset() {
	b := &r.c.batch
	b.Begin(r.schema, batch.Partition{}, r.records)
	copy(b.Cols, r.cols)
	b.Rows = r.rows
}

func (r *rerun) run(t testing.TB) {
	r.reset()
	for _, op := range r.c.ops {
		if err := op.Process(context.Background(), &r.c.batch); err != nil {
			t.Fatal(err)
		}
	}
}
