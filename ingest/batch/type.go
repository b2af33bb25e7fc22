package batch

import (
	"fmt"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
)

// Kind is the family of a column type.
type Kind uint8

// The kinds. The zero value is no type at all.
const (
	Invalid Kind = iota
	Bool
	Int8
	Int16
	Int32
	Int64
	Uint8
	Uint16
	Uint32
	Uint64
	Float32
	Float64
	String
	Binary
	Date32
	Timestamp
	List
	Decimal
)

// Unit is the resolution of a timestamp.
type Unit uint8

// The units of a timestamp.
const (
	Second Unit = iota
	Millisecond
	Microsecond
	Nanosecond
)

// PerSecond is how many of the unit make one second.
func (u Unit) PerSecond() int64 {
	switch u {
	case Second:
		return 1
	case Millisecond:
		return 1_000
	case Microsecond:
		return 1_000_000
	default:
		return 1_000_000_000
	}
}

// String is the Arrow abbreviation: s, ms, us or ns.
func (u Unit) String() string { return [...]string{"s", "ms", "us", "ns"}[u&3] }

// Type is a column type. It is comparable; timestamps are UTC.
type Type struct {
	Kind Kind
	Unit Unit // of a Timestamp, or of the items of a list of them; zero otherwise
	Item Kind // of a List: the kind of its items, which are never null and no lists; Invalid otherwise
	// Of a Decimal, or of the items of a list of them: how many digits it has at most, from 1 to MaxPrecision, and how many of these
	// are behind the point. Zero otherwise.
	Precision, Scale uint8
}

// TimestampOf is the timestamp type of a unit.
func TimestampOf(u Unit) Type { return Type{Kind: Timestamp, Unit: u} }

var kindNames = [...]string{
	Invalid: "invalid", Bool: "bool",
	Int8: "int8", Int16: "int16", Int32: "int32", Int64: "int64",
	Uint8: "uint8", Uint16: "uint16", Uint32: "uint32", Uint64: "uint64",
	Float32: "float32", Float64: "float64", String: "string", Binary: "binary", Date32: "date32", Timestamp: "timestamp",
	List: "list", Decimal: "decimal",
}

// String is the name used in pipelines, for example "float64", "timestamp[ms]", "decimal(18, 2)" or "list<string>".
func (t Type) String() string {
	switch t.Kind {
	case Timestamp:
		return "timestamp[" + t.Unit.String() + "]"
	case List:
		return "list<" + t.Items().String() + ">"
	case Decimal:
		return fmt.Sprintf("decimal(%d, %d)", t.Precision, t.Scale)
	default:
		return t.Kind.String()
	}
}

// String is the name of the kind without its unit.
func (k Kind) String() string {
	if int(k) >= len(kindNames) {
		return fmt.Sprintf("kind(%d)", uint8(k))
	}
	return kindNames[k]
}

// TypeNames lists every type a pipeline can name, in the order the documentation gives them, but for decimals, which have digits, and
// the lists of all these.
func TypeNames() []string {
	names := make([]string, 0, len(kindNames)+3)
	for k := Bool; k < Timestamp; k++ {
		names = append(names, k.String())
	}
	for u := Second; u <= Nanosecond; u++ {
		names = append(names, TimestampOf(u).String())
	}
	return names
}

// ParseType reads a type name. A trailing "?" makes the column nullable.
func ParseType(s string) (t Type, nullable bool, err error) {
	name := strings.TrimSuffix(s, "?")
	nullable = name != s
	if item, ok := strings.CutPrefix(name, "list<"); ok && strings.HasSuffix(item, ">") {
		t, err := parseList(strings.TrimSuffix(item, ">"))
		return t, nullable, err
	}
	if t, is, err := parseDecimalType(name); is {
		return t, nullable, err
	}
	for k := Bool; k < Timestamp; k++ {
		if name == kindNames[k] {
			return Type{Kind: k}, nullable, nil
		}
	}
	for u := Second; u <= Nanosecond; u++ {
		if t := TimestampOf(u); name == t.String() {
			return t, nullable, nil
		}
	}
	return Type{}, false, fmt.Errorf("unknown type %q: use one of %s decimal(P, S), or list<one of the others>, each with ? if it may be null",
		s, strings.Join(TypeNames(), " "))
}

// Width is the size of one value in bytes, or 0 where values have no fixed number of bytes (bool, string, binary, lists).
func (t Type) Width() int {
	switch t.Kind {
	case Int8, Uint8:
		return 1
	case Int16, Uint16:
		return 2
	case Int32, Uint32, Float32, Date32:
		return 4
	case Int64, Uint64, Float64, Timestamp:
		return 8
	case Decimal:
		return 16
	default:
		return 0
	}
}

