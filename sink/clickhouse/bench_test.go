package clickhouse_test

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
	"github.com/weir-stream/weir/sink"
	"github.com/weir-stream/weir/sink/clickhouse"
)

// BenchmarkWrite stores cuts of the temperature table. It reports rows of partials per second, the server's work on the
// same machine included.
func BenchmarkWrite(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, err := clickhouse.New(clickhouse.Config{URL: embeddedtest.ClickHouse(b), Table: "temps"}, temperature(), slog.New(slog.DiscardHandler))
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			if err := s.Apply(b.Context(), nil); err != nil {
				b.Fatal(err)
			}
			bed := &bed{tab: temperature()}
			rows := make([]row, n)
			for i := range rows {
				rows[i] = row{1_700_000_000 + int64(i/1000)*10, fmt.Sprintf("device-%04d", i%1000), 10, f(float64(i)), 10, f(float64(i))}
			}
			cut := bed.cut(source{}, 1, rows...)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				cut.Coverage.Version = int64(i + 1)
				if err := s.Write(b.Context(), []*sink.Cut{cut}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// BenchmarkAudit audits a million rows whose account has hashes, and such as have none: the difference is what it costs to prove
// values.
func BenchmarkAudit(b *testing.B) {
	const n = 1_000_000
	for _, known := range []bool{false, true} {
		b.Run(fmt.Sprintf("hashes=%v", known), func(b *testing.B) {
			s, err := clickhouse.New(clickhouse.Config{URL: embeddedtest.ClickHouse(b), Table: "temps"}, temperature(), slog.New(slog.DiscardHandler))
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			if err := s.Apply(b.Context(), nil); err != nil {
				b.Fatal(err)
			}
			bed := &bed{tab: temperature()}
			rows := make([]row, n)
			for i := range rows {
				rows[i] = row{1_700_000_000 + int64(i/1000)*10, fmt.Sprintf("device-%04d", i%1000), 10, f(float64(i)), 10, f(float64(i))}
			}
			cut := bed.cut(source{}, 1, rows...)
			if !known {
				cut.Coverage.Content = sink.Content{}
			}
			if err := s.Write(b.Context(), []*sink.Cut{cut}); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if r, err := s.Audit(b.Context()); err != nil || !r.OK || len(r.Partitions[0].Notes) > 0 == known {
					b.Fatal(err, r)
				}
			}
		})
	}
}

// BenchmarkRollup asks views of wider windows over 30 days of windows of 10 s by 12 keys, 3.1 million rows.
func BenchmarkRollup(b *testing.B) {
	bed := &bed{cfg: clickhouse.Config{URL: embeddedtest.ClickHouse(b), Table: "temps"}, tab: temperature()}
	bed.tab.Rollups = rollups()
	conn, ctx := open(b, bed.cfg.URL), b.Context()
	ddl, err := clickhouse.DDL(bed.cfg, bed.tab)
	if err != nil {
		b.Fatal(err)
	}
	for _, stmt := range append(ddl, `INSERT INTO temps_partials (window_start, window_end, device, readings, temp_avg__sum, temp_avg__count, temp_max, _rows, _site, _pipeline, _version)
		SELECT fromUnixTimestamp64Milli(1700006400000 + 10000 * toInt64(intDiv(number, 12)), 'UTC') AS s, s + 10, 'device-' || toString(number % 12), 10, number, 10, number, 10, 'berlin', 'line-temperature', 1
		FROM numbers(12 * 8640 * 30) SETTINGS max_partitions_per_insert_block = 0`) {
		if err := conn.Exec(ctx, stmt); err != nil {
			b.Fatal(err)
		}
	}
	const day = " WHERE window_start >= '2023-11-20 00:00:00' AND window_start < '2023-11-21 00:00:00'"
	for _, c := range []struct{ name, view, where string }{
		{"day/10s", "temps", day},
		{"day/1h", "hourly", day},
		{"month/10s", "temps", ""},
		{"month/1h", "hourly", ""},
		{"month/day", "daily", ""},
		{"month/total", "total", ""},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				rows, err := conn.Query(ctx, "SELECT count(), sum(readings), max(temp_avg) FROM "+c.view+c.where)
				if err != nil {
					b.Fatal(err)
				}
				for rows.Next() {
				}
				if err := errors.Join(rows.Err(), rows.Close()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
