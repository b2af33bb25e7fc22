package window

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators/aggregate"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

// numbersOf plans functions of the column v of manyKeys, by a column.
func numbersOf(b *testing.B, s *batch.Schema, key int, functions ...string) *Config {
	b.Helper()
	cfg := &Config{In: s, Time: 0, Size: 10_000_000_000, Keys: []int{key}}
	for _, fn := range functions {
		spec, args := aggregate.Spec{Func: fn, Args: s.Fields[3:4]}, []int{3}
		switch fn {
		case "count":
			spec.Args, args = nil, nil
		case "quantile", "quantile_tdigest":
			spec.Params = []float64{0.99}
		}
		a, err := aggregate.New(spec)
		if err != nil {
			b.Fatal(err)
		}
		cfg.Aggregate = append(cfg.Aggregate, Aggregate{Aggregate: a, Name: fn, Args: args})
	}
	return cfg
}

func numbersSchema() *batch.Schema {
	return &batch.Schema{Fields: []batch.Field{
		{Name: "ts", Type: batch.TimestampOf(batch.Millisecond)},
		{Name: "id", Type: intType},
		{Name: "name", Type: stringType},
		{Name: "v", Type: floatType},
	}}
}

// passes is how often the rows come, so that groups are met and not only made.
const passes = 4

// BenchmarkAgainstClickHouse aggregates the same rows here, from nothing and with the rows that are shipped, and in the embedded ClickHouse on one
// thread. What is compared is the time of processors: "of-clickhouse" is ClickHouse's divided by ours.
func BenchmarkAgainstClickHouse(b *testing.B) {
	server := embeddedtest.Server(b)
	if server == nil {
		b.Skip("SKIPPED: another server's time cannot be seen")
	}
	o, err := clickhouse.ParseDSN(embeddedtest.ClickHouse(b))
	if err != nil {
		b.Fatal(err)
	}
	conn, err := clickhouse.Open(o)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx := context.Background()
	five := []string{"count", "sum", "min", "max", "avg"}
	const fiveSQL = "count(), sum(v), min(v), max(v), avg(v)"
	for _, bb := range []struct {
		name      string
		key       int
		groups    int
		zipf      bool
		functions []string
		sql       string
	}{
		{"int64/10000", 1, 10_000, false, five, fiveSQL},
		{"int64/10000/zipf", 1, 10_000, true, five, fiveSQL},
		{"string/1000000", 2, 1_000_000, false, five, fiveSQL},
		{"string/1000000/zipf", 2, 1_000_000, true, five, fiveSQL},
		{"int64/1000/quantile", 1, 1000, false, []string{"quantile"}, "quantileDD(0.01, 0.99)(v)"},
		{"int64/1000/quantile_tdigest", 1, 1000, false, []string{"quantile_tdigest"}, "quantileTDigest(0.99)(v)"},
		{"int64/1000/uniq", 1, 1000, false, []string{"uniq"}, "uniqHLL12(reinterpretAsUInt64(v))"},
	} {
		b.Run(bb.name, func(b *testing.B) {
			s := numbersSchema()
			batches := manyKeys(s, max(bb.groups, 1<<20))
			reKey(batches, bb.groups, bb.zipf)
			if err := conn.Exec(ctx, "CREATE OR REPLACE TABLE numbers_of (id Int64, name String, v Float64) ENGINE = Memory"); err != nil {
				b.Fatal(err)
			}
			into, err := conn.PrepareBatch(ctx, "INSERT INTO numbers_of (id, name, v)")
			if err != nil {
				b.Fatal(err)
			}
			for _, in := range batches {
				for i := range in.Rows {
					if err := into.Append(batch.As[int64](in.Cols[1].Values)[i], string(in.Cols[2].Bytes(i)), batch.As[float64](in.Cols[3].Values)[i]); err != nil {
						b.Fatal(err)
					}
				}
			}
			if err := into.Send(); err != nil {
				b.Fatal(err)
			}
			key := s.Fields[bb.key].Name
			sql := fmt.Sprintf("SELECT sum(ignore(*)) FROM (SELECT %s, %s FROM (SELECT * FROM numbers_of UNION ALL SELECT * FROM numbers_of UNION ALL SELECT * FROM numbers_of UNION ALL SELECT * FROM numbers_of) GROUP BY %[1]s) SETTINGS max_threads = 1", key, bb.sql)
			cfg := numbersOf(b, s, bb.key, bb.functions...)
			var here, there, rows int64
			var perGroup float64
			for b.Loop() {
				began := cpuTime(b)
				w := New(cfg)
				for range passes {
					for _, in := range batches {
						add(b, w, in, 0)
						rows += int64(in.Rows)
					}
				}
				perGroup = float64(w.MemorySize()) / float64(w.Groups())
				cut := w.Cut(0)
				here += cpuTime(b) - began
				if cut.Rows == nil {
					b.Fatal("nothing to ship")
				}
				began = processTime(b, server.PID())
				var ignored uint64
				if err := conn.QueryRow(ctx, sql).Scan(&ignored); err != nil {
					b.Fatal(err)
				}
				there += processTime(b, server.PID()) - began
			}
			b.ReportMetric(float64(here)/float64(rows), "cpu-ns/row")
			b.ReportMetric(float64(there)/float64(rows), "clickhouse-cpu-ns/row")
			b.ReportMetric(float64(there)/float64(here), "of-clickhouse")
			b.ReportMetric(perGroup, "bytes/group")
		})
	}
}

// reKey gives rows other keys, of so many, and values.
func reKey(batches []*batch.Batch, groups int, zipf bool) {
	rng := rand.New(rand.NewPCG(6, 6))
	often := rand.NewZipf(rng, 1.1, 1, uint64(groups-1))
	for _, in := range batches {
		ids, vs := batch.As[int64](in.Cols[1].Values), batch.As[float64](in.Cols[3].Values)
		offsets, data := []int32{0}, []byte(nil)
		for i := range ids {
			id := rng.IntN(groups)
			if zipf {
				id = int(often.Uint64())
			}
			ids[i], vs[i] = int64(id)*7919, float64(rng.ExpFloat64()*100)
			data = fmt.Appendf(data, "device-%07d", id)
			offsets = append(offsets, int32(len(data)))
		}
		in.Cols[2].Offsets, in.Cols[2].Values = batch.Bytes(offsets), data
	}
}

// processTime is what a process has used, in nanoseconds.
func processTime(tb testing.TB, pid int) int64 {
	tb.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		tb.Skipf("SKIPPED: %v", err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	ticks := int64(0)
	for _, f := range fields[11:13] { // utime, stime
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			tb.Fatal(err)
		}
		ticks += n
	}
	return ticks * 10_000_000 // of 100 a second, which the kernel promises to programs
}
