package meter_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/weir-stream/weir/operators/wasm/meter"
)

// TestRefused holds each reason to refuse a module against its message.
func TestRefused(t *testing.T) {
	good := function(0x20, 0)
	change := func(f func(s *source)) []byte {
		s := good
		f(&s)
		return s.module()
	}
	code := func(code ...byte) []byte { return function(code...).module() }
	for _, c := range []struct {
		name   string
		module []byte
		want   string
	}{
		{"empty", nil, "not a Wasm module"},
		{"no memory", change(func(s *source) { s.noMemory = true }), "without a memory"},
		{"cut", good.module()[:len(good.module())-2], "section 10 is cut short"},
		{"bodies", change(func(s *source) { s.funcs = [][]byte{{0}, {0}} }), "2 functions but 1 bodies"},
		{"sections out of order", change(func(s *source) { s.last = []byte{1, 1, 0} }), "section 1 is out of order"},
		{"section twice", change(func(s *source) { s.data, s.last = [][]byte{}, []byte{11, 1, 0} }), "section 11 is out of order"},
		{"tags", change(func(s *source) { s.last = []byte{13, 1, 0} }), "section of kind 13"},
		{"a longer list than the module", change(func(s *source) { s.last = []byte{11, 5, 0xff, 0xff, 0xff, 0xff, 0x0f} }), "a list of 4294967295 items"},

		{"call of slow", code(0x20, 0, 0x10, 1), "function 1 of 1"},
		{"ref.func of slow", code(0xd2, 1, 0x1a, 0x20, 0), "function 1 of 1"},
		{"get of fuel", code(0x23, 0, 0x1a, 0x20, 0), "global 0 of 0"},
		{"set of fuel", code(0x42, 0, 0x24, 0, 0x20, 0), "global 0 of 0"},
		{"get of the local", code(0x20, 1, 0x1a, 0x20, 0), "local 1 of 1"},
		{"set of the local", code(0x42, 0, 0x21, 1, 0x20, 0), "local 1 of 1"},
		{"tee of the local", code(0x42, 0, 0x22, 1, 0x1a, 0x20, 0), "local 1 of 1"},
		{"type of slow", code(0x20, 0, 0x41, 0, 0x11, 1, 0), "type 1 of 1"},
		{"block of the type of slow", code(0x02, 1, 0x0b, 0x20, 0), "type 1 of 1"},
		{"function of the type of slow", change(func(s *source) { s.funcs = [][]byte{{1}} }), "type 1 of 1"},
		{"export of slow", change(func(s *source) { s.exports = [][]byte{cat(text("x"), []byte{0, 1})} }), "function 1 of 1"},
		{"export of fuel", change(func(s *source) { s.exports = [][]byte{cat(text("x"), []byte{3, 0})} }), "global 0 of 0"},
		{"export with a reserved name", change(func(s *source) { s.exports = [][]byte{cat(text("__weir_fuel"), []byte{0, 0})} }), "names that begin with __weir_ are reserved"},
		{"start with slow", change(func(s *source) { s.start = []byte{1} }), "function 1 of 1"},
		{"element of slow", change(func(s *source) {
			s.tables, s.elements = [][]byte{{0x70, 0, 1}}, [][]byte{{0, 0x41, 0, 0x0b, 1, 1}}
		}), "function 1 of 1"},
		{"element expression of slow", change(func(s *source) {
			s.tables, s.elements = [][]byte{{0x70, 0, 1}}, [][]byte{{4, 0x41, 0, 0x0b, 1, 0xd2, 1, 0x0b}}
		}), "function 1 of 1"},
		{"declared element of slow", change(func(s *source) { s.elements = [][]byte{{3, 0, 1, 1}} }), "function 1 of 1"},
		{"element at fuel", change(func(s *source) {
			s.tables, s.elements = [][]byte{{0x70, 0, 1}}, [][]byte{{0, 0x23, 0, 0x0b, 1, 0}}
		}), "global 0 of 0"},
		{"data at fuel", change(func(s *source) { s.data = [][]byte{{0, 0x23, 0, 0x0b, 0}} }), "global 0 of 0"},
		{"global of slow", change(func(s *source) { s.globals = [][]byte{{0x70, 0, 0xd2, 1, 0x0b}} }), "function 1 of 1"},
		{"global of fuel", change(func(s *source) { s.globals = [][]byte{{0x7e, 0, 0x23, 1, 0x0b}} }), "global 1 of 1"},
		{"code in a constant", change(func(s *source) { s.globals = [][]byte{{0x7f, 0, 0x41, 0, 0x45, 0x0b}} }), "opcode 0x45 in a constant"},

		{"tail call", code(0x20, 0, 0x12, 0), "(tail calls)"},
		{"try", code(0x1f, 0x40, 0, 0x0b, 0x20, 0), "(exceptions)"},
		{"atomic", code(0xfe, 3, 0, 0x20, 0), "(threads)"},
		{"struct", code(0xfb, 0, 0x20, 0), "(garbage collection"},
		{"unknown opcode", code(0xff, 0x20, 0), "opcode 0xff is not supported"},
		{"unknown misc opcode", code(0xfc, 18, 0x20, 0), "opcode 0xfc 0x12"},
		{"misc opcode written long", code(0xfc, 0x80, 0), "opcode 0xfc 0x80"},
		{"relaxed vectors", code(0xfd, 0x80, 2, 0x20, 0), "opcode 0xfd 0x80"},
		{"vector opcode written short", code(0xfd, 0xae, 0x20, 0), "opcode 0xfd 0xae"},
		{"another memory", code(0x20, 0, 0x28, 0x42, 0, 0), "alignment 2^66"},
		{"memory 1", code(0x3f, 1), "a reserved byte"},
		{"else alone", code(0x02, 0x40, 0x05, 0x0b, 0x20, 0), "else without if"},
		{"else twice", code(0x20, 0, 0x04, 0x40, 0x05, 0x05, 0x0b, 0x20, 0), "else without if"},
		{"branch too far", code(0x0c, 1), "label 1 of 1"},
		{"code after the end", code(0x20, 0, 0x0b), "code after the end"},
		{"not closed", code(0x02, 0x40, 0x20, 0), "cut short"},
		{"number too long", code(0x41, 0x80, 0x80, 0x80, 0x80, 0x80, 0), "more than 32 bits"},
		{"number with bits to spare", code(0x41, 0x80, 0x80, 0x80, 0x80, 0x10), "more than 32 bits"},
		{"functions", change(func(s *source) { s.funcs = slices.Repeat([][]byte{{0}}, 50_001) }), "with 50001 functions: at most 50000 are allowed (limits.functions)"},
		{"types", change(func(s *source) { s.types = slices.Repeat(s.types, 2001) }), "with 2001 types: at most 2000"},
		{"parameters", change(func(s *source) {
			s.types = [][]byte{cat([]byte{0x60, 0xe9, 7}, bytes.Repeat([]byte{0x7f}, 1001), []byte{1, 0x7f})}
		}), "a type of 1001 parameters or results: at most 1000"},
		{"body", code(append(bytes.Repeat([]byte{1}, 512<<10), 0x20, 0)...), "with function 0 that has 524292 bytes: at most 524288"},
		{"blocks", code(append(bytes.Repeat([]byte{0x02, 0x40, 0x0b}, 10_001), 0x20, 0)...), "function 0 that has 10001 blocks and branches: at most 10000"},
		{"loops", code(append(bytes.Repeat([]byte{0x03, 0x40, 0x0b}, 1251), 0x20, 0)...), "10008 blocks and branches"},
		{"targets", code(cat([]byte{0x02, 0x40, 0x20, 0, 0x0e, 0x80, 0xf1, 4}, make([]byte, 80_001), []byte{0x0b, 0x20, 0})...), "10002 blocks and branches"},
		{"nesting", code(cat(bytes.Repeat([]byte{0x02, 0x40}, 5000), bytes.Repeat([]byte{0x0b}, 5000), []byte{0x20, 0})...), "5001 nested blocks: at most 5000"},
		{"nested loops", code(cat(bytes.Repeat([]byte{0x03, 0x40}, 33), bytes.Repeat([]byte{0x0b}, 33), []byte{0x20, 0})...), "33 nested loops: at most 32"},
		{"effort", code(append(bytes.Repeat([]byte{0x02, 0x40, 0x0b}, 9000), 0x20, 0)...), "steps for the compiler: at most 3000000"},
		{"effort of all", change(func(s *source) {
			s.funcs, s.code = slices.Repeat([][]byte{{0}}, 40), slices.Repeat([][]byte{body(append(bytes.Repeat([]byte{0x02, 0x40, 0x0b}, 6000), 0x20, 0)...)}, 40)
		}), "too much to compile: up to function 34 of 40"},
		{"locals", change(func(s *source) {
			s.code = [][]byte{sized([]byte{1, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x7f, 0x20, 0, 0x0b})}
		}), "4294967296 locals"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := meter.Rewrite(c.module, limits)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want one with %q", err, c.want)
			}
		})
	}
	if _, err := meter.Rewrite(good.module(), limits); err != nil {
		t.Fatal(err)
	}
}

