package clickhouse

import (
	"fmt"
	"slices"

	"github.com/weir-stream/weir/sink"
)

// The columns that the view of count windows has beside those of others. A window is of one partition, and its number is that in its
// segment, so these and _window name it.
const (
	fullColumn    = "_full"
	rowsColumn    = "_rows"
	segmentColumn = "_segment"
)

var countedColumns = []columnDef{
	{name: "_topic", typ: "String"},
	{name: "_partition", typ: "UInt32"},
	{name: segmentColumn, typ: "UInt64"},
	{name: rowsColumn, typ: "UInt64"},
	{name: fullColumn, typ: "Bool"},
}

// countedDef is the view where windows are of so many rows: a row for each, as those of several partitions have nothing to do with each
// other, however alike they are.
func countedDef(cfg Config, t *sink.Table) viewDef {
	window := []string{"window_start", "window_end"}
	group := append(slices.Clone(window), "_site", "_pipeline", "_rev", "_topic", "_topic_id", "_partition", segmentColumn)
	v := viewDef{name: cfg.Table}
	columns, query := merging(cfg, t, t.Keys, viewWindow{
		outer: window, inner: group, group: group, where: counting(cfg.Database, t),
		lastOuter: []string{"_topic", "_partition", segmentColumn, "_taken AS " + rowsColumn, fmt.Sprintf("CAST(_taken >= %d, 'Bool') AS %s", t.Full, fullColumn)},
		lastInner: []string{"sum(_rows) AS _taken"},
	})
	v.columns, v.query = append(columns, countedColumns...), query
	if ordersTimes(t) {
		v.query += plainAggregates
	}
	v.compute(t.Computed)
	return v
}

// isFinal is the condition that a row of a table is of a window that is final by an account, by its end, or because it is full.
func isFinal(t *sink.Table) string {
	const ended = "toUnixTimestamp64Milli(window_end) * 1000 <= final_us"
	if t.Full == 0 {
		return ended
	}
	return fmt.Sprintf("(%s OR _rows >= %d)", ended, t.Full)
}

// finalChanged is the condition that the rows that are final are not those of the account. A window may have become full behind the account,
// so where there are rows behind it, it does not tell of count windows.
func finalChanged(t *sink.Table) string {
	const changed = "final_hash != content_final"
	if t.Full == 0 {
		return changed
	}
	return "rows_version <= version AND " + changed
}
