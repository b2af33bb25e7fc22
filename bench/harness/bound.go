package harness

import (
	"fmt"

	"github.com/weir-stream/weir/bench/report"
)

// twoCoreFigures are those of two cores, with what limits them beside them: what a consumer that does nothing makes of a second core, how
// much of the machine nobody used, and how fast the node would be if nobody had waited for anybody.
func (b *bench) twoCoreFigures(t *report.Throughput, two *report.Result) {
	w := t.Workload
	one := t.Find("weir", 1).PerSecond(t.Events)
	bare, idle, bound := b.ceilings(t, two)
	note := ""
	if len(bound) > 0 {
		note = fmt.Sprintf("with no core idle at any time at most %.2f: the broker and ClickHouse share the machine's two cores with weir; beside a run on one core they have the other for themselves", report.Median(bound))
	}
	if len(bare) > 0 {
		note = fmt.Sprintf("a bare consumer %.2f; %s", report.Median(bare), note)
	}
	if f := b.figure(w, "speed_on_2_cores", "x of one core", report.Ratio, true, ratios(two.PerSecond(t.Events), one)); f != nil {
		f.Note = note
	}
	b.figure(w, "bare_speed_on_2_cores", "x of one core, a consumer that does nothing with the records", report.Ratio, true, bare)
	b.figure(w, "bound_on_2_cores", "x of one core, if no core were idle", report.Ratio, true, bound)
	b.figure(w, "idle_on_2_cores", "% of the machine's cores", report.Time, false, idle)
	b.figure(w, "events_per_s_2_cores", "events/s", report.Time, true, two.PerSecond(t.Events))
}

// ceilings of weir on two cores beside one, round by round. bound is left out where nothing was measured that limits: on a machine with
// more cores, or with servers that this run has not started.
func (b *bench) ceilings(t *report.Throughput, two *report.Result) (bare, idle, bound []float64) {
	if one, both := t.Find("bare", 1), t.Find("bare", 2); one != nil && both != nil {
		bare = ratios(both.PerSecond(t.Events), one.PerSecond(t.Events))
	}
	one := t.Find("weir", 1).PerSecond(t.Events)
	for i, r := range two.Rounds {
		c := r.Cores
		if c == nil || c.All() <= 0 || i >= len(one) {
			continue
		}
		idle = append(idle, 100*c.Idle/c.All())
		if b.doc.Machine.Cores == 2 && b.kafka != nil && b.server != nil {
			perEvent := (r.CPU + c.Broker + c.ClickHouse) / float64(t.Events)
			bound = append(bound, 2/perEvent/one[i])
		}
	}
	return bare, idle, bound
}