// TestTooLarge: a result over the limit is refused while it is made.
func TestTooLarge(t *testing.T) {
	m := function(append(bytes.Repeat([]byte{0x03, 0x40, 0x0b}, 1000), 0x20, 0)...).module()
	if _, err := meter.Rewrite(m, meter.Limits{Size: 2 * len(m), Stack: meter.DefaultStack}); err == nil || !strings.Contains(err.Error(), "with its fuel checks") {
		t.Fatal(err)
	}
	if out, err := meter.Rewrite(m, limits); err != nil || len(out) > 20*len(m) {
		t.Fatalf("%d bytes became %d, error %v", len(m), len(out), err)
	}
}

// count is a loop with as many rounds as the parameter says.
var count = function(
	0x03, 0x40, // loop
	0x20, 0, 0x41, 1, 0x6b, 0x22, 0, // n -= 1
	0x0d, 0, // br_if 0
	0x0b,
	0x20, 0,
)

// TestCost: what a loop costs is proportional to its rounds, and not far from its instructions.
func TestCost(t *testing.T) {
	for engine := range engines {
		m := instantiate(t, newRuntime(t, engine), count.module())
		used := func(n uint64) int64 {
			_, used, err := m.call(1<<40, n)
			if err != nil {
				t.Fatal(err)
			}
			return used
		}
		one := used(1)
		perRound := used(2) - one
		if perRound != 6 { // loop, local.get, i32.const, i32.sub, local.tee, br_if
			t.Fatalf("%s: a round costs %d", engine, perRound)
		}
		// At the end of a slice the loop begins again, which costs a round.
		if n, got := int64(1_000_000), used(1_000_000); got < one+(n-1)*perRound || got > one+(n-1)*perRound+40*perRound {
			t.Fatalf("%s: %d rounds cost %d", engine, n, got)
		}
	}
}

