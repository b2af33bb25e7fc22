package clickhouse

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/weir-stream/weir/sink"
)

// The table of what pipelines use, and the view people read.
const (
	usageTable = "weir_usage"
	usageView  = "weir_usage_hourly"
)

// usageTTL is how long usage is kept: a year, and time to write the bill. ALTER TABLE … MODIFY TTL changes it, and
// nothing changes it back.
const usageTTL = 400 * 24 * time.Hour

// usedColumns are the amounts of a usage row, in the order of amounts.
var usedColumns = []string{
	"batches", "rows_in", "rows_out", "rows_rejected", "bytes_in", "bytes_out", "bytes_copied", "time_ns", "fuel",
	"instances", "traps", "retries", "log_lines_dropped",
}

func amounts(u *sink.Used) []int64 {
	return []int64{
		u.Batches, u.RowsIn, u.RowsOut, u.Rejected, u.BytesIn, u.BytesOut, u.Copied, u.Nanos, u.Fuel,
		u.Instances, u.Traps, u.Retries, u.LogDropped,
	}
}

// usageDef is the table of usage: counters of an hour, whole so far, of which the highest version counts.
func usageDef() tableDef {
	d := tableDef{
		name: usageTable,
		columns: []columnDef{
			{name: "hour", typ: "DateTime('UTC')"},
			{name: "site", typ: "String"},
			{name: "pipeline", typ: "String"},
			{name: "node", typ: "String"},
			{name: "rev", typ: "UInt64"},
			{name: "step", typ: "String"},
			{name: "digest", typ: "String"},
			{name: "run", typ: "UInt64"},
			{name: "version", typ: "UInt64"},
			{name: "started_at", typ: "DateTime64(3, 'UTC')"},
			{name: "tags", typ: "Map(String, String)"},
		},
		version:   "version",
		partition: "toYYYYMM(hour)",
		ttl:       fmt.Sprintf("hour + toIntervalDay(%d)", usageTTL/(24*time.Hour)),
		settings:  []string{fmt.Sprintf("non_replicated_deduplication_window = %d", dedupWindow), "ttl_only_drop_parts = 1"},
		comment:   "weir: what each step of each pipeline used, by hour and run; read the view " + usageView + " instead",
	}
	for _, c := range d.columns[:8] {
		d.order = append(d.order, c.name)
	}
	for _, c := range usedColumns {
		d.columns = append(d.columns, columnDef{name: c, typ: "UInt64"})
	}
	d.columns = append(d.columns, columnDef{name: "received_at", typ: "DateTime64(3, 'UTC')", computed: "now64(3, 'UTC')"})
	return d
}

// usageHourlyDef is the view over usage: the newest version of every row, added up over runs.
func usageHourlyDef(cfg Config) viewDef {
	keys := []columnDef{
		{name: "hour", typ: "DateTime('UTC')"},
		{name: "site", typ: "String"},
		{name: "pipeline", typ: "String"},
		{name: "node", typ: "String"},
		{name: "rev", typ: "UInt64"},
		{name: "step", typ: "String"},
		{name: "digest", typ: "String"},
		{name: "tags", typ: "Map(String, String)"},
	}
	v := viewDef{name: usageView, columns: keys}
	var outer, inner []string
	for _, k := range keys {
		outer, inner = append(outer, k.name), append(inner, k.name)
	}
	group := strings.Join(inner, ", ")
	for _, c := range usedColumns {
		inner = append(inner, fmt.Sprintf("sum(%s) AS _%s", c, c))
		if c == "time_ns" {
			outer = append(outer, "_time_ns / 1000000000 AS seconds")
			v.columns = append(v.columns, columnDef{name: "seconds", typ: "Float64"})
			continue
		}
		outer = append(outer, fmt.Sprintf("_%s AS %s", c, c))
		v.columns = append(v.columns, columnDef{name: c, typ: "UInt64"})
	}
	// Versions of a row are all in one month's partition, so FINAL may take each by itself.
	v.query = newestGrouped(outer, inner, qualified(cfg.Database, usageTable), group, "")
	return v
}

// maxUsageHour is the last hour whose end of life DateTime can hold: behind 2106 it wraps around, and rows would be
// dropped at once.
var maxUsageHour = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)

// WriteUsage stores what steps used; see [sink.UsageStore]. It may run beside Write.
func (s *Sink) WriteUsage(ctx context.Context, rows []sink.Usage) error {
	if len(rows) == 0 {
		return nil
	}
	def := usageDef()
	var columns []string
	for _, c := range def.columns {
		if c.computed == "" {
			columns = append(columns, c.name)
		}
	}
	tok := newToken(qualified(s.cfg.Database, usageTable))
	for i := range rows {
		u := &rows[i]
		for _, v := range []string{s.table.Site, s.table.Pipeline, s.table.Node, u.Step, u.Digest} {
			tok.text(v)
		}
		for _, v := range []uint64{u.Revision, u.Run, uint64(u.Hour.Unix()), u.Version} {
			tok.uint(v)
		}
	}
	return s.insert(ctx, &def, columns, tok, len(rows), func(b driver.Batch) error {
		for i := range rows {
			u := &rows[i]
			hour := clampMillis(u.Hour)
			if hour.Before(time.Unix(0, 0)) {
				hour = time.Unix(0, 0)
			}
			if hour.After(maxUsageHour) {
				hour = maxUsageHour
			}
			tags := u.Tags
			if tags == nil {
				tags = map[string]string{}
			}
			values := []any{
				hour.UTC(), s.table.Site, s.table.Pipeline, s.table.Node, u.Revision, u.Step, u.Digest, u.Run, u.Version,
				clampMillis(u.Started).UTC(), tags,
			}
			for _, n := range amounts(&u.Used) {
				values = append(values, uint64(n))
			}
			if err := b.Append(values...); err != nil {
				return err
			}
		}
		return nil
	})
}
