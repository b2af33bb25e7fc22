package pipeline

import (
	"errors"
	"strings"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators/expr"
	"github.com/weir-stream/weir/sink"
)

// planCompute plans the columns that the finished view computes. Nothing of them is shipped, so they are no part of the revision:
// with one added or changed, the rows that are there have it too.
func (p *Plan) planCompute() config.Errors {
	row := p.finishedRow()
	var errs config.Errors
	for _, c := range p.Spec.Window.Compute {
		sql, err := expr.CompileSQL(c.Expr.Value, row)
		if err != nil {
			off := 0
			var e *expr.Error
			if errors.As(err, &e) {
				off = e.Offset
			}
			e2 := p.Spec.Errorf(c.Expr.PosAt(off), "window.compute.%s: %v", c.Name, err)
			if name := p.unfinishedIn(c.Expr.Value); name != "" {
				_ = e2.WithHint("ClickHouse has only the states of %s: say with merge whose states they are", name)
			}
			errs = append(errs, e2)
			continue
		}
		p.Table.Computed = append(p.Table.Computed, sink.Computed{
			Field: batch.Field{Name: c.Name, Type: sql.Type, Nullable: sql.Nullable}, Expr: sql.Text,
		})
	}
	return errs
}

// finishedRow is what expressions over a finished row know.
func (p *Plan) finishedRow() *batch.Schema {
	ms := batch.TimestampOf(batch.Millisecond)
	s := &batch.Schema{Fields: []batch.Field{{Name: "window_start", Type: ms}, {Name: "window_end", Type: ms}}}
	s.Fields = append(s.Fields, p.Table.Keys...)
	for i := range p.Table.Aggregates {
		if f, ok := p.Table.Aggregates[i].Answer(); ok {
			s.Fields = append(s.Fields, f)
		}
	}
	return s
}

// unfinishedIn names an aggregate that a text speaks of and ClickHouse cannot finish, or none.
func (p *Plan) unfinishedIn(text string) string {
	for _, a := range p.Table.Aggregates {
		if a.Finish == sink.FinishNone && strings.Contains(text, a.Name) {
			return a.Name
		}
	}
	return ""
}
