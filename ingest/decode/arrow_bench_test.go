package decode

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/ingest/schema"
)

// sensorStreams are records of rows each, of the sensor columns.
func sensorStreams(t testing.TB, records, rows int) []batch.Record {
	t.Helper()
	s := arrow.NewSchema([]arrow.Field{
		{Name: "key", Type: arrow.PrimitiveTypes.Int64},
		{Name: "ts", Type: arrow.FixedWidthTypes.Timestamp_ms},
		{Name: "v", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
		{Name: "status", Type: arrow.BinaryTypes.String},
	}, nil)
	rng := rand.New(rand.NewPCG(1, 2))
	b := array.NewRecordBuilder(memory.DefaultAllocator, s)
	out := make([]batch.Record, records)
	for i := range out {
		for k := range rows {
			b.Field(0).(*array.Int64Builder).Append(rng.Int64N(10_000))
			b.Field(1).(*array.TimestampBuilder).Append(arrow.Timestamp(1_700_000_000_000 + int64(i*rows+k)))
			b.Field(2).(*array.Float64Builder).Append(rng.Float64())
			b.Field(3).(*array.StringBuilder).Append("ok")
		}
		out[i] = batch.Record{Offset: int64(i), Value: stream(t, s, []arrow.Record{b.NewRecord()})}
	}
	return out
}

// BenchmarkArrow decodes records of a few and of many rows.
func BenchmarkArrow(b *testing.B) {
	cols := schema.Columns{value("key", "int64"), value("ts", "timestamp[ms]"), value("v", "float64?"), value("status", "string")}
	for _, rows := range []int{1, 10, 100, 1000, 8192, 20_000} {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			records := sensorStreams(b, max(1, 8192/rows), rows)
			d := newArrowDecoder(b, cols, Options{MaxRows: 8192})
			mem := batch.Bytes(make([]uint64, SlotSize(cols, 8192, 0)/8))
			var out batch.Batch
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				rest, resumed := records, false
				for len(rest) > 0 {
					next := rest
					if resumed {
						next = rest[:1]
					}
					out.Begin(d.Schema(), batch.Partition{}, next)
					out.Resumed = resumed
					a := batch.NewArena(mem)
					d.Decode(&out, &a)
					n += out.Rows
					rest, resumed = rest[out.Finished():], out.Unfinished
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/row")
			b.ReportMetric(0, "ns/op")
		})
	}
}
