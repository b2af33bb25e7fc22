package clickhouse

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

// viewDef is a view. Its columns are what a reader relies on.
type viewDef struct {
	name    string
	columns []columnDef
	query   string
}

func (v *viewDef) create(database string) string {
	return fmt.Sprintf("CREATE VIEW IF NOT EXISTS %s AS\n%s", qualified(database, v.name), v.query)
}

// replace is for a name that is known to be a view's: servers replace a table in its place, with all its rows.
func (v *viewDef) replace(database string) string {
	return fmt.Sprintf("CREATE OR REPLACE VIEW %s AS\n%s", qualified(database, v.name), v.query)
}

// finishedDef is the view people read: the newest version of every partial, merged over its sources, and finished.
func finishedDef(cfg Config, t *sink.Table) viewDef {
	window := []string{"window_start", "window_end"}
	if t.Full > 0 {
		return countedDef(cfg, t)
	}
	v := viewDef{name: cfg.Table}
	// Versions of a row are all in one day's partition, so FINAL may take each by itself.
	v.columns, v.query = merging(cfg, t, t.Keys, viewWindow{outer: window, inner: window, group: window, where: counting(cfg.Database, t)})
	if t.Sessions || ordersTimes(t) {
		v.query += plainAggregates
	}
	v.compute(t.Computed)
	return v
}

// plainAggregates is a setting of a query, see ordersTimes.
const plainAggregates = ",\n    compile_aggregate_expressions = 0"

// viewWindow is how a view makes its windows of those of the rows: the first columns of the outer and of the inner query, what of
// these the inner one groups by, and which rows it takes.
type viewWindow struct {
	outer, inner, group []string
	lastOuter           []string // and the last of the outer and of the inner one
	lastInner           []string
	where               string
}

// merging is the columns and the query of a view of the partials by some of the keys.
//
// The states are merged under names of their own in an inner query. In one query, an answer named like its state
// would be taken for the state, as servers look an alias up before a column.
func merging(cfg Config, t *sink.Table, keys []batch.Field, w viewWindow) ([]columnDef, string) {
	columns := []columnDef{
		{name: "window_start", typ: "DateTime64(3, 'UTC')"},
		{name: "window_end", typ: "DateTime64(3, 'UTC')"},
	}
	outer, inner, group := slices.Clone(w.outer), slices.Clone(w.inner), slices.Clone(w.group)
	for _, k := range keys {
		outer, inner, group = append(outer, ident(k.Name)), append(inner, ident(k.Name)), append(group, ident(k.Name))
		columns = append(columns, columnDef{name: k.Name, typ: columnType(k)})
	}
	n := 0
	for _, a := range t.Aggregates {
		merged := make([]string, len(a.States))
		for i, s := range a.States {
			merged[i] = fmt.Sprintf("_m%d", n)
			inner = append(inner, merge(a, s)+" AS "+merged[i])
			n++
		}
		expr, def := finish(a, merged)
		outer = append(outer, expr+" AS "+ident(def.name))
		columns = append(columns, def)
	}
	table := qualified(cfg.Database, cfg.Table+"_partials")
	if t.Sessions {
		return append(columns, columnDef{name: stretchColumn, typ: columns[0].typ}), sessionsGrouped(outer, inner, table, w.where, t)
	}
	outer, inner = append(outer, w.lastOuter...), append(inner, w.lastInner...)
	return columns, newestGrouped(outer, inner, table, strings.Join(group, ", "), w.where)
}

// compute adds columns that are expressions over those there are. They are in a query around: in the same one, a server would take
// the name of an answer for the expression it stands for, and see a column where a state is meant.
func (v *viewDef) compute(columns []sink.Computed) {
	if len(columns) == 0 {
		return
	}
	var out []string
	for _, c := range v.columns {
		out = append(out, ident(c.name))
	}
	for _, c := range columns {
		typ := columnType(c.Field)
		out = append(out, fmt.Sprintf("CAST(%s, %s) AS %s", c.Expr, quote(typ), ident(c.Name)))
		v.columns = append(v.columns, columnDef{name: c.Name, typ: typ})
	}
	v.query = fmt.Sprintf("SELECT\n    %s\nFROM\n(\n%s\n)", strings.Join(out, ",\n    "), v.query)
}

// ordersTimes tells whether the view takes the least or greatest of times. A server compiles the aggregates of a query that it
// sees for the third time, and 26.7 then compares DateTime64 without the sign, so that times before 1970 are the greatest.
func ordersTimes(t *sink.Table) bool {
	for _, a := range t.Aggregates {
		for _, s := range a.States {
			if (s.Merge == sink.MergeMin || s.Merge == sink.MergeMax) && s.Type.Kind == batch.Timestamp {
				return true
			}
		}
	}
	return false
}

