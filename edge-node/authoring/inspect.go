package authoring

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/ingest/schema"
	"github.com/weir-stream/weir/operators/abi"
	"github.com/weir-stream/weir/operators/wasm"
)

// maxInspected is the largest module that is read, in bytes. What nodes take by default is wasm.DefaultModuleLimit.
const maxInspected = 64 << 20

// Report is what is in a module, and whether a node would run it.
type Report struct {
	File      string   `json:"file"`
	Size      int      `json:"size"`   // bytes
	Digest    string   `json:"digest"` // sha256:..., as 'weir validate' shows it
	Kind      string   `json:"kind"`   // what it is judged as: step or aggregate
	ABI       int      `json:"abi,omitempty"`
	Functions int      `json:"functions"`
	CodeBytes int      `json:"code_bytes"`
	DataBytes int      `json:"data_bytes"`
	NameBytes int      `json:"name_bytes"` // of the names of functions, which traces of traps show
	Memory    *Limits  `json:"memory,omitempty"`
	Tables    []Limits `json:"tables"`
	// Features are the proposals beyond WebAssembly 1.0 that it cannot do without, where they were looked for.
	Features []string `json:"features,omitempty"`
	// Allowed is what a node allows where a pipeline says nothing else.
	Allowed Allowance `json:"allowed"`
	// Stateful is a module that exports both weir_snapshot and weir_restore.
	Stateful bool     `json:"stateful"`
	Imports  []Import `json:"imports"`
	Exports  []Export `json:"exports"`
	// GroupBy are the columns that an aggregate is not given: it is grouped by them. Input and Output are the columns that
	// the module is given and gives, where they were asked for.
	GroupBy []string `json:"group_by,omitempty"`
	Input   []string `json:"input,omitempty"`
	Output  []string `json:"output,omitempty"`
	// Fuel is what a row costs, where it was measured.
	Fuel *Fuel `json:"fuel,omitempty"`
	// Refused says why a node would not run the module; empty when it would. Hint says what to do about it.
	Refused string `json:"refused,omitempty"`
	Hint    string `json:"hint,omitempty"`
}

// Allowance are limits of a step, as a pipeline has them by default, in bytes but for the last.
type Allowance struct {
	Module     int   `json:"module"`
	Memory     int   `json:"memory"`
	FuelPerRow int64 `json:"fuel_per_row"`
}

// Import is what a module wants of its host.
type Import struct {
	Module  string `json:"module"`
	Name    string `json:"name"`
	Kind    string `json:"kind"`
	Type    string `json:"type,omitempty"`
	Offered bool   `json:"offered"`
	Why     string `json:"why,omitempty"` // it is not offered

	sig funcType
}

// Export is what a module gives its host.
type Export struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
	Type string `json:"type,omitempty"`
	Role string `json:"role,omitempty"` // in the ABI: required, optional, stateful or reserved; empty for what weir does not use
}

// ReadModule reads the file of a module.
func ReadModule(file string) ([]byte, error) {
	st, err := os.Stat(file)
	switch {
	case err != nil:
		return nil, err
	case !st.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a file", file)
	case st.Size() > maxInspected:
		return nil, fmt.Errorf("%s has %d bytes: modules of at most %d are read", file, st.Size(), maxInspected)
	}
	return os.ReadFile(file)
}

// Inspect reads a module and asks the host about it. With columns the operator is started and opened with them and the
// configuration; without, it is judged as far as that does not matter. The module may be anything.
// An aggregate is judged as one; it is given the columns that are not in groupBy.
func Inspect(ctx context.Context, file string, module []byte, cols schema.Columns, config []byte, groupBy ...string) (*Report, error) {
	if module == nil {
		module = []byte{} // nil would have the host read the file
	}
	sum := sha256.Sum256(module)
	r := &Report{File: file, Size: len(module), Digest: "sha256:" + hex.EncodeToString(sum[:]), Kind: "step", GroupBy: groupBy}
	r.Allowed = Allowance{wasm.DefaultModuleLimit, wasm.DefaultMemoryLimit, wasm.DefaultFuelPerRow}
	sections, damage := readSections(module)
	r.Functions, r.CodeBytes, r.DataBytes, r.NameBytes = sections.functionCount, sections.codeBytes, sections.dataBytes, sections.nameBytes
	r.Tables, r.Imports, r.Exports = sections.tables, sections.imports, sections.exports
	if len(sections.memories) > 0 {
		r.Memory = &sections.memories[0]
	}
	for i := range r.Exports {
		r.Exports[i].Role = roles[r.Exports[i].Name]
	}
	r.Stateful = r.exportsFunction(abi.ExportSnapshot) && r.exportsFunction(abi.ExportRestore)
	if err := r.probe(ctx); err != nil {
		return nil, err
	}
	judge := r.judge
	if exportsAggregate(r.Exports) {
		judge = r.judgeAggregate
	}
	if err := judge(ctx, module, cols, config); err != nil {
		return nil, err
	}
	if r.Refused == "" && damage != nil { // the host took what this reader could not read
		r.Hint = damage.Error()
	}
	return r, nil
}

// FindFeatures adds to a report what the module uses beyond WebAssembly 1.0. Of a module that is not valid it is nothing:
// Inspect has the reason.
func (r *Report) FindFeatures(ctx context.Context, module []byte) {
	r.Features, _ = wasm.Features(ctx, module)
}

