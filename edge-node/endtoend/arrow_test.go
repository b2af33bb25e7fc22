package endtoend

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"
)

// arrowWriter makes Arrow streams of lines of JSON, with Arrow's own library.
type arrowWriter struct {
	schema *arrow.Schema
	counts []int // rows of the batches that are to come
	lines  []string
	done   [][]string
}

// newArrowWriter reads a schema: a field a line, its name and one of the types below.
func newArrowWriter(schema string) (*arrowWriter, error) {
	types := map[string]arrow.DataType{
		"int8": arrow.PrimitiveTypes.Int8, "int64": arrow.PrimitiveTypes.Int64, "float64": arrow.PrimitiveTypes.Float64, "bool": arrow.FixedWidthTypes.Boolean,
		"utf8": arrow.BinaryTypes.String, "large_utf8": arrow.BinaryTypes.LargeString,
		"dictionary":    &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int16, ValueType: arrow.BinaryTypes.String},
		"timestamp[ms]": arrow.FixedWidthTypes.Timestamp_ms, "timestamp[us]": arrow.FixedWidthTypes.Timestamp_us,
		"list": arrow.ListOf(arrow.PrimitiveTypes.Int32),
	}
	var fields []arrow.Field
	for line := range strings.Lines(schema) {
		name, of, _ := strings.Cut(strings.TrimSpace(line), " ")
		if types[of] == nil {
			return nil, fmt.Errorf("arrow.schema: no type %q", of)
		}
		fields = append(fields, arrow.Field{Name: name, Type: types[of], Nullable: true})
	}
	return &arrowWriter{schema: arrow.NewSchema(fields, nil)}, nil
}

// begin begins a stream of batches. One without rows is complete.
func (w *arrowWriter) begin(counts string) ([]byte, error) {
	w.counts, w.done = nil, nil
	for _, text := range strings.Split(counts, ",") {
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil, err
		}
		w.counts = append(w.counts, n)
	}
	return w.step()
}

// wants tells whether the next line is a row.
func (w *arrowWriter) wants() bool { return len(w.counts) > 0 }

// add takes a row, and gives the stream when it was the last.
func (w *arrowWriter) add(line string) ([]byte, error) {
	w.lines = append(w.lines, line)
	return w.step()
}

func (w *arrowWriter) step() ([]byte, error) {
	for len(w.counts) > 0 && len(w.lines) == w.counts[0] {
		w.done, w.counts, w.lines = append(w.done, w.lines), w.counts[1:], nil
	}
	if len(w.counts) > 0 {
		return nil, nil
	}
	var buf bytes.Buffer
	to := ipc.NewWriter(&buf, ipc.WithSchema(w.schema), ipc.WithDictionaryDeltas(false))
	for _, rows := range w.done {
		rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, w.schema, strings.NewReader("["+strings.Join(rows, ",")+"]"))
		if err != nil {
			return nil, err
		}
		if err := to.Write(rec); err != nil {
			return nil, err
		}
	}
	if err := to.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}
