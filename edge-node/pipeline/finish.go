package pipeline

import (
	"context"
	"fmt"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
	"github.com/weir-stream/weir/sink/clickhouse"
)

// Unfinished is an aggregate that ClickHouse has only the states of.
type Unfinished struct {
	Name   string
	Column string // of the view: the list of its states
	Type   string // of the answer, as ClickHouse calls it
}

// Unfinished lists the aggregates that only their module can finish.
func (p *Plan) Unfinished() []Unfinished {
	var out []Unfinished
	for _, a := range p.Table.Aggregates {
		if a.Finish == sink.FinishNone {
			answer := batch.Field{Type: a.Type, Nullable: a.Nullable}
			out = append(out, Unfinished{Name: a.Name, Column: clickhouse.StatesColumn(a.Name), Type: clickhouse.ColumnType(answer)})
		}
	}
	return out
}

// Finish merges each list of states of an aggregate, and finishes it: a value per list as the ClickHouse client takes it,
// nil for null. A list of no states is finished as that of no rows.
func (p *Plan) Finish(ctx context.Context, name string, lists [][]string) ([]any, error) {
	program := p.Programs[name]
	if program == nil {
		return nil, fmt.Errorf("%s is no aggregate with a module", name)
	}
	states := make([][][]byte, len(lists))
	for i, l := range lists {
		for _, s := range l {
			states[i] = append(states[i], []byte(s))
		}
	}
	merged, err := program.Reduce(ctx, states)
	if err != nil {
		return nil, fmt.Errorf("merge the states of %s: %w", name, err)
	}
	c, err := program.Finish(ctx, merged)
	if err != nil {
		return nil, fmt.Errorf("finish the states of %s: %w", name, err)
	}
	out := make([]any, len(lists))
	for i := range out {
		out[i] = goValue(program.Answer().Type, &c, i)
	}
	return out, nil
}

// goValue is a value of a column as Go has it.
func goValue(t batch.Type, c *batch.Column, i int) any {
	if !c.Valid(i) {
		return nil
	}
	switch t.Kind {
	case batch.Bool:
		return c.Bit(i)
	case batch.Int8:
		return batch.As[int8](c.Values)[i]
	case batch.Int16:
		return batch.As[int16](c.Values)[i]
	case batch.Int32:
		return batch.As[int32](c.Values)[i]
	case batch.Int64:
		return batch.As[int64](c.Values)[i]
	case batch.Uint8:
		return c.Values[i]
	case batch.Uint16:
		return batch.As[uint16](c.Values)[i]
	case batch.Uint32:
		return batch.As[uint32](c.Values)[i]
	case batch.Uint64:
		return batch.As[uint64](c.Values)[i]
	case batch.Float32:
		return batch.As[float32](c.Values)[i]
	case batch.Float64:
		return batch.As[float64](c.Values)[i]
	case batch.Date32:
		return time.Unix(int64(batch.As[int32](c.Values)[i])*86400, 0).UTC()
	case batch.Timestamp:
		v, per := batch.As[int64](c.Values)[i], t.Unit.PerSecond()
		return time.Unix(v/per, v%per*(1_000_000_000/per)).UTC()
	default:
		return string(c.Bytes(i))
	}
}