// TestBranches: code that is not reached costs at most foldLimit, wherever it is.
func TestBranches(t *testing.T) {
	work := bytes.Repeat([]byte{0x20, 0, 0x1a}, 1000)
	small := bytes.Repeat([]byte{0x20, 0, 0x04, 0x40, 0x20, 0, 0x1a, 0x0b}, 500) // ifs of two instructions
	for name, code := range map[string][]byte{
		"if":     cat([]byte{0x20, 0, 0x04, 0x40}, work, []byte{0x0b, 0x20, 0}),
		"else":   cat([]byte{0x20, 0, 0x45, 0x04, 0x40, 0x05}, work, []byte{0x0b, 0x20, 0}),
		"br_if":  cat([]byte{0x02, 0x40, 0x20, 0, 0x45, 0x0d, 0}, work, []byte{0x0b, 0x20, 0}),
		"return": cat([]byte{0x20, 0, 0x45, 0x04, 0x40, 0x20, 0, 0x0f, 0x0b}, work, []byte{0x20, 0}),
		"inside": cat([]byte{0x20, 0, 0x04, 0x40}, small, []byte{0x0b, 0x20, 0}),
	} {
		m := instantiate(t, newRuntime(t, "interpreter"), function(code...).module())
		if _, used, err := m.call(1<<40, 0); err != nil || used > 30 {
			t.Errorf("%s: %d for what is not reached, error %v", name, used, err)
		}
		if _, used, err := m.call(1<<40, 1); err != nil || used < 1000 {
			t.Errorf("%s: %d for what is reached, error %v", name, used, err)
		}
	}
}

