package harness

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"time"

	"github.com/weir-stream/weir/bench/report"
	"github.com/weir-stream/weir/bench/workload"
)

// scenario is something to measure that is not the throughput of a workload.
type scenario struct {
	name, about string
	expect      func(*bench) time.Duration
	run         func(*bench, context.Context) error
}

// scenarios in the order they are shown.
var scenarios = []scenario{
	{"decode", "JSON decode alone, in the process of the harness", takes(4 * time.Second), (*bench).decode},
	{"arrow", "Arrow input into windows, in the process of the harness", takes(6 * time.Second), (*bench).arrow},
	{"cores", "decode, steps and windows on two cores, in the process of the harness", takes(15 * time.Second), (*bench).twoCores},
	{"halves", "W1 on the halves of two cores, which leaves the others for broker and ClickHouse", (*bench).expectHalves, (*bench).halves},
	{"latency", "produce to visible in ClickHouse, W1 at half load", (*bench).expectLive, (*bench).latency},
	{"outage", "ClickHouse away while records come in, then catching up", (*bench).expectLive, (*bench).outage},
	{"start", "cold start: from the start of the process to the first record", takes(8 * time.Second), (*bench).coldStart},
	{"rest", "a node that has nothing to do, and the size of the binary", takes(10 * time.Second), (*bench).rest},
	{"memory", "W1 at full load with 10,000 keys: peak resident memory", (*bench).expectMemory, (*bench).memory},
	{"curves", "cost of an event as partitions, batches, keys, windows and record size grow", (*bench).expectCurves, (*bench).curves},
	{"long", "cost of an event from 1 million to 50 million events", (*bench).expectLong, (*bench).long},
	{"soak", "W1 at half load for as long as --soak says: does memory grow?", func(b *bench) time.Duration { return b.opts.Soak * 3 / 2 }, (*bench).soak},
}

func (b *bench) expectHalves() time.Duration {
	events := cmp.Or(b.opts.Events, 2*workload.Cases()[0].Events)
	return b.cost("sensors", events, 6*b.opts.Rounds)
}

func takes(d time.Duration) func(*bench) time.Duration {
	return func(*bench) time.Duration { return d }
}

func (b *bench) expectLive() time.Duration { return b.opts.Live*2 + 5*time.Second }

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
	for _, q := range []struct {
		name  string
		value float64
	}{{"latency_p50_beyond_flush", d.P50 - flushMS/2}, {"latency_p99_beyond_flush", d.P99 - flushMS}, {"latency_p999_beyond_flush", d.P999 - flushMS}} {
		f := b.figure("", q.name, "ms", report.Time, false, []float64{q.value})
		if l.Slow() {
			f.Easier, f.Note = true, fmt.Sprintf("at %.0f %% of half load: no more records came in", 100*l.Achieved/l.Rate)
		}
	}
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
