package abi

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/weir-stream/weir/ingest/batch"
)

// WithRow is the schema with the hidden row column behind its own.
func WithRow(s *batch.Schema) *batch.Schema {
	fields := make([]batch.Field, 0, len(s.Fields)+1)
	fields = append(fields, s.Fields...)
	return &batch.Schema{Fields: append(fields, batch.Field{Name: RowColumn, Type: batch.Type{Kind: batch.Int32}})}
}

// WithGroup is the schema of an aggregate's arguments with the hidden group column behind them.
func WithGroup(s *batch.Schema) *batch.Schema {
	fields := make([]batch.Field, 0, len(s.Fields)+1)
	fields = append(fields, s.Fields...)
	return &batch.Schema{Fields: append(fields, batch.Field{Name: GroupColumn, Type: batch.Type{Kind: batch.Int32}})}
}

// WriteSchema encodes a schema as it must lie at the address base, a multiple of 8. The root struct comes first.
func WriteSchema(base uint32, s *batch.Schema) []byte {
	n, lists := len(s.Fields), 0
	for _, f := range s.Fields {
		if f.Type.Kind == batch.List {
			lists++
		}
	}
	// The root, the columns, the items of lists; the table of the root's children, and for each list one of its own.
	table := SchemaSize * (1 + n + lists)
	out := make([]byte, (table+4*(n+lists)+7)&^7)
	text := func(t string) uint32 {
		at := base + uint32(len(out))
		out = append(append(out, t...), 0)
		return at
	}
	put := func(at int, format, name string, flags uint64) {
		f, nm := text(format), text(name)
		binary.LittleEndian.PutUint32(out[at+SchemaFormat:], f)
		binary.LittleEndian.PutUint32(out[at+SchemaName:], nm)
		binary.LittleEndian.PutUint64(out[at+SchemaFlags:], flags)
	}
	put(0, FormatStruct, "", 0)
	binary.LittleEndian.PutUint64(out[SchemaNChildren:], uint64(n))
	binary.LittleEndian.PutUint32(out[SchemaChildren:], base+uint32(table))
	lists = 0
	for i, f := range s.Fields {
		at, flags := SchemaSize*(i+1), uint64(0)
		if f.Nullable {
			flags = FlagNullable
		}
		put(at, Format(f.Type), f.Name, flags)
		binary.LittleEndian.PutUint32(out[table+4*i:], base+uint32(at))
		if f.Type.Kind == batch.List {
			child, entry := SchemaSize*(1+n+lists), table+4*(n+lists)
			put(child, Format(f.Type.Items()), ListChild, 0)
			binary.LittleEndian.PutUint64(out[at+SchemaNChildren:], 1)
			binary.LittleEndian.PutUint32(out[at+SchemaChildren:], base+uint32(entry))
			binary.LittleEndian.PutUint32(out[entry:], base+uint32(child))
			lists++
		}
	}
	return out
}

// ReadSchema reads the schema at an address of a guest's memory and checks all of it.
func ReadSchema(mem []byte, addr uint32) (*batch.Schema, error) {
	root, err := schemaAt(mem, addr)
	if err != nil {
		return nil, err
	}
	format, err := cstring(mem, le32(root, SchemaFormat), 64)
	if err != nil {
		return nil, fmt.Errorf("format of the schema: %w", err)
	}
	if format != FormatStruct {
		return nil, fmt.Errorf("format of the schema is %q: a batch is a struct, %q", format, FormatStruct)
	}
	n := int64(binary.LittleEndian.Uint64(root[SchemaNChildren:]))
	if n < 1 || n > MaxColumns {
		return nil, fmt.Errorf("the schema has %d columns: from 1 to %d are possible", n, MaxColumns)
	}
	table, err := span(mem, le32(root, SchemaChildren), 4*uint64(n), 4)
	if err != nil {
		return nil, fmt.Errorf("children of the schema: %w", err)
	}
	s := &batch.Schema{Fields: make([]batch.Field, n)}
	seen := make(map[string]bool, n)
	for i := range s.Fields {
		f, err := readField(mem, le32(table, 4*i))
		if err != nil {
			return nil, fmt.Errorf("column %d of the schema: %w", i+1, err)
		}
		if seen[f.Name] {
			return nil, fmt.Errorf("two columns of the schema are named %q", f.Name)
		}
		seen[f.Name] = true
		s.Fields[i] = f
	}
	return s, nil
}

