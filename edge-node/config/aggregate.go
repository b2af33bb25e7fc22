package config

import (
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// WasmAggregate is an aggregate whose function is the user's.
type WasmAggregate struct {
	Wasm // the module and its limits; Expansion and Output mean nothing here
	// Args are the columns it is given, in order.
	Args []Ident
	// Merge is the ClickHouse aggregate function whose states these are, such as "quantileDD(0.01, 0.95)". Empty where only
	// the module can merge them.
	Merge string
	// State is how many bytes the state of a group may have. Default 64 KiB.
	State int64
}

// answerKind is an aggregate: text such as avg(temp), or a mapping that names a module.
func answerKind() kind[Aggregate] {
	text, table := aggregateKind(), wasmAggregateTable()
	return kind[Aggregate]{jsonSchema{"anyOf": []any{text.schema, table.jsonSchema()}}, func(r *reader, v value, to *Aggregate) bool {
		if v.n.Kind != yaml.MappingNode {
			return text.read(r, v, to)
		}
		w := WasmAggregate{Wasm: defaultWasm(), State: 64 << 10}
		if !table.read(r, v, &w) {
			return false
		}
		*to = Aggregate{Wasm: &w}
		return true
	}}
}

// lift makes a field of a part a field of the whole.
func lift(f field[Wasm]) field[WasmAggregate] {
	return field[WasmAggregate]{key: f.key, doc: f.doc, required: f.required, schema: f.schema, read: func(r *reader, v value, w *WasmAggregate) {
		f.read(r, v, &w.Wasm)
	}}
}

// aggregateLimitsTable has the limits of a step but for those on rows that an aggregate does not make.
func aggregateLimitsTable() object[WasmAggregate] {
	o := object[WasmAggregate]{what: "limits", fields: []field[WasmAggregate]{
		at("state", sizeKind(1, 1<<20), func(w *WasmAggregate) *int64 { return &w.State },
			"Most bytes of the state of one key in one window. A row that makes it larger is rejected. Default 64KiB."),
	}}
	for _, f := range limitsTable().fields {
		if f.key != "expansion" && f.key != "output" && f.key != "state" { // that state is a step's, of a partition
			o.fields = append(o.fields, lift(f))
		}
	}
	return o
}

func wasmAggregateTable() object[WasmAggregate] {
	return object[WasmAggregate]{
		what: "the aggregate",
		fields: []field[WasmAggregate]{
			{
				key: "wasm", doc: "Path of the .wasm file, relative to this file.", required: true, schema: typed("string"),
				read: func(r *reader, v value, w *WasmAggregate) { readModule(r, v, &w.Module, &w.File, &w.ModulePos) },
			},
			at("args", listOf("a list of columns", identKind()), func(w *WasmAggregate) *[]Ident { return &w.Args },
				"Columns the aggregate is given, in order.").must(),
			{
				key:    "merge",
				doc:    "The ClickHouse aggregate function whose states these are, such as quantileDD(0.01, 0.95): ClickHouse then merges and finishes them. Default: only the module can.",
				schema: jsonSchema{"type": "string", "pattern": mergePattern},
				read: func(r *reader, v value, w *WasmAggregate) {
					var t Text
					if !located("an aggregate function of ClickHouse, such as quantileDD(0.01, 0.95)").read(r, v, &t) {
						return
					}
					if w.Merge = strings.TrimSpace(t.Value); !mergeRE.MatchString(w.Merge) {
						_ = r.failf(v, "%s is not an aggregate function of ClickHouse with its parameters", quote(t.Value)).
							WithHint("write it like uniqExact or quantileDD(0.01, 0.95): a name, and numbers or quoted text as parameters; the arguments are those of args")
					}
				},
			},
			{
				key: "limits", doc: "What an instance may use.", schema: aggregateLimitsTable().jsonSchema(),
				read: func(r *reader, v value, w *WasmAggregate) { aggregateLimitsTable().read(r, v, w) },
			},
			lift(*wasmTable().field("config")), lift(*wasmTable().field("on_error")),
			later[WasmAggregate]("verify", "it is a key of steps; the first calls of an aggregate are made twice, differently cut, and 'weir replay' computes all again"),
		},
		check: func(r *reader, v value, w *WasmAggregate) {
			seen := map[string]bool{}
			for _, a := range w.Args {
				if seen[a.Name] {
					r.addf(a.Pos, v.path+".args", "%s.args: the column %s is here twice", v.path, quote(a.Name))
				}
				seen[a.Name] = true
			}
		},
	}
}

// mergePattern is a function name with parameters that are numbers or quoted text. It becomes part of SQL: nothing else may
// be in it.
const mergePattern = `^\s*[A-Za-z_][A-Za-z0-9_]*(\(\s*(-?[0-9.]+([eE][-+]?[0-9]+)?|'[A-Za-z0-9_ .-]*')(\s*,\s*(-?[0-9.]+([eE][-+]?[0-9]+)?|'[A-Za-z0-9_ .-]*'))*\s*\))?\s*$`

var mergeRE = regexp.MustCompile(mergePattern)
