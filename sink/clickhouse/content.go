package clickhouse

import (
	"fmt"
	"strings"

	"github.com/weir-stream/weir/ingest/batch"
)

// The hash of a row is batch.HashRows over the columns of a cut: window_start, window_end, _rows, then keys and states. The
// server computes it from the columns of the table. An account names the columns after the first three, because a table gains
// columns when a pipeline gains aggregates, and old rows were hashed without.

// hashedFrom is the first column of a cut that an account names.
const hashedFrom = 3

// contentColumns names the columns that are hashed, in order, with their types: "device string,readings uint64".
func contentColumns(s *batch.Schema) string {
	names := make([]string, 0, len(s.Fields))
	for _, f := range s.Fields[hashedFrom:] {
		names = append(names, contentColumn(f))
	}
	return strings.Join(names, ",")
}

// contentColumn is a column as an account names it, without a comma: those are between columns.
func contentColumn(f batch.Field) string {
	return f.Name + " " + strings.ReplaceAll(f.Type.String(), ", ", ".")
}

// rowHashSQL is the hash of a row of the partials. wanted is an expression with the columns an account names. Where those are
// not just the columns of the schema, in order, the values are looked up by name; the condition in the end is false where one of
// them is not known, and then the hash is 0.
func rowHashSQL(s *batch.Schema, wanted string) string {
	head, values, names := make([]string, 0, hashedFrom), []string{}, []string{}
	for i, f := range s.Fields {
		if i < hashedFrom {
			head = append(head, valueBytesSQL(f))
			continue
		}
		values = append(values, valueBytesSQL(f))
		names = append(names, quote(contentColumn(f)))
	}
	first := strings.Join(head, ", ")
	return fmt.Sprintf(`multiIf(
            %[1]s = %[2]s, xxHash64(concat(%[3]s)),
            hasAll([%[4]s], splitByChar(',', %[1]s)), xxHash64(concat(%[5]s, arrayStringConcat(arrayMap(
                c -> arrayElement([%[6]s], indexOf([%[4]s], c)), splitByChar(',', %[1]s))))),
            0)`, wanted, quote(contentColumns(s)), strings.Join(append(head, values...), ", "),
		strings.Join(names, ", "), first, strings.Join(values, ", "))
}

// contentKnownSQL tells whether all columns that an account names are among those of the schema.
func contentKnownSQL(s *batch.Schema, wanted string) string {
	names := make([]string, 0, len(s.Fields))
	for _, f := range s.Fields[hashedFrom:] {
		names = append(names, quote(contentColumn(f)))
	}
	return fmt.Sprintf("hasAll([%s], splitByChar(',', %s))", strings.Join(names, ", "), wanted)
}

// valueBytesSQL is a value as batch.HashRows has it, as a String.
func valueBytesSQL(f batch.Field) string {
	column := ident(f.Name)
	value := column
	if f.Nullable {
		value = "assumeNotNull(" + column + ")"
	}
	switch t := f.Type; t.Kind {
	case batch.String, batch.Binary:
		value = fmt.Sprintf("reinterpretAsFixedString(length(%s)), %s", value, value)
	case batch.Bool:
		value = fmt.Sprintf("reinterpretAsFixedString(toUInt8(%s))", value)
	case batch.Date32:
		value = fmt.Sprintf("reinterpretAsFixedString(toInt32(%s))", value)
	case batch.Timestamp:
		unit := map[batch.Unit]string{
			batch.Second: "Second", batch.Millisecond: "Milli", batch.Microsecond: "Micro", batch.Nanosecond: "Nano",
		}[t.Unit]
		value = fmt.Sprintf("reinterpretAsFixedString(toUnixTimestamp64%s(%s))", unit, value)
	case batch.Decimal: // in 16 bytes, whatever the server has for it
		value = fmt.Sprintf("reinterpretAsFixedString(toDecimal128(%s, %d))", value, t.Scale)
	default:
		value = fmt.Sprintf("reinterpretAsFixedString(%s)", value)
	}
	if f.Nullable {
		return fmt.Sprintf(`if(isNull(%s), '\0', concat('\x01', %s))`, column, value)
	}
	return fmt.Sprintf(`concat('\x01', %s)`, value)
}
