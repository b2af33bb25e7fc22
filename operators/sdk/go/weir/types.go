//go:build wasip1

package weir

// Type is the type of a column.
type Type uint8

// The types. Dates are days and timestamps are counts since 1970, in UTC.
const (
	Any Type = iota // of Plan.Column: whatever it is
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
	TimestampS
	TimestampMs
	TimestampUs
	TimestampNs
)

// list is the bit that makes a type the list of it.
const list Type = 32

// ListOf is the type of lists of a type, which is no list itself. No item is null.
func ListOf(item Type) Type { return item | list }

// IsList tells whether the type is a list.
func (t Type) IsList() bool { return t&list != 0 }

// Item is the type of a list's items.
func (t Type) Item() Type { return t &^ list }

var typeTable = [...]struct {
	format, name string
	width        int
}{
	Any: {"", "any", 0}, Bool: {"b", "bool", 0},
	Int8: {"c", "int8", 1}, Int16: {"s", "int16", 2}, Int32: {"i", "int32", 4}, Int64: {"l", "int64", 8},
	Uint8: {"C", "uint8", 1}, Uint16: {"S", "uint16", 2}, Uint32: {"I", "uint32", 4}, Uint64: {"L", "uint64", 8},
	Float32: {"f", "float32", 4}, Float64: {"g", "float64", 8},
	String: {"u", "string", 0}, Binary: {"z", "binary", 0}, Date32: {"tdD", "date32", 4},
	TimestampS: {"tss:UTC", "timestamp[s]", 8}, TimestampMs: {"tsm:UTC", "timestamp[ms]", 8},
	TimestampUs: {"tsu:UTC", "timestamp[us]", 8}, TimestampNs: {"tsn:UTC", "timestamp[ns]", 8},
}

// String is the name used in pipelines.
func (t Type) String() string {
	if t.IsList() {
		return "list<" + typeTable[t.Item()].name + ">"
	}
	return typeTable[t].name
}

func (t Type) text() bool { return t == String || t == Binary }

func typeOf(format string) Type {
	for t := Bool; int(t) < len(typeTable); t++ {
		if typeTable[t].format == format {
			return t
		}
	}
	return Any
}

// typeAt reads the type of a schema.
func typeAt(s *arrowSchema) Type {
	format := cstring(s.format)
	if format != "+l" {
		return typeOf(format)
	}
	item := typeOf(cstring((*arrowSchema)(at(*(*uint32)(at(s.table)))).format))
	if item == Any {
		return Any
	}
	return ListOf(item)
}

// Fixed is any value of fixed width.
type Fixed interface {
	~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~float32 | ~float64
}
