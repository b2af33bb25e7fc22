package config

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"go.yaml.in/yaml/v3"
)

// Step is one step. The field of its kind is set, the others are nil.
type Step struct {
	Kind   StepKind
	Pos    Pos // of the kind's word
	Filter *Text
	Map    []Assign
	Drop   []Ident
	Rename []Rename
	Cast   []Cast
	Wasm   *Wasm
}

// StepKind is a kind of step.
type StepKind string

// The kinds of steps.
const (
	StepFilter StepKind = "filter"
	StepMap    StepKind = "map"
	StepDrop   StepKind = "drop"
	StepRename StepKind = "rename"
	StepCast   StepKind = "cast"
	StepWasm   StepKind = "wasm"
)

// Assign is a column that map computes: a new one, or one in place of another of the same name.
type Assign struct {
	Name string
	Pos  Pos // of the name
	Expr Text
}

// Rename gives a column another name.
type Rename struct {
	From string
	Pos  Pos // of From
	To   Ident
}

// Cast changes the type of a column.
type Cast struct {
	Column   string
	Pos      Pos // of the column
	Type     batch.Type
	Nullable bool
	TypePos  Pos
}

// Wasm is an operator of the user's.
type Wasm struct {
	// Module is the path of the module as it is written, and File where that is from the working directory.
	Module, File string
	ModulePos    Pos
	// Name is how errors and metrics call the operator. Default: the module's file name without .wasm.
	Name string
	// Config is what the operator is opened with, as JSON. Default {}.
	Config json.RawMessage
	shown  json.RawMessage // Config for people: references as they are written; nil where nothing is
	// Memory is the most linear memory an instance may have, in bytes. Default 64 MiB.
	Memory int64
	// State is how many bytes a stateful operator may remember of a partition. Default 1 MiB.
	State int64
	// FuelPerRow is how many instructions, about, the operator may take for a row. Default 50000.
	FuelPerRow int64
	// ModuleSize is the most bytes of the module. Default 8 MiB.
	ModuleSize int64
	// Tables is the most entries of all tables of an instance. Default 131072.
	Tables int64
	// Expansion is the most rows that a row may become, and Output the most bytes. Default 1024 and 16 MiB.
	Expansion, Output int64
	// LogLines is the most lines a call may log, LogRate the most lines in a second. Default 16 and 100.
	LogLines, LogRate int64
	// Deadline is how long a call may take. Default 10 s.
	Deadline time.Duration
	// Stack is how many bytes the nested calls of the operator may take. Default 1 MiB.
	Stack int64
	// Verify has one batch in so many run again in the interpreter. 0 is none, the default.
	Verify int64
	// Functions is the most functions of the module, and CompileTime how long it may take to compile. Default 50000 and 30 s.
	Functions   int64
	CompileTime time.Duration
	// OnError says what happens to rows on which the operator fails. Default reject.
	OnError OnError
	// Shadow is a candidate that gets the same batches; its output goes nowhere. nil means none. Of its fields, Module, File,
	// ModulePos, Config, the limits and Sample are set.
	Shadow *Wasm
	// Sample, of a candidate, is one batch in so many that it gets. Default all.
	Sample int64
}

// OnError is what happens when an operator fails.
type OnError string

// What can happen when an operator fails.
const (
	OnErrorReject OnError = "reject" // the rows become dead letters
	OnErrorStop   OnError = "stop"   // the partition stops and reports it
)

// defaultWasm is a wasm step of which nothing is said but the module.
func defaultWasm() Wasm {
	return Wasm{
		Memory: 64 << 20, State: 1 << 20, FuelPerRow: 50_000, Stack: 1 << 20, Functions: 50_000, CompileTime: 30 * time.Second, ModuleSize: 8 << 20, Tables: 128 << 10, Expansion: 1024, Output: 16 << 20,
		LogLines: 16, LogRate: 100, Deadline: 10 * time.Second, OnError: OnErrorReject, Config: json.RawMessage("{}"),
	}
}

// moduleField is the path of a module.
func moduleField(key string) field[Wasm] {
	return field[Wasm]{
		key: key, doc: "Path of the .wasm file, relative to this file.", required: true, schema: typed("string"),
		read: func(r *reader, v value, w *Wasm) { readModule(r, v, &w.Module, &w.File, &w.ModulePos) },
	}
}

// configField is what a module is opened with.
func configField() field[Wasm] {
	return field[Wasm]{
		key: "config", doc: "What the operator is opened with; it gets it as JSON.", schema: jsonSchema{},
		read: func(r *reader, v value, w *Wasm) {
			if b, shown, ok := r.json(v); ok {
				w.Config, w.shown = b, shown
			}
		},
	}
}

