// Package schema turns the columns a pipeline declares into the schema of decoded batches and the rules by which a
// decoder fills them. The configuration makes it, decoders read it.
package schema

import (
	"fmt"

	"github.com/weir-stream/weir/ingest/batch"
)

// Meta names a part of a record outside its value that a column can be filled from.
type Meta uint8

// The parts of a record.
const (
	FromValue     Meta = iota // the record's value, by Path
	FromKey                   // the record's key, as string or binary
	FromTimestamp             // the record's timestamp
	FromOffset                // the record's offset
	FromPartition             // the partition's number
	FromTopic                 // the topic's name
	FromHeader                // the last header named Header
)

// Column is a declared column: its field, where its value comes from, and how a time is written there.
type Column struct {
	batch.Field
	From   Meta
	Path   []string   // FromValue: object keys from the outside in; never empty
	Header string     // FromHeader: the header's key
	Epoch  batch.Unit // timestamps: the unit of a number in the value
}

// Columns is the declaration of a source.
type Columns []Column

// Schema is the schema of batches decoded by these columns.
func (cs Columns) Schema() *batch.Schema {
	s := &batch.Schema{Fields: make([]batch.Field, len(cs))}
	for i := range cs {
		s.Fields[i] = cs[i].Field
	}
	return s
}

// Validate finds a column that no record could fill: no path, a path twice below a scalar, a type its origin cannot have.
func (cs Columns) Validate() error {
	if len(cs) == 0 {
		return fmt.Errorf("no columns: declare at least one")
	}
	seen := map[string]bool{}
	for _, c := range cs {
		if c.Name == "" {
			return fmt.Errorf("a column has no name")
		}
		if seen[c.Name] {
			return fmt.Errorf("column %q is declared twice", c.Name)
		}
		seen[c.Name] = true
		if err := c.validate(); err != nil {
			return fmt.Errorf("column %q: %w", c.Name, err)
		}
	}
	return nil
}

func (c Column) validate() error {
	text := c.Type.Variable()
	switch c.From {
	case FromValue:
		if len(c.Path) == 0 {
			return fmt.Errorf("it has no path")
		}
	case FromKey:
		if !text {
			return fmt.Errorf("the record key is string or binary, not %s", c.Type)
		}
	case FromHeader:
		if !text {
			return fmt.Errorf("a header is string or binary, not %s", c.Type)
		}
		if c.Header == "" {
			return fmt.Errorf("it names no header")
		}
	case FromTimestamp:
		if c.Type.Kind != batch.Timestamp {
			return fmt.Errorf("the record timestamp is a timestamp, not %s", c.Type)
		}
	case FromOffset:
		if c.Type.Kind != batch.Int64 && c.Type.Kind != batch.Uint64 {
			return fmt.Errorf("the record offset is int64, not %s", c.Type)
		}
	case FromPartition:
		if c.Type.Kind != batch.Int32 && c.Type.Kind != batch.Int64 {
			return fmt.Errorf("the partition is int32, not %s", c.Type)
		}
	case FromTopic:
		if c.Type.Kind != batch.String {
			return fmt.Errorf("the topic is a string, not %s", c.Type)
		}
	}
	return nil
}
