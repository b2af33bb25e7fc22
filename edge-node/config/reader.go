package config

import (
	"fmt"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// reader reads one file. It collects errors and goes on.
type reader struct {
	file string // as errors call it
	dir  string // what relative paths in the file are relative to
	env  Env
	src  *source
	errs Errors
	at   map[string]Pos // where the value of each path stands

	expanded int // bytes of text that had references
}

func newReader(file string, env Env) *reader {
	return &reader{file: file, dir: filepath.Dir(file), env: env, at: map[string]Pos{}}
}

// value is a place in the structure and what stands there.
type value struct {
	n    *yaml.Node // aliases resolved
	path string
}

func (r *reader) value(n *yaml.Node, path string) value {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	r.at[path] = r.src.start(n)
	return value{n, path}
}

// maxPath bounds paths, which repeat the keys around a value.
const maxPath = 256

func join(path, key string) string {
	if len(key) > maxPath {
		key = strings.ToValidUTF8(key[:maxPath], "") + "…"
	}
	if path == "" {
		return key
	}
	if len(path) > maxPath {
		return path
	}
	return path + "." + key
}

// addf adds an error.
func (r *reader) addf(pos Pos, path, format string, args ...any) *Error {
	// More than are shown, so that sorting by place leaves the first ones; not so many that the input decides the work.
	if len(r.errs) >= 10*maxErrors {
		return &Error{}
	}
	if r.src != nil { // the parser puts values that are not there behind the end
		pos.Line = min(pos.Line, len(r.src.lines))
		pos.Col = min(pos.Col, utf8.RuneCountInString(r.src.line(pos.Line))+1)
	}
	e := &Error{File: r.file, Line: pos.Line, Col: pos.Col, Path: path, Msg: clip(fmt.Sprintf(format, args...))}
	r.errs = append(r.errs, e)
	return e
}

// failf adds an error about a value, with its path in front.
func (r *reader) failf(v value, format string, args ...any) *Error {
	name := v.path
	if name == "" {
		name = "the file"
	}
	return r.addf(r.at[v.path], v.path, "%s: "+format, append([]any{name}, args...)...)
}

// entry is a key of a mapping with its value.
type entry struct {
	key    string
	keyPos Pos
	value
}

// mapping gives the entries of a mapping in order. A key that stands twice is reported elsewhere; its first value counts.
func (r *reader) mapping(v value, what string) ([]entry, bool) {
	if v.n.Kind != yaml.MappingNode {
		r.failf(v, "want %s, not %s", what, describe(v.n))
		return nil, false
	}
	var out []entry
	seen := map[string]bool{}
	for i := 0; i+1 < len(v.n.Content); i += 2 {
		k := v.n.Content[i]
		for k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		if k.Kind != yaml.ScalarNode || k.Tag == "!!merge" || seen[k.Value] {
			continue
		}
		seen[k.Value] = true
		out = append(out, entry{k.Value, posOf(v.n.Content[i]), r.value(v.n.Content[i+1], join(v.path, k.Value))})
	}
	return out, true
}

// list gives the items of a list.
func (r *reader) list(v value, what string) ([]value, bool) {
	if v.n.Kind != yaml.SequenceNode {
		r.failf(v, "want %s, not %s", what, describe(v.n))
		return nil, false
	}
	out := make([]value, len(v.n.Content))
	for i, n := range v.n.Content {
		path := v.path
		if len(path) <= maxPath {
			path = fmt.Sprintf("%s[%d]", path, i)
		}
		out[i] = r.value(n, path)
	}
	return out, true
}

// text gives a scalar as it is written, with its references expanded.
func (r *reader) text(v value, what string) (Text, bool) {
	if v.n.Kind != yaml.ScalarNode || v.n.Tag == "!!null" {
		r.failf(v, "want %s, not %s", what, describe(v.n))
		return Text{}, false
	}
	raw := r.src.textOf(v.n)
	t, off, err := r.env.expand(raw, r.dir)
	if err != nil {
		r.addf(raw.PosAt(off), v.path, "%s: %v", v.path, err)
		return Text{}, false
	}
	if strings.Contains(raw.Value, "${") {
		if r.expanded += len(t.Value); r.expanded > maxText {
			r.failf(v, "references expand to more than %d bytes in this file", maxText)
			return Text{}, false
		}
		t.raw = raw.Value
	}
	return t, true
}

// plain gives a scalar for a number, a bool or the like: quotes make a text of it, unless a reference needs them.
func (r *reader) plain(v value, what string) (string, bool) {
	t, ok := r.text(v, what)
	quoted := v.n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0
	if ok && quoted && !strings.Contains(v.n.Value, "${") {
		r.failf(v, "want %s, not text in quotes", what)
		return "", false
	}
	return strings.TrimSpace(t.Value), ok
}

// describe says what a value is, for messages.
func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Tag == "!!null":
		return "nothing"
	}
	return quote(n.Value)
}

// quote quotes a value for a message, cut to a readable length.
func quote(s string) string {
	if short := cut(s, 60); short != s {
		return fmt.Sprintf("%q…", short)
	}
	return fmt.Sprintf("%q", s)
}

// clip bounds a message, whatever of the file it repeats.
func clip(msg string) string {
	if short := cut(msg, 1000); short != msg {
		return short + "…"
	}
	return msg
}

// cut is the beginning of a text, at most so many bytes and whole characters.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}
