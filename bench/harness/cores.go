package harness

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/weir-stream/weir/bench/report"
	"github.com/weir-stream/weir/bench/workload"
	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/pipeline"
	"github.com/weir-stream/weir/ingest/batch"
)

// coresPass is how long a sample of cores takes.
const coresPass = time.Second

// twoCores measures whether partitions hold each other up: decode, steps and windows of W1 on two cores, with a partition for each, beside
// one partition on one core. There are no broker and no ClickHouse, which would share the cores: that is in speed_on_2_cores.
func (b *bench) twoCores(ctx context.Context) (err error) {
	if runtime.NumCPU() < 2 {
		b.note("the machine has one core, so there is no stages_on_2_cores")
		return nil
	}
	const rows = 1 << 17
	c := workload.Cases()[0]
	spec, err := config.ParseEnv(c.Name+".yaml", []byte(c.Pipeline), config.Env{Lookup: b.lookup("cores", "none")})
	if err != nil {
		return err
	}
	plan, err := pipeline.New(ctx, spec, config.DefaultNode(), pipeline.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plan.Close()) }()
	// Passes begin anew at the first of the records, which must not be late then: they are within what is allowed.
	gen, err := c.Stream(workload.Size{Seed: b.opts.Seed, Events: rows, Span: 20 * time.Second, Partitions: 1, Clean: true})
	if err != nil {
		return err
	}
	var records []batch.Record
	for {
		var r workload.Record
		if !gen.Next(&r) {
			break
		}
		records = append(records, batch.Record{Offset: r.Offset, Time: r.Time, Key: r.Key, Value: r.Value})
	}
	first, err := plan.NewProbe(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, first.Close()) }()
	second, err := plan.NewProbe(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, second.Close()) }()
	// Memory is taken once.
	if err := errors.Join(first.Run(ctx, records), second.Run(ctx, records)); err != nil {
		return err
	}
	var ratio []float64
	for range b.opts.Rounds {
		one, err := perSecond(ctx, records, first)
		if err != nil {
			return err
		}
		two, err := perSecond(ctx, records, first, second)
		if err != nil {
			return err
		}
		ratio = append(ratio, two/one)
	}
	if n, m := first.Counts(), second.Counts(); n.Late+m.Late > 0 || n.Aggregated == 0 || m.Aggregated == 0 {
		return fmt.Errorf("%d and %d rows were aggregated, %d and %d late", n.Aggregated, m.Aggregated, n.Late, m.Late)
	}
	b.say("cores: %.2f times the records on two cores", report.Median(ratio))
	b.figure("", "stages_on_2_cores", "x of one core, decode to windows without broker and ClickHouse", report.Ratio, true, ratio)
	return nil
}

// stages are those of a pipeline, of one partition.
type stages interface {
	Run(ctx context.Context, records []batch.Record) error
}

// perSecond has each of the stages take the same records again and again, on a core of its own, and gives how many records a second all
// of them took.
func perSecond(ctx context.Context, records []batch.Record, of ...stages) (float64, error) {
	runtime.GC()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(len(of)))
	type pass struct {
		rate float64
		err  error
	}
	passes := make(chan pass, len(of))
	began := time.Now()
	for _, p := range of {
		go func() {
			n := 0
			for time.Since(began) < coresPass {
				if err := p.Run(ctx, records); err != nil {
					passes <- pass{err: err}
					return
				}
				n += len(records)
			}
			passes <- pass{rate: float64(n) / time.Since(began).Seconds()}
		}()
	}
	sum := 0.0
	var errs []error
	for range of {
		p := <-passes
		sum += p.rate
		errs = append(errs, p.err)
	}
	return sum, errors.Join(errs...)
}
