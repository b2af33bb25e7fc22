package config

import (
	"strings"
)

// kind is a kind of value: how it is read, and how JSON Schema describes it. read leaves *to alone on an error, and
// tells whether there was none.
type kind[V any] struct {
	schema jsonSchema
	read   func(r *reader, v value, to *V) bool
}

// object is a mapping with known keys.
type object[T any] struct {
	what   string // as errors call it: "the pipeline"
	fields []field[T]
	// check looks at the whole after all keys were read.
	check func(r *reader, v value, t *T)
}

// field is one key of an object.
type field[T any] struct {
	key, doc string
	required bool
	// later is set for keys that are planned and refused for now; instead says what there is.
	later   bool
	instead string
	schema  jsonSchema
	read    func(r *reader, v value, t *T)
}

// at makes a field of a kind of value that is kept in one place of the struct.
func at[T, V any](key string, k kind[V], place func(*T) *V, doc string) field[T] {
	return field[T]{key: key, doc: doc, schema: k.schema, read: func(r *reader, v value, t *T) { k.read(r, v, place(t)) }}
}

// must makes a field required.
func (f field[T]) must() field[T] {
	f.required = true
	return f
}

// later is a key that is refused as planned, with what there is instead of it.
func later[T any](key, instead string) field[T] {
	return field[T]{key: key, later: true, instead: instead}
}

// supported lists the keys that can be used.
func (o object[T]) supported() []string {
	var keys []string
	for _, f := range o.fields {
		if !f.later {
			keys = append(keys, f.key)
		}
	}
	return keys
}

// kind is the object as a kind of value.
func (o object[T]) kind() kind[T] { return kind[T]{o.jsonSchema(), o.read} }

// pointer is an object that may be left out as a whole.
func (o object[T]) pointer(def func() T) kind[*T] {
	return kind[*T]{o.jsonSchema(), func(r *reader, v value, to **T) bool {
		t := def()
		*to = &t
		return o.read(r, v, &t)
	}}
}

func (o object[T]) read(r *reader, v value, to *T) bool {
	entries, ok := r.mapping(v, "a mapping with "+strings.Join(o.supported(), ", "))
	if !ok {
		return false
	}
	before := len(r.errs)
	given, planned := map[string]bool{}, false
	for _, e := range entries {
		given[e.key] = true
		f := o.field(e.key)
		switch {
		case f == nil:
			given[o.unknown(r, e)] = true
		case f.later:
			planned = true
			_ = r.addf(e.keyPos, e.path, "%s is not supported yet", e.path).WithHint("%s", f.instead)
		default:
			f.read(r, e.value, to)
		}
	}
	for _, f := range o.fields {
		// A key that was mistyped, or given in a form yet to come, is not missing as well.
		if f.required && !given[f.key] && !planned {
			_ = r.addf(r.at[v.path], v.path, "%s has no %q", o.what, f.key).WithHint("%s", brief(f.doc))
		}
	}
	if o.check != nil && len(r.errs) == before {
		o.check(r, v, to)
	}
	return len(r.errs) == before
}

func (o object[T]) field(key string) *field[T] {
	for i := range o.fields {
		if o.fields[i].key == key {
			return &o.fields[i]
		}
	}
	return nil
}

// unknown reports an unknown key, and gives the one that was probably meant.
func (o object[T]) unknown(r *reader, e entry) string {
	err := r.addf(e.keyPos, e.path, "unknown key %s in %s", quote(e.key), o.what)
	if near := Nearest(e.key, o.supported()); near != "" {
		_ = err.WithHint("did you mean %q?", near)
		return near
	}
	_ = err.WithHint("known keys: %s", strings.Join(o.supported(), ", "))
	return ""
}

// brief is the first sentence of a doc text, as a part of another sentence.
func brief(doc string) string {
	doc, _, _ = strings.Cut(doc, ". ")
	doc = strings.TrimSuffix(doc, ".")
	if len(doc) > 1 && strings.ToUpper(doc[:2]) != doc[:2] {
		doc = strings.ToLower(doc[:1]) + doc[1:]
	}
	return doc
}
