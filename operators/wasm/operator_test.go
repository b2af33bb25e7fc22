package wasm

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"unsafe"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
)

var ways = []struct {
	name        string
	interpreter bool
	transport   Transport
}{
	{"compiler pool", false, Auto},
	{"compiler copy", false, Copy},
	{"interpreter pool", true, Auto},
	{"interpreter copy", true, Copy},
}

// TestExamplesAgree runs each example operator in every engine and transport, in C and in Go, whole and cut into single
// rows: one answer.
func TestExamplesAgree(t *testing.T) {
	cases := []struct {
		name, config string
		modules      []string
	}{
		{"calibrate", `{"offset": 0.4, "scale": 1.5}`, []string{"calibrate", "calibrate-go"}},
		{"calibrate by class", `{"offset": 0.4, "classes": {"pump": -1.5, "größe" : 2e1}, "by":"device"}`, []string{"calibrate", "calibrate-go"}},
		{"severity", `{"warning": 30, "critical": 75.5}`, []string{"severity", "severity-go"}},
		{"severity of nothing", `{"warning": 3000, "critical": 4000}`, []string{"severity", "severity-go"}},
	}
	schema, rows := sensors(t, 500)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			want := ""
			for _, m := range c.modules {
				for _, w := range ways {
					cfg := Config{Name: "1 wasm x", Module: example(t, m), Config: []byte(c.config), Interpreter: w.interpreter, Transport: w.transport}
					ch := newChain(t, schema, 1<<20, cfg)
					b := ch.decode(t, schema, rows)
					if err := ch.ops[0].Process(context.Background(), b); err != nil {
						t.Fatalf("%s, %s: %v", m, w.name, err)
					}
					balance(t, b)
					got := render(b)
					if want == "" {
						want = got
						t.Log(got[:min(len(got), 600)])
					}
					if got != want {
						t.Fatalf("%s, %s differs:\n%s\nwant\n%s", m, w.name, got, want)
					}
					if u := ch.ops[0].Usage(); u.Instances != 1 || u.Traps != 0 || (u.BytesCopied == 0) != (w.transport == Auto) {
						t.Fatalf("%s, %s: usage %+v", m, w.name, u)
					}
				}
			}
			cfg := Config{Module: example(t, c.modules[0]), Config: []byte(c.config)}
			ch := newChain(t, schema, 1<<20, cfg)
			b := ch.decode(t, schema, rows)
			if err := ch.ops[0].split(context.Background(), b, errFull); err != nil {
				t.Fatal(err)
			}
			balance(t, b)
			if got := render(b); got != want {
				t.Fatalf("cut up:\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// TestCalibrateValues holds the operator against arithmetic done here.
func TestCalibrateValues(t *testing.T) {
	schema, rows := sensors(t, 100)
	ch := newChain(t, schema, 1<<20, Config{Module: example(t, "calibrate"), Config: []byte(`{"offset": 0.5, "classes": {"oven": -2}}`)})
	b := ch.decode(t, schema, rows)
	if err := ch.ops[0].Process(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	for i, r := range rows {
		if v, ok := r[3].(float64); ok {
			add := 0.5
			if i%3 == 1 {
				add = -2
			}
			if got := batch.As[float64](b.Cols[3].Values)[i]; got != v+add {
				t.Fatalf("row %d: %v, want %v", i, got, v+add)
			}
		} else if b.Cols[3].Valid(i) {
			t.Fatalf("row %d is not null", i)
		}
	}
}

// TestZeroCopyChain proves that columns cross four sandboxes without a copy: untouched columns keep their addresses,
// new ones lie in the range of the step that made them, and nothing was copied.
func TestZeroCopyChain(t *testing.T) {
	schema, rows := sensors(t, 5000)
	cfg := Config{Module: example(t, "calibrate"), Config: []byte(`{"offset": 1}`)}
	ch := newChain(t, schema, 1<<20, cfg, cfg, cfg, cfg)
	if !ch.ops[0].fd {
		t.Skip("no memfd on this system")
	}
	for round := range 3 {
		b := ch.decode(t, schema, rows)
		before := append([]batch.Column(nil), b.Cols...)
		for i, op := range ch.ops {
			if err := op.Process(context.Background(), b); err != nil {
				t.Fatal(err)
			}
			off, ok := ch.pool.Offset(b.Cols[3].Values)
			if r := ch.pool.Range(i + 1); !ok || off < r.Off || off+len(b.Cols[3].Values) > r.Off+r.Len {
				t.Fatalf("step %d: output at pool offset %d, %v: not in its own range", i, off, ok)
			}
		}
		for i := range b.Cols {
			same := unsafe.SliceData(b.Cols[i].Values) == unsafe.SliceData(before[i].Values) &&
				unsafe.SliceData(b.Cols[i].Offsets) == unsafe.SliceData(before[i].Offsets)
			if same != (i != 3) {
				t.Fatalf("column %d: same address is %v", i, same)
			}
		}
		if unsafe.SliceData(b.Cols[3].Validity) != unsafe.SliceData(before[3].Validity) {
			t.Fatal("the validity bitmap of the calibrated column was copied")
		}
		if got, want := batch.As[float64](b.Cols[3].Values)[1], rows[1][3].(float64)+4; got != want {
			t.Fatalf("round %d: %v, want %v", round, got, want)
		}
		for i, op := range ch.ops {
			if n := op.Usage().BytesCopied; n != 0 {
				t.Fatalf("step %d copied %d bytes", i, n)
			}
		}
	}
}

// TestHeapInput gives a step buffers that are not in the pool: they are copied in, counted, and passed through as they are.
func TestHeapInput(t *testing.T) {
	schema, rows := sensors(t, 100)
	ch := newChain(t, schema, 1<<20, Config{Module: example(t, "calibrate"), Config: []byte(`{"offset": 1}`)})
	b := ch.decode(t, schema, rows)
	want := int64(0)
	for i := range b.Cols {
		for _, p := range []*[]byte{&b.Cols[i].Validity, &b.Cols[i].Offsets, &b.Cols[i].Values} {
			if *p != nil {
				*p = append([]byte(nil), *p...)
				want += int64(len(*p))
			}
		}
	}
	device := unsafe.SliceData(b.Cols[0].Values)
	if err := ch.ops[0].Process(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	if got := ch.ops[0].Usage().BytesCopied; got != want || !ch.ops[0].fd {
		t.Fatalf("copied %d bytes, want %d", got, want)
	}
	if unsafe.SliceData(b.Cols[0].Values) != device {
		t.Fatal("a column that was passed through moved")
	}
	if got, want := batch.As[float64](b.Cols[3].Values)[1], rows[1][3].(float64)+1; got != want {
		t.Fatalf("%v, want %v", got, want)
	}
}

// TestSmallSlot gives an operator less room than its output needs: it is called with fewer rows, under either policy.
func TestSmallSlot(t *testing.T) {
	schema, rows := sensors(t, 20000)
	for _, transport := range []Transport{Auto, Copy} {
		for _, m := range []string{"calibrate", "calibrate-go"} {
			cfg := Config{Module: example(t, m), Config: []byte(`{"offset": 1}`), OnError: Stop, Transport: transport}
			pool, err := batch.NewPool([]batch.RangeSpec{{Slots: 1, SlotSize: 2 << 20}, {Slots: 1, SlotSize: 64 << 10}})
			if err != nil {
				t.Fatal(err)
			}
			ch := &chain{pool: pool}
			op, err := newStep(t, cfg, schema).Open(context.Background(), operators.Env{Pool: pool, Range: pool.Range(1)})
			if err != nil {
				t.Fatal(err)
			}
			b := ch.decode(t, schema, rows)
			if err := op.Process(context.Background(), b); err != nil {
				t.Fatal(err)
			}
			balance(t, b)
			if b.Rows != len(rows) || b.Origin[19999] != 19999 || batch.As[float64](b.Cols[3].Values)[19999] != rows[19999][3].(float64)+1 {
				t.Fatalf("%s: %d rows", m, b.Rows)
			}
			b.Release()
			_ = op.Close()
			_ = pool.Close()
		}
	}
}

// TestMaxRows cuts a batch that is larger than a guest takes at once.
func TestMaxRows(t *testing.T) {
	schema, rows := sensors(t, 1000)
	ch := newChain(t, schema, 1<<20, Config{Module: example(t, "severity"), Config: []byte(`{"warning": 50}`), MaxRows: 100})
	whole := newChain(t, schema, 1<<20, Config{Module: example(t, "severity"), Config: []byte(`{"warning": 50}`)})
	a, b := ch.decode(t, schema, rows), whole.decode(t, schema, rows)
	if err := ch.ops[0].Process(context.Background(), a); err != nil {
		t.Fatal(err)
	}
	if err := whole.ops[0].Process(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	if render(a) != render(b) {
		t.Fatalf("cut:\n%s\nwhole:\n%s", render(a), render(b))
	}
}

func TestEmptyBatch(t *testing.T) {
	schema, _ := sensors(t, 0)
	ch := newChain(t, schema, 1<<20, Config{Module: example(t, "severity")})
	b := ch.decode(t, schema, nil)
	if err := ch.ops[0].Process(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	if b.Rows != 0 || len(b.Cols) != 7 || len(b.Cols[6].Offsets) != 4 {
		t.Fatalf("%d rows, columns %v", b.Rows, b.Cols)
	}
}

// TestNoSlot is back-pressure: the batch is not touched and no guest is lost.
func TestNoSlot(t *testing.T) {
	schema, rows := sensors(t, 10)
	ch := newChain(t, schema, 1<<20, Config{Module: example(t, "calibrate")})
	for range 2 {
		if s, err := ch.pool.Range(1).Acquire(); err != nil {
			t.Fatal(err)
		} else {
			defer s.Release()
		}
	}
	b := ch.decode(t, schema, rows)
	before := render(b)
	err := ch.ops[0].Process(context.Background(), b)
	if err == nil || fmt.Sprint(err) != "wasm module: no free slot" || render(b) != before {
		t.Fatalf("error %v", err)
	}
}

// TestNoAllocations: a batch costs the Go heap nothing.
func TestNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	schema, rows := sensors(t, 1000)
	for _, transport := range []Transport{Auto, Copy} {
		cfg := Config{Module: example(t, "calibrate"), Config: []byte(`{"offset": 1, "classes": {"pump": 2}}`), Transport: transport}
		sev := Config{Module: example(t, "severity"), Config: []byte(`{"warning": 10}`), Transport: transport}
		ch := newChain(t, schema, 1<<20, cfg, sev)
		b := ch.decode(t, schema, rows)
		cols, origin := append([]batch.Column(nil), b.Cols...), append([]int32(nil), b.Origin...)
		records := b.Records
		run := func() {
			b.Begin(schema, batch.Partition{}, records)
			copy(b.Cols, cols)
			b.Rows, b.Origin = len(rows), b.Origins(len(rows))
			copy(b.Origin, origin)
			for _, op := range ch.ops {
				if err := op.Process(context.Background(), b); err != nil {
					t.Fatal(err)
				}
			}
		}
		for range 64 { // beyond the first batches, of which several are run again in a fresh guest
			run()
		}
		if n := testing.AllocsPerRun(50, run); n != 0 {
			t.Errorf("transport %d: %v allocations per batch", transport, n)
		}
	}
}

// TestPlainPool falls back to copying where the pool has no file.
func TestPlainPool(t *testing.T) {
	schema, rows := sensors(t, 50)
	pool, err := batch.NewPlainPool([]batch.RangeSpec{{Slots: 1, SlotSize: 64 << 10}, {Slots: 1, SlotSize: 64 << 10}})
	if err != nil {
		t.Fatal(err)
	}
	op, err := newStep(t, Config{Module: example(t, "severity"), Config: []byte(`{"warning": 50}`)}, schema).
		Open(context.Background(), operators.Env{Pool: pool, Range: pool.Range(1)})
	if err != nil {
		t.Fatal(err)
	}
	ch := &chain{pool: pool}
	b := ch.decode(t, schema, rows)
	if err := op.Process(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	balance(t, b)
	if u := op.(operators.Metered).Usage(); b.Rows == 0 || u.BytesCopied == 0 {
		t.Fatalf("%d rows, usage %+v", b.Rows, u)
	}
	b.Release()
	if err := errors.Join(op.Close(), op.Close(), pool.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestParallelChains runs chains of one step at the same time, with guests that fail now and then.
func TestParallelChains(t *testing.T) {
	schema, rows := hostileRows(t, 200)
	var wg sync.WaitGroup
	for _, mode := range [][]byte{mode(0), mode(41), mode(42)} {
		step := newStep(t, Config{Module: hostile(t), Config: mode}, schema)
		for range 3 {
			wg.Go(func() {
				pool, err := batch.NewPool([]batch.RangeSpec{{Slots: 1, SlotSize: 64 << 10}, {Slots: 1, SlotSize: 64 << 10}})
				if err != nil {
					t.Error(err)
					return
				}
				defer pool.Close()
				op, err := step.Open(context.Background(), operators.Env{Pool: pool, Range: pool.Range(1)})
				if err != nil {
					t.Error(err)
					return
				}
				defer op.Close()
				ch := &chain{pool: pool}
				for range 20 {
					b := ch.decode(t, schema, rows)
					if err := op.Process(context.Background(), b); err != nil {
						t.Error(err)
					}
					balance(t, b)
				}
				ch.batch.Release()
			})
		}
	}
	wg.Wait()
}

// TestLongLife runs one Go guest over many batches with a pool larger than its memory limit: its collector keeps up.
func TestLongLife(t *testing.T) {
	schema, rows := sensors(t, 2000)
	ch := newChain(t, schema, 20<<20, Config{Module: example(t, "severity-go"), Config: []byte(`{"warning": 10}`), MemoryLimit: 16 << 20})
	r := newRerun(t, ch, schema, rows)
	for range 2000 {
		r.run(t)
	}
	if u := ch.ops[0].Usage(); u.Instances != 1 || u.Traps != 0 {
		t.Fatalf("usage %+v", u)
	}
}