// limitsField is what an instance may use.
func limitsField(table object[Wasm]) field[Wasm] {
	return field[Wasm]{
		key: "limits", doc: "What an instance may use.", schema: table.jsonSchema(),
		read: func(r *reader, v value, w *Wasm) { table.read(r, v, w) },
	}
}

func wasmTable() object[Wasm] {
	return object[Wasm]{
		what: "wasm",
		fields: []field[Wasm]{
			moduleField("module"),
			at("name", matching("a name", `^[A-Za-z0-9._-]{1,63}$`, func(s string) error {
				if len(s) > 63 || s == "" || strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != "" {
					return fmt.Errorf("%s is not a name: use letters, digits, '.', '_' and '-', at most 63", quote(s))
				}
				return nil
			}), func(w *Wasm) *string { return &w.Name }, "How errors and metrics call the operator. Default: the module's file name without .wasm."),
			configField(),
			limitsField(limitsTable()),
			at("verify", fractionKind(), func(w *Wasm) *int64 { return &w.Verify },
				"Run a part of the batches again in the interpreter, 1/1000 of them for example, and stop the partition when one becomes something else. 1 is all, off none. Default off."),
			at("shadow", shadowTable().pointer(func() Wasm {
				w := defaultWasm()
				w.Config, w.Sample = nil, 1
				return w
			}), func(w *Wasm) **Wasm { return &w.Shadow },
				"A candidate that gets the same batches beside the operator. How its output differs is counted and logged; it goes nowhere."),
			at("on_error", enum("a way to handle errors", []OnError{OnErrorReject, OnErrorStop}), func(w *Wasm) *OnError { return &w.OnError },
				"Rows the operator fails on: reject them to dead letters, or stop the partition. Default reject."),
		},
	}
}

// shadowTable is what can be said of a candidate.
func shadowTable() object[Wasm] {
	return object[Wasm]{
		what: "shadow",
		fields: []field[Wasm]{
			{
				key: "module", doc: "Path of the candidate's .wasm file, relative to this file.", required: true, schema: typed("string"),
				read: func(r *reader, v value, w *Wasm) { readModule(r, v, &w.Module, &w.File, &w.ModulePos) },
			},
			{
				key: "config", doc: "What the candidate is opened with; it gets it as JSON. Default: what the operator gets.", schema: jsonSchema{},
				read: func(r *reader, v value, w *Wasm) {
					if b, shown, ok := r.json(v); ok {
						w.Config, w.shown = b, shown
					}
				},
			},
			{
				key: "limits", doc: "What the candidate may use. Default: the defaults, not the operator's.", schema: limitsTable().jsonSchema(),
				read: func(r *reader, v value, w *Wasm) { limitsTable().read(r, v, w) },
			},
			at("sample", fractionKind(), func(w *Wasm) *int64 { return &w.Sample },
				"The part of the batches the candidate gets, 1/10 of them for example. 1 is all, the default; off is none."),
		},
	}
}

// readModule reads the path of a module as it is written, and makes of it one from the working directory.
func readModule(r *reader, v value, module, file *string, pos *Pos) {
	var t Text
	if !located("the path of a .wasm file").read(r, v, &t) {
		return
	}
	*module, *file, *pos = t.Value, t.Value, t.Pos
	if !filepath.IsAbs(*file) {
		*file = filepath.Join(r.dir, *file)
	}
}

func limitsTable() object[Wasm] {
	return object[Wasm]{what: "limits", fields: []field[Wasm]{
		at("memory", sizeKind(64<<10, 2<<30), func(w *Wasm) *int64 { return &w.Memory }, "Most linear memory of an instance. Default 64MiB."),
		at("state", sizeKind(1, 64<<20), func(w *Wasm) *int64 { return &w.State },
			"Most bytes that a stateful operator may remember of a partition. It is copied with every batch. Default 1MiB."),
		at("fuel_per_row", intKind(1, 1_000_000_000), func(w *Wasm) *int64 { return &w.FuelPerRow },
			"Most instructions, about, for a row; the rows of a batch share theirs. A row that takes more than a batch may, batch.rows times this, is rejected. Default 50000."),
		at("module", sizeKind(1<<10, 256<<20), func(w *Wasm) *int64 { return &w.ModuleSize }, "Largest module. Default 8MiB."),
		at("tables", intKind(1, 16<<20), func(w *Wasm) *int64 { return &w.Tables },
			"Most entries of all tables of an instance together; an entry takes 8 bytes. Default 131072."),
		at("expansion", intKind(1, 1<<20), func(w *Wasm) *int64 { return &w.Expansion }, "Most rows that a row may become. A row that becomes more is rejected. Default 1024."),
		at("output", sizeKind(1<<10, 1<<30), func(w *Wasm) *int64 { return &w.Output },
			"Most bytes that a row may become: all columns of all rows it becomes. A row that becomes more is rejected. Default 16MiB."),
		at("log_lines", intKind(1, 10_000), func(w *Wasm) *int64 { return &w.LogLines }, "Most lines of a call in the log. Default 16."),
		at("log_rate", intKind(1, 100_000), func(w *Wasm) *int64 { return &w.LogRate }, "Most lines of an instance in the log in a second. Default 100."),
		at("deadline", durationKind(10*time.Millisecond, 10*time.Minute), func(w *Wasm) *time.Duration { return &w.Deadline },
			"Longest time of a call, behind fuel. One that takes longer stops the partition. Default 10s."),
		at("stack", sizeKind(16<<10, 16<<20), func(w *Wasm) *int64 { return &w.Stack },
			"Most stack of nested calls, about; at most 1900 calls nest whatever it is. Default 1MiB."),
		at("functions", intKind(1, 1_000_000), func(w *Wasm) *int64 { return &w.Functions }, "Most functions of the module. Default 50000."),
		at("compile_time", durationKind(100*time.Millisecond, time.Hour), func(w *Wasm) *time.Duration { return &w.CompileTime },
			"Longest time that the module may take to compile. Default 30s."),
	}}
}

