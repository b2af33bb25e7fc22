package harness

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/weir-stream/weir/bench/contender"
	"github.com/weir-stream/weir/bench/report"
	"github.com/weir-stream/weir/bench/workload"
)

// scenario is something to measure that is not the throughput of a workload.
type scenario struct {
	name, about string
	run         func(*bench, context.Context) error
}

// scenarios in the order they are shown.
var scenarios = []scenario{
	{"latency", "produce to visible in ClickHouse, W1 at half load", (*bench).latency},
	{"outage", "ClickHouse away while records come in, then catching up", (*bench).outage},
	{"start", "cold start: from the start of the process to the first record", (*bench).coldStart},
	{"rest", "a node that has nothing to do, and the size of the binary", (*bench).rest},
	{"curves", "cost of an event as partitions, events, keys, windows and record size grow", (*bench).curves},
	{"soak", "W1 at half load for as long as --soak says: does memory grow?", (*bench).soak},
}

func (b *bench) latency(ctx context.Context) error {
	l, err := b.live(ctx, load{name: "latency", about: "produce to visible, half load", workload: "sensors", seconds: b.opts.Live.Seconds()})
	if err != nil {
		return err
	}
	b.doc.Live = append(b.doc.Live, *l)
	d := l.Latency
	if d == nil || l.Wrong != "" {
		return nil
	}
	b.say("latency: %.0f records/s: p50 %.0f ms, p99 %.0f ms, p99.9 %.0f ms; flushed every %d ms", l.Rate, d.P50, d.P99, d.P999, flushMS)
	b.figure("", "latency_p50_beyond_flush", "ms", report.Time, false, []float64{d.P50 - flushMS/2})
	b.figure("", "latency_p99_beyond_flush", "ms", report.Time, false, []float64{d.P99 - flushMS})
	b.figure("", "latency_p999_beyond_flush", "ms", report.Time, false, []float64{d.P999 - flushMS})
	b.figure("", "mallocs_per_event_live", "allocations of the whole process", report.Count, false, []float64{l.MallocsPerEvent})
	return nil
}

func (b *bench) outage(ctx context.Context) error {
	s := b.opts.Live.Seconds()
	l, err := b.live(ctx, load{
		name: "outage", about: "ClickHouse away for a third of the run, half load", workload: "sensors", seconds: s, outageAt: s / 4, outage: s / 3,
	})
	if err != nil {
		return err
	}
	b.doc.Live = append(b.doc.Live, *l)
	if l.Wrong == "" {
		b.say("outage: %.0f s without ClickHouse, caught up %.1f s after", l.OutageS, l.CatchUpS)
		b.figure("", "catch_up_per_outage", "s per s without ClickHouse", report.Time, false, []float64{l.CatchUpS / l.OutageS})
	}
	return nil
}

func (b *bench) soak(ctx context.Context) error {
	l, err := b.live(ctx, load{name: "soak", about: "half load for a long time", workload: "sensors", seconds: b.opts.Soak.Seconds()})
	if err != nil {
		return err
	}
	b.doc.Live = append(b.doc.Live, *l)
	if n := len(l.Memory); n >= 20 && l.Wrong == "" {
		second, last := meanY(l.Memory[n/4:n/2]), meanY(l.Memory[3*n/4:])
		b.say("soak: memory %.0f MiB in the second quarter, %.0f MiB in the last", second, last)
		b.figure("", "soak_memory_growth", "last quarter to second", report.Ratio, false, []float64{last / second})
	}
	return nil
}

func meanY(points []report.Point) float64 {
	sum := 0.0
	for _, p := range points {
		sum += p.Y
	}
	return sum / float64(len(points))
}

// coldStart measures from the start of a process until it has read a record.
func (b *bench) coldStart(ctx context.Context) error {
	c := workload.Cases()[0]
	s, err := b.fill(ctx, c, workload.Size{Events: 1000})
	if err != nil {
		return err
	}
	var took []float64
	for range max(3, b.opts.Rounds) {
		ms, err := b.firstRecord(ctx, c, s)
		if err != nil {
			return err
		}
		took = append(took, ms)
	}
	b.say("start: first record after %.0f ms", report.Median(took))
	b.figure("", "start_to_first_record", "ms", report.Time, false, took)
	return nil
}

func (b *bench) firstRecord(ctx context.Context, c workload.Case, s *stream) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	n, err := b.startNode(ctx, c, s, "start", "", 1)
	if err != nil {
		return 0, err
	}
	err = n.serving(ctx)
	if err == nil {
		err = until(ctx, time.Millisecond, "the node has read a record", func() bool {
			read, err := n.metric(ctx, "weir_source_records_total")
			return err == nil && read > 0
		})
	}
	took := time.Since(n.began)
	if r, stopped := n.interrupt(); stopped != nil && err == nil {
		return 0, stopped
	} else if err != nil {
		return 0, fmt.Errorf("%w\n%s", err, tail(r.stderr))
	}
	b.dropTables(ctx, n.task.Name)
	return float64(took) / float64(time.Millisecond), nil
}

