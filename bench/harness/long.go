package harness

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/weir-stream/weir/bench/report"
	"github.com/weir-stream/weir/bench/workload"
)

// The streams of different length that long reads. All have the same number of records, windows and rows per second of event
// time: a longer one is more of the same, and not the same once more.
const (
	longFrom = 1_000_000
	longTo   = 50_000_000
	// longDisk is about what a record takes on the broker's disk, compressed, with much to spare.
	longDisk = 100
)

// longSpan is the event time of so many records of W1.
func longSpan(events int64) time.Duration {
	c := workload.Cases()[0]
	return time.Duration(float64(events) / float64(c.Events) * float64(10*time.Minute))
}

// longSizes are the lengths to measure, and why the last one is not longTo, if it is not.
func (b *bench) longSizes() (sizes []int64, short string) {
	unit := b.fewer(longFrom)
	to := unit * (longTo / longFrom)
	if unit < longFrom {
		short = fmt.Sprintf("%s events at most, as --events asked for fewer", report.Thousands(to))
	}
	if free, known := freeDisk(os.TempDir()); known && len(b.opts.Brokers) == 0 && free/2 < uint64(to)*longDisk {
		to = max(unit*2, int64(free/2/longDisk))
		short = fmt.Sprintf("%s events at most: %s of the disk of %s are free", report.Thousands(to), fmt.Sprintf("%.1f GB", float64(free)/1e9), os.TempDir())
	}
	sizes = []int64{unit}
	if middle := unit * 10; middle < to {
		sizes = append(sizes, middle)
	}
	return append(sizes, to), short
}

// longPasses is how often each length is read: the first one three times in each pass.
const (
	longPasses = 2
	longFirst  = 3
)

func (b *bench) expectLong() time.Duration {
	sizes, _ := b.longSizes()
	var all time.Duration
	for i, n := range sizes {
		runs := 2 * longPasses
		if i == 0 {
			runs *= longFirst
		}
		all += b.cost("sensors", n, runs)
	}
	return all
}

// long measures how the cost of an event depends on how many there are. The topics are filled as any is and kept on the disk of the
// broker; each is read from its beginning to its end by a process of its own, start and all.
func (b *bench) long(ctx context.Context) error {
	sizes, short := b.longSizes()
	points := make([]point, len(sizes))
	for i, n := range sizes {
		s, err := b.fill(ctx, workload.Cases()[0], workload.Size{Events: n, Span: longSpan(n)})
		if err != nil {
			return err
		}
		points[i] = point{x: float64(n), stream: s, cost: map[string][]float64{}}
	}
	for range longPasses {
		for i := range points {
			times := 1
			if i == 0 {
				times = longFirst
			}
			for range times {
				b.say("long: reading %s events", report.Thousands(sizes[i]))
				if err := b.visit(ctx, &points[i], "bare", "weir"); err != nil {
					return err
				}
			}
		}
	}
	k := curve{name: "events", unit: "events", note: "the start of the process is spread over them; as many rows per event in each"}
	f, err := b.drawn(ctx, k, points)
	if err != nil {
		return err
	}
	if short != "" {
		f.Easier, f.Note = true, short
		b.note("long: %s", short)
	}
	return nil
}

// memoryKeys and memoryEvents are what memory is measured with.
const (
	memoryKeys   = 10_000
	memoryEvents = 2_000_000
)

func (b *bench) expectMemory() time.Duration {
	return b.cost("keys", b.fewer(memoryEvents)/2, b.curveRounds(true))
}

// memory measures the most memory that weir takes while it reads W1 as fast as it can on one core.
func (b *bench) memory(ctx context.Context) error {
	size := workload.Size{Events: b.fewer(memoryEvents), Keys: memoryKeys}
	s, err := b.fill(ctx, workload.Cases()[0], size)
	if err != nil {
		return err
	}
	p := point{x: memoryKeys, stream: s, cost: map[string][]float64{}}
	for range b.curveRounds(true) {
		if err := b.visit(ctx, &p, "weir"); err != nil {
			return err
		}
	}
	b.say("memory: %.0f MiB with %d keys", report.Median(p.memory), memoryKeys)
	f := b.figure("", "peak_memory_10000_keys", "MiB, W1 at full load", report.Count, false, p.memory)
	if s.size.Events < memoryEvents {
		f.Easier, f.Note = true, fmt.Sprintf("%s events alone, as --events asked for", report.Thousands(s.size.Events))
	}
	return b.dropTopic(ctx, s.topic)
}
