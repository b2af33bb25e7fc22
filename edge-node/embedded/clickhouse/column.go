package clickhouse

import (
	"encoding/binary"
	"sort"
)

// A column is its prefixes (once, depth first) and then its data. Types whose prefix decides how their data looks leave
// a note in the prefix list; the data walk takes the notes in the same order.
type prefix struct {
	notes []note
	next  int
}

// note is one type's prefix.
type note struct {
	version uint64
	args    []*shape // Dynamic and JSON: the types named in the prefix
}

func (p *prefix) rewind() { p.next = 0 }

func (p *prefix) add(n note) { p.notes = append(p.notes, n) }

func (p *prefix) take() note {
	n := p.notes[p.next]
	p.next++
	return n
}

const maxDynamicTypes = 1000

// prefix copies the serialization prefixes of a column.
func (w *walker) prefix(s *shape, p *prefix) error {
	switch s.kind {
	case shapeLowCardinality:
		version, err := w.copyUint64()
		if err != nil {
			return err
		}
		if version != 1 { // SharedDictionariesWithAdditionalKeys
			return exceptionf(codeIncorrectData, "a LowCardinality column with version %d of its keys", version)
		}
		return nil
	case shapeVariant:
		mode, err := w.copyUint64()
		if err != nil {
			return err
		}
		if mode > 1 {
			return exceptionf(codeIncorrectData, "a Variant column with discriminators of mode %d", mode)
		}
		p.add(note{version: mode})
	case shapeDynamic:
		return w.dynamicPrefix(p)
	case shapeJSON:
		return w.jsonPrefix(p)
	}
	for _, a := range s.args {
		if err := w.prefix(a, p); err != nil {
			return err
		}
	}
	return nil
}

// data copies the values of rows rows.
func (w *walker) data(s *shape, rows int, p *prefix) error {
	switch s.kind {
	case shapeFixed:
		return w.copyItems(rows, s.width)
	case shapeString:
		return w.copyStrings(rows)
	case shapeNullable:
		if err := w.copyItems(rows, 1); err != nil {
			return err
		}
		return w.data(s.args[0], rows, p)
	case shapeTuple:
		if len(s.args) == 0 {
			return w.copyItems(rows, 1)
		}
		for _, a := range s.args {
			if err := w.data(a, rows, p); err != nil {
				return err
			}
		}
		return nil
	case shapeArray:
		return w.array(s, rows, p)
	case shapeLowCardinality:
		return w.lowCardinality(s.args[0], rows)
	case shapeVariant:
		n := p.take()
		return w.variant(s.args, n.version, rows, p)
	case shapeDynamic:
		return w.dynamic(rows, p)
	case shapeJSON:
		return w.json(rows, p)
	case shapeState:
		for range rows {
			if err := w.state(s.state); err != nil {
				return err
			}
		}
		return nil
	}
	return exceptionf(codeUnknownType, "a column of a shape the walker does not know")
}

// array copies end offsets, one a row, and then as many values as the last offset says.
func (w *walker) array(s *shape, rows int, p *prefix) error {
	if rows == 0 {
		return w.data(s.args[0], 0, p)
	}
	at := len(w.out)
	if err := w.copyItems(rows, 8); err != nil {
		return err
	}
	last := uint64(0)
	for i := range rows {
		v := binary.LittleEndian.Uint64(w.out[at+8*i:])
		if v < last {
			return exceptionf(codeIncorrectData, "array offsets fall from %d to %d", last, v)
		}
		last = v
	}
	n, err := w.count(last, 0)
	if err != nil {
		return err
	}
	return w.data(s.args[0], n, p)
}

// Flags in the index type of a LowCardinality column.
const (
	lcNeedGlobalDictionary = 1 << 8
	lcHasAdditionalKeys    = 1 << 9
)

// lowCardinality copies a dictionary and the indexes into it. A Nullable value type has no null map here: key 0 is NULL.
func (w *walker) lowCardinality(value *shape, rows int) error {
	if value.kind == shapeNullable {
		value = value.args[0]
	}
	if value.kind != shapeFixed && value.kind != shapeString {
		return exceptionf(codeUnknownType, "a LowCardinality of a nested type")
	}
	for rows > 0 {
		kind, err := w.copyUint64()
		if err != nil {
			return err
		}
		if kind&lcNeedGlobalDictionary != 0 || kind&0xff > 3 || kind&lcHasAdditionalKeys == 0 {
			return exceptionf(codeIncorrectData, "a LowCardinality column with index type %#x", kind)
		}
		keys, err := w.copyUint64()
		if err != nil {
			return err
		}
		n, err := w.count(keys, 1)
		if err != nil {
			return err
		}
		if err := w.data(value, n, nil); err != nil {
			return err
		}
		part, err := w.copyUint64()
		if err != nil {
			return err
		}
		if part == 0 || part > uint64(rows) {
			return exceptionf(codeIncorrectData, "a LowCardinality column with %d indexes for %d rows", part, rows)
		}
		if err := w.copyItems(int(part), 1<<(kind&0xff)); err != nil {
			return err
		}
		rows -= int(part)
	}
	return nil
}

