package wasm

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero/api"

	"github.com/weir-stream/weir/operators/abi"
	"github.com/weir-stream/weir/operators/wasm/meter"
)

// module is a compiled operator: what all instances of a step share.
type module struct {
	code     *entry
	cache    *Cache
	own      bool     // the cache is this module's alone
	digest   [32]byte // SHA-256 of the module as it was given
	memBytes int      // memory it starts with
	stateful bool     // it exports weir_snapshot and weir_restore

	unmetered bool
}

// meteredSize is how many times its limit a module may have once it is metered.
const meteredSize = 4

// compile checks a module and compiles it. The error is a *ModuleError.
func compile(ctx context.Context, cfg *Config, k kind) (*module, error) {
	fail := func(problem string, err error, hint string) error {
		return &ModuleError{Module: cfg.label(), Problem: problem, Err: err, Hint: hint}
	}
	if len(cfg.Module) > cfg.ModuleLimit {
		return nil, fail(fmt.Sprintf("of %d bytes is over the limit of %d", len(cfg.Module), cfg.ModuleLimit), nil,
			"strip it, or leave large dependencies out")
	}
	a, err := admit(cfg.Module, cfg.TableLimit)
	if err != nil {
		return nil, fail(err.Error(), nil, "")
	}
	if least := uint64(a.memPages) * abi.PageSize; least > uint64(cfg.MemoryLimit) {
		return nil, fail(fmt.Sprintf("starts with %d KiB of memory, over its limit of %d KiB", least>>10, cfg.MemoryLimit>>10), nil,
			"raise limits.memory")
	}
	if !cfg.unmetered {
		// What the rewriter lets pass is what the runtime decodes: lists longer than the module, above all, would have it
		// reserve their memory.
		if a.module, err = meter.Rewrite(a.module, meter.Limits{Size: meteredSize * cfg.ModuleLimit, Stack: cfg.Stack, Functions: cfg.MaxFunctions}); err != nil {
			return nil, fail(err.Error(), nil, "")
		}
	}
	m := &module{
		cache: cfg.Cache, digest: sha256.Sum256(cfg.Module), memBytes: int(a.memPages) * abi.PageSize, unmetered: cfg.unmetered,
	}
	if m.cache == nil {
		m.cache, m.own = NewCache(), true
	}
	if err := m.compileWithin(ctx, cfg.CompileTime, a.module, cfg.Interpreter); err != nil {
		if errors.Is(err, errSlow) {
			return nil, fail("was not compiled", err, "raise limits.compile_time, or leave large dependencies out")
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("compile %s: %w", cfg.label(), context.Cause(ctx))
		}
		return nil, fail("not a valid Wasm module", err, "")
	}
	if problem, hint := m.check(k); problem != "" {
		_ = m.close()
		return nil, fail(problem, nil, hint)
	}
	_, m.stateful = m.code.compiled.ExportedFunctions()[abi.ExportSnapshot]
	return m, nil
}

// exports are the functions of the contract, with their signatures as in hostFunc, and the kinds that must have them.
var exports = []struct {
	name, params, results string
	needed                []kind
}{
	{abi.ExportABI, "", "i", []kind{rowwise, aggregating}},
	{abi.ExportAlloc, "i", "i", []kind{rowwise, aggregating}},
	{abi.ExportOpen, "iii", "i", []kind{rowwise, aggregating}},
	{abi.ExportWindows, "iiii", "", []kind{rowwise}},
	{abi.ExportProcess, "iii", "i", []kind{rowwise}},
	{abi.ExportAccumulate, "iiii", "i", []kind{aggregating}},
	{abi.ExportMerge, "iiii", "i", []kind{aggregating}},
	{abi.ExportFinish, "iii", "i", []kind{aggregating}},
	{abi.ExportInitialize, "", "", nil},
	{abi.ExportSnapshot, "", "i", nil},
	{abi.ExportRestore, "ii", "i", nil},
}

// kind is what a module is used as.
type kind uint8

