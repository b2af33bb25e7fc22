package wasm

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// section is a section of a Wasm binary.
func section(id byte, body ...byte) []byte {
	return append(binary.AppendUvarint([]byte{id}, uint64(len(body))), body...)
}

func vec(items ...[]byte) []byte {
	return append(binary.AppendUvarint(nil, uint64(len(items))), bytes.Join(items, nil)...)
}

func text(s string) []byte { return append(binary.AppendUvarint(nil, uint64(len(s))), s...) }

func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// assembly of a module whose functions all return what their type needs, and nothing more.
type source struct {
	imports  [][]byte
	tables   [][]byte
	memory   []byte // a limits entry
	exports  map[string]int
	start    bool
	extra    []byte // a section put last
	bodies   map[int][]byte
	noMemory bool
}

// The types of the contract's functions by index: () -> i32, (i32) -> i32, (i32 i32 i32) -> i32, (i32 i32 i32 i32) -> (), (),
// (i32 i32) -> i32.
var contractTypes = vec(
	[]byte{0x60, 0, 1, 0x7f}, []byte{0x60, 1, 0x7f, 1, 0x7f}, []byte{0x60, 3, 0x7f, 0x7f, 0x7f, 1, 0x7f},
	[]byte{0x60, 4, 0x7f, 0x7f, 0x7f, 0x7f, 0}, []byte{0x60, 0, 0}, []byte{0x60, 2, 0x7f, 0x7f, 1, 0x7f},
)

var contract = map[string]int{"weir_abi": 0, "weir_alloc": 1, "weir_open": 2, "weir_windows": 3, "weir_process": 2, "memory": -1}

func (s source) module() []byte {
	out := []byte("\x00asm\x01\x00\x00\x00")
	out = append(out, section(1, contractTypes...)...)
	if s.imports != nil {
		out = append(out, section(2, vec(s.imports...)...)...)
	}
	names := []string{"weir_abi", "weir_alloc", "weir_open", "weir_windows", "weir_process", "_initialize", "_start", "__weir_fuel", "weir_snapshot", "weir_restore", "weir_flush"}
	if s.exports == nil {
		s.exports = contract
	}
	var types, exports, bodies [][]byte
	for _, n := range names {
		typ, ok := s.exports[n]
		if !ok {
			continue
		}
		i := len(types)
		exports = append(exports, cat(text(n), []byte{0, byte(len(s.imports) + i)}))
		types = append(types, []byte{byte(typ)})
		body := []byte{0x41, 0, 0x0b} // i32.const 0
		switch {
		case s.bodies[i] != nil:
			body = append(append([]byte{}, s.bodies[i]...), 0x0b)
		case n == "weir_abi":
			body[1] = 1
		case typ == 3 || typ == 4:
			body = []byte{0x0b}
		}
		bodies = append(bodies, append(binary.AppendUvarint(nil, uint64(len(body)+1)), append([]byte{0}, body...)...))
	}
	if _, ok := s.exports["memory"]; ok && !s.noMemory {
		exports = append(exports, cat(text("memory"), []byte{2, 0}))
	}
	out = append(out, section(3, vec(types...)...)...)
	if s.tables != nil {
		out = append(out, section(4, vec(s.tables...)...)...)
	}
	if s.memory == nil {
		s.memory = []byte{0, 1}
	}
	if !s.noMemory {
		out = append(out, section(5, vec(s.memory)...)...)
	}
	out = append(out, section(7, vec(exports...)...)...)
	if s.start {
		out = append(out, section(8, 0)...)
	}
	out = append(out, section(10, vec(bodies...)...)...)
	return append(out, s.extra...)
}

func without(name string) map[string]int {
	m := map[string]int{}
	for k, v := range contract {
		if k != name {
			m[k] = v
		}
	}
	return m
}

func with(name string, typ int) map[string]int {
	m := without("")
	m[name] = typ
	return m
}