func readField(mem []byte, addr uint32) (batch.Field, error) {
	b, err := schemaAt(mem, addr)
	if err != nil {
		return batch.Field{}, err
	}
	name, err := cstring(mem, le32(b, SchemaName), MaxNameLen)
	if err != nil {
		return batch.Field{}, fmt.Errorf("name: %w", err)
	}
	if name == "" || !utf8.ValidString(name) {
		return batch.Field{}, fmt.Errorf("name %q: a name is text that is not empty", name)
	}
	format, err := cstring(mem, le32(b, SchemaFormat), 64)
	if err != nil {
		return batch.Field{}, fmt.Errorf("format of %q: %w", name, err)
	}
	t, err := readType(mem, b, format)
	if err != nil {
		return batch.Field{}, fmt.Errorf("%q: %w", name, err)
	}
	nullable := binary.LittleEndian.Uint64(b[SchemaFlags:])&FlagNullable != 0
	if name == RowColumn && (t.Kind != batch.Int32 || nullable) {
		return batch.Field{}, fmt.Errorf("%q must be int32 without nulls, not %s", name, t)
	}
	return batch.Field{Name: name, Type: t, Nullable: nullable}, nil
}

// readType reads the type of a column: flat, or a list of something flat.
func readType(mem, b []byte, format string) (batch.Type, error) {
	if le32(b, SchemaDictionary) != 0 {
		return batch.Type{}, errors.New("it has a dictionary: columns have their values themselves")
	}
	children := binary.LittleEndian.Uint64(b[SchemaNChildren:])
	if format != FormatList {
		if children != 0 {
			return batch.Type{}, fmt.Errorf("it has %d children: only a list (%s) has one, other columns are flat", children, FormatList)
		}
		return ParseFormat(format)
	}
	if children != 1 {
		return batch.Type{}, fmt.Errorf("a list has one child, not %d", children)
	}
	table, err := span(mem, le32(b, SchemaChildren), 4, 4)
	if err != nil {
		return batch.Type{}, fmt.Errorf("children of a list: %w", err)
	}
	child, err := schemaAt(mem, le32(table, 0))
	if err != nil {
		return batch.Type{}, fmt.Errorf("items of a list: %w", err)
	}
	if binary.LittleEndian.Uint64(child[SchemaNChildren:]) != 0 || le32(child, SchemaDictionary) != 0 {
		return batch.Type{}, errors.New("items of a list have children or a dictionary: they are flat")
	}
	item, err := cstring(mem, le32(child, SchemaFormat), 64)
	if err != nil {
		return batch.Type{}, fmt.Errorf("format of the items of a list: %w", err)
	}
	// A child may be flagged nullable, as libraries do by default: that no item is null is checked in every batch.
	t, err := ParseFormat(item)
	if err != nil {
		return batch.Type{}, fmt.Errorf("items of a list: %w", err)
	}
	return batch.ListOf(t), nil
}

func schemaAt(mem []byte, addr uint32) ([]byte, error) {
	b, err := span(mem, addr, SchemaSize, 8)
	if err != nil {
		return nil, fmt.Errorf("ArrowSchema: %w", err)
	}
	return b, nil
}

// span is n bytes of memory at an address, checked.
func span(mem []byte, addr uint32, n uint64, align uint32) ([]byte, error) {
	if addr == 0 {
		return nil, errors.New("null pointer")
	}
	if addr%align != 0 {
		return nil, fmt.Errorf("address %#x is not %d-aligned", addr, align)
	}
	if uint64(addr)+n > uint64(len(mem)) {
		return nil, fmt.Errorf("%d bytes at %#x are outside the memory of %d bytes", n, addr, len(mem))
	}
	return mem[addr : uint64(addr)+n], nil
}

func cstring(mem []byte, addr uint32, limit int) (string, error) {
	if _, err := span(mem, addr, 1, 1); err != nil {
		return "", err
	}
	b := mem[addr:min(len(mem), int(addr)+limit+1)]
	n := bytes.IndexByte(b, 0)
	if n < 0 {
		return "", fmt.Errorf("text at %#x does not end within %d bytes", addr, limit)
	}
	return string(b[:n]), nil
}

func le32(b []byte, at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
