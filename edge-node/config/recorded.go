package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Recorded is a pipeline file that says what a recorded revision did: data is the file as it is now, which gives what no revision
// says (brokers, sink, late rows), and shown is the revision as Pipeline.Shown wrote it. module finds the file of a module, and the
// name of the step that is the n-th from 1, or of none where n is 0. Whether it is the same revision again, its plan tells.
func Recorded(data []byte, shown string, module func(digest string, n int) (file, name string, err error)) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil || len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, fmt.Errorf("the file is not a mapping: %w", err)
	}
	var s recordedSpec
	d := json.NewDecoder(strings.NewReader(shown))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return nil, fmt.Errorf("the revision was recorded by another version of weir: %w", err)
	}
	if s.Format != 1 {
		return nil, fmt.Errorf("the revision was recorded by another version of weir: form %d, and this one knows 1", s.Format)
	}
	w := recordedWriter{s: &s, module: module}
	root := doc.Content[0]
	source, kafka := section(root, "source"), section(section(root, "source"), "kafka")
	old := lookup(lookup(root, "window"), "aggregates")
	set(kafka, "topics", list(s.Topics))
	set(kafka, "max_record", number(s.MaxRecord))
	set(source, "format", text(s.Source))
	set(source, "columns", w.columns())
	set(root, "time", w.time())
	steps, functions := w.steps(), w.functions()
	set(root, "steps", steps)
	set(root, "functions", functions)
	set(root, "window", w.window(old))
	set(root, "tests", nil)
	if w.rows > 0 {
		set(section(root, "batch"), "rows", number(w.rows))
	}
	if w.err != nil {
		return nil, w.err
	}
	return yaml.Marshal(&doc)
}

// recordedSpec is what Pipeline.canonical writes.
type recordedSpec struct {
	Format                                  int
	Pipeline                                string
	Topics                                  []string
	MaxRecord                               int64
	Source                                  string
	Columns                                 []recordedColumn
	Time                                    string
	MaxOutOfOrder, AllowedLateness, MaxJump int64
	Functions                               []recordedStep
	Steps                                   []recordedStep
	Tumbling                                int64
	Every, Offset, MaxKeys                  int64
	Emit                                    string
	Calendar                                *[3]string
	Session                                 int64
	Count                                   int64
	GroupBy                                 []string
	Aggregates                              [][2]string
	Programs                                []recordedStep
}

type recordedColumn struct {
	Name, Type string
	Nullable   bool
	From       uint8
	Path       []string
	Header     string
	Epoch      string
}

// recordedStep is a step, a function, or a program of a window.
type recordedStep struct {
	Name                                string
	Kind                                StepKind
	Expr                                string
	Pairs                               [][2]string
	Module                              string
	Args                                []string
	Config                              json.RawMessage
	Memory, Fuel                        int64
	Stack, Expansion, Output, BatchRows int64
	State                               int64
}

// recordedWriter makes the parts of the file.
type recordedWriter struct {
	s      *recordedSpec
	module func(digest string, n int) (file, name string, err error)
	rows   int64 // of a batch, where it decides about results
	err    error
}

func (w *recordedWriter) columns() *yaml.Node {
	out := mapping()
	for _, c := range w.s.Columns {
		col := mapping()
		typ := c.Type
		if c.Nullable {
			typ += "?"
		}
		set(col, "type", text(typ))
		if c.From != 0 {
			names := []string{"", "key", "timestamp", "offset", "partition", "topic", "header." + c.Header}
			if int(c.From) >= len(names) {
				w.err = fmt.Errorf("column %s was recorded by another version of weir", c.Name)
				return out
			}
			set(col, "kafka", text(names[c.From]))
		} else {
			set(col, "path", list(c.Path))
		}
		if c.Epoch != "" {
			set(col, "epoch", text(c.Epoch))
		}
		set(out, c.Name, col)
	}
	return out
}

func (w *recordedWriter) time() *yaml.Node {
	out := mapping()
	set(out, "column", text(w.s.Time))
	for _, d := range []struct {
		key string
		ns  int64
	}{{"max_out_of_order", w.s.MaxOutOfOrder}, {"allowed_lateness", w.s.AllowedLateness}, {"max_jump", w.s.MaxJump}} {
		if d.ns != 0 {
			set(out, d.key, text(FormatDuration(time.Duration(d.ns))))
		}
	}
	return out
}

func (w *recordedWriter) steps() *yaml.Node {
	out := &yaml.Node{Kind: yaml.SequenceNode}
	for i := range w.s.Steps {
		s, step := &w.s.Steps[i], mapping()
		switch s.Kind {
		case StepFilter:
			set(step, "filter", text(s.Expr))
		case StepDrop:
			names := make([]string, len(s.Pairs))
			for j, p := range s.Pairs {
				names[j] = p[0]
			}
			set(step, "drop", list(names))
		case StepMap, StepRename, StepCast:
			pairs := mapping()
			for _, p := range s.Pairs {
				set(pairs, p[0], text(p[1]))
			}
			set(step, string(s.Kind), pairs)
		case StepWasm:
			set(step, "wasm", w.wasm(s, "module", i+1))
		default:
			w.err = fmt.Errorf("step %d was recorded by another version of weir: %q", i+1, s.Kind)
		}
		out.Content = append(out.Content, step)
	}
	return out
}