// stepTable has one key per kind of step; a step has exactly one of them.
func stepTable() object[Step] {
	renames := named("a mapping of old names to new ones", identKind(), func(name string, pos Pos, to Ident) Rename { return Rename{name, pos, to} })
	casts := named("a mapping of columns to types", castKind(), func(name string, pos Pos, c Cast) Cast {
		c.Column, c.Pos = name, pos
		return c
	})
	assigns := named("a mapping of columns to expressions", located("an expression"), func(name string, pos Pos, t Text) Assign { return Assign{name, pos, t} })
	return object[Step]{
		what: "a step",
		fields: []field[Step]{
			{
				key: "filter", doc: "Keep the rows for which an expression is true.", schema: typed("string"),
				read: func(r *reader, v value, s *Step) {
					var t Text
					if located("an expression").read(r, v, &t) {
						s.Filter = &t
					}
				},
			},
			at("map", assigns, func(s *Step) *[]Assign { return &s.Map }, "Compute columns: name: expression."),
			at("drop", listOf("a list of columns", identKind()), func(s *Step) *[]Ident { return &s.Drop }, "Remove columns."),
			at("rename", renames, func(s *Step) *[]Rename { return &s.Rename }, "Rename columns: old: new."),
			at("cast", casts, func(s *Step) *[]Cast { return &s.Cast }, "Change the types of columns: name: type."),
			at("wasm", wasmTable().pointer(defaultWasm), func(s *Step) **Wasm { return &s.Wasm }, "Run a WebAssembly operator over the rows."),
		},
		check: checkStep,
	}
}

// checkStep finds names a step cannot make.
func checkStep(r *reader, v value, s *Step) {
	bad := func(pos Pos, err error) { r.addf(pos, v.path, "%s: %v", v.path, err) }
	for _, m := range s.Map {
		if err := CheckName(m.Name); err != nil {
			bad(m.Pos, err)
		}
	}
	seen := map[string]bool{}
	for _, n := range s.Rename {
		if err := CheckName(n.To.Name); err != nil {
			bad(n.To.Pos, err)
		} else if seen[n.To.Name] {
			bad(n.To.Pos, fmt.Errorf("two columns would be called %s", quote(n.To.Name)))
		}
		seen[n.To.Name] = true
	}
	clear(seen)
	for _, d := range s.Drop {
		if seen[d.Name] {
			bad(d.Pos, fmt.Errorf("%s is dropped twice", quote(d.Name)))
		}
		seen[d.Name] = true
	}
}

func castKind() kind[Cast] {
	types := typeKind()
	var names []string // a list cannot be made by a cast
	for _, n := range batch.TypeNames() {
		names = append(names, n, n+"?")
	}
	return kind[Cast]{orDecimal(names, `^decimal\( *[0-9]{1,2} *, *[0-9]{1,2} *\)\??$`), func(r *reader, v value, to *Cast) bool {
		var c column
		if !types.read(r, v, &c) {
			return false
		}
		*to = Cast{Type: c.typ, Nullable: c.null, TypePos: r.at[v.path]}
		return true
	}}
}

