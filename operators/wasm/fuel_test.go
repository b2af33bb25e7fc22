package wasm

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
)

// spinning is a guest that is honest but for one function, where code runs first. The indices of the functions are those
// of source: weir_abi, weir_alloc, weir_open, weir_windows, weir_process, _initialize.
func spinning(function int, code ...byte) []byte {
	open := []byte{0x20, 2} // the schema it gets is the one it returns
	alloc := []byte{        // memory.grow by (n + 65535) / 65536 pages, times 65536
		0x20, 0, 0x41, 0xff, 0xff, 3, 0x6a, 0x41, 16, 0x76, 0x40, 0, 0x41, 16, 0x74,
	}
	process := []byte{0x20, 0} // and so is the batch
	bodies := map[int][]byte{0: {0x41, 1}, 1: alloc, 2: open, 4: process, 5: {}}
	bodies[function] = append(slices.Clone(code), bodies[function]...)
	return source{exports: with("_initialize", 4), bodies: bodies, memory: []byte{0, 1}}.module()
}

var (
	loop     = []byte{0x03, 0x40, 0x0c, 0, 0x0b}
	brTable  = []byte{0x03, 0x40, 0x41, 0, 0x0e, 1, 0, 0, 0x0b}
	fills    = []byte{0x03, 0x40, 0x41, 0, 0x41, 1, 0x41, 0x80, 0x80, 4, 0xfc, 11, 0, 0x0c, 0, 0x0b}
	straight = bytes.Repeat([]byte{0x41, 0, 0x41, 1, 0x41, 0x80, 0x80, 8, 0xfc, 11, 0}, 3000)
	grows    = []byte{0x03, 0x40, 0x41, 1, 0x40, 0, 0x1a, 0x0c, 0, 0x0b}
	twofold  = []byte{ // calls itself twice, to a depth of 200
		0x20, 1, 0x41, 0xc8, 1, 0x4b, 0x04, 0x40, 0x41, 0xc8, 1, 0x21, 1, 0x0b, // depth = min(out, 200)
		0x20, 1, 0x04, 0x40,
		0x20, 0, 0x20, 1, 0x41, 1, 0x6b, 0x20, 2, 0x10, 4, 0x1a,
		0x20, 0, 0x20, 1, 0x41, 1, 0x6b, 0x20, 2, 0x10, 4, 0x1a, 0x0b,
	}
)

// TestEndlessRows: a guest that never returns loses the rows, and the chain goes on.
func TestEndlessRows(t *testing.T) {
	schema, rows := hostileRows(t, 3)
	for _, c := range []struct {
		name string
		code []byte
	}{
		{"loop", loop},
		{"br_table", brTable},
		{"recursion", twofold},
		{"memory.fill", fills},
		{"straight fills", straight},
		{"memory.grow", grows},
	} {
		for _, w := range ways {
			if w.interpreter && w.transport == Copy {
				continue
			}
			t.Run(c.name+"/"+w.name, func(t *testing.T) {
				ch := newChain(t, schema, 64<<10, Config{Module: spinning(4, c.code...), Interpreter: w.interpreter, Transport: w.transport, MemoryLimit: 1 << 20, BatchRows: 1})
				start := time.Now()
				for range 2 {
					b := ch.decode(t, schema, rows)
					if err := ch.ops[0].Process(context.Background(), b); err != nil {
						t.Fatal(err)
					}
					balance(t, b)
					if len(b.Rejects) != 3 || !strings.HasPrefix(b.Rejects[0].Detail, "out of fuel: it took more than 20000000 instructions") {
						t.Fatal(render(b))
					}
				}
				u := ch.ops[0].Usage()
				// A call with all rows, one with two, three with one; twice. No call is made again: every guest was fresh.
				if calls, fuel := int64(10), int64(10*fuelPerCall+6*fuelToSpare); u.Traps != calls || u.Fuel < fuel || u.Fuel > fuel+calls*1_000_000 {
					t.Fatalf("usage %+v", u)
				}
				t.Logf("%v a call", time.Since(start)/10)
			})
		}
	}
}

// TestEndlessStart: a guest that never ends before its first batch does not become a step.
func TestEndlessStart(t *testing.T) {
	schema, _ := hostileRows(t, 0)
	for name, function := range map[string]int{"weir_abi": 0, "memory for its configuration": 1, "weir_open": 2, "_initialize": 5} {
		start := time.Now()
		_, err := New(context.Background(), Config{Name: "1 wasm x", Module: spinning(function, loop...)}, schema)
		if err == nil || !strings.Contains(err.Error(), "out of fuel: it took more than 1000000000 instructions") || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v", name, err)
		}
		t.Logf("%s: %v", name, time.Since(start))
	}
	s := newStep(t, Config{Name: "1 wasm x", Module: spinning(3, loop...)}, schema)
	pool, err := batch.NewPool([]batch.RangeSpec{{Slots: 2, SlotSize: 4096}, {Slots: 2, SlotSize: 4096}})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if _, err := s.Open(context.Background(), operators.Env{Pool: pool, Range: pool.Range(1)}); err == nil || !strings.Contains(err.Error(), "out of fuel") {
		t.Errorf("weir_windows: error %v", err)
	}
}

