package harness

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/weir-stream/weir/bench/report"
	"github.com/weir-stream/weir/bench/workload"
	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/pipeline"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/ingest/decode"
)

// What one stage costs alone cannot be seen from outside of a process. decode, arrow and cores take records through the stages in the
// process of the harness, and so measure the code that this program was built from, also where another binary is measured.

// innerPass is the processor time that a sample is taken from, at least.
const innerPass = 400 * time.Millisecond

// perUnit runs something again and again and gives the processor time of this process for each of the units that it does, in
// nanoseconds: once for each round.
func (b *bench) perUnit(ctx context.Context, units int, do func() error) ([]float64, error) {
	if b.opts.Weir != b.opts.Self {
		b.note("decode and arrow are of %s, not of %s", b.opts.Self, b.opts.Weir)
	}
	if err := do(); err != nil { // memory is taken once
		return nil, err
	}
	var out []float64
	for range b.opts.Rounds {
		runtime.GC() // of what was measured before
		began, n := processTime(), 0
		for processTime()-began < innerPass {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if err := do(); err != nil {
				return nil, err
			}
			n += units
		}
		out = append(out, float64(processTime()-began)/float64(n))
	}
	return out, nil
}

// decode measures the JSON decoder alone on the readings of W1, of whose eight columns it reads the six that W2 does.
func (b *bench) decode(ctx context.Context) error {
	const rows = 8192
	selected, err := workload.Select(Cases(), []string{"project"})
	if err != nil {
		return err
	}
	spec, err := config.ParseEnv("project.yaml", []byte(selected[0].Pipeline), config.Env{Lookup: b.lookup("decode", "none")})
	if err != nil {
		return err
	}
	columns := spec.Source.Columns
	d, err := decode.New("json", columns, decode.Options{})
	if err != nil {
		return fmt.Errorf("make the decoder: %w", err)
	}
	gen, err := selected[0].Stream(workload.Size{Seed: b.opts.Seed, Events: rows, Partitions: 1, Clean: true})
	if err != nil {
		return err
	}
	var records []batch.Record
	size := 0
	for {
		var r workload.Record
		if !gen.Next(&r) {
			break
		}
		size += len(r.Value)
		records = append(records, batch.Record{Offset: r.Offset, Time: r.Time, Key: r.Key, Value: r.Value})
	}
	mem := batch.Bytes(make([]uint64, decode.SlotSize(columns, rows, 0)/8+1))
	var bt batch.Batch
	ns, err := b.perUnit(ctx, rows, func() error {
		arena := batch.NewArena(mem)
		bt.Begin(d.Schema(), batch.Partition{}, records)
		d.Decode(&bt, &arena)
		if bt.Rows != rows {
			return fmt.Errorf("%d of %d records were decoded", bt.Rows, rows)
		}
		return nil
	})
	if err != nil {
		return err
	}
	b.say("decode: %.0f ns for a record of %.0f bytes, %d columns", report.Median(ns), float64(size)/rows, len(columns))
	b.figure("", "decode_ns_per_record", fmt.Sprintf("ns of the processor, %.0f bytes, %d columns", float64(size)/rows, len(columns)), report.Time, false, ns)
	return nil
}

// arrowPipeline is what arrow measures: decode and a window, as a lane has them.
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

// arrowKeys is how many groups the rows have.
const arrowKeys = 10_000

// arrow measures Arrow streams on their way through decode and a window of five aggregates.
func (b *bench) arrow(ctx context.Context) (err error) {
	spec, err := config.ParseEnv("arrow.yaml", []byte(arrowPipeline), config.Env{Lookup: func(string) (string, bool) { return "", false }})
	if err != nil {
		return err
	}
	plan, err := pipeline.New(ctx, spec, config.DefaultNode(), pipeline.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plan.Close()) }()
	probe, err := plan.NewProbe(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, probe.Close()) }()
	records, rows, err := arrowRecords(spec, b.opts.Seed)
	if err != nil {
		return err
	}
	ns, err := b.perUnit(ctx, rows, func() error { return probe.Run(ctx, records) })
	if err != nil {
		return err
	}
	if c := probe.Counts(); c.Late > 0 || c.Aggregated == 0 || c.Aggregated%int64(rows) != 0 {
		return fmt.Errorf("%d rows were aggregated and %d late, of times %d", c.Aggregated, c.Late, rows)
	}
	for i := range ns {
		ns[i] = 1000 / ns[i]
	}
	b.say("arrow: %.1f million rows a second and core", report.Median(ns))
	b.figure("", "arrow_mrows_per_s", "million rows a second of the processor, five aggregates by 10,000 keys", report.Time, true, ns)
	return nil
}

// arrowRecords are a million rows of one window, 16,384 a record.
func arrowRecords(spec *config.Pipeline, seed uint64) (records []batch.Record, rows int, err error) {
	const each, count, from = 16_384, 61, 1_700_000_000_000
	lines, err := pipeline.NewArrowLines(spec, 100)
	if err != nil {
		return nil, 0, err
	}
	dice := rand.New(rand.NewPCG(seed, 2))
	for i := range count {
		text := make([][]byte, each)
		for k := range text {
			text[k] = fmt.Appendf(nil, `{"key":%d,"ts":%d,"v":%g}`, dice.Int64N(arrowKeys), from+(i*each+k)*9_000/(each*count), dice.Float64())
		}
		value, err := lines.Stream(text)
		if err != nil {
			return nil, 0, fmt.Errorf("write rows as Arrow: %w", err)
		}
		records = append(records, batch.Record{Offset: int64(i), Value: value})
	}
	return records, each * count, nil
}
