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
func (t Type) String() string { return typeTable[t].name }

func (t Type) text() bool { return t == String || t == Binary }

func typeOf(format string) Type {
	for t := Bool; int(t) < len(typeTable); t++ {
		if typeTable[t].format == format {
			return t
		}
	}
	return Any
}

// Fixed is any value of fixed width.
type Fixed interface {
	~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~float32 | ~float64
}
