package examples_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/bench/workload"
	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/pipeline"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/ingest/decode"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/operators/aggregate"
	"github.com/weir-stream/weir/operators/window"
)

// The stages of each example, fed by hand, must answer what the truth does: without broker and ClickHouse, so that a
// difference is one of decoding, steps or windows.
func TestStagesAgreeWithTheTruth(t *testing.T) {
	for _, size := range []int{1, 61, 8192} {
		events := int64(60_000)
		if size == 1 {
			events = 3_000
		}
		t.Run(fmt.Sprintf("sensors by %d", size), func(t *testing.T) {
			cfg := workload.SensorsConfig{Seed: uint64(size), Events: events, Devices: 50, NumPartitions: 3, MaxDisorder: 15 * time.Second}.DefaultMix()
			cfg.LateRate, cfg.BrokenRate = 0.05, 0.01
			gen, err := workload.Sensors(cfg)
			if err != nil {
				t.Fatal(err)
			}
			truth, err := workload.NewSensorsTruth(workload.SensorsTruthConfig{})
			if err != nil {
				t.Fatal(err)
			}
			agree(t, load(t, "sensors"), gen, truth, size)
			if c := truth.Counts(); c.Late == 0 || c.Filtered == 0 || len(c.Rejected) < 4 {
				t.Errorf("the stream had not everything in it: %+v", c)
			}
		})
		t.Run(fmt.Sprintf("ticks by %d", size), func(t *testing.T) {
			gen, err := workload.Ticks(workload.TicksConfig{Seed: uint64(size), Events: events, MaxDisorder: 45 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			truth, err := workload.NewTicksTruth(workload.Rules{})
			if err != nil {
				t.Fatal(err)
			}
			agree(t, load(t, "ticks"), gen, truth, size)
		})
		t.Run(fmt.Sprintf("weather by %d", size), func(t *testing.T) {
			data, err := os.ReadFile("weather/seattle-weather-hourly-normals.csv")
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.SplitAfter(string(data), "\n")
			if size == 1 {
				lines = lines[:1001]
			}
			gen, err := workload.Weather(strings.NewReader(strings.Join(lines, "")), workload.WeatherConfig{NumPartitions: 2})
			if err != nil {
				t.Fatal(err)
			}
			truth, err := workload.NewWeatherTruth(workload.Rules{})
			if err != nil {
				t.Fatal(err)
			}
			agree(t, load(t, "weather"), shuffle(t, gen, 40), truth, size)
			if truth.Counts().Late == 0 {
				t.Error("nothing was late")
			}
		})
	}
}

// shuffled yields records of another generator out of order.
type shuffled struct {
	workload.Generator
	records []workload.Record
	offsets map[int32]int64
}

// shuffle moves records by up to reach places or so. Weather comes on the hour, so that rows meet the limits of windows
// and lateness to the millisecond.
func shuffle(t *testing.T, gen workload.Generator, reach int) *shuffled {
	t.Helper()
	s := &shuffled{Generator: gen, offsets: map[int32]int64{}}
	for {
		var r workload.Record
		if !gen.Next(&r) {
			break
		}
		s.records = append(s.records, r)
	}
	if gen.Err() != nil {
		t.Fatal(gen.Err())
	}
	dice := rand.New(rand.NewPCG(1, 2))
	for i := range s.records {
		j := min(i+dice.IntN(reach), len(s.records)-1)
		s.records[i], s.records[j] = s.records[j], s.records[i]
	}
	return s
}

func (s *shuffled) Next(r *workload.Record) bool {
	if len(s.records) == 0 {
		return false
	}
	*r, s.records = s.records[0], s.records[1:]
	r.Offset = s.offsets[r.Partition]
	s.offsets[r.Partition]++
	return true
}

// agree runs a pipeline's stages over the records, in batches of at most size, and compares answer and counts.
func agree(t *testing.T, spec *config.Pipeline, gen workload.Generator, truth *workload.Truth, size int) {
	t.Helper()
	ctx := context.Background()
	plan, err := pipeline.New(ctx, spec, config.DefaultNode(), pipeline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := plan.Close(); err != nil {
			t.Error(err)
		}
	}()
	lanes := map[int32]*lane{}
	answer := answer{plan: plan, parts: map[string]map[int32][]float64{}, rows: map[string]workload.Row{}}
	flush := func(p int32, l *lane) {
		for len(l.records) > 0 {
			l.run(ctx, t, p)
		}
		answer.add(p, l.window.Cut(l.next).Rows)
	}
	for {
		var r workload.Record
		if !gen.Next(&r) {
			break
		}
		truth.Add(&r)
		l := lanes[r.Partition]
		if l == nil {
			l = newLane(ctx, t, spec, plan, size)
			defer l.close(t)
			lanes[r.Partition] = l
		}
		l.records = append(l.records, batch.Record{Offset: r.Offset, Time: r.Time, Key: r.Key, Value: r.Value})
		if len(l.records) == size {
			flush(r.Partition, l)
		}
	}
	if gen.Err() != nil {
		t.Fatal(gen.Err())
	}
	counts := workload.Counts{Rejected: map[string]int64{}}
	for p, l := range lanes {
		flush(p, l)
		counts.Aggregated += l.counts.Aggregated
		counts.Late += l.counts.Late
		counts.Filtered += l.filtered
		for reason, n := range l.rejected {
			counts.Rejected[string(reason)] += n
		}
	}
	want := truth.Counts()
	counts.Records = counts.Aggregated + counts.Late + counts.Filtered + counts.AllRejected()
	if got, want := fmt.Sprintf("%+v", counts), fmt.Sprintf("%+v", want); got != want {
		t.Errorf("counts\n%s, should be\n%s", got, want)
	}
	if d := workload.Diff(truth.Columns(), truth.Windows(), answer.finish(), 5); !d.Exact() || d.Compared == 0 {
		t.Error(d)
	}
}

// lane is what the engine keeps for a partition.
type lane struct {
	pool    *batch.Pool
	decoder interface {
		Decode(*batch.Batch, *batch.Arena)
	}
	schema   *batch.Schema
	steps    []operators.Operator
	window   operators.Window
	records  []batch.Record
	batch    batch.Batch
	next     int64
	counts   operators.Counts
	filtered int64
	rejected map[batch.Reason]int64
}

func newLane(ctx context.Context, t *testing.T, spec *config.Pipeline, plan *pipeline.Plan, rows int) *lane {
	t.Helper()
	decoder, err := decode.New(string(spec.Source.Format), spec.Source.Columns, decode.Options{MaxRecord: int(spec.Source.Kafka.MaxRecord)})
	if err != nil {
		t.Fatal(err)
	}
	l := &lane{decoder: decoder, schema: decoder.Schema(), window: window.New(plan.Window), rejected: map[batch.Reason]int64{}}
	slot := decode.SlotSize(spec.Source.Columns, rows, int(spec.Source.Kafka.MaxRecord))
	ranges := []batch.RangeSpec{{Slots: 1, SlotSize: slot}}
	for range plan.Steps {
		ranges = append(ranges, batch.RangeSpec{Slots: 1, SlotSize: slot})
	}
	if l.pool, err = batch.NewPool(ranges); err != nil {
		t.Fatal(err)
	}
	for i, s := range plan.Steps {
		op, err := s.Open(ctx, operators.Env{Pool: l.pool, Range: l.pool.Range(i + 1)})
		if err != nil {
			t.Fatal(err)
		}
		l.steps = append(l.steps, op)
	}
	return l
}

func (l *lane) run(ctx context.Context, t *testing.T, p int32) {
	t.Helper()
	b := &l.batch
	b.Begin(l.schema, batch.Partition{ID: p}, l.records)
	slot, err := l.pool.Range(0).Acquire()
	if err != nil {
		t.Fatal(err)
	}
	b.Hold(slot)
	arena := batch.NewArena(slot.Mem())
	l.decoder.Decode(b, &arena)
	for _, s := range l.steps {
		if err := s.Process(ctx, b); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range b.Rejects {
		l.rejected[r.Reason]++
	}
	took := b.Records
	n, err := l.window.Add(ctx, b, took[0].Offset)
	if err != nil {
		t.Fatal(err)
	}
	l.counts.Aggregated += n.Aggregated
	l.counts.Late += n.Late
	l.filtered += b.Filtered
	l.next = took[len(took)-1].Offset + 1
	l.records = l.records[len(took):]
	b.Release()
}

func (l *lane) close(t *testing.T) {
	t.Helper()
	for _, s := range l.steps {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := l.pool.Close(); err != nil {
		t.Error(err)
	}
}

// answer does what the finished view does: the last cut of a window and key counts, partitions merge.
type answer struct {
	plan  *pipeline.Plan
	parts map[string]map[int32][]float64 // states by partition
	rows  map[string]workload.Row
}

func (a *answer) add(partition int32, rows *batch.Batch) {
	if rows == nil {
		return
	}
	keys := len(a.plan.Window.Keys)
	for i := range rows.Rows {
		row := workload.Row{Start: batch.As[int64](rows.Cols[0].Values)[i]}
		for k := range keys {
			row.Keys = append(row.Keys, string(rows.Cols[3+k].Bytes(i)))
		}
		var states []float64
		for c := 3 + keys; c < len(rows.Cols); c++ {
			switch rows.Schema.Fields[c].Type.Kind {
			case batch.Float64:
				states = append(states, batch.As[float64](rows.Cols[c].Values)[i])
			default:
				states = append(states, float64(batch.As[int64](rows.Cols[c].Values)[i]))
			}
		}
		id := fmt.Sprint(row.Start, row.Keys)
		if a.parts[id] == nil {
			a.parts[id] = map[int32][]float64{}
		}
		a.parts[id][partition] = states
		a.rows[id] = row
	}
}

func (a *answer) finish() []workload.Row {
	var out []workload.Row
	for id, row := range a.rows {
		var sum []float64
		for _, states := range a.parts[id] {
			if sum == nil {
				sum = append(sum, states...)
				continue
			}
			at := 0
			for _, agg := range a.plan.Window.Aggregate {
				for _, st := range agg.States {
					switch st.Merge {
					case aggregate.Sum:
						sum[at] += states[at]
					case aggregate.Min:
						sum[at] = min(sum[at], states[at])
					case aggregate.Max:
						sum[at] = max(sum[at], states[at])
					}
					at++
				}
			}
		}
		at := 0
		for _, agg := range a.plan.Window.Aggregate {
			v := sum[at]
			if agg.Finish == aggregate.Ratio {
				v /= sum[at+1]
			}
			row.Values = append(row.Values, v)
			at += len(agg.States)
		}
		out = append(out, row)
	}
	return out
}