// Variable tells whether values are strings or binary: bytes behind one level of offsets.
func (t Type) Variable() bool { return t.Kind == String || t.Kind == Binary }

// Integer tells whether the type is a signed or unsigned integer.
func (t Type) Integer() bool { return t.Kind >= Int8 && t.Kind <= Uint64 }

// Unsigned tells whether the type is an unsigned integer.
func (t Type) Unsigned() bool { return t.Kind >= Uint8 && t.Kind <= Uint64 }

// Float tells whether the type is a floating point number.
func (t Type) Float() bool { return t.Kind == Float32 || t.Kind == Float64 }

// Numeric tells whether the type is an integer or a float: a number that has an arithmetic of its own, which decimals do not share.
func (t Type) Numeric() bool { return t.Integer() || t.Float() }

// Flat tells whether the type is one, and not that of lists.
func (t Type) Flat() bool { return t.Kind != Invalid && t.Kind != List && t.Kind <= Decimal }

// Arrow is the Arrow type of the same layout.
func (t Type) Arrow() arrow.DataType {
	switch t.Kind {
	case Bool:
		return arrow.FixedWidthTypes.Boolean
	case Int8:
		return arrow.PrimitiveTypes.Int8
	case Int16:
		return arrow.PrimitiveTypes.Int16
	case Int32:
		return arrow.PrimitiveTypes.Int32
	case Int64:
		return arrow.PrimitiveTypes.Int64
	case Uint8:
		return arrow.PrimitiveTypes.Uint8
	case Uint16:
		return arrow.PrimitiveTypes.Uint16
	case Uint32:
		return arrow.PrimitiveTypes.Uint32
	case Uint64:
		return arrow.PrimitiveTypes.Uint64
	case Float32:
		return arrow.PrimitiveTypes.Float32
	case Float64:
		return arrow.PrimitiveTypes.Float64
	case String:
		return arrow.BinaryTypes.String
	case Binary:
		return arrow.BinaryTypes.Binary
	case Date32:
		return arrow.FixedWidthTypes.Date32
	case Timestamp:
		return &arrow.TimestampType{Unit: [...]arrow.TimeUnit{arrow.Second, arrow.Millisecond, arrow.Microsecond, arrow.Nanosecond}[t.Unit&3], TimeZone: "UTC"}
	case Decimal:
		return &arrow.Decimal128Type{Precision: int32(t.Precision), Scale: int32(t.Scale)}
	case List:
		return arrow.ListOfNonNullable(t.Items().Arrow())
	default:
		panic("batch: Arrow type of " + t.String())
	}
}

// Field is a named column of a schema.
type Field struct {
	Name     string
	Type     Type
	Nullable bool
}

// String is "name: type", with a "?" if the field may be null.
func (f Field) String() string {
	s := f.Name + ": " + f.Type.String()
	if f.Nullable {
		s += "?"
	}
	return s
}

// Schema is an ordered list of fields. It is immutable once a batch uses it.
type Schema struct {
	Fields []Field
}

// Index is the position of the named field, or -1.
func (s *Schema) Index(name string) int {
	for i := range s.Fields {
		if s.Fields[i].Name == name {
			return i
		}
	}
	return -1
}

// Names lists the field names in order.
func (s *Schema) Names() []string {
	names := make([]string, len(s.Fields))
	for i := range s.Fields {
		names[i] = s.Fields[i].Name
	}
	return names
}

// Equal tells whether both schemas have the same fields in the same order.
func (s *Schema) Equal(o *Schema) bool {
	if s == o {
		return true
	}
	if s == nil || o == nil || len(s.Fields) != len(o.Fields) {
		return false
	}
	for i := range s.Fields {
		if s.Fields[i] != o.Fields[i] {
			return false
		}
	}
	return true
}

// String lists the fields, comma separated.
func (s *Schema) String() string {
	parts := make([]string, len(s.Fields))
	for i := range s.Fields {
		parts[i] = s.Fields[i].String()
	}
	return strings.Join(parts, ", ")
}

// Arrow is the same schema in Arrow's terms.
func (s *Schema) Arrow() *arrow.Schema {
	fields := make([]arrow.Field, len(s.Fields))
	for i, f := range s.Fields {
		fields[i] = arrow.Field{Name: f.Name, Type: f.Type.Arrow(), Nullable: f.Nullable}
	}
	return arrow.NewSchema(fields, nil)
}