// newestGrouped selects outer from inner, which groups the newest version of every row of a table. Versions of a row are all in
// one partition of the table. where chooses among the newest; it may be empty.
func newestGrouped(outer, inner []string, table, group, where string) string {
	if where != "" {
		where = "\n    WHERE " + where
	}
	return fmt.Sprintf(`SELECT
    %s
FROM
(
    SELECT
        %s
    FROM %s FINAL%s
    GROUP BY %s
)
SETTINGS do_not_merge_across_partitions_select_final = 1`,
		strings.Join(outer, ",\n    "), strings.Join(inner, ",\n        "), table, where, group)
}

// counted is the condition that chooses the rows that count among the newest of the partials, see sink.Spans: most segments
// have no span, and then all rows count that were not merged. It is not about versions of a row, so it must come after FINAL.
func counted(database string) string {
	return fmt.Sprintf(`arrayExists(
            s -> s.1 = _site AND s.2 = _pipeline AND s.3 = _rev AND s.4 = _topic_id AND s.5 = _partition AND s.6 = _segment
                AND toUnixTimestamp64Milli(window_start) >= s.7 AND toUnixTimestamp64Milli(window_start) < s.8
                AND (_width = 0 OR _width = s.9),
            (
                SELECT groupArray((site, pipeline, rev, topic_id, partition, segment, spans[i], spans[i + 1], spans[i + 2]))
                FROM (SELECT * FROM %s FINAL WHERE notEmpty(spans))
                ARRAY JOIN range(1, length(spans), 3) AS i
            )
        ) = (_width != 0)`, qualified(database, coverageTable))
}

// counting is the condition that chooses the rows of a table that count.
func counting(database string, t *sink.Table) string {
	if t.Sessions {
		return sessionsCounting(database, t)
	}
	if t.Final {
		return counted(database) + "\n        AND " + finished(database)
	}
	return counted(database)
}

// finished is the condition that leaves out rows of windows that are not final by an account which has open rows, see
// sink.Counters: there are such rows where a lane ended in order and its segment went on. Most windows end before any such account
// is final, and for them it is one comparison.
func finished(database string) string {
	return fmt.Sprintf(`(toUnixTimestamp64Milli(window_end) * 1000 <= (SELECT min(final_us) FROM %[1]s FINAL WHERE open_rows > 0)
            OR NOT arrayExists(
                s -> s.1 = _site AND s.2 = _pipeline AND s.3 = _rev AND s.4 = _topic_id AND s.5 = _partition AND s.6 = _segment
                    AND toUnixTimestamp64Milli(window_end) * 1000 > s.7,
                (
                    SELECT groupArray((site, pipeline, rev, topic_id, partition, segment, final_us))
                    FROM (SELECT * FROM %[1]s FINAL WHERE open_rows > 0)
                )
            ))`, qualified(database, coverageTable))
}

// merge is the expression that makes one state of those of several sources.
func merge(a sink.Aggregate, s sink.State) string {
	fn := "sum"
	switch s.Merge {
	case sink.MergeOpaque:
		return mergeStates(a, s)
	case sink.MergeSum:
		if s.Type.Kind == batch.Decimal && a.Nullable {
			return sumDecimals(s)
		}
	case sink.MergeMin:
		fn = "min"
	case sink.MergeMax:
		fn = "max"
	}
	return fmt.Sprintf("%s(%s)", fn, ident(s.Name))
}

// merged is the type merge gives.
func merged(s sink.State) batch.Field {
	f := batch.Field{Type: s.Type, Nullable: s.Nullable}
	if s.Merge == sink.MergeSum {
		switch {
		case s.Type.Unsigned():
			f.Type = batch.Type{Kind: batch.Uint64}
		case s.Type.Integer():
			f.Type = batch.Type{Kind: batch.Int64}
		case s.Type.Kind == batch.Decimal:
			f.Type = batch.DecimalOf(batch.MaxPrecision, int(s.Type.Scale))
		default:
			f.Type = batch.Type{Kind: batch.Float64}
		}
	}
	return f
}

