package authoring

import (
	"errors"
	"fmt"
	"strings"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/ingest/schema"
	"github.com/weir-stream/weir/operators/abi"
)

// Columns are the input columns of an operator, as a pipeline's source has them.
type Columns = schema.Columns

// ParseColumns reads the declaration of input columns: "name: type" with commas or line ends between. Lines that begin
// with # are comments. A column is filled from the member of its name; a time that is a number counts the column's unit.
func ParseColumns(text string) (schema.Columns, error) {
	var cols schema.Columns
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		for _, part := range splitColumns(line) {
			part = strings.TrimSpace(part)
			if part == "" {
				continue
			}
			at := strings.LastIndexByte(part, ':')
			if at < 0 {
				return nil, fmt.Errorf("column %q has no type: write name: type, for example temp: float64?", part)
			}
			name := strings.TrimSpace(part[:at])
			typ, nullable, err := batch.ParseType(strings.TrimSpace(part[at+1:]))
			if err != nil {
				return nil, fmt.Errorf("column %q: %w", name, err)
			}
			cols = append(cols, schema.Column{
				Field: batch.Field{Name: name, Type: typ, Nullable: nullable}, Path: []string{name}, Epoch: typ.Unit,
			})
			if len(cols) >= abi.MaxColumns {
				return nil, fmt.Errorf("over %d columns", abi.MaxColumns-1)
			}
		}
	}
	if len(cols) == 0 {
		return nil, errors.New("no columns: write name: type, for example temp: float64?")
	}
	return cols, cols.Validate()
}

// splitColumns splits at commas that are not in parentheses, as that of decimal(18, 2) is.
func splitColumns(line string) []string {
	depth := 0
	return strings.FieldsFunc(line, func(r rune) bool {
		switch r {
		case '(':
			depth++
		case ')':
			depth--
		}
		return r == ',' && depth == 0
	})
}

// columnLines is a schema as a golden file has it.
func columnLines(s *batch.Schema) []string {
	lines := make([]string, len(s.Fields))
	for i, f := range s.Fields {
		lines[i] = f.String()
	}
	return lines
}
