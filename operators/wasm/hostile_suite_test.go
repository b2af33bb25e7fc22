package wasm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
)

// attack is a hostile module, and what becomes of it: it is refused, or its call fails, or it does no harm.
type attack struct {
	name    string
	module  []byte
	config  []byte
	refused string // why it is no step; empty: it is one
	fails   string // how its call ends; empty: it returns what it was given
	endless bool   // only the deadline ends it
}

// raw puts a section into a module that is fine without it.
func raw(id byte, body ...byte) []byte {
	m := source{}.module()
	out := bytes.Clone(m[:8])
	done := false
	for r := (reader{b: m[8:]}); len(r.b) > 0; {
		s := r.byte()
		b := r.take(uint64(r.u32()))
		if !done && s > id {
			out, done = append(out, section(id, body...)...), true
		}
		if s != id {
			out = append(out, section(s, b...)...)
		}
	}
	if !done {
		out = append(out, section(id, body...)...)
	}
	return out
}

// attacks are all of them.
func attacks(t testing.TB) []attack {
	imp := func(module, name string, kind ...byte) []byte { return cat(text(module), text(name), kind) }
	body := func(i int, code ...byte) []byte { return source{bodies: map[int][]byte{i: code}}.module() }
	nest := func(n int) []byte {
		return cat(bytes.Repeat([]byte{0x02, 0x40}, n), bytes.Repeat([]byte{0x0b}, n), []byte{0x41, 1})
	}
	huge := []byte{0xff, 0xff, 0xff, 0xff, 0x0f}
	all := []attack{
		{name: "start function", module: source{start: true}.module(), refused: "start function"},
		{name: "start function that spins", module: source{start: true, bodies: map[int][]byte{0: loop}}.module(), refused: "start function"},
		{name: "spin in _initialize", module: spinning(5, loop...), refused: "the deadline has passed"},
		{name: "spin in weir_abi", module: spinning(0, loop...), refused: "the deadline has passed"},
		{name: "spin in weir_alloc", module: spinning(1, loop...), refused: "the deadline has passed"},
		{name: "spin in weir_open", module: spinning(2, loop...), refused: "the deadline has passed"},
		{name: "spin in weir_windows", module: spinning(3, loop...), refused: "the deadline has passed"},
		{name: "recursion in _initialize", module: spinning(5, 0x10, 5), refused: "out of stack"},
		{name: "memory bomb in _initialize", module: spinning(5, grows...), refused: "fails in _initialize"},
		{name: "trap in weir_abi", module: body(0, 0x00), refused: "unreachable"},
		{name: "trap in weir_alloc", module: body(1, 0x00), refused: "unreachable"},
		{name: "block outside the memory", module: body(1, 0x41, 0x80, 0x80, 4), refused: "outside its memory"},
		{name: "block unaligned", module: body(1, 0x41, 8), refused: "not a multiple of 65536"},
		{name: "no block", module: body(1, 0x41, 0), refused: "has no memory"},
		{name: "negative block", module: body(1, 0x41, 0x7f), refused: "not a multiple of 65536"},
		{name: "last page as block", module: body(1, 0x41, 0x80, 0x80, 0x7c), refused: "outside its memory"},
		{name: "schema outside the memory", module: spinning(2, 0x41, 0x70, 0x0f), refused: "bad schema"},
		{name: "schema in nothing", module: spinning(2, 0x41, 0x80, 0x08, 0x0f), refused: "bad schema"},
		{name: "imports a memory", module: source{imports: [][]byte{imp("env", "memory", 2, 0, 1)}}.module(), refused: "importing a memory"},
		{name: "imports a table", module: source{imports: [][]byte{imp("env", "t", 1, 0x70, 0, 1)}}.module(), refused: "importing a table"},
		{name: "imports a global", module: source{imports: [][]byte{imp("env", "g", 3, 0x7f, 1)}}.module(), refused: "importing a global"},
		{name: "imports what is not offered", module: source{imports: [][]byte{imp("env", "system", 0, 4)}}.module(), refused: "not offered"},
		{name: "imports with another signature", module: source{imports: [][]byte{imp("weir", "log", 0, 0)}}.module(), refused: "imports weir.log as"},
		{name: "exports the meter's globals", module: source{exports: with("__weir_fuel", 0)}.module(), refused: "reserved"},
		{name: "two exports of one name", module: raw(7, vec(cat(text("memory"), []byte{2, 0}), cat(text("memory"), []byte{2, 0}))...), refused: "memory"},
		{name: "exports a function that is not there", module: raw(7, vec(cat(text("memory"), []byte{2, 0}), cat(text("weir_abi"), []byte{0, 99}))...), refused: ""},
		{name: "process with another signature", module: source{exports: with("weir_process", 0)}.module(), refused: "exports weir_process as"},
		{name: "no memory", module: source{noMemory: true}.module(), refused: "memories"},
		{name: "shared memory", module: source{memory: []byte{3, 1, 2}}.module(), refused: "shared"},
		{name: "64-bit memory", module: source{memory: []byte{4, 1}}.module(), refused: "64-bit"},
		{name: "memory over its limit from the start", module: source{memory: []byte{0, 0xff, 0xff, 3}}.module(), refused: "over its limit"},
		{name: "memory with a maximum below its size", module: source{memory: []byte{1, 9, 2}}.module(), refused: ""},
		{name: "table bomb", module: source{tables: [][]byte{{0x70, 0, 0x80, 0x80, 0x80, 0x10}}}.module(), refused: "over the limit"},
		{name: "tables that are too large together", module: source{tables: slicesRepeat([]byte{0x70, 0, 0x80, 0x80, 4}, 16)}.module(), refused: "over the limit"},
		{name: "many tables", module: source{tables: slicesRepeat([]byte{0x70, 0, 1}, 17)}.module(), refused: "17 tables"},
		{name: "list of types without end", module: raw(1, huge...), refused: "damaged"},
		{name: "list of functions without end", module: raw(3, huge...), refused: "damaged"},
		{name: "list of tables without end", module: raw(4, huge...), refused: "tables"},
		{name: "list of globals without end", module: raw(6, huge...), refused: "damaged"},
		{name: "list of exports without end", module: raw(7, huge...), refused: "damaged"},
		{name: "list of elements without end", module: raw(9, huge...), refused: "damaged"},
		{name: "list of functions' code without end", module: raw(10, huge...), refused: "damaged"},
		{name: "list of data without end", module: raw(11, huge...), refused: "damaged"},
		{name: "data outside the memory", module: raw(11, vec(cat([]byte{0, 0x41, 0x80, 0x80, 0x80, 0x80, 0x04, 0x0b}, vec([]byte{1})))...), refused: ""},
		{name: "locals without end", module: func() []byte {
			m := source{}.module()
			i := bytes.LastIndex(m, []byte{4, 0, 0x41, 1, 0x0b}) // weir_abi: size, no locals, its code
			return m[:max(i, 0)]
		}(), refused: "cut short"},
		{name: "blocks nested 100,000 deep", module: body(0, nest(100_000)...), refused: "blocks and branches"},
		{name: "blocks nested 9,000 deep", module: body(0, nest(9000)...), refused: "nested"},
		{name: "unknown opcode", module: body(0, 0xff), refused: "opcode"},
		{name: "tail call", module: body(0, 0x12, 0), refused: "tail calls"},
		{name: "atomic operation", module: body(0, 0xfe, 0x03, 0), refused: "damaged"},
		{name: "writes a global that is not there", module: body(0, 0x41, 0, 0x24, 0, 0x41, 1), refused: "damaged"},
		{name: "calls the meter's function", module: body(0, 0x10, 6, 0x41, 1), refused: "damaged"},
		{name: "reads the meter's globals", module: body(0, 0x23, 0, 0x1a, 0x41, 1), refused: "damaged"},
		{name: "cut in the middle", module: hostile(t)[:len(hostile(t))/2], refused: "cut short"},
		{name: "nothing but the magic", module: []byte("\x00asm\x01\x00\x00\x00"), refused: "0 memories"},
		{name: "a section longer than the module", module: append(source{}.module(), 0, 0xff, 0xff, 0xff, 0xff, 0x0f), refused: "cut short"},

		{name: "spin", module: spinning(4, loop...), fails: "deadline", endless: true},
		{name: "br_table loop", module: spinning(4, brTable...), fails: "deadline", endless: true},
		{name: "memory.fill for ever", module: spinning(4, fills...), fails: "deadline", endless: true},
		{name: "memory.grow for ever", module: spinning(4, grows...), fails: "deadline", endless: true},
		{name: "calls itself twice, 200 deep", module: spinning(4, twofold...), fails: "deadline", endless: true},
		{name: "direct recursion", module: spinning(4, nested...), fails: "out of stack"},
		{name: "straight-line fills", module: spinning(4, straight...)},
		{name: "host calls for ever", module: hostile(t), config: mode(76), fails: "deadline", endless: true},
		{name: "stores into its input for ever", module: hostile(t), config: mode(78), fails: "deadline", endless: true},
		{name: "memory bomb that is touched", module: hostile(t), config: mode(77), fails: "no more"},
		{name: "log flood", module: hostile(t), config: mode(38)},
		{name: "stores into every page of its input", module: hostile(t), config: mode(52)},
		{name: "fill over its input", module: hostile(t), config: mode(55), fails: "filled"},
		{name: "copy of 2 GiB", module: hostile(t), config: mode(56), fails: "out of bounds"},
		{name: "result in the host's structs", module: hostile(t), config: mode(60), fails: "neither in an input buffer"},
		{name: "pointers kept from an earlier call", module: hostile(t), config: mode(53), fails: "later"},
		{name: "buffers that are their own list", module: hostile(t), config: mode(57), fails: "bad output"},
		{name: "a batch that is its own column", module: hostile(t), config: mode(58), fails: "bad output"},
		{name: "columns over each other in the window", module: hostile(t), config: mode(59), fails: "bad output"},
		{name: "values that are the structs themselves", module: hostile(t), config: mode(61)},
		{name: "buffers unaligned", module: hostile(t), config: mode(62), fails: "not 4-aligned"},
		{name: "children unaligned", module: hostile(t), config: mode(63), fails: "not 4-aligned"},
		{name: "buffers null", module: hostile(t), config: mode(64), fails: "null pointer"},
		{name: "least length", module: hostile(t), config: mode(65), fails: "length -9223372036854775808"},
		{name: "offset beyond the data", module: hostile(t), config: mode(66), fails: "bad output"},
		{name: "null count below -1", module: hostile(t), config: mode(67), fails: "null_count"},
		{name: "null rows", module: hostile(t), config: mode(68), fails: "null rows"},
		{name: "children of a flat column", module: hostile(t), config: mode(69), fails: "n_children"},
		{name: "dictionary of the batch", module: hostile(t), config: mode(70), fails: "dictionary"},
		{name: "row numbers null", module: hostile(t), config: mode(71), fails: "null pointer"},
		{name: "offsets null", module: hostile(t), config: mode(72), fails: "null pointer"},
		{name: "bitmap at the end of memory", module: hostile(t), config: mode(73), fails: "outside the memory"},
		{name: "messages longer than memory", module: hostile(t), config: mode(74), fails: "error"},
		{name: "log lines outside the memory", module: hostile(t), config: mode(75), fails: "logged"},
	}
	for _, lie := range lies {
		all = append(all, attack{name: lie.name, module: hostile(t), config: mode(lie.mode), fails: string(lie.fault)})
	}
	return all
}