// rowLoop runs for as many rounds as the batch has rows times n, then returns the batch.
func rowLoop(n int32) []byte {
	code := []byte{0x20, 0, 0x29, 3, 0, 0xa7, 0x41} // the length of the batch, as i32
	for v := n; ; v >>= 7 {
		if v < 64 {
			code = append(code, byte(v))
			break
		}
		code = append(code, byte(v&0x7f)|0x80)
	}
	code = append(code, 0x6c, 0x21, 1)
	return append(code, 0x03, 0x40, 0x20, 1, 0x41, 1, 0x6b, 0x22, 1, 0x0d, 0, 0x0b)
}

// TestFuelPerRow: the fuel of a call grows with its rows, and what a row may take is what the configuration says.
func TestFuelPerRow(t *testing.T) {
	schema, rows := hostileRows(t, 2000)
	for _, c := range []struct {
		perRow int64
		rounds int32 // of 6 instructions
	}{{20_000, 3000}, {20_000, 3400}, {50_000, 8000}, {60_000, 8500}} {
		ch := newChain(t, schema, 1<<20, Config{Module: spinning(4, rowLoop(c.rounds)...), FuelPerRow: c.perRow})
		b := ch.decode(t, schema, rows)
		before := ch.ops[0].Usage().Fuel
		if err := ch.ops[0].Process(context.Background(), b); err != nil {
			t.Fatal(err)
		}
		u := ch.ops[0].Usage()
		tooMuch := int64(c.rounds)*6 > c.perRow
		if (u.Traps > 0) != tooMuch || len(b.Rejects) != 0 {
			t.Errorf("%+v: %d calls out of fuel, %d rejects", c, u.Traps, len(b.Rejects))
		}
		if used, want := u.Fuel-before, int64(c.rounds)*6*2000; !tooMuch && (used < want || used > want+want/100) {
			t.Errorf("%+v: %d fuel, want %d", c, used, want)
		}
	}
}

// TestFuelStops: under "stop" the batch fails, as for other faults.
func TestFuelStops(t *testing.T) {
	schema, rows := hostileRows(t, 3)
	ch := newChain(t, schema, 64<<10, Config{Module: spinning(4, loop...), OnError: Stop, BatchRows: 1})
	b := ch.decode(t, schema, rows)
	before := render(b)
	var ce *CallError
	if err := ch.ops[0].Process(context.Background(), b); !errors.As(err, &ce) || ce.Fault != FaultFuel {
		t.Fatal(err)
	}
	if render(b) != before {
		t.Fatal("the batch changed")
	}
}

// TestDeadline: a call that fuel would let go on ends at the deadline, and no row is rejected for it.
func TestDeadline(t *testing.T) {
	schema, rows := hostileRows(t, 3)
	ch := newChain(t, schema, 64<<10, Config{Module: spinning(4, loop...), FuelPerRow: MaxFuelPerRow, Deadline: 50 * time.Millisecond})
	b := ch.decode(t, schema, rows)
	before := render(b)
	start := time.Now()
	err := ch.ops[0].Process(context.Background(), b)
	var ce *CallError
	if !errors.As(err, &ce) || ce.Fault != FaultDeadline || !strings.Contains(err.Error(), "more than 50ms") {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
	if render(b) != before {
		t.Fatal("the batch changed")
	}
}

// TestCollection: a garbage collection does not wait for a guest that runs, or little longer than for a goroutine of Go that does.
func TestCollection(t *testing.T) {
	schema, rows := hostileRows(t, 3)
	ch := newChain(t, schema, 64<<10, Config{Module: spinning(4, loop...), FuelPerRow: MaxFuelPerRow, OnError: Stop})
	b := ch.decode(t, schema, rows)
	g := ch.ops[0].g
	if g == nil {
		t.Fatal("no guest yet")
	}
	var stop atomic.Bool
	native := collections(t, func() error {
		for !stop.Load() {
		}
		return nil
	}, func() { stop.Store(true) })
	guest := collections(t, func() error { return ch.ops[0].Process(context.Background(), b) }, g.tank.ring)
	t.Logf("the median of collections while a guest ran: %v; while Go ran: %v", guest, native)
	if guest > 4*native+25*time.Millisecond {
		t.Fatalf("a collection takes %v while a guest runs, and %v while Go runs", guest, native)
	}
}

// collections runs f until some collections of garbage are done, and returns the median of how long they took.
func collections(t *testing.T, f func() error, end func()) time.Duration {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	time.Sleep(20 * time.Millisecond)
	took := make([]time.Duration, 15)
	for i := range took {
		start := time.Now()
		runtime.GC()
		took[i] = time.Since(start)
		select {
		case err := <-done:
			t.Fatalf("collection %d took %v, and ended after what runs: %v", i, took[i], err)
		default:
		}
	}
	end()
	<-done
	slices.Sort(took)
	return took[len(took)/2]
}

// TestHostPays: what a guest has the host do is paid for. Its own part of these quarter of a million calls is a tenth.
func TestHostPays(t *testing.T) {
	schema, rows := hostileRows(t, 1)
	ch := newChain(t, schema, 64<<10, Config{Module: hostile(t), Config: mode(38), BatchRows: 1})
	b := ch.decode(t, schema, rows)
	if err := ch.ops[0].Process(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	if len(b.Rejects) != 1 || !strings.HasPrefix(b.Rejects[0].Detail, "out of fuel") {
		t.Fatal(render(b))
	}
}
