package harness_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"golang.org/x/sys/unix"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/pipeline"
	"github.com/weir-stream/weir/ingest/batch"
)

const arrowPipeline = `pipeline: arrow
source:
  kafka: {brokers: ["127.0.0.1:1"], topics: [in]}
  format: arrow
  columns: {key: int64, ts: "timestamp[ms]", v: float64}
time: {column: ts, max_out_of_order: 1s}
window:
  tumbling: 10s
  group_by: [key]
  aggregates: {n: count(), total: sum(v), low: min(v), high: max(v), mean: avg(v)}
sink: {clickhouse: {url: "clickhouse://127.0.0.1:1/x"}}
`

// arrowRecords are a million rows of 10,000 keys, 16,384 a record, from a time on.
func arrowRecords(tb testing.TB, from int64) (records []batch.Record, rows int) {
	tb.Helper()
	const each, count = 16_384, 61
	s := arrow.NewSchema([]arrow.Field{
		{Name: "key", Type: arrow.PrimitiveTypes.Int64}, {Name: "ts", Type: arrow.FixedWidthTypes.Timestamp_ms}, {Name: "v", Type: arrow.PrimitiveTypes.Float64},
	}, nil)
	rng := rand.New(rand.NewPCG(1, 2))
	b := array.NewRecordBuilder(memory.DefaultAllocator, s)
	for i := range count {
		for k := range each {
			b.Field(0).(*array.Int64Builder).Append(rng.Int64N(10_000))
			b.Field(1).(*array.TimestampBuilder).Append(arrow.Timestamp(from + int64(i*each+k)*9_000/(each*count)))
			b.Field(2).(*array.Float64Builder).Append(rng.Float64())
		}
		var buf bytes.Buffer
		w := ipc.NewWriter(&buf, ipc.WithSchema(s))
		if err := w.Write(b.NewRecord()); err != nil {
			tb.Fatal(err)
		}
		if err := w.Close(); err != nil {
			tb.Fatal(err)
		}
		records = append(records, batch.Record{Offset: int64(i), Value: buf.Bytes()})
	}
	return records, each * count
}

// BenchmarkArrowWindow takes Arrow streams through decode and a window of five aggregates by 10,000 keys, as a lane does. ns/row is
// the time of the processor, so that others on the machine count for less; Mrows/s/core follows from it.
func BenchmarkArrowWindow(b *testing.B) {
	file := filepath.Join(b.TempDir(), "pipeline.yaml")
	if err := os.WriteFile(file, []byte(arrowPipeline), 0o600); err != nil {
		b.Fatal(err)
	}
	spec, err := config.Load(file)
	if err != nil {
		b.Fatal(err)
	}
	plan, err := pipeline.New(b.Context(), spec, config.DefaultNode(), pipeline.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer plan.Close()
	probe, err := plan.NewProbe(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer probe.Close()
	const from = 1_700_000_000_000
	records, rows := arrowRecords(b, from)
	if err := probe.Run(b.Context(), records); err != nil {
		b.Fatal(err)
	}
	var before, after unix.Rusage
	cpu := func(u *unix.Rusage) time.Duration {
		if err := unix.Getrusage(unix.RUSAGE_SELF, u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	b.ReportAllocs()
	began, n := cpu(&before), 0
	for b.Loop() {
		if err := probe.Run(b.Context(), records); err != nil {
			b.Fatal(err)
		}
		n += rows
	}
	if c := probe.Counts(); c.Aggregated < int64(n) || c.Late > 0 {
		b.Fatalf("%d of %d rows were taken, %d late", c.Aggregated, n, c.Late)
	}
	each := float64(cpu(&after)-began) / float64(n)
	b.ReportMetric(each, "ns/row")
	b.ReportMetric(1000/each, "Mrows/s/core")
	b.ReportMetric(0, "ns/op")
}
