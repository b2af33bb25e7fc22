package meter_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/weir-stream/weir/operators/wasm/meter"
)

var limits = meter.Limits{Size: 64 << 20, Stack: meter.DefaultStack}

// source is a module to be assembled. Sections that are nil are left out.
type source struct {
	types, imports, funcs, tables, globals, exports, elements, code, data [][]byte
	memory                                                                []byte // limits; nil: one page
	noMemory                                                              bool
	start, dataCount, last                                                []byte
}

func vec(items ...[]byte) []byte {
	return append(binary.AppendUvarint(nil, uint64(len(items))), bytes.Join(items, nil)...)
}

func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func text(s string) []byte { return append(binary.AppendUvarint(nil, uint64(len(s))), s...) }

func sized(b []byte) []byte { return append(binary.AppendUvarint(nil, uint64(len(b))), b...) }

// body is a function body without locals.
func body(code ...byte) []byte { return sized(cat([]byte{0}, code, []byte{0x0b})) }

func (s source) module() []byte {
	if s.memory == nil {
		s.memory = []byte{0, 1}
	}
	if !s.noMemory {
		s.exports = append(s.exports, cat(text("memory"), []byte{2, 0}))
	}
	out := []byte("\x00asm\x01\x00\x00\x00")
	add := func(id byte, body []byte) { out = append(append(out, id), sized(body)...) }
	list := func(id byte, items [][]byte) {
		if items != nil {
			add(id, vec(items...))
		}
	}
	list(1, s.types)
	list(2, s.imports)
	list(3, s.funcs)
	list(4, s.tables)
	if !s.noMemory {
		add(5, vec(s.memory))
	}
	list(6, s.globals)
	list(7, s.exports)
	if s.start != nil {
		add(8, s.start)
	}
	list(9, s.elements)
	if s.dataCount != nil {
		add(12, s.dataCount)
	}
	list(10, s.code)
	list(11, s.data)
	return append(out, s.last...)
}

// function is a module with one exported function (i32) -> i32.
func function(code ...byte) source {
	return source{
		types: [][]byte{{0x60, 1, 0x7f, 1, 0x7f}}, funcs: [][]byte{{0}}, code: [][]byte{body(code...)},
		exports: [][]byte{cat(text("f"), []byte{0, 0})},
	}
}

// engines make a runtime of each kind.
var engines = map[string]func() wazero.RuntimeConfig{
	"compiler": wazero.NewRuntimeConfigCompiler, "interpreter": wazero.NewRuntimeConfigInterpreter,
}

func newRuntime(t testing.TB, engine string) wazero.Runtime {
	rt := wazero.NewRuntimeWithConfig(context.Background(),
		engines[engine]().WithCoreFeatures(api.CoreFeaturesV2).WithMemoryLimitPages(256).WithDebugInfoEnabled(false))
	t.Cleanup(func() { _ = rt.Close(context.Background()) })
	return rt
}

// metered is an instance of a rewritten module.
type metered struct {
	api.Module
	fuel, budget, stop, stack api.MutableGlobal
}

func rewrite(t testing.TB, module []byte) []byte {
	t.Helper()
	out, err := meter.Rewrite(module, limits)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func instantiate(t testing.TB, rt wazero.Runtime, module []byte) metered {
	t.Helper()
	return connect(t, rt, rewrite(t, module))
}

// connect makes an instance of a module that was rewritten.
func connect(t testing.TB, rt wazero.Runtime, rewritten []byte) metered {
	t.Helper()
	mod, err := rt.InstantiateWithConfig(context.Background(), rewritten, wazero.NewModuleConfig().WithName(""))
	if err != nil {
		t.Fatal(err)
	}
	global := func(name string) api.MutableGlobal { return mod.ExportedGlobal(name).(api.MutableGlobal) }
	return metered{mod, global(meter.ExportFuel), global(meter.ExportBudget), global(meter.ExportStop), global(meter.ExportStack)}
}

// call runs the function f with so much fuel and tells how much it took.
func (m metered) call(fuel int64, args ...uint64) (results []uint64, used int64, err error) {
	m.fuel.Set(0)
	m.budget.Set(uint64(fuel))
	m.stack.Set(meter.DefaultStack)
	results, err = m.ExportedFunction("f").Call(context.Background(), args...)
	return results, fuel - int64(m.fuel.Get()) - int64(m.budget.Get()), err
}

func (m metered) spent() bool { return int64(m.fuel.Get()) == meter.Spent }

// stopped tells whether the last call was ended by what the module was rewritten for.
func (m metered) stopped() bool { return m.spent() || int64(m.stack.Get()) < 0 }