// TestAttacks gives every hostile module to a step as a pipeline would, with so much fuel that only the deadline ends what
// is endless. The test is still there afterwards; each ends within 1.2 times the deadline; and what a module took of memory
// is within its limit and a tenth, beside the pool.
func TestAttacks(t *testing.T) {
	const (
		deadline = 250 * time.Millisecond
		limit    = 64 << 20
		slot     = 1 << 20
	)
	all := attacks(t)
	seen := map[string]bool{}
	for _, a := range all {
		if seen[a.name] {
			t.Errorf("%s is there twice", a.name)
		}
		seen[a.name] = true
	}
	if len(all) < 40 {
		t.Fatalf("%d hostile modules", len(all))
	}
	schema, rows := hostileRows(t, 40)
	var slowest time.Duration
	var largest int
	for _, a := range all {
		t.Run(a.name, func(t *testing.T) {
			var took time.Duration
			var grew int
			for range 3 { // another process can hold the machine up
				took, grew = a.run(t, Config{
					Name: "1 wasm x", Module: a.module, Config: a.config, OnError: Stop, MemoryLimit: limit, MaxExpansion: 100,
					FuelPerRow: MaxFuelPerRow, Deadline: deadline,
				}, schema, rows, slot)
				if took <= deadline*12/10 && grew <= limit*11/10+4*slot {
					break
				}
			}
			if took > deadline*12/10 {
				t.Errorf("it took %v, with a deadline of %v", took, deadline)
			}
			if grew > limit*11/10+4*slot && !raceEnabled {
				t.Errorf("it took %d KiB of memory, with a limit of %d", grew>>10, limit>>10)
			}
			slowest, largest = max(slowest, took), max(largest, grew)
		})
	}
	t.Logf("%d hostile modules: the longest took %v of a deadline of %v, the largest %.1f MiB of a limit of %d and a pool of %d",
		len(all), slowest, deadline, float64(largest)/(1<<20), limit>>20, 4*slot>>20)
}