// TestNewRefuses holds each reason to refuse a module against its message.
func TestNewRefuses(t *testing.T) {
	schema, _ := sensors(t, 0)
	calibrate := example(t, "calibrate")
	imp := func(module, name string, kind ...byte) []byte { return cat(text(module), text(name), kind) }
	limits := func(b ...byte) []byte { return b }
	cases := []struct {
		name   string
		module []byte
		config string
		want   string
	}{
		{"empty", []byte{}, "", `not a Wasm module (starts with "")`},
		{"text", []byte("#!/bin/sh\necho"), "", `not a Wasm module (starts with "#!/bin/s")`},
		{"component", []byte("\x00asm\x0d\x00\x01\x00"), "", "a Wasm component, not a core module"},
		{"version", []byte("\x00asm\x07\x00\x00\x00"), "", "of Wasm version 7"},
		{"only a header", calibrate[:8], "", "with 0 memories"},
		{"truncated", calibrate[:len(calibrate)-100], "", "is cut short"},
		{"damaged code", func() []byte {
			m := bytes.Clone(calibrate)
			copy(m[len(m)/2:], bytes.Repeat([]byte{0xff}, 64))
			return m
		}(), "", "damaged: function "},
		{"unknown code", source{bodies: map[int][]byte{0: {0x12, 0}}}.module(), "", "damaged: function 0, at byte 2: opcode 0x12 is not supported (tail calls)"},
		{"mistyped code", source{bodies: map[int][]byte{0: {0x42, 0}}}.module(), "", "not a valid Wasm module"},
		{"metered by itself", source{exports: with("__weir_fuel", 0)}.module(), "", `an export named "__weir_fuel": names that begin with __weir_ are reserved`},
		{"no process", source{exports: without("weir_process")}.module(), "", "does not export weir_process"},
		{"nothing but memory", source{exports: map[string]int{"memory": -1, "_start": 4}}.module(), "", "built as a program"},
		{"no memory", source{noMemory: true}.module(), "", "with 0 memories"},
		{"memory not exported", source{exports: without("memory")}.module(), "", "does not export its memory"},
		{"wrong signature", source{exports: with("weir_alloc", 0)}.module(), "", "exports weir_alloc as () -> (i32), which must be (i32) -> (i32)"},
		{"snapshot without restore", source{exports: with("weir_snapshot", 0)}.module(), "", "exports weir_snapshot and not weir_restore"},
		{"restore without snapshot", source{exports: with("weir_restore", 5)}.module(), "", "exports weir_restore and not weir_snapshot"},
		{"restore of another type", source{exports: with("weir_restore", 1)}.module(), "", "exports weir_restore as (i32) -> (i32)"},
		{"flush", source{exports: with("weir_flush", 4)}.module(), "", "exports weir_flush, which is reserved"},
		{"unknown import", source{imports: [][]byte{imp("env", "foo", 0, 4)}}.module(), "", "imports env.foo, which is not offered; offered: weir.log, weir.error, and stubs of wasi_snapshot_preview1"},
		{"import of another type", source{imports: [][]byte{imp("weir", "error", 0, 0)}}.module(), "", "imports weir.error as () -> (i32), which is (i32, i32) -> ()"},
		{"imported memory", source{imports: [][]byte{imp("env", "memory", 2, 0, 1)}}.module(), "", "importing a memory, env.memory"},
		{"imported table", source{imports: [][]byte{imp("env", "t", 1, 0x70, 0, 1)}}.module(), "", "importing a table, env.t"},
		{"imported global", source{imports: [][]byte{imp("env", "g", 3, 0x7f, 0)}}.module(), "", "importing a global, env.g"},
		{"shared memory", source{memory: limits(3, 1, 2)}.module(), "", "with a shared or 64-bit memory"},
		{"memory over the limit", source{memory: limits(0, 0x81, 0x80, 0x04)}.module(), "", "starts with 4194368 KiB of memory, over its limit"},
		{"start function", source{start: true}.module(), "", "with a start function"},
		{"huge table", source{tables: [][]byte{{0x70, 0, 0x80, 0x80, 0x80, 0x10}}}.module(), "", "with tables of 33554432 entries, over the limit of 131072: raise limits.tables"},
		{"many tables", source{tables: slicesRepeat([]byte{0x70, 0, 1}, 17)}.module(), "", "with 17 tables"},
		{"wrong version of the ABI", source{bodies: map[int][]byte{0: {0x41, 2}}}.module(), "", "built for version 2 of the operator ABI, and this is version 1"},
		{"alloc fails", source{}.module(), "", "has no memory for its configuration"},
		{"alloc outside", source{bodies: map[int][]byte{1: {0x41, 0x80, 0x80, 0x04}}}.module(), "", "outside its memory of 65536 bytes"},
		{"alloc unaligned", source{bodies: map[int][]byte{1: {0x41, 8}}}.module(), "", "not a multiple of 65536"},
		{"trap in alloc", source{bodies: map[int][]byte{1: {0x00}}}.module(), "", "unreachable"},
		{"trap in _initialize", source{exports: with("_initialize", 4), bodies: map[int][]byte{5: {0x00}}}.module(), "", "fails in _initialize"},
		{"schema refused", calibrate, `{"column": "nothing"}`, "refused the input schema or its configuration: no float64 column to calibrate"},
		{"key refused", calibrate, `{"scale": 2, "ofs\u0065t": 1}`, `refused the input schema or its configuration: config has no key "ofset"; there are: column scale offset by classes`},
		{"key refused in Go", example(t, "calibrate-go"), `{"scale": 2, "ofs\u0065t": 1}`, `config has no key "ofset"; there are: column scale offset by classes`},
		{"key refused in Rust", example(t, "calibrate-rust"), `{"scale": 2, "ofs\u0065t": 1}`, `config has no key "ofset"; there are: column scale offset by classes`},
		{"key refused in AssemblyScript", example(t, "calibrate-assemblyscript"), `{"scale": 2, "ofs\u0065t": 1}`, `config has no key "ofset"; there are: column scale offset by classes`},
		{"schema refused in Go", example(t, "calibrate-go"), `{"column": "site"}`, "needs column site of type float64; it is string"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := New(context.Background(), Config{Name: "2 wasm x", Path: "dir/x.wasm", Module: c.module, Config: []byte(c.config), Cache: compiled}, schema)
			var me *ModuleError
			if !errors.As(err, &me) || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "x.wasm: ") {
				t.Fatalf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

func slicesRepeat(b []byte, n int) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		out[i] = b
	}
	return out
}

func TestNewReadsFiles(t *testing.T) {
	schema, _ := sensors(t, 0)
	_, err := New(context.Background(), Config{Path: filepath.Join(t.TempDir(), "none.wasm")}, schema)
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "cannot be read") {
		t.Fatal(err)
	}
	_, err = New(context.Background(), Config{Path: "testdata/hostile/hostile.wasm", ModuleLimit: 1000}, schema)
	if err == nil || !strings.Contains(err.Error(), "over the limit of 1000") {
		t.Fatal(err)
	}
	_, err = New(context.Background(), Config{Path: t.TempDir()}, schema)
	if err == nil || !strings.Contains(err.Error(), "it is not a file; the path is relative") {
		t.Fatal(err)
	}
	s := newStep(t, Config{Path: "testdata/hostile/hostile.wasm"}, schema)
	if s.Name() != "wasm hostile" || s.Digest() == [32]byte{} || !s.Out().Equal(schema) {
		t.Fatal(s.Name(), s.Out())
	}
	reserved := schemaOf(t, "_row: int64")
	if _, err := New(context.Background(), Config{Path: "testdata/hostile/hostile.wasm"}, reserved); err == nil || !strings.Contains(err.Error(), "_row, which is reserved") {
		t.Fatal(err)
	}
}