const (
	rowwise     kind = iota // a step
	aggregating             // an aggregate of a window
)

// check holds a compiled module against the contract and says what is missing.
func (m *module) check(k kind) (problem, hint string) {
	const seeABI = "see operators/abi/ABI.md"
	if _, ok := m.code.compiled.ExportedMemories()[abi.ExportMemory]; !ok {
		return "does not export its memory as " + abi.ExportMemory, seeABI
	}
	have := m.code.compiled.ExportedFunctions()
	var missing []string
	for _, e := range exports {
		f, ok := have[e.name]
		switch {
		case !ok && slices.Contains(e.needed, k):
			missing = append(missing, e.name)
		case ok && !same(f, e.params, e.results):
			return fmt.Sprintf("exports %s as %s, which must be %s", e.name,
				describe(f.ParamTypes(), f.ResultTypes()), describe(signature(e.params), signature(e.results))), seeABI
		}
	}
	if _, aggregate := have[abi.ExportAccumulate]; aggregate && k == rowwise {
		return "is an aggregate, and no step", "name it in window.aggregates"
	}
	if missing != nil {
		hint := seeABI
		if _, process := have[abi.ExportProcess]; process && k == aggregating {
			hint = "it is an operator of rows: name it in steps"
		}
		if _, command := have["_start"]; command {
			hint = "it is built as a program: build it as a library (C: -nostartfiles -Wl,--no-entry; Go: -buildmode=c-shared)"
		}
		return "does not export " + strings.Join(missing, ", "), hint
	}
	_, snapshot := have[abi.ExportSnapshot]
	if _, restore := have[abi.ExportRestore]; snapshot != restore {
		there, not := abi.ExportSnapshot, abi.ExportRestore
		if restore {
			there, not = not, there
		}
		return fmt.Sprintf("exports %s and not %s: an operator that keeps state has both", there, not), seeABI
	}
	if snapshot && k == aggregating {
		return "exports " + abi.ExportSnapshot + ", and an aggregate keeps nothing but the states of its groups", seeABI
	}
	if _, flush := have[abi.ExportFlush]; flush {
		return "exports " + abi.ExportFlush + ", which is reserved: this version of weir would never call it", seeABI
	}
	for _, f := range m.code.compiled.ImportedFunctions() {
		mod, name, _ := f.Import()
		funcs := offered()[mod]
		i := slices.IndexFunc(funcs, func(h hostFunc) bool { return h.name == name })
		if i < 0 {
			return fmt.Sprintf("imports %s.%s, which is not offered", mod, name), "offered: " + offers()
		}
		if !same(f, funcs[i].params, funcs[i].results) {
			return fmt.Sprintf("imports %s.%s as %s, which is %s", mod, name, describe(f.ParamTypes(), f.ResultTypes()),
				describe(signature(funcs[i].params), signature(funcs[i].results))), seeABI
		}
	}
	return "", ""
}

// offers lists what a guest may import.
func offers() string {
	var names []string
	for _, f := range weirFuncs() {
		names = append(names, abi.ImportModule+"."+f.name)
	}
	return strings.Join(names, ", ") + ", and stubs of " + abi.WASIModule
}

func same(f api.FunctionDefinition, params, results string) bool {
	return slices.Equal(f.ParamTypes(), signature(params)) && slices.Equal(f.ResultTypes(), signature(results))
}

// describe is "(i32, i32) -> (i32)".
func describe(params, results []api.ValueType) string {
	list := func(types []api.ValueType) string {
		names := make([]string, len(types))
		for i, t := range types {
			names[i] = api.ValueTypeName(t)
		}
		return "(" + strings.Join(names, ", ") + ")"
	}
	return list(params) + " -> " + list(results)
}

// close gives the code back. Closing twice is fine.
func (m *module) close() error {
	var err error
	if m.code != nil {
		err = m.cache.put(m.code)
		m.code = nil
	}
	if m.own {
		err = errors.Join(err, m.cache.Close())
	}
	return err
}