// run makes a step of the module, and gives it batches until it fails. It returns the time of the longest part, and how much
// more memory than before the process ever had.
func (a *attack) run(t *testing.T, cfg Config, schema *batch.Schema, rows [][]any, slot int) (took time.Duration, grew int) {
	debug.FreeOSMemory()
	before := resetPeak(t)
	defer func() { grew = peak(t, "VmHWM:") - before }()
	timed := func(f func() error) error {
		start := time.Now()
		err := f()
		took = max(took, time.Since(start))
		return err
	}
	ctx := context.Background()
	var step *Step
	err := timed(func() (err error) {
		step, err = New(ctx, cfg, schema)
		return err
	})
	if !strings.Contains(a.refused, "deadline") {
		took = 0 // compiling has a limit of its own
	}
	var op operators.Operator
	pool, perr := batch.NewPool([]batch.RangeSpec{{Slots: 2, SlotSize: slot}, {Slots: 2, SlotSize: slot}})
	if perr != nil {
		t.Fatal(perr)
	}
	defer pool.Close()
	if err == nil {
		debug.FreeOSMemory() // what compiling took is not the instance's
		before = resetPeak(t)
		defer step.Close()
		if err = timed(func() (err error) {
			op, err = step.Open(ctx, operators.Env{Pool: pool, Range: pool.Range(1)})
			return err
		}); err == nil {
			defer op.Close()
		}
	}
	if a.fails == "" && err != nil || a.refused != "" {
		var me *ModuleError
		if !errors.As(err, &me) || !strings.Contains(err.Error(), a.refused) {
			t.Fatalf("error %v, want one with %q", err, a.refused)
		}
		return took, 0
	}
	if err != nil {
		t.Fatal(err)
	}
	ch := &chain{pool: pool}
	defer ch.batch.Release()
	for range 3 {
		b := ch.decode(t, schema, rows)
		want := render(b)
		if err = timed(func() error { return op.Process(ctx, b) }); err != nil {
			break
		}
		if a.fails != "later" && strings.Contains(a.name, "structs themselves") == (render(b) == want) {
			t.Fatalf("not what it was given:\n%s", render(b))
		}
	}
	if a.fails == "" && err != nil || a.fails != "" && a.fails != "later" && (err == nil || !strings.Contains(err.Error(), a.fails)) {
		t.Fatalf("error %v, want one with %q", err, a.fails)
	}
	return took, 0
}

