package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
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

// OtherMaker is a revision whose states of an aggregate are not made as those of the plan are.
type OtherMaker struct {
	clickhouse.RowRevision
	Aggregate string
	// For people: what made the states of the revision, and what makes those of the plan.
	Made, Makes string
}

// OtherMakers finds, among revisions that rows are of, those whose states of the aggregates that only their module can finish were made by
// something else: another module or configuration, or of other arguments. What is in a state is known to its module alone, so merging
// them may fail, or give a wrong answer. A revision that has no such aggregate has no states of it.
func (p *Plan) OtherMakers(revisions []clickhouse.RowRevision) []OtherMaker {
	own := makersOf(p.Describe("").Spec)
	var all []OtherMaker
	for _, r := range revisions {
		if r.Pipeline == p.Spec.Name && r.Revision == p.Revision {
			continue
		}
		makers := makersOf(r.Spec)
		for _, u := range p.Unfinished() {
			made, there := makers[u.Name]
			if makers != nil && (!there || made == own[u.Name]) {
				continue
			}
			o := OtherMaker{RowRevision: r, Aggregate: u.Name, Made: made.String(), Makes: own[u.Name].String()}
			if makers == nil {
				o.Made = "something that weir_revisions does not tell"
			}
			all = append(all, o)
		}
	}
	return all
}

// maker is what makes the states of an aggregate. Limits are not in it: they decide which rows count, and not what is in a state.
type maker struct{ module, args, config, expr string }

// String is for people.
func (m maker) String() string {
	if m.module == "" {
		return m.expr
	}
	text := fmt.Sprintf("module %.16s… of (%s)", m.module, m.args)
	if m.config != "" {
		text += " with config " + m.config
	}
	return text
}

// makersOf reads them out of what a revision consists of, by aggregate. It is nil where nothing is known.
func makersOf(spec string) map[string]maker {
	var s struct {
		Aggregates [][2]string
		Programs   []struct {
			Name, Module string
			Args         []string
			Config       json.RawMessage
		}
	}
	if json.Unmarshal([]byte(spec), &s) != nil {
		return nil
	}
	makers := map[string]maker{}
	for _, a := range s.Aggregates {
		makers[a[0]] = maker{expr: a[1]}
	}
	for _, w := range s.Programs {
		m := maker{module: w.Module, args: strings.Join(w.Args, ", "), config: string(w.Config)}
		if m.config == "{}" || m.config == "null" {
			m.config = ""
		}
		makers[w.Name] = m
	}
	return makers
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