// finish is the expression of the answer from merged states, and its column.
func finish(a sink.Aggregate, states []string) (string, columnDef) {
	switch a.Finish {
	case sink.FinishNone:
		return states[0], columnDef{name: statesColumn(a.Name), typ: "Array(String)"}
	case sink.FinishFunction:
		typ := columnType(batch.Field{Type: a.Type, Nullable: a.Nullable})
		if a.Map {
			typ = mapType(a.Args)
		}
		return fmt.Sprintf("CAST(%s, %s)", states[0], quote(typ)), columnDef{name: a.Name, typ: typ}
	}
	expr, f := states[0], merged(a.States[0])
	if f.Type.Kind == batch.Decimal {
		f.Nullable = f.Nullable || a.Nullable && a.States[0].Merge == sink.MergeSum // a total can overflow
		if a.Finish == sink.FinishRatio {
			states = append([]string{"toFloat64(" + states[0] + ")"}, states[1:]...)
		}
	}
	if a.Finish == sink.FinishRatio {
		f.Type = batch.Type{Kind: batch.Float64}
		if f.Nullable {
			expr = fmt.Sprintf("%s / nullIf(%s, 0)", states[0], states[1])
		} else {
			expr = fmt.Sprintf("%s / %s", states[0], states[1])
		}
	}
	if f.Type != a.Type {
		f.Type = a.Type
		expr = fmt.Sprintf("CAST(%s, %s)", expr, quote(columnType(f)))
	}
	return expr, columnDef{name: a.Name, typ: columnType(f)}
}

// completenessDef is the view that tells up to when each partition is complete. A partition's newest incarnation is
// the one heard of last: revisions and topics of one name replace each other, and segments count up.
func completenessDef(cfg Config) viewDef {
	return viewDef{
		name: completenessView,
		columns: []columnDef{
			{name: "site", typ: "String"},
			{name: "pipeline", typ: "String"},
			{name: "partitions", typ: "UInt64"},
			{name: "partitions_without_rows", typ: "UInt64"},
			{name: "complete_until", typ: "Nullable(DateTime64(6, 'UTC'))"},
			{name: "watermark", typ: "Nullable(DateTime64(6, 'UTC'))"},
			{name: "records_in", typ: "Int64"},
			{name: "late", typ: "Int64"},
			{name: "rejected", typ: "Int64"},
			{name: "gap", typ: "Int64"},
			{name: "gap_reasons", typ: "Array(String)"},
			{name: "dropped", typ: "Int64"},
			{name: "lost", typ: "Int64"},
			{name: "coarse_from", typ: "Nullable(DateTime64(3, 'UTC'))"},
			{name: "coarse_until", typ: "Nullable(DateTime64(3, 'UTC'))"},
			{name: "heard_at", typ: "DateTime64(3, 'UTC')"},
		},
		query: fmt.Sprintf(`SELECT
    site,
    pipeline,
    count() AS partitions,
    countIf(_final <= %[2]d) AS partitions_without_rows,
    fromUnixTimestamp64Micro(minOrNullIf(_final, _final > %[2]d), 'UTC') AS complete_until,
    fromUnixTimestamp64Micro(minOrNullIf(_watermark, _watermark > %[2]d), 'UTC') AS watermark,
    sum(_records_in) AS records_in,
    sum(_late) AS late,
    sum(_rejected) AS rejected,
    sum(_gap) AS gap,
    arrayDistinct(groupArrayArray(_gap_reasons)) AS gap_reasons,
    sum(_dropped) AS dropped,
    sum(_lost) AS lost,
    fromUnixTimestamp64Milli(minOrNull(_coarse_from), 'UTC') AS coarse_from,
    fromUnixTimestamp64Milli(maxOrNull(_coarse_until), 'UTC') AS coarse_until,
    max(_heard_at) AS heard_at
FROM
(
    SELECT
        site,
        pipeline,
        argMax(final_us, (received_at, segment, version)) AS _final,
        argMax(watermark_us, (received_at, segment, version)) AS _watermark,
        sum(records_in) AS _records_in,
        sum(late) AS _late,
        sum(rejected) AS _rejected,
        sum(gap) AS _gap,
        groupUniqArrayIf(gap_reason, gap_reason != '') AS _gap_reasons,
        sum(dropped) AS _dropped,
        sum(lost_rows) AS _lost,
        groupArrayArray(arrayFilter((at, i) -> modulo(i, 3) = 1 AND spans[i + 2] > 0, spans, arrayEnumerate(spans))) AS _coarse_starts,
        groupArrayArray(arrayFilter((at, i) -> modulo(i, 3) = 2 AND spans[i + 1] > 0, spans, arrayEnumerate(spans))) AS _coarse_ends,
        if(empty(_coarse_starts), NULL, arrayMin(_coarse_starts)) AS _coarse_from,
        if(empty(_coarse_ends), NULL, arrayMax(_coarse_ends)) AS _coarse_until,
        max(received_at) AS _heard_at
    FROM %[1]s FINAL
    GROUP BY site, pipeline, topic, partition
)
GROUP BY site, pipeline`, qualified(cfg.Database, coverageTable), minCompleteMicros),
	}
}

// minCompleteMicros is the start of what DateTime64 can show. The watermark of a partition without rows is below it.
const minCompleteMicros = -2208988800_000000
