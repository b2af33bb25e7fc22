package harness

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/weir-stream/weir/bench/contender"
	"github.com/weir-stream/weir/bench/report"
	"github.com/weir-stream/weir/bench/workload"
)

// curve is a dimension that the cost of an event may grow along.
type curve struct {
	name, unit, note string
	// events is how many records a point is measured with.
	events int64
	at     []float64
	size   func(float64) workload.Size
	batch  func(float64) int // bytes of a batch, see workload.ProduceOptions; nil: as they come
	asked  bool              // a number is asked of it: it is measured in all rounds, as the workloads that are asked about
}

var curveList = []curve{
	// A producer that sends what it has every few milliseconds makes batches the smaller the more partitions there are. What that costs
	// is a curve of its own: beside it, this one is of partitions alone.
	{"partitions", "partitions", "batches of 64 KiB before compression at any number", 2_000_000, []float64{1, 4, 16, 64}, func(x float64) workload.Size {
		return workload.Size{Partitions: int32(x)}
	}, func(float64) int { return fullBatch }, true},
	{"batch size", "KiB in a batch", "before compression, in one partition; smaller batches also compress worse", 1_000_000, []float64{2, 8, 64, 512}, func(float64) workload.Size {
		return workload.Size{Partitions: 1}
	}, func(x float64) int { return int(x) << 10 }, false},
	{"keys", "devices", "more keys are also more rows shipped", 500_000, []float64{100, 1000, 10_000, 100_000}, func(x float64) workload.Size {
		return workload.Size{Keys: int(x)}
	}, nil, false},
	{"windows", "windows of 10 s", "the same records spread over more event time: more rows shipped", 500_000, []float64{6, 60, 600, 6000}, func(x float64) workload.Size {
		return workload.Size{Span: time.Duration(x) * 10 * time.Second}
	}, nil, false},
	{"record size", "bytes more in a record", "in a column that is passed over", 300_000, []float64{0, 250, 1000, 4000}, func(x float64) workload.Size {
		return workload.Size{Bytes: int(x)}
	}, nil, false},
}

// batchOf is how large the batches of a point are to be; 0: as they come.
func (k *curve) batchOf(x float64) int {
	if k.batch == nil {
		return 0
	}
	return k.batch(x)
}

// curveRounds is how often a point is measured.
func (b *bench) curveRounds(asked bool) int {
	if b.opts.Brief && !asked {
		return min(b.opts.Rounds, briefRounds)
	}
	return b.opts.Rounds
}

// fewer is a number of records, or less where less was asked for.
func (b *bench) fewer(events int64) int64 {
	if b.opts.Events > 0 {
		return min(events, b.opts.Events)
	}
	return events
}

func (b *bench) expectCurves() time.Duration {
	var all time.Duration
	for _, k := range curveList {
		all += time.Duration(len(k.at)) * b.cost("sensors", b.fewer(k.events)*2, 2*b.curveRounds(k.asked))
	}
	return all
}

// point is a place on a curve: a topic, and what it cost to read it.
type point struct {
	x      float64
	stream *stream
	// cost has a value for each round, in CPU-seconds per million events, by contender; memory the peak of weir in MiB.
	cost   map[string][]float64
	memory []float64
}

// curves measures W1, and the bare consumer beside it, along each dimension.
func (b *bench) curves(ctx context.Context) error {
	for _, k := range curveList {
		points := make([]point, len(k.at))
		for i, x := range k.at {
			size := k.size(x)
			size.Events = b.fewer(k.events)
			s, err := b.fillBatches(ctx, workload.Cases()[0], size, k.batchOf(x))
			if err != nil {
				return err
			}
			points[i] = point{x: x, stream: s, cost: map[string][]float64{}}
		}
		// Round by round, so that what else the machine does meets all points.
		for range b.curveRounds(k.asked) {
			for i := range points {
				if err := b.visit(ctx, &points[i], "bare", "weir"); err != nil {
					return err
				}
			}
		}
		if _, err := b.drawn(ctx, k, points); err != nil {
			return err
		}
	}
	return nil
}

// visit lets contenders read the topic of a point once.
func (b *bench) visit(ctx context.Context, p *point, names ...string) error {
	for _, name := range names {
		who := contender.Weir(b.opts.Weir, b.operators())
		if name == "bare" {
			who = contender.Bare(b.opts.Self)
		}
		e := entry{contender: who, result: &report.Result{Contender: name, Cores: 1}}
		var copied int64
		r, err := b.round(ctx, workload.Cases()[0], p.stream, e, &copied)
		if err != nil {
			return err
		}
		if e.result.Wrong != "" {
			return fmt.Errorf("at %v: %s", p.x, e.result.Wrong)
		}
		p.cost[name] = append(p.cost[name], r.CPU/float64(p.stream.size.Events)*1e6)
		if name == "weir" {
			p.memory = append(p.memory, float64(r.PeakRSS)/(1<<20))
		}
	}
	return nil
}

// drawn adds a curve to the report, with a figure of how much the cost of an event grows along it, and removes its topics. It gives
// the figure, which may be changed until the next one is added.
func (b *bench) drawn(ctx context.Context, k curve, points []point) (*report.Figure, error) {
	out := report.Curve{Name: k.name, Unit: k.unit, Note: k.note}
	if k.batch != nil {
		out.Note += "; records in one:"
		for _, p := range points {
			out.Note += " " + report.Thousands(p.stream.batches.mean())
		}
	}
	worst := 0
	for i, p := range points {
		weir, bare := report.Median(p.cost["weir"]), report.Median(p.cost["bare"])
		out.Points = append(out.Points, report.Point{X: p.x, Y: weir})
		out.Bare = append(out.Bare, report.Point{X: p.x, Y: bare})
		out.Memory = append(out.Memory, report.Point{X: p.x, Y: report.Median(p.memory)})
		b.say("%s: %s %s: %.2f CPU-s/M, bare consumer %.2f, %.0f MiB; %s records in a batch", k.name, report.Thousands(int64(p.x)), k.unit, weir, bare, report.Median(p.memory),
			report.Thousands(p.stream.batches.mean()))
		if report.Median(beside(p.cost["weir"], points[0].cost["weir"])) > report.Median(beside(points[worst].cost["weir"], points[0].cost["weir"])) {
			worst = i
		}
		if err := b.dropTopic(ctx, p.stream.topic); err != nil {
			return nil, err
		}
	}
	b.doc.Curves = append(b.doc.Curves, out)
	if k.name != "partitions" && k.name != "events" {
		return nil, nil // there is more to do then, and not the same
	}
	last := points[len(points)-1].x
	unit := fmt.Sprintf("x, the most from %s to %s beside the first", report.Thousands(int64(points[0].x)), report.Thousands(int64(last)))
	f := b.figure("", "cost_growth_with_"+k.name, unit, report.Ratio, false, beside(points[worst].cost["weir"], points[0].cost["weir"]))
	if f != nil && k.batch != nil {
		f.Note = out.Note
	}
	return f, nil
}

// beside gives what was measured as ratios to what was measured of a first point: in the same round where both have as many, so that
// a machine that is slower for a while is slower for both, and to its median otherwise.
func beside(values, first []float64) []float64 {
	paired := len(values) == len(first)
	by := report.Median(first)
	out := make([]float64, len(values))
	for i, v := range values {
		if paired {
			by = first[i]
		}
		out[i] = v / cmp.Or(by, 1)
	}
	return out
}
