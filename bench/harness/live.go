package harness

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-stream/weir/bench/contender"
	"github.com/weir-stream/weir/bench/report"
	"github.com/weir-stream/weir/bench/workload"
)

// flushMS is how often the pipelines of the workloads ship.
const flushMS = 2000

// load is a run at a given load.
type load struct {
	name, about string
	workload    string
	rate        float64 // records per second; 0 is half of what one core took
	seconds     float64
	// From outageAt seconds on, ClickHouse cannot be reached for outage seconds. 0 is never.
	outageAt, outage float64
}

const (
	// pollEvery is how often ClickHouse is asked what it has, and so what a latency is rounded up by.
	pollEvery = 25 * time.Millisecond
	// samplesPerS is about how many records a second are followed through.
	samplesPerS = 2000
	// accountTimeout is how long after the last record everything must be in ClickHouse.
	accountTimeout = 2 * time.Minute
)

// follow keeps when records were handed to the producer, until ClickHouse has them.
type follow struct {
	mu      sync.Mutex // guards waiting
	waiting map[int32][]sent

	produced  atomic.Int64
	latencies []float64 // milliseconds; of the goroutine that polls
	versions  map[int32]int64
}

type sent struct {
	offset int64
	at     time.Time
}

func (f *follow) observe(r *workload.Record, every int64) {
	if n := f.produced.Add(1); n%every != 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting[r.Partition] = append(f.waiting[r.Partition], sent{r.Offset, time.Now()})
}

// stored takes in that ClickHouse has a partition up to an offset.
func (f *follow) stored(partition int32, below int64, now time.Time) {
	f.versions[partition] = max(below, f.versions[partition])
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.waiting[partition]
	i := 0
	for ; i < len(w) && w[i].offset < below; i++ {
		f.latencies = append(f.latencies, float64(now.Sub(w[i].at))/float64(time.Millisecond))
	}
	f.waiting[partition] = w[i:]
}

// accounted is how many records ClickHouse has an account of.
func (f *follow) accounted() int64 {
	var n int64
	for _, v := range f.versions {
		n += v
	}
	return n
}

// halfLoad is half of what weir took on one core for a workload of this run, or else a guess from a short run.
func (b *bench) halfLoad(ctx context.Context, c workload.Case) (float64, error) {
	for i := range b.doc.Throughput {
		if t := &b.doc.Throughput[i]; t.Workload == c.Name {
			if r := t.Find("weir", 1); r != nil && len(r.Rounds) > 0 {
				return report.Median(r.PerSecond(t.Events)) / 2, nil
			}
		}
	}
	s, err := b.fill(ctx, c, workload.Size{Events: min(c.Events, 1_000_000)})
	if err != nil {
		return 0, err
	}
	task, err := b.task(c, s.size, s.topic, "load", 1)
	if err != nil {
		return 0, err
	}
	cmd, err := contender.Weir(b.opts.Weir, b.operators()).Command(ctx, task)
	if err != nil {
		return 0, err
	}
	r, err := b.timed(ctx, cmd, b.place(1))
	if err != nil {
		return 0, err
	}
	b.dropTables(ctx, task.Name)
	if err := b.dropTopic(ctx, s.topic); err != nil {
		return 0, err
	}
	return float64(s.size.Events) / cmp.Or(r.round.Busy, r.round.Wall) / 2, nil
}

// live runs weir while records come in at a rate, and follows them into ClickHouse.
func (b *bench) live(ctx context.Context, l load) (*report.Live, error) {
	selected, err := workload.Select(Cases(), []string{l.workload})
	if err != nil {
		return nil, err
	}
	c := selected[0]
	if l.rate == 0 {
		if l.rate, err = b.halfLoad(ctx, c); err != nil {
			return nil, err
		}
	}
	size := workload.Size{
		Seed: b.opts.Seed, Events: max(1, int64(l.rate*l.seconds)), Partitions: b.opts.Partitions,
		Span: time.Duration(l.seconds * float64(time.Second)),
	}
	gen, err := c.Stream(size)
	if err != nil {
		return nil, err
	}
	s := &stream{topic: b.name(c.Name), size: size}
	if _, err := workload.Produce(ctx, b.brokers, s.topic, nothing{size.Partitions}, workload.ProduceOptions{}); err != nil {
		return nil, err
	}
	k, err := newLink(b.base.Host)
	if err != nil {
		return nil, err
	}
	defer k.close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	n, err := b.startNode(ctx, c, s, l.name, k.addr(), 1)
	if err != nil {
		return nil, err
	}
	out := &report.Live{Name: l.name, About: l.about, Workload: c.Name, Rate: l.rate, Seconds: l.seconds, Events: size.Events, FlushMS: flushMS, OutageS: l.outage}
	err = b.drive(ctx, l, n, s, gen, k, out)
	if err == nil {
		if allocated, failed := n.metric(ctx, "go_memstats_mallocs_total"); failed == nil {
			out.MallocsPerEvent = allocated / float64(size.Events)
		}
	}
	r, stopped := n.interrupt()
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, tail(r.stderr))
	}
	if stopped != nil {
		return nil, stopped
	}
	if out.Slow() {
		b.note("%s: %.0f records/s came in instead of %.0f: broker, ClickHouse and this program did not keep up on the cores that weir left them", l.name, out.Achieved, l.rate)
	}
	out.CPU, out.PeakRSS, out.Memory = r.round.CPU, r.round.PeakRSS, r.memory
	if err := s.workOut(ctx, c); err != nil {
		return nil, err
	}
	if out.Wrong, err = b.check(ctx, c, s, contender.Answer{Table: n.view()}); err != nil {
		return nil, err
	}
	b.dropTables(ctx, n.task.Name)
	return out, b.dropTopic(ctx, s.topic)
}

