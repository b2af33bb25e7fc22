package decode

import (
	"bytes"
	"fmt"

	"github.com/weir-stream/weir/ingest/batch"
)

// Bounds of the schema of a record. References of a flatbuffer may lead to one table many times, so a small one can be a large tree.
const (
	maxArrowFields = 10_000 // children included
	maxArrowDepth  = 64
)

// The types of Arrow, as the union Type of its schema numbers them.
// Source: https://github.com/apache/arrow/blob/main/format/Schema.fbs.
const (
	arrowNull            = 1
	arrowInt             = 2
	arrowFloat           = 3
	arrowBinary          = 4
	arrowUtf8            = 5
	arrowBool            = 6
	arrowDecimal         = 7
	arrowDate            = 8
	arrowTime            = 9
	arrowTimestamp       = 10
	arrowInterval        = 11
	arrowList            = 12
	arrowStruct          = 13
	arrowUnion           = 14
	arrowFixedSizeBinary = 15
	arrowFixedSizeList   = 16
	arrowMap             = 17
	arrowDuration        = 18
	arrowLargeBinary     = 19
	arrowLargeUtf8       = 20
	arrowLargeList       = 21
	arrowRunEndEncoded   = 22
	arrowBinaryView      = 23
	arrowUtf8View        = 24
	arrowListView        = 25
	arrowLargeListView   = 26
)

// arrowTypes says of each type what it is called and how many buffers it has beside those of its children.
var arrowTypes = [...]struct {
	name    string
	buffers int
}{
	arrowNull: {"null", 0}, arrowInt: {"int", 2}, arrowFloat: {"float", 2}, arrowBinary: {"binary", 3}, arrowUtf8: {"utf8", 3},
	arrowBool: {"bool", 2}, arrowDecimal: {"decimal", 2}, arrowDate: {"date", 2}, arrowTime: {"time", 2},
	arrowTimestamp: {"timestamp", 2}, arrowInterval: {"interval", 2}, arrowList: {"list", 2}, arrowStruct: {"struct", 1},
	arrowUnion: {"union", 1}, arrowFixedSizeBinary: {"fixed_size_binary", 2}, arrowFixedSizeList: {"fixed_size_list", 1},
	arrowMap: {"map", 2}, arrowDuration: {"duration", 2}, arrowLargeBinary: {"large_binary", 3}, arrowLargeUtf8: {"large_utf8", 3},
	arrowLargeList: {"large_list", 2}, arrowRunEndEncoded: {"run_end_encoded", 0}, arrowBinaryView: {"binary_view", 2},
	arrowUtf8View: {"utf8_view", 2}, arrowListView: {"list_view", 3}, arrowLargeListView: {"large_list_view", 3},
}

// arrowField is a field at the top of the schema of a record.
type arrowField struct {
	nodes   int  // of the field and its children in a record batch
	buffers int  // the same, without those whose number the batch says
	views   int  // of these types, each of which the batch says a number for
	leaf    int  // the leaf it fills, or -1
	large   bool // offsets are 64 bits wide
	unit    batch.Unit
	scale   uint8 // of decimals

	encoded bool // by a dictionary
	id      int64
	index   batch.Type // of the dictionary's indices
}

// arrowSchema is the schema of a record, as far as the columns need it. Mostly the next record has the same one.
type arrowSchema struct {
	meta    []byte // the message, to compare
	version int16
	fields  []arrowField
	found   []bool // by leaf: there is a field for it
	refused batch.Reject
}

// arrowLeaf is a column that is filled from a field.
type arrowLeaf struct {
	col  *column
	name string // of the field
}

// readSchema reads a schema message. What is wrong with it is kept: the next record with it need not be looked at.
func (d *arrowDecoder) readSchema(meta []byte, version int16, header flatTable) outcome {
	s := &d.schema
	s.meta, s.version, s.fields = append(s.meta[:0], meta...), version, s.fields[:0]
	s.refused = batch.Reject{}
	clear(s.found)
	if out := d.readFields(header); out != written {
		s.refused = d.w.reject
		return out
	}
	return written
}

func (d *arrowDecoder) readFields(header flatTable) outcome {
	w, s := &d.w, &d.schema
	if header.i16(0, 0) != 0 {
		return w.refuseRecord(batch.ReasonMalformed, "the Arrow schema is big endian; only little endian data is read")
	}
	fields := header.vector(1, 4)
	count := 0
	for i := range fields.n {
		t := fields.table(i)
		f := arrowField{leaf: -1}
		if problem := f.measure(t, s.version, &count, 0); problem != "" {
			return w.refuseRecord(batch.ReasonMalformed, "the Arrow schema is not one: %s", problem)
		}
		name := t.text(0)
		if header.f.bad {
			break
		}
		for k := range d.leafs {
			l := &d.leafs[k]
			if string(name) != l.name {
				continue
			}
			if s.found[k] {
				return w.refuseRecord(batch.ReasonMalformed, "the Arrow schema has two fields %s", snippet(name))
			}
			s.found[k], f.leaf = true, k
			if out := d.match(l, &f, t); out != written {
				return out
			}
		}
		s.fields = append(s.fields, f)
	}
	if header.f.bad {
		return w.refuseRecord(batch.ReasonMalformed, "the Arrow schema is not a flatbuffer")
	}
	for k := range d.leafs {
		if l := &d.leafs[k]; !s.found[k] && !l.col.Nullable {
			return w.refuse(batch.ReasonMissing, l.col, "the record's Arrow schema has no field %s", snippet([]byte(l.name)))
		}
	}
	return written
}