const nullDiscriminator = 255

// variant copies one discriminator a row and then each type's values, the types ordered as given.
func (w *walker) variant(args []*shape, mode uint64, rows int, p *prefix) error {
	if mode != 0 {
		return exceptionf(codeUnsupportedMethod, "a Variant column with compact discriminators")
	}
	at := len(w.out)
	if err := w.copyItems(rows, 1); err != nil {
		return err
	}
	counts := make([]int, len(args))
	for _, d := range w.out[at:] {
		if d == nullDiscriminator {
			continue
		}
		if int(d) >= len(args) {
			return exceptionf(codeIncorrectData, "discriminator %d in a Variant of %d types", d, len(args))
		}
		counts[d]++
	}
	for i, a := range args {
		if err := w.data(a, counts[i], p); err != nil {
			return err
		}
	}
	return nil
}

// dynamicPrefix reads the structure of a Dynamic column: version 1 or 2 lists the types and then is a Variant of them
// and of SharedVariant; version 3 ("flattened") lists types whose indexes follow in the data.
func (w *walker) dynamicPrefix(p *prefix) error {
	version, err := w.copyUint64()
	if err != nil {
		return err
	}
	if version < 1 || version > 3 {
		return exceptionf(codeUnsupportedMethod, "a Dynamic column of version %d", version)
	}
	if version == 1 { // the maximum number of types
		if _, err := w.copyUvarint(); err != nil {
			return err
		}
	}
	names, err := w.typeNames()
	if err != nil {
		return err
	}
	n := note{version: version}
	if version < 3 {
		names = append(names, "SharedVariant")
		sort.Strings(names)
	}
	for _, name := range names {
		s := &shape{kind: shapeString}
		if name != "SharedVariant" {
			if s, err = parseShape(name); err != nil {
				return err
			}
		}
		n.args = append(n.args, s)
	}
	p.add(n)
	if version < 3 {
		return w.prefix(&shape{kind: shapeVariant, args: n.args}, p)
	}
	for _, a := range n.args {
		if err := w.prefix(a, p); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) typeNames() ([]string, error) {
	count, err := w.copyCount(1)
	if err != nil {
		return nil, err
	}
	if count > maxDynamicTypes {
		return nil, exceptionf(codeIncorrectData, "a list of %d types or paths in a column", count)
	}
	names := make([]string, count)
	for i := range names {
		if names[i], err = w.in.text(maxTypeText); err != nil {
			return nil, err
		}
		w.out = appendText(w.out, names[i])
		if err := w.room(0); err != nil {
			return nil, err
		}
	}
	return names, nil
}

func (w *walker) dynamic(rows int, p *prefix) error {
	n := p.take()
	if n.version < 3 {
		mode := p.take()
		return w.variant(n.args, mode.version, rows, p)
	}
	width := 1
	for k := len(n.args) + 1; k > 0xff; k >>= 8 {
		width *= 2
	}
	at := len(w.out)
	if err := w.copyItems(rows, width); err != nil {
		return err
	}
	counts := make([]int, len(n.args)+1) // the last index is NULL
	for i := range rows {
		var v int
		for b := range width {
			v |= int(w.out[at+i*width+b]) << (8 * b)
		}
		if v >= len(counts) {
			return exceptionf(codeIncorrectData, "index %d in a Dynamic column of %d types", v, len(n.args))
		}
		counts[v]++
	}
	for i, a := range n.args {
		if err := w.data(a, counts[i], p); err != nil {
			return err
		}
	}
	return nil
}

// jsonPrefix accepts a JSON column written as text (version 1). The engine is told to write it so, and clickhouse-go
// sends it so; the object layouts are not walked.
func (w *walker) jsonPrefix(p *prefix) error {
	version, err := w.copyUint64()
	if err != nil {
		return err
	}
	if version != 1 {
		return exceptionf(codeUnsupportedMethod, "a JSON column in the object layout (version %d): the embedded server takes JSON as text only", version)
	}
	p.add(note{version: version})
	return nil
}

func (w *walker) json(rows int, p *prefix) error {
	p.take()
	return w.copyStrings(rows)
}
