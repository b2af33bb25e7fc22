package pipeline

import (
	"errors"
	"slices"
	"strings"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators/expr"
	"github.com/weir-stream/weir/sink"
)

// planCompute plans the columns that the finished view computes. Nothing of them is shipped, so they are no part of the revision:
// with one added or changed, the rows that are there have it too.
func (p *Plan) planCompute() config.Errors {
	row := p.finishedRow(p.Table.Keys)
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
		p.Table.Computed = append(p.Table.Computed, computedColumn(c.Name, sql))
	}
	for i := range p.Table.Rollups {
		p.computeRollup(&p.Table.Rollups[i])
	}
	return errs
}

// computeRollup gives a roll-up the columns that are computed of what it has: those that need a key it does not keep are left out.
func (p *Plan) computeRollup(r *sink.Rollup) {
	keys := slices.DeleteFunc(slices.Clone(p.Table.Keys), func(f batch.Field) bool { return !slices.Contains(r.Keys, f.Name) })
	row := p.finishedRow(keys)
	for _, c := range p.Spec.Window.Compute {
		if sql, err := expr.CompileSQL(c.Expr.Value, row); err == nil {
			r.Computed = append(r.Computed, computedColumn(c.Name, sql))
		}
	}
}

func computedColumn(name string, sql expr.SQL) sink.Computed {
	return sink.Computed{Field: batch.Field{Name: name, Type: sql.Type, Nullable: sql.Nullable}, Expr: sql.Text}
}

// finishedRow is what expressions over a finished row with some of the keys know.
func (p *Plan) finishedRow(keys []batch.Field) *batch.Schema {
	ms := batch.TimestampOf(batch.Millisecond)
	s := &batch.Schema{Fields: []batch.Field{{Name: "window_start", Type: ms}, {Name: "window_end", Type: ms}}}
	s.Fields = append(s.Fields, keys...)
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
