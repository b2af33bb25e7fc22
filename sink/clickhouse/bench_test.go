package clickhouse_test

import (
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
			if err := s.Apply(b.Context()); err != nil {
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
			if err := s.Apply(b.Context()); err != nil {
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
