package abi

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
)

func every(t testing.TB) *batch.Schema {
	t.Helper()
	var s batch.Schema
	for _, name := range batch.TypeNames() {
		for _, q := range []string{"", "?"} {
			typ, nullable, err := batch.ParseType(name + q)
			if err != nil {
				t.Fatal(err)
			}
			s.Fields = append(s.Fields, batch.Field{Name: name + q, Type: typ, Nullable: nullable},
				batch.Field{Name: "list<" + name + ">" + q, Type: batch.ListOf(typ), Nullable: nullable})
		}
	}
	return WithRow(&s)
}

func TestSchemaRoundTrip(t *testing.T) {
	want := every(t)
	const base = 4096
	mem := append(make([]byte, base), WriteSchema(base, want)...)
	got, err := ReadSchema(mem, base)
	if err != nil {
		t.Fatal(err)
	}
	if !got.Equal(want) {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
}

func TestReadSchemaRefuses(t *testing.T) {
	const base = 64
	valid := append(make([]byte, base), WriteSchema(base, every(t))...)
	child := base + SchemaSize
	list := child + SchemaSize
	put := func(at int, v uint32) func([]byte) {
		return func(m []byte) { binary.LittleEndian.PutUint32(m[at:], v) }
	}
	cases := []struct {
		name, want string
		addr       uint32
		spoil      func([]byte)
	}{
		{"null", "null pointer", 0, nil},
		{"unaligned", "not 8-aligned", base + 4, nil},
		{"outside", "outside the memory", 1 << 30, nil},
		{"no struct", "a batch is a struct", base, func(m []byte) { copy(m[le32(m, base+SchemaFormat):], "+l") }},
		{"no columns", "has 0 columns", base, put(base+SchemaNChildren, 0)},
		{"too many columns", "columns: from 1", base, put(base+SchemaNChildren+4, 1)},
		{"children outside", "children of the schema", base, put(base+SchemaChildren, 0xfffffff0)},
		{"child unaligned", "column 1 of the schema", base, func(m []byte) {
			binary.LittleEndian.PutUint32(m[le32(m, base+SchemaChildren):], uint32(child+1))
		}},
		{"name missing", "name: null pointer", base, put(child+SchemaName, 0)},
		{"name without end", "outside the memory", base, put(child+SchemaName, 0xffffffff)},
		{"unknown format", "is not a type weir has", base, func(m []byte) { copy(m[le32(m, child+SchemaFormat):], "Z") }},
		{"nested", "other columns are flat", base, put(child+SchemaNChildren, 1)},
		{"dictionary", "it has a dictionary", base, put(child+SchemaDictionary, base)},
		{"list without child", "a list has one child", base, put(list+SchemaNChildren, 0)},
		{"list of two", "a list has one child", base, put(list+SchemaNChildren, 2)},
		{"list, children outside", "children of a list", base, put(list+SchemaChildren, 0xfffffff0)},
		{"list, child outside", "items of a list: ArrowSchema", base, func(m []byte) {
			binary.LittleEndian.PutUint32(m[le32(m, list+SchemaChildren):], 0xfffffff0)
		}},
		{"list of itself", "items of a list have children", base, func(m []byte) {
			binary.LittleEndian.PutUint32(m[le32(m, list+SchemaChildren):], uint32(list))
		}},
		{"list of what", "items of a list: format", base, func(m []byte) {
			copy(m[le32(m, int(le32(m, int(le32(m, list+SchemaChildren))))+SchemaFormat):], "Z")
		}},
		{"list of list", "items of a list: format", base, func(m []byte) {
			item := int(le32(m, int(le32(m, list+SchemaChildren))))
			binary.LittleEndian.PutUint32(m[item+SchemaFormat:], le32(m, list+SchemaFormat))
		}},
		{"twice", "two columns", base, func(m []byte) {
			binary.LittleEndian.PutUint32(m[child+SchemaSize+SchemaName:], le32(m, child+SchemaName))
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			mem := append([]byte(nil), valid...)
			if c.spoil != nil {
				c.spoil(mem)
			}
			_, err := ReadSchema(mem, c.addr)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

func FuzzReadSchema(f *testing.F) {
	const base = 64
	f.Add(append(make([]byte, base), WriteSchema(base, every(f))...), uint32(base))
	f.Fuzz(func(t *testing.T, mem []byte, addr uint32) {
		s, err := ReadSchema(mem, addr)
		if err != nil {
			return
		}
		again, err := ReadSchema(append(make([]byte, base), WriteSchema(base, s)...), base)
		if err != nil || !again.Equal(s) {
			t.Fatalf("%s read back as %s: %v", s, again, err)
		}
	})
}