// measure counts what a field and its children have in a record batch.
func (f *arrowField) measure(t flatTable, version int16, count *int, depth int) (problem string) {
	if *count++; *count > maxArrowFields {
		return fmt.Sprintf("it has more than %d fields", maxArrowFields)
	}
	if depth > maxArrowDepth {
		return fmt.Sprintf("fields are nested more than %d deep", maxArrowDepth)
	}
	if t.f == nil || t.f.bad {
		return "a field is not a table of its flatbuffer"
	}
	kind := int(t.u8(2, 0))
	if kind < arrowNull || kind >= len(arrowTypes) {
		return fmt.Sprintf("field %s has type number %d, which is not known here", snippet(t.text(0)), kind)
	}
	f.nodes++
	if t.has(4) { // by a dictionary: the field has its indices, and the dictionary's batch the values with their children
		f.buffers += 2
		return ""
	}
	f.buffers += arrowTypes[kind].buffers
	switch kind {
	case arrowBinaryView, arrowUtf8View:
		f.views++
	case arrowUnion:
		if t.table(3).i16(0, 0) == 1 { // dense: offsets, too
			f.buffers++
		}
		if version < arrowV5 { // and validity, until then
			f.buffers++
		}
	}
	children := t.vector(5, 4)
	for i := range children.n {
		if problem := f.measure(children.table(i), version, count, depth+1); problem != "" {
			return problem
		}
	}
	return ""
}

// match finds out whether a field is of a leaf's type, and how its values are written.
func (d *arrowDecoder) match(l *arrowLeaf, f *arrowField, t flatTable) outcome {
	kind, typ := int(t.u8(2, 0)), t.table(3)
	have, named := arrowTypeOf(kind, typ)
	if t.f.bad {
		return written // the caller says so
	}
	want := l.col.Type
	f.large = kind == arrowLargeBinary || kind == arrowLargeUtf8
	if t.has(4) {
		enc := t.table(4)
		f.encoded, f.id, f.index = true, enc.i64(0), batch.Type{Kind: batch.Int32}
		if index := enc.table(1); index.f != nil {
			f.index, _ = arrowTypeOf(arrowInt, index)
		}
		if !want.Variable() || have != want || !f.index.Integer() {
			return d.w.refuse(batch.ReasonWrongType, l.col,
				"field %s is a dictionary of %s: dictionaries are read for columns of string and binary only", snippet([]byte(l.name)), named)
		}
		return written
	}
	if have.Kind == batch.Timestamp && want.Kind == batch.Timestamp {
		f.unit = have.Unit
		return written
	}
	if have.Kind == batch.Decimal && want.Kind == batch.Decimal {
		if have.Scale > want.Scale {
			return d.w.refuse(batch.ReasonWrongType, l.col, "field %s is %s, with more digits behind the point than the column has", snippet([]byte(l.name)), named)
		}
		f.scale = have.Scale
		return written
	}
	if have != want {
		return d.w.refuse(batch.ReasonWrongType, l.col, "field %s is %s", snippet([]byte(l.name)), named)
	}
	return written
}

// arrowTypeOf is the column type of an Arrow type and the name of the latter, for people. Of a type that no column has it is the
// invalid one.
func arrowTypeOf(kind int, t flatTable) (batch.Type, string) {
	is := func(k batch.Kind) (batch.Type, string) { return batch.Type{Kind: k}, k.String() }
	switch kind {
	case arrowBool:
		return is(batch.Bool)
	case arrowUtf8:
		return batch.Type{Kind: batch.String}, "utf8"
	case arrowLargeUtf8:
		return batch.Type{Kind: batch.String}, "large_utf8"
	case arrowBinary:
		return is(batch.Binary)
	case arrowLargeBinary:
		return batch.Type{Kind: batch.Binary}, "large_binary"
	case arrowInt:
		first := batch.Uint8
		if t.u8(1, 0) != 0 {
			first = batch.Int8
		}
		for k, bits := range [...]int32{8, 16, 32, 64} {
			if t.i32(0) == bits {
				return is(first + batch.Kind(k))
			}
		}
	case arrowFloat:
		switch t.i16(0, 0) {
		case 0:
			return batch.Type{}, "float16"
		case 1:
			return is(batch.Float32)
		case 2:
			return is(batch.Float64)
		}
	case arrowDecimal:
		precision, scale, bits := t.i32(0), t.i32(1), int32(128)
		if t.has(2) {
			bits = t.i32(2)
		}
		name := fmt.Sprintf("decimal%d(%d, %d)", bits, precision, scale)
		if bits == 128 && precision >= 1 && precision <= batch.MaxPrecision && scale >= 0 && scale <= precision {
			return batch.DecimalOf(int(precision), int(scale)), name
		}
		return batch.Type{}, name
	case arrowDate:
		if t.i16(0, 1) == 0 {
			return is(batch.Date32)
		}
		return batch.Type{}, "date64"
	case arrowTimestamp:
		if u := t.i16(0, 0); u >= 0 && u <= int16(batch.Nanosecond) {
			typ := batch.TimestampOf(batch.Unit(u))
			return typ, typ.String()
		}
	}
	return batch.Type{}, arrowTypes[kind].name
}

// sameSchema tells whether a message is the schema of the record before.
func (s *arrowSchema) same(meta []byte) bool { return len(s.meta) > 0 && bytes.Equal(s.meta, meta) }
