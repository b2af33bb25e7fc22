package config

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// Canonical is the part of the spec that decides what the results are, in a form that does not depend on how the file
// is written: the planner hashes it to the pipeline's revision. Two specs with equal bytes give equal rows for equal
// records.
//
// digests are the content hashes of the Wasm modules, in the order of the wasm steps and then of the aggregates, and functions
// those of the functions that are called, by name; a path means nothing.
//
// Not in it: columns that the finished view computes, brokers, group, start, credentials, URL, table, flush interval, TTL, tags, batch size where no step is an operator's, what happens to late
// rows and on operator errors. They change where rows go or whether the pipeline goes on, not what a row says.
func (p *Pipeline) Canonical(digests []string, functions map[string]string) []byte {
	return p.canonical(digests, functions, false)
}

// Shown is Canonical for people: references to the environment and to files stand in it as they are written, and settings of
// modules that are called like secrets do not. It is the same bytes where there is nothing of that kind.
func (p *Pipeline) Shown(digests []string, functions map[string]string) []byte {
	return p.canonical(digests, functions, true)
}

func (p *Pipeline) canonical(digests []string, functions map[string]string, shown bool) []byte {
	type col struct {
		Name, Type string
		Nullable   bool
		From       uint8
		Path       []string `json:",omitempty"`
		Header     string   `json:",omitempty"`
		Epoch      string   `json:",omitempty"`
	}
	type step struct {
		Kind   StepKind
		Expr   string          `json:",omitempty"`
		Pairs  [][2]string     `json:",omitempty"`
		Module string          `json:",omitempty"`
		Config json.RawMessage `json:",omitempty"`
		Memory int64           `json:",omitempty"`
		Fuel   int64           `json:",omitempty"`
		// Which rows are rejected depends on these too: on the rows of a batch, since they decide how much fuel and how much
		// room there is for a row.
		Stack, Expansion, Output, BatchRows int64 `json:",omitempty"`
	}
	type program struct {
		Name, Module string
		Args         []string
		Config       json.RawMessage `json:",omitempty"`
		Memory, Fuel int64
		Stack        int64
		State        int64
		BatchRows    int64
	}
	type function struct {
		Name string
		step
	}
	spec := struct {
		Format                                  int // of this form; a change of it makes a new revision of every pipeline
		Pipeline                                string
		Topics                                  []string
		MaxRecord                               int64
		Source                                  Format
		Columns                                 []col
		Time                                    string
		MaxOutOfOrder, AllowedLateness, MaxJump int64
		Functions                               []function `json:",omitempty"`
		Steps                                   []step
		Tumbling                                int64 // the size of windows of any kind
		Every, Offset, MaxKeys                  int64 `json:",omitempty"`
		Emit                                    Emit  `json:",omitempty"` // final
		// The unit, the name of the zone, and a hash of its rules.
		Calendar   *[3]string `json:",omitempty"`
		Session    int64      `json:",omitempty"` // the gap; then Tumbling is what bounds sessions
		Count      int64      `json:",omitempty"` // rows; then Tumbling is the timeout
		GroupBy    []string
		Aggregates [][2]string
		Programs   []program `json:",omitempty"`
	}{
		Format: 1, Pipeline: p.Name, MaxRecord: p.Source.Kafka.MaxRecord, Source: p.Source.Format,
		Time: p.Time.Column.Name, MaxOutOfOrder: int64(p.Time.MaxOutOfOrder),
		AllowedLateness: int64(p.Time.AllowedLateness), MaxJump: int64(p.Time.MaxJump), Tumbling: int64(p.Window.Size), Offset: int64(p.Window.Offset),
		MaxKeys: p.Window.MaxKeys,
	}
	if p.Window.Every != p.Window.Size {
		spec.Every = int64(p.Window.Every)
	}
	if p.Window.Emit == EmitFinal {
		spec.Emit = EmitFinal
	}
	if c := p.Window.Calendar; c != nil {
		spec.Calendar = &[3]string{string(c.Every), c.Timezone.Name(), c.Timezone.Rules()}
	}
	if s := p.Window.Session; s != nil {
		spec.Session = int64(s.Gap)
	}
	if c := p.Window.Count; c != nil {
		spec.Count = c.Rows
	}
	for _, t := range p.Source.Kafka.Topics {
		if t.Regex != nil {
			spec.Topics = append(spec.Topics, "re:"+t.Name)
		} else {
			spec.Topics = append(spec.Topics, t.Name)
		}
	}
	slices.Sort(spec.Topics)
	for _, c := range p.Source.Columns {
		out := col{Name: c.Name, Type: c.Type.String(), Nullable: c.Nullable, From: uint8(c.From), Path: c.Path, Header: c.Header}
		if c.Epoch != c.Type.Unit {
			out.Epoch = c.Epoch.String()
		}
		spec.Columns = append(spec.Columns, out)
	}
	text := func(t *Text) string {
		if shown {
			return strings.TrimSpace(t.Written())
		}
		return strings.TrimSpace(t.Value)
	}
	settings := func(w *Wasm) json.RawMessage {
		if shown && w.shown != nil {
			return sortedKeys(w.shown)
		}
		return sortedKeys(w.Config)
	}
	limit := func(out *step, w *Wasm) {
		out.Config, out.Memory, out.Fuel = settings(w), w.Memory, w.FuelPerRow
		out.Stack, out.Expansion, out.Output, out.BatchRows = w.Stack, w.Expansion, w.Output, p.Batch.Rows
	}
	for i := range p.Functions {
		f := &p.Functions[i]
		if digest, called := functions[f.Name]; called {
			out := function{f.Name, step{Kind: StepWasm, Module: digest}}
			limit(&out.step, &f.Wasm)
			spec.Functions = append(spec.Functions, out)
		}
	}
	slices.SortFunc(spec.Functions, func(a, b function) int { return strings.Compare(a.Name, b.Name) })
	for _, s := range p.Steps {
		out := step{Kind: s.Kind}
		switch s.Kind {
		case StepFilter:
			out.Expr = text(s.Filter)
		case StepMap:
			for _, m := range s.Map {
				out.Pairs = append(out.Pairs, [2]string{m.Name, text(&m.Expr)})
			}
		case StepDrop:
			for _, d := range s.Drop {
				out.Pairs = append(out.Pairs, [2]string{d.Name})
			}
		case StepRename:
			for _, n := range s.Rename {
				out.Pairs = append(out.Pairs, [2]string{n.From, n.To.Name})
			}
		case StepCast:
			for _, c := range s.Cast {
				typ := c.Type.String()
				if c.Nullable {
					typ += "?"
				}
				out.Pairs = append(out.Pairs, [2]string{c.Column, typ})
			}
		case StepWasm:
			if len(digests) > 0 {
				out.Module, digests = digests[0], digests[1:]
			}
			limit(&out, s.Wasm)
		}
		spec.Steps = append(spec.Steps, out)
	}
	for _, k := range p.Window.GroupBy {
		spec.GroupBy = append(spec.GroupBy, k.Name)
	}
	for _, a := range p.Window.Aggregates {
		if w := a.Wasm; w != nil {
			out := program{Name: a.Name, Config: settings(&w.Wasm), Memory: w.Memory, Fuel: w.FuelPerRow, State: w.State, Stack: w.Stack, BatchRows: p.Batch.Rows}
			if len(digests) > 0 {
				out.Module, digests = digests[0], digests[1:]
			}
			for _, arg := range w.Args {
				out.Args = append(out.Args, arg.Name)
			}
			spec.Programs = append(spec.Programs, out)
			spec.Aggregates = append(spec.Aggregates, [2]string{a.Name, "wasm"})
			continue
		}
		answer := a.Canonical()
		if shown && a.Expr.raw != "" {
			answer = text(&a.Expr)
		}
		spec.Aggregates = append(spec.Aggregates, [2]string{a.Name, answer})
	}
	b, err := json.Marshal(spec)
	if err != nil {
		panic("config: marshal the canonical form: " + err.Error()) // only strings and numbers, and JSON that was parsed
	}
	return b
}

// sortedKeys writes JSON with the keys of every object sorted and numbers as they were.
func sortedKeys(raw json.RawMessage) json.RawMessage {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil {
		return nil
	}
	out, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return out
}
