package abi

import (
	"fmt"
	"strings"

	"github.com/weir-stream/weir/ingest/batch"
)

// FormatStruct is the format string of a batch: a struct whose children are the columns.
const FormatStruct = "+s"

// FormatList is the format string of a list; the type of its items is that of its one child.
const FormatList = "+l"

// ListChild is the name that the host gives the child of a list. What a guest names it does not matter.
const ListChild = "item"

var formats = map[batch.Kind]string{
	batch.Bool: "b",
	batch.Int8: "c", batch.Int16: "s", batch.Int32: "i", batch.Int64: "l",
	batch.Uint8: "C", batch.Uint16: "S", batch.Uint32: "I", batch.Uint64: "L",
	batch.Float32: "f", batch.Float64: "g",
	batch.String: "u", batch.Binary: "z",
	batch.Date32: "tdD",
}

const timestampUnits = "smun" // by batch.Unit

// Format is the Arrow format string of a type. That of a list does not tell of what.
// Source: https://arrow.apache.org/docs/format/CDataInterface.html#data-type-description-format-strings.
func Format(t batch.Type) string {
	if t.Kind == batch.Timestamp {
		return "ts" + timestampUnits[t.Unit&3:t.Unit&3+1] + ":UTC"
	}
	if t.Kind == batch.List {
		return FormatList
	}
	return formats[t.Kind]
}

// ParseFormat reads a format string that a guest gave for a flat column, or for the items of a list.
func ParseFormat(s string) (batch.Type, error) {
	for k, f := range formats {
		if s == f {
			return batch.Type{Kind: k}, nil
		}
	}
	if len(s) >= 4 && s[:2] == "ts" && s[3] == ':' {
		unit := strings.IndexByte(timestampUnits, s[2])
		zone := s[4:]
		if unit >= 0 && (zone == "" || zone == "UTC") {
			return batch.TimestampOf(batch.Unit(unit)), nil
		}
		if unit >= 0 {
			return batch.Type{}, fmt.Errorf("format %q: timestamps are in UTC here; leave the zone empty or write UTC", s)
		}
	}
	return batch.Type{}, fmt.Errorf("format %q is not a type weir has: b c C s S i I l L f g u z tdD and tss:UTC tsm:UTC tsu:UTC tsn:UTC are, and +l of one of them", s)
}

// Buffers is the number of buffers in an array of the type: validity and values, with offsets between for strings;
// validity and offsets for a list, whose child has its own.
func Buffers(t batch.Type) int {
	if t.Variable() {
		return 3
	}
	return 2
}
