package clickhouse_test

import (
	"strings"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
	"github.com/weir-stream/weir/sink/clickhouse"
)

// TestComputed adds a column that the view computes to tables with rows: Check misses it, Apply makes it, rows that are there have it, and
// who asks for a day reads no more than that.
func TestComputed(t *testing.T) {
	b := newBed(t)
	var rows []row
	const t0 = 1_700_000_000
	for day := range int64(20) {
		rows = append(rows, row{t0 + day*86400, "a", 4, f(6), 4, f(3)})
	}
	b.write(b.cut(source{rev: 1}, 10, rows...))
	b.tab.Computed = []sink.Computed{{
		Field: batch.Field{Name: "above", Type: kind(batch.Float64), Nullable: true}, Expr: "(`temp_max` - `temp_avg`) * toFloat64(`readings`)",
	}}
	b.sink = b.open(b.cfg)
	if err := b.sink.Check(b.ctx()); err == nil || !strings.Contains(err.Error(), "above") {
		t.Errorf("before the schema is applied: %v", err)
	}
	b.apply()
	if got := b.ask("SELECT toString(above) FROM temps WHERE window_start >= '2023-11-20 00:00:00' AND window_start < '2023-11-21 00:00:00'"); len(got) != 1 || got[0] != "6" {
		t.Errorf("the view has %q", got)
	}
	plan := strings.Join(b.ask("EXPLAIN indexes = 1 SELECT * FROM temps WHERE window_start >= '2023-11-20 00:00:00' AND window_start < '2023-11-21 00:00:00'"), "\n")
	if !strings.Contains(plan, "Parts: 1/20") && !strings.Contains(plan, "Parts: 2/20") {
		t.Errorf("the view reads more than the day that is asked for:\n%s", plan)
	}
	b.tab.Computed[0].Expr = ""
	if _, err := clickhouse.New(b.cfg, b.tab, nil); err == nil {
		t.Error("a column without an expression is taken")
	}
}