// resetPeak makes the peak of the process's memory what it has now, which it returns.
func resetPeak(t *testing.T) int {
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		return 1 << 40 // not on this system: nothing is measured
	}
	return peak(t, "VmRSS:")
}

// peak is a line of /proc/self/status, in bytes.
func peak(t *testing.T, key string) int {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for l := range strings.Lines(string(b)) {
		var kib int
		if strings.HasPrefix(l, key) {
			if _, err := fmt.Sscanf(strings.TrimPrefix(l, key), "%d kB", &kib); err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	return 0
}

// TestStoresAreCounted: what a guest stores into its input takes memory; it is found, and given back.
func TestStoresAreCounted(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the pool is not mapped")
	}
	schema, rows := hostileRows(t, 20)
	for _, c := range []struct{ mode, pages int }{{0, 0}, {45, 0}, {52, 4 * 16}} {
		ch := newChain(t, schema, 64<<10, Config{Module: hostile(t), Config: mode(c.mode)})
		if !ch.ops[0].fd {
			t.Skip("no memfd on this system")
		}
		for range 10 {
			b := ch.decode(t, schema, rows)
			if err := ch.ops[0].Process(context.Background(), b); err != nil {
				t.Fatal(err)
			}
			balance(t, b)
		}
		u := ch.ops[0].Usage()
		if c.pages == 0 && (u.Stores != 0 || u.Instances != 1) || c.pages > 0 && (u.Stores != int64(4*c.pages) || u.Instances != 1) { // after the batches 1, 2, 4 and 8
			t.Errorf("mode %d: usage %+v", c.mode, u)
		}
		o := ch.ops[0]
		input := o.g.mem.bytes()[o.wins.in:][:o.wins.inLen]
		o.countStores()
		if n, err := written(input); n != 0 || err != nil || !bytes.Equal(input, ch.pool.Bytes()) {
			t.Errorf("mode %d: %d pages are the guest's own, %v; or it does not see the pool", c.mode, n, err)
		}
	}
}

// BenchmarkStores is what a look at the stores into a pool of 16 MiB takes; it is made once in 256 batches.
func BenchmarkStores(b *testing.B) {
	schema, rows := hostileRows(b, 20)
	ch := newChain(b, schema, 4<<20, Config{Module: hostile(b), Config: mode(52)})
	if err := ch.ops[0].process(context.Background(), ch.decode(b, schema, rows)); err != nil {
		b.Fatal(err)
	}
	o := ch.ops[0]
	for b.Loop() {
		if n, err := written(o.g.mem.bytes()[o.wins.in:][:o.wins.inLen]); err != nil || n != 4096 {
			b.Fatal(n, err)
		}
	}
}