// atRest is how long a node is left alone before its memory is read: it has been assigned partitions, and has flushed.
const atRest = 8 * time.Second

// rest starts a node on a topic without records and reads its resident memory.
func (b *bench) rest(ctx context.Context) error {
	info, err := os.Stat(b.opts.Weir)
	if err != nil {
		return fmt.Errorf("look at the binary: %w", err)
	}
	c := workload.Cases()[0]
	s := &stream{topic: b.name("rest"), size: workload.Size{Partitions: 4}}
	if _, err := workload.Produce(ctx, b.brokers, s.topic, nothing{4}, workload.ProduceOptions{}); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	n, err := b.startNode(ctx, c, s, "rest", "", 1)
	if err != nil {
		return err
	}
	if err = n.serving(ctx); err == nil {
		err = n.ready(ctx)
	}
	var rss float64
	if err == nil {
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-time.After(atRest):
			var m memory
			m, err = readMemory(n.cmd.Process.Pid)
			rss = float64(m.resident) / (1 << 20)
		}
	}
	if r, stopped := n.interrupt(); err != nil {
		return fmt.Errorf("%w\n%s", err, tail(r.stderr))
	} else if stopped != nil {
		return stopped
	}
	b.dropTables(ctx, n.task.Name)
	b.figure("", "rss_at_rest", "MiB", report.Count, false, []float64{rss})
	b.figure("", "binary_size", "MB", report.Count, false, []float64{float64(info.Size()) / 1e6})
	return nil
}

// curve is a dimension that the cost of an event may grow along.
type curve struct {
	name, unit, note string
	at               []float64
	size             func(float64) workload.Size
}

var curveList = []curve{
	{"partitions", "partitions", "", []float64{1, 4, 16, 64}, func(x float64) workload.Size { return workload.Size{Partitions: int32(x)} }},
	{"events", "events", "the start of the process is spread over them", []float64{250_000, 1_000_000, 4_000_000}, func(x float64) workload.Size {
		return workload.Size{Events: int64(x)}
	}},
	{"keys", "devices", "more keys are also more rows shipped", []float64{100, 1000, 10_000, 100_000}, func(x float64) workload.Size { return workload.Size{Keys: int(x)} }},
	{"windows", "windows", "the same records spread over more event time: more rows shipped", []float64{6, 60, 600, 6000}, func(x float64) workload.Size {
		return workload.Size{Span: time.Duration(x) * 10 * time.Second}
	}},
	{"record size", "bytes more", "in a column that is passed over", []float64{0, 250, 1000, 4000}, func(x float64) workload.Size { return workload.Size{Bytes: int(x)} }},
}

// curveEvents is how many records a point of a curve is measured with.
const curveEvents = 500_000

// curves measures W1, and the bare consumer beside it, along each dimension.
func (b *bench) curves(ctx context.Context) error {
	c := workload.Cases()[0]
	for _, k := range curveList {
		out := report.Curve{Name: k.name, Unit: k.unit, Note: k.note}
		for _, x := range k.at {
			size := k.size(x)
			size.Events = cmp.Or(size.Events, curveEvents)
			s, err := b.fill(ctx, c, size)
			if err != nil {
				return err
			}
			cost := map[string][]float64{}
			for range b.opts.Rounds {
				for _, who := range []contender.Contender{contender.Bare(b.opts.Self), contender.Weir(b.opts.Weir, b.operators())} {
					e := entry{who, &report.Result{Contender: who.Name, Cores: 1}}
					var copied int64
					r, err := b.round(ctx, c, s, e, &copied)
					if err != nil {
						return err
					}
					if e.result.Wrong != "" {
						return fmt.Errorf("%s of %v: %s", k.name, x, e.result.Wrong)
					}
					cost[who.Name] = append(cost[who.Name], r.CPU/float64(size.Events)*1e6)
				}
			}
			out.Points = append(out.Points, report.Point{X: x, Y: report.Median(cost["weir"])})
			out.Bare = append(out.Bare, report.Point{X: x, Y: report.Median(cost["bare"])})
			b.say("curves: %6.0f %s: %.2f CPU-s/M, bare consumer %.2f", x, k.unit, report.Median(cost["weir"]), report.Median(cost["bare"]))
		}
		if first := out.Points[0].Y; first > 0 && (k.name == "partitions" || k.name == "events") {
			worst := 0.0
			for _, p := range out.Points {
				worst = math.Max(worst, p.Y/first)
			}
			b.figure("", "cost_growth_with_"+k.name, fmt.Sprintf("x, from %.0f to %.0f", k.at[0], k.at[len(k.at)-1]), report.Ratio, false, []float64{worst})
		}
		b.doc.Curves = append(b.doc.Curves, out)
	}
	return nil
}
