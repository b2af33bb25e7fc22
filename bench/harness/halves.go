package harness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/weir-stream/weir/bench/contender"
	"github.com/weir-stream/weir/bench/report"
	"github.com/weir-stream/weir/bench/workload"
)

// half is the share of each core that a process has in halves.
const half = 0.5

// halves measures W1 on the halves of two cores beside the half of one. On a machine with two cores, a node that had both would share them with
// the broker and ClickHouse, and one that has half of their time leaves the other half for those. So this says whether whole nodes scale,
// as speed_on_2_cores does where there are more cores than two; it says nothing of how fast a node is.
func (b *bench) halves(ctx context.Context) (err error) {
	if runtime.NumCPU() < 2 {
		b.note("the machine has one core, so there is no speed_on_2_halves")
		return nil
	}
	var shares [3]*slice // by cores
	for cores := 1; cores <= 2; cores++ {
		share, failed := newSlice(half, cores)
		if failed != nil {
			b.note("the system does not share out the processor (it takes control groups, and mostly root), so there is no speed_on_2_halves: %v", failed)
			return nil
		}
		defer func() { err = errors.Join(err, share.close()) }()
		shares[cores] = share
	}
	c := workload.Cases()[0]
	s, err := b.fill(ctx, c, workload.Size{Events: cmp.Or(b.opts.Events, c.Events*2)})
	if err != nil {
		return err
	}
	contenders := []contender.Contender{contender.Bare(b.opts.Self), contender.Weir(b.opts.Weir, b.operators())}
	speed := map[string][]float64{}
	for range b.opts.Rounds {
		for _, k := range contenders {
			var perSecond [3]float64
			for cores := 1; cores <= 2; cores++ {
				e := entry{contender: k, result: &report.Result{Contender: k.Name, Cores: cores}, slice: shares[cores]}
				var copied int64
				r, err := b.round(ctx, c, s, e, &copied)
				if err != nil {
					return err
				}
				if e.result.Wrong != "" {
					return fmt.Errorf("%s: %s", k.Name, e.result.Wrong)
				}
				perSecond[cores] = e.result.PerSecond(s.size.Events)[0]
				b.say("halves: %-5s %d cores' half  %6.2f CPU-s/M  %9.0f events/s", k.Name, cores, r.CPU/float64(s.size.Events)*1e6, perSecond[cores])
			}
			speed[k.Name] = append(speed[k.Name], perSecond[2]/perSecond[1])
		}
	}
	b.say("halves: on the halves of two cores weir is %.2f times as fast as on that of one, a bare consumer %.2f times",
		report.Median(speed["weir"]), report.Median(speed["bare"]))
	b.figure("", "speed_on_2_halves", "x of half of one core", report.Ratio, true, speed["weir"])
	b.figure("", "bare_speed_on_2_halves", "x of half of one core, a consumer that does nothing", report.Ratio, true, speed["bare"])
	return b.dropTopic(ctx, s.topic)
}