// workOut works out the truth about a stream from its records, made once more: while they are produced at a rate, the processor is
// for others.
func (s *stream) workOut(ctx context.Context, c workload.Case) error {
	gen, err := c.Stream(s.size)
	if err != nil {
		return err
	}
	truth, err := c.Truth(s.size)
	if err != nil {
		return err
	}
	var r workload.Record
	for n := 0; gen.Next(&r); n++ {
		if n%100_000 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		truth.Add(&r)
	}
	s.columns, s.rows, s.counts = truth.Columns(), truth.Windows(), truth.Counts()
	return gen.Err()
}

// drive produces, cuts the link where that is asked for, and polls ClickHouse until it has everything.
func (b *bench) drive(ctx context.Context, l load, n *node, s *stream, gen workload.Generator, k *link, out *report.Live) error {
	starting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := n.serving(starting); err != nil {
		return err
	}
	if err := n.ready(starting); err != nil {
		return err
	}
	f := &follow{waiting: map[int32][]sent{}, versions: map[int32]int64{}}
	every := max(1, int64(l.rate/samplesPerS))
	began := time.Now()
	produced := make(chan error, 1)
	go func() {
		_, err := workload.Produce(ctx, b.brokers, s.topic, gen, workload.ProduceOptions{Rate: l.rate, Observe: func(r *workload.Record) { f.observe(r, every) }})
		produced <- err
	}()
	cut, mended := false, l.outage == 0
	var mendedAt, ended time.Time
	behindEvery := max(0.1, l.seconds/500)
	nextPoint := 0.0
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-produced:
			if err != nil {
				return err
			}
			ended, produced = time.Now(), nil
			out.Achieved = float64(s.size.Events) / ended.Sub(began).Seconds()
		case <-ticker.C:
		}
		at := time.Since(began).Seconds()
		if !mended && !cut && at >= l.outageAt {
			k.sever(true)
			cut = true
		}
		if cut && !mended && at >= l.outageAt+l.outage {
			k.sever(false)
			mended, mendedAt = true, time.Now()
		}
		if err := b.poll(ctx, n.task.Name, f); err != nil {
			return err
		}
		behind := f.produced.Load() - f.accounted()
		if at >= nextPoint {
			out.Behind = append(out.Behind, report.Point{X: at, Y: float64(behind)})
			nextPoint = at + behindEvery
		}
		// After an outage it has caught up when it is behind by no more than it is between two flushes.
		if mended && l.outage > 0 && out.CatchUpS == 0 && float64(behind) <= l.rate*(flushMS+500)/1000 {
			out.CatchUpS = max(0.001, time.Since(mendedAt).Seconds())
		}
		if produced == nil && mended && f.accounted() >= s.size.Events {
			out.Behind = append(out.Behind, report.Point{X: at, Y: float64(behind)})
			if l.outage == 0 {
				out.Latency = report.Distribute(f.latencies)
			}
			return nil
		}
		if produced == nil && time.Since(ended) > accountTimeout {
			return fmt.Errorf("%v after the last record ClickHouse has %d of %d", accountTimeout, f.accounted(), s.size.Events)
		}
	}
}

// poll asks ClickHouse up to where it has each partition. The account of a cut is stored after its rows.
func (b *bench) poll(ctx context.Context, pipeline string, f *follow) error {
	rows, err := b.conn.Query(ctx, "SELECT toInt32(partition), toInt64(max(version)) FROM "+b.database()+".weir_coverage WHERE pipeline = $1 GROUP BY partition", pipeline)
	if err != nil {
		return fmt.Errorf("ask what ClickHouse has: %w", err)
	}
	defer func() { _ = rows.Close() }()
	now := time.Now()
	for rows.Next() {
		var partition int32
		var below int64
		if err := rows.Scan(&partition, &below); err != nil {
			return fmt.Errorf("ask what ClickHouse has: %w", err)
		}
		f.stored(partition, below, now)
	}
	return rows.Err()
}