func TestValidate(t *testing.T) {
	for want, cfg := range map[string]Config{
		"no module":              {},
		"on_error is \"ignore\"": {Path: "x", OnError: "ignore"},
		"is not JSON":            {Path: "x", Config: []byte("offset: 1")},
		"limits.memory is 1":     {Path: "x", MemoryLimit: 1},
		"max_rows is -1":         {Path: "x", MaxRows: -1},
	} {
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// TestTablesCannotGrow: the memory limit does not count tables, so they stay as large as they begin.
func TestTablesCannotGrow(t *testing.T) {
	m, err := admit(source{tables: [][]byte{{0x70, 0, 7}, {0x6f, 1, 2, 9}}}.module(), DefaultTableLimit)
	if err != nil {
		t.Fatal(err)
	}
	if want := section(4, vec([]byte{0x70, 1, 7, 7}, []byte{0x6f, 1, 2, 9})...); !bytes.Contains(m.module, want) {
		t.Fatalf("no % x in % x", want, m.module)
	}
}

// FuzzAdmit: no module makes the admission panic, and what it lets through, the runtime takes or refuses without panic.
func FuzzAdmit(f *testing.F) {
	f.Add(source{}.module())
	f.Add(source{start: true, tables: [][]byte{{0x70, 0, 7}}}.module())
	f.Add(example(f, "calibrate"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := admit(b, DefaultTableLimit)
		if err != nil || a.memPages > 16 || len(b) > 32<<10 {
			return
		}
		m, err := compile(context.Background(), &Config{Module: b, ModuleLimit: 1 << 20, MemoryLimit: 1 << 20, Interpreter: true, CompileTime: time.Minute}, rowwise)
		if err != nil {
			return
		}
		_ = m.close()
	})
}