// stepsKind is a list of mappings with one key each.
func stepsKind() kind[[]Step] {
	table := stepTable()
	one := table.jsonSchema()
	one["minProperties"], one["maxProperties"] = 1, 1
	item := kind[Step]{one, func(r *reader, v value, to *Step) bool {
		entries, ok := r.mapping(v, "a step such as {filter: temp > 0}")
		if !ok {
			return false
		}
		if len(entries) != 1 {
			_ = r.failf(v, "a step has one key, and this has %d", len(entries)).WithHint("begin every step with a - of its own; kinds: %s", strings.Join(table.supported(), ", "))
			return false
		}
		if !table.read(r, v, to) {
			return false
		}
		to.Kind, to.Pos = StepKind(entries[0].key), entries[0].keyPos
		return true
	}}
	k := listOf("a list of steps", item)
	delete(k.schema, "minItems")
	return kind[[]Step]{k.schema, func(r *reader, v value, to *[]Step) bool {
		if v.n.Kind == yaml.SequenceNode && len(v.n.Content) == 0 {
			return true
		}
		return k.read(r, v, to)
	}}
}

// json turns any YAML value into JSON, keys in the order written. The second one is for people: references stand in it as they
// are written, and what is called like a secret does not.
func (r *reader) json(v value) (_, shown json.RawMessage, ok bool) {
	var b, s strings.Builder
	if !r.writeJSON(&b, &s, v) {
		return nil, nil, false
	}
	return json.RawMessage(b.String()), json.RawMessage(s.String()), true
}

// secretKey are the names of what nobody writes down twice.
var secretKey = regexp.MustCompile(`(?i)passw|passphrase|secret|token|credential|private|auth|salt|pepper|hmac|cipher|(^|_|-|[a-z])key$`)

func (r *reader) writeJSON(b, shown *strings.Builder, v value) bool {
	switch v.n.Kind {
	case yaml.MappingNode:
		entries, ok := r.mapping(v, "a mapping")
		both := func(s []byte) { b.Write(s); shown.Write(s) }
		both([]byte("{"))
		for i, e := range entries {
			if i > 0 {
				both([]byte(","))
			}
			both(jsonString(e.key))
			both([]byte(":"))
			into := shown
			if secretKey.MatchString(e.key) {
				shown.Write(jsonString(redacted))
				into = &strings.Builder{}
			}
			ok = r.writeJSON(b, into, e.value) && ok
		}
		both([]byte("}"))
		return ok
	case yaml.SequenceNode:
		items, ok := r.list(v, "a list")
		b.WriteByte('[')
		shown.WriteByte('[')
		for i, it := range items {
			if i > 0 {
				b.WriteByte(',')
				shown.WriteByte(',')
			}
			ok = r.writeJSON(b, shown, it) && ok
		}
		b.WriteByte(']')
		shown.WriteByte(']')
		return ok
	}
	if v.n.Tag == "!!null" {
		b.WriteString("null")
		shown.WriteString("null")
		return true
	}
	t, ok := r.text(v, "a value")
	if !ok {
		return false
	}
	tag := v.n.Tag
	if strings.Contains(v.n.Value, "${") && v.n.Style == 0 { // an unquoted reference is what it expands to
		tag = scalarTag(t.Value)
	}
	before := b.Len()
	ok = r.writeScalar(b, v, tag, t.Value)
	if t.raw != "" {
		shown.Write(jsonString(t.raw))
	} else {
		shown.WriteString(b.String()[before:])
	}
	return ok
}

// scalarTag resolves a scalar that a reference expanded to.
func scalarTag(s string) string {
	if slices.Contains([]string{"true", "false"}, s) {
		return "!!bool"
	}
	if _, err := strconv.ParseInt(s, 10, 64); err == nil {
		return "!!int"
	}
	if _, err := strconv.ParseFloat(s, 64); err == nil && strings.Trim(s, "0123456789.eE+-") == "" {
		return "!!float"
	}
	return "!!str"
}

func (r *reader) writeScalar(b *strings.Builder, v value, tag, s string) bool {
	switch tag {
	case "!!bool":
		b.WriteString(strings.ToLower(s))
	case "!!int":
		n, ok := new(big.Int).SetString(strings.ReplaceAll(s, "_", ""), 0)
		if len(s) > 100 || !ok {
			r.failf(v, "%s is not a number that JSON can have", quote(s))
			return false
		}
		b.WriteString(n.String())
	case "!!float":
		f, err := strconv.ParseFloat(strings.ReplaceAll(s, "_", ""), 64)
		if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
			r.failf(v, "%s is not a number that JSON can have", quote(s))
			return false
		}
		out, err := json.Marshal(f)
		if err != nil {
			r.failf(v, "%v", err)
			return false
		}
		b.Write(out)
	default:
		b.Write(jsonString(s))
	}
	return true
}

// jsonString quotes a text. Marshalling a string cannot fail.
func jsonString(s string) []byte {
	b, _ := json.Marshal(s)
	return b
}