func (w *recordedWriter) functions() *yaml.Node {
	if len(w.s.Functions) == 0 {
		return nil
	}
	out := mapping()
	for i := range w.s.Functions {
		set(out, w.s.Functions[i].Name, w.wasm(&w.s.Functions[i], "wasm", 0))
	}
	return out
}

func (w *recordedWriter) window(old *yaml.Node) *yaml.Node {
	s, out, answers := w.s, mapping(), mapping()
	size := text(FormatDuration(time.Duration(s.Tumbling)))
	if c := s.Calendar; c != nil {
		unit := mapping()
		set(unit, "every", text(c[0]))
		set(unit, "timezone", text(c[1]))
		set(out, "calendar", unit)
	} else if s.Session != 0 {
		session := mapping()
		set(session, "gap", text(FormatDuration(time.Duration(s.Session))))
		set(session, "max_length", size)
		set(out, "session", session)
	} else if s.Count != 0 {
		count := mapping()
		set(count, "rows", number(s.Count))
		set(count, "timeout", size)
		set(out, "count", count)
	} else if s.Every != 0 {
		hopping := mapping()
		set(hopping, "size", size)
		set(hopping, "every", text(FormatDuration(time.Duration(s.Every))))
		set(out, "hopping", hopping)
	} else {
		set(out, "tumbling", size)
	}
	if s.Offset != 0 {
		set(out, "offset", text(FormatDuration(time.Duration(s.Offset))))
	}
	if s.Emit != "" {
		set(out, "emit", text(s.Emit))
	}
	set(out, "group_by", list(s.GroupBy))
	if s.MaxKeys != 0 {
		set(out, "max_keys", number(s.MaxKeys))
	}
	for _, a := range s.Aggregates {
		i := slices.IndexFunc(s.Programs, func(p recordedStep) bool { return p.Name == a[0] })
		if i < 0 {
			set(answers, a[0], text(a[1]))
			continue
		}
		p := w.wasm(&s.Programs[i], "wasm", 0)
		set(p, "args", list(s.Programs[i].Args))
		// Who merges the states is no part of a revision.
		if merge := lookup(lookup(old, a[0]), "merge"); merge != nil {
			set(p, "merge", merge)
		}
		set(answers, a[0], p)
	}
	set(out, "aggregates", answers)
	return out
}

// wasm is a module and how it is run; key is what its path is called.
func (w *recordedWriter) wasm(s *recordedStep, key string, n int) *yaml.Node {
	out, limits := mapping(), mapping()
	file, name, err := w.module(s.Module, n)
	if err != nil && w.err == nil {
		w.err = err
	}
	set(out, key, text(file))
	if name != "" {
		set(out, "name", text(name))
	}
	if len(s.Config) > 0 {
		var config yaml.Node
		if err := yaml.Unmarshal(bytes.TrimSpace(s.Config), &config); err != nil || len(config.Content) != 1 {
			w.err = fmt.Errorf("the settings of a module cannot be read: %w", err)
			return out
		}
		set(out, "config", config.Content[0])
	}
	for _, l := range []struct {
		key string
		n   int64
	}{{"memory", s.Memory}, {"fuel_per_row", s.Fuel}, {"stack", s.Stack}, {"expansion", s.Expansion}, {"output", s.Output}, {"state", s.State}} {
		if l.n != 0 && !(l.key == "expansion" && key == "wasm") { // functions and aggregates have one value
			set(limits, l.key, number(l.n))
		}
	}
	set(out, "limits", limits)
	w.rows = max(w.rows, s.BatchRows)
	return out
}

func mapping() *yaml.Node { return &yaml.Node{Kind: yaml.MappingNode} }

func text(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s, Style: yaml.DoubleQuotedStyle}
}

func number(n int64) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.FormatInt(n, 10)}
}

func list(items []string) *yaml.Node {
	out := &yaml.Node{Kind: yaml.SequenceNode}
	for _, s := range items {
		out.Content = append(out.Content, text(s))
	}
	return out
}

// lookup is the value of a key, or nil.
func lookup(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// section is the mapping of a key, made where there is none.
func section(n *yaml.Node, key string) *yaml.Node {
	s := lookup(n, key)
	if s == nil || s.Kind != yaml.MappingNode {
		s = mapping()
		set(n, key, s)
	}
	return s
}

// set gives a key a value in place of the one it has; nil removes it.
func set(n *yaml.Node, key string, v *yaml.Node) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value != key {
			continue
		}
		if v == nil {
			n.Content = slices.Delete(n.Content, i, i+2)
			return
		}
		n.Content[i+1] = v
		return
	}
	if v != nil {
		n.Content = append(n.Content, text(key), v)
	}
}