// TestLongPiece: a loop whose rounds take more than a slice goes on, and pays for each once.
func TestLongPiece(t *testing.T) {
	const n = 170_000 // of two instructions
	work := bytes.Repeat([]byte{0x20, 0, 0x1a}, n)
	m := instantiate(t, newRuntime(t, "interpreter"),
		function(cat([]byte{0x03, 0x40}, work, []byte{0x20, 0, 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0, 0x0b, 0x20, 0})...).module())
	if _, used, err := m.call(1<<40, 5); err != nil || used < 10*n || used > 10*n+100 {
		t.Fatalf("%d fuel, error %v", used, err)
	}
}

// TestSpent: with a unit too few a call traps, always at the same place; with enough it does not.
func TestSpent(t *testing.T) {
	for engine := range engines {
		m := instantiate(t, newRuntime(t, engine), count.module())
		_, need, err := m.call(1<<40, 100_000)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err = m.call(need, 100_000); err != nil {
			t.Fatalf("%s: %v with %d", engine, err, need)
		}
		for range 3 {
			if _, _, err = m.call(need-20, 100_000); err == nil || !m.spent() {
				t.Fatalf("%s: error %v with too little fuel", engine, err)
			}
		}
		if _, _, err = m.call(need, 100_000); err != nil {
			t.Fatalf("%s: %v after traps", engine, err)
		}
	}
}