func (r *Report) exportsFunction(name string) bool {
	return slices.ContainsFunc(r.Exports, func(e Export) bool { return e.Name == name && e.Kind == kinds[0] })
}

// roles of exports in the ABI.
var roles = map[string]string{
	abi.ExportMemory: "required", abi.ExportABI: "required", abi.ExportAlloc: "required", abi.ExportOpen: "required",
	abi.ExportWindows: "required", abi.ExportProcess: "required", abi.ExportInitialize: "optional",
	abi.ExportFlush: "reserved", abi.ExportSnapshot: "stateful", abi.ExportRestore: "stateful",
	abi.ExportAccumulate: "aggregate", abi.ExportMerge: "aggregate", abi.ExportFinish: "aggregate",
}

// judge has the host plan the module as a step.
func (r *Report) judge(ctx context.Context, module []byte, cols schema.Columns, config []byte) error {
	in := cols.Schema()
	step, err := wasm.New(ctx, wasm.Config{Path: r.File, Module: module, Config: config}, in)
	if err != nil {
		return r.refuse(err, len(cols) == 0)
	}
	r.ABI = abi.Version
	if len(cols) > 0 {
		r.Input, r.Output = columnLines(in), columnLines(step.Out())
	}
	return step.Close()
}

// refuse notes why the host does not take the module. Where it was asked about no columns, a module that does not take these
// is none the worse for it.
func (r *Report) refuse(err error, noColumns bool) error {
	var me *wasm.ModuleError
	if !errors.As(err, &me) {
		return err
	}
	if opened(me) {
		r.ABI = abi.Version
		if noColumns {
			return nil
		}
	}
	r.Refused, r.Hint = me.Problem, me.Hint
	if me.Err != nil {
		r.Refused += ": " + me.Err.Error()
	}
	return nil
}

// opened tells whether a module was refused in weir_open or after it: it is a sound module by then, and what is wrong may be
// the columns it got.
func opened(e *wasm.ModuleError) bool {
	return slices.ContainsFunc([]string{
		"refused the input schema", "fails in " + abi.ExportOpen, "returned a bad schema", "returns no columns",
	}, func(s string) bool { return strings.HasPrefix(e.Problem, s) })
}

// probe finds out which imports are offered: by asking the host, function by function, about a module that imports it alone.
// So the answer is the host's own, and the first import that is not offered does not hide the others.
func (r *Report) probe(ctx context.Context) error {
	const most = 256
	for n := range r.Imports {
		i := &r.Imports[n]
		switch {
		case i.Kind != kinds[0]:
			i.Why = "only functions are offered"
			continue
		case len(i.sig.params)+len(i.sig.results) > maxSignature:
			i.Why = "no function that is offered has so many parameters"
			continue
		case n >= most:
			i.Why = fmt.Sprintf("not looked at: over %d imports", most)
			continue
		}
		step, err := wasm.New(ctx, wasm.Config{Name: "probe", Module: probeModule(i), Interpreter: true}, &batch.Schema{})
		var me *wasm.ModuleError
		switch {
		case err == nil:
			_ = step.Close()
		case !errors.As(err, &me):
			return err
		case strings.HasPrefix(me.Problem, "imports "):
			_, why, _ := strings.Cut(me.Problem, ", which ")
			i.Why = "it " + why
			continue
		}
		i.Offered = true
	}
	return nil
}

// probeModule has all that an operator must have, as functions that trap, and one import.
func probeModule(i *Import) []byte {
	vec := func(items ...[]byte) []byte {
		return slices.Concat(append([][]byte{leb(len(items))}, items...)...)
	}
	text := func(s string) []byte { return append(leb(len(s)), s...) }
	ints := func(n int) []byte { return slices.Repeat([]byte{0x7f}, n) }
	sig := func(params, results []byte) []byte {
		return slices.Concat([]byte{0x60}, leb(len(params)), params, leb(len(results)), results)
	}
	section := func(id byte, body []byte) []byte { return slices.Concat([]byte{id}, leb(len(body)), body) }

	types := [][]byte{sig(i.sig.params, i.sig.results)}
	var functions, exports, bodies [][]byte
	for n, e := range []struct {
		name            string
		params, results int
	}{
		{abi.ExportABI, 0, 1}, {abi.ExportAlloc, 1, 1}, {abi.ExportOpen, 3, 1}, {abi.ExportWindows, 4, 0}, {abi.ExportProcess, 3, 1},
	} {
		types = append(types, sig(ints(e.params), ints(e.results)))
		functions = append(functions, leb(n+1))
		exports = append(exports, slices.Concat(text(e.name), []byte{0}, leb(n+1)))
		bodies = append(bodies, []byte{3, 0, 0x00, 0x0b}) // 3 bytes: no locals, unreachable, end
	}
	exports = append(exports, slices.Concat(text(abi.ExportMemory), []byte{2, 0}))
	return slices.Concat([]byte("\x00asm\x01\x00\x00\x00"),
		section(1, vec(types...)),
		section(2, vec(slices.Concat(text(i.Module), text(i.Name), []byte{0, 0}))),
		section(3, vec(functions...)),
		section(5, vec([]byte{0, 1})),
		section(7, vec(exports...)),
		section(10, vec(bodies...)))
}

// leb is a small number as LEB128.
func leb(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }
