package clickhouse

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

// States that are bytes are stored as String, whatever is in them. Where it is known which of ClickHouse's own functions they
// are states of, the view has that function merge and finish them; otherwise, for aggregates of the user's, it gives the list of
// them, and "weir finish" does the rest.

// statesColumn is the view's column with the states that ClickHouse cannot merge.
func statesColumn(aggregate string) string { return aggregate + "_states" }

// mergeStates is the expression that makes one of the states of several sources. An empty text is not a state: it is what
// rows have that were stored before the column was added, and those of groups that had no value.
func mergeStates(a sink.Aggregate, s sink.State) string {
	column := ident(s.Name)
	if a.Finish != sink.FinishFunction {
		// Sorted, so that whoever merges them comes to the same floats each time.
		return fmt.Sprintf("arraySort(groupArrayIf(%s, %s != ''))", column, column)
	}
	name, params := a.Function, ""
	if open := strings.IndexByte(name, '('); open >= 0 {
		name, params = name[:open], name[open:]
	}
	types := make([]string, len(a.Args))
	for i, f := range a.Args {
		// A module leaves nulls out by itself; the states of Nullable arguments have another form.
		types[i] = columnType(batch.Field{Type: f.Type})
	}
	if a.Map {
		types = []string{mapType(a.Args)}
	}
	nothing := make([]string, len(types))
	for i, t := range types {
		nothing[i] = fmt.Sprintf("CAST([], %s)", quote("Array("+t+")"))
	}
	empty := fmt.Sprintf("CAST(arrayReduce(%s, %s), 'String')", quote(name+"State"+params), strings.Join(nothing, ", "))
	typ := quote(fmt.Sprintf("AggregateFunction(%s%s, %s)", name, params, strings.Join(types, ", ")))
	merged := fmt.Sprintf("%sMerge%s(CAST(if(%s = '', %s, %s), %s))", name, params, column, empty, column, typ)
	if a.Nullable { // there may be groups that had no value
		merged = fmt.Sprintf("if(countIf(%s != '') = 0, NULL, %s)", column, merged)
	}
	return merged
}

// mapType is the type of a map of keys and values.
func mapType(of []batch.Field) string {
	return fmt.Sprintf("Map(%s, %s)", baseType(of[0].Type), baseType(of[1].Type))
}

// sampleCodes are what the server says of a state, a function or a type that do not go together.
var sampleCodes = map[int32]bool{
	6: true, 33: true, 36: true, // CANNOT_PARSE_TEXT, CANNOT_READ_ALL_DATA, BAD_ARGUMENTS
	42: true, 43: true, 44: true, 46: true, 53: true, // numbers and types of arguments; UNKNOWN_FUNCTION, TYPE_MISMATCH
	63: true, 69: true, 70: true, 131: true, // UNKNOWN_AGGREGATE_FUNCTION, ARGUMENT_OUT_OF_BOUND, CANNOT_CONVERT_TYPE, TOO_LARGE_STRING_SIZE
	133: true, 134: true, 349: true, 117: true, // parameters; a null where none may be; INCORRECT_DATA
}

// trySamples has the server read a state of each aggregate that says whose states it makes. One state that cannot be read
// makes the whole view fail, so it must be found before any is stored.
func (s *Sink) trySamples(ctx context.Context) error {
	for _, a := range s.table.Aggregates {
		if a.Finish != sink.FinishFunction || a.Sample == nil {
			continue
		}
		st := a.States[0]
		expr, _ := finish(a, []string{mergeStates(a, st)})
		sql := fmt.Sprintf("SELECT toString(%s) FROM (SELECT unhex(%s) AS %s)", expr, quote(hex.EncodeToString(a.Sample)), ident(st.Name))
		err := s.query(ctx, "try a state of "+a.Name, sql, func(driver.Rows) error { return nil })
		var ex *clickhouse.Exception
		if errors.As(err, &ex) && sampleCodes[ex.Code] {
			return &sink.Error{
				Class: sink.Stop,
				Err:   fmt.Errorf("aggregate %s: the server cannot read a state of it as one of %s, or cannot make a %s of it: %w", a.Name, a.Function, a.Type, ex),
				Hint:  "change 'merge' of the aggregate to the function and the parameters that the module makes states of, or leave it out and use 'weir finish'",
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// StatesColumn is the view's column with the states of an aggregate that ClickHouse cannot merge.
func StatesColumn(aggregate string) string { return statesColumn(aggregate) }

// ColumnType is the ClickHouse type of a field.
func ColumnType(f batch.Field) string { return columnType(f) }