// endless are functions that would never return, or not for hours.
var endless = map[string]source{
	"loop":                    function(0x03, 0x40, 0x0c, 0, 0x0b, 0x00),
	"loop with an operand":    function(0x20, 0, 0x03, 0, 0x0c, 0, 0x0b),
	"loop of a piece":         function(append(append([]byte{0x03, 0x40}, bytes.Repeat([]byte{0x20, 0, 0x1a}, 170_000)...), 0x0c, 0, 0x0b, 0x00)...),
	"loop with a value":       function(0x03, 0x7f, 0x0c, 0, 0x0b),
	"br_if":                   function(0x03, 0x40, 0x41, 1, 0x0d, 0, 0x0b, 0x20, 0),
	"br_table":                function(0x03, 0x40, 0x02, 0x40, 0x20, 0, 0x0e, 1, 1, 1, 0x0b, 0x0b, 0x20, 0),
	"br out of a block":       function(0x03, 0x40, 0x02, 0x40, 0x0c, 1, 0x0b, 0x0b, 0x20, 0),
	"inner loop goes on":      function(0x03, 0x40, 0x03, 0x40, 0x0c, 1, 0x0b, 0x0b, 0x00),
	"loops that end":          function(0x03, 0x40, 0x03, 0x40, 0x0b, 0x0c, 0, 0x0b, 0x00),
	"recursion":               function(0x20, 0, 0x10, 0),
	"twofold recursion":       recursion,
	"recursion by a table":    {types: recursion.types, funcs: recursion.funcs, exports: recursion.exports, tables: [][]byte{{0x70, 0, 1}}, elements: [][]byte{{0, 0x41, 0, 0x0b, 1, 0}}, code: [][]byte{body(0x20, 0, 0x41, 0, 0x11, 0, 0)}},
	"memory.fill":             function(0x03, 0x40, 0x41, 0, 0x41, 1, 0x41, 0x80, 0x80, 4, 0xfc, 11, 0, 0x0c, 0, 0x0b, 0x00),
	"memory.copy":             function(0x03, 0x40, 0x41, 0, 0x41, 0, 0x41, 0x80, 0x80, 4, 0xfc, 10, 0, 0, 0x0c, 0, 0x0b, 0x00),
	"memory.grow":             function(0x03, 0x40, 0x41, 1, 0x40, 0, 0x1a, 0x0c, 0, 0x0b, 0x00),
	"straight fills":          function(append(bytes.Repeat([]byte{0x41, 0, 0x41, 1, 0x41, 0x80, 0x80, 4, 0xfc, 11, 0}, 1_000), 0x20, 0)...),
	"straight calls of fills": {types: recursion.types, funcs: [][]byte{{0}, {0}}, exports: recursion.exports, code: [][]byte{body(append(bytes.Repeat([]byte{0x20, 0, 0x10, 1, 0x1a}, 1_000), 0x20, 0)...), body(0x41, 0, 0x41, 1, 0x41, 0x80, 0x80, 4, 0xfc, 11, 0, 0x20, 0)}},
	"table.grow":              {types: recursion.types, funcs: recursion.funcs, exports: recursion.exports, tables: [][]byte{{0x70, 1, 1, 0x80, 0x80, 4}}, code: [][]byte{body(0x03, 0x40, 0xd0, 0x70, 0x41, 1, 0xfc, 15, 0, 0x1a, 0x0c, 0, 0x0b, 0x00)}},
	"table.fill":              {types: recursion.types, funcs: recursion.funcs, exports: recursion.exports, tables: [][]byte{{0x70, 1, 0x80, 0x80, 4, 0x80, 0x80, 4}}, code: [][]byte{body(0x03, 0x40, 0x41, 0, 0xd0, 0x70, 0x41, 0x80, 0x80, 4, 0xfc, 17, 0, 0x0c, 0, 0x0b, 0x00)}},
}

// recursion calls itself twice until a depth of 60.
var recursion = function(
	0x20, 0, 0x41, 60, 0x4e, 0x04, 0x40, 0x20, 0, 0x0f, 0x0b,
	0x20, 0, 0x41, 1, 0x6a, 0x10, 0, 0x1a,
	0x20, 0, 0x41, 1, 0x6a, 0x10, 0,
)

// TestEndless: whatever would go on for ever is ended by its fuel, in both engines after the same work.
func TestEndless(t *testing.T) {
	for name, src := range endless {
		t.Run(name, func(t *testing.T) {
			fuel := int64(1_000_000)
			if strings.HasPrefix(name, "recursion") {
				fuel = 10_000 // before the stack of the engine is full
			}
			for engine := range engines {
				m := instantiate(t, newRuntime(t, engine), src.module())
				if _, _, err := m.call(fuel, 1); err == nil || !m.spent() {
					t.Fatalf("%s: error %v, fuel %d, budget %d", engine, err, int64(m.fuel.Get()), int64(m.budget.Get()))
				}
			}
		})
	}
}

// TestForgotten: without fuel nothing runs, and a stopped guest ends although it has fuel.
func TestForgotten(t *testing.T) {
	m := instantiate(t, newRuntime(t, "compiler"), endless["loop"].module())
	if _, err := m.ExportedFunction("f").Call(context.Background(), 0); err == nil || !m.spent() {
		t.Fatalf("error %v without fuel", err)
	}
	m.stop.Set(1)
	if _, _, err := m.call(1<<50, 1); err == nil || m.spent() {
		t.Fatalf("error %v with the stop set", err)
	}
}
