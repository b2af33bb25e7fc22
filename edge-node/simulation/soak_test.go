package simulation

import (
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/weir-stream/weir/edge-node/torture"
)

// TestSoak lets days pass: a site that loses the centre for three days, once, with its local store. It takes a minute, so it
// runs with make torture.
func TestSoak(t *testing.T) {
	if os.Getenv("WEIR_TORTURE") == "" {
		t.Skip("set WEIR_TORTURE=1, or run make torture")
	}
	const away = 72 * time.Hour
	out := run(t, newPlanOf(1, func(p *plan) {
		p.parts, p.nodes, p.static, p.store, p.quietly = 1, 1, false, true, true
		p.session, p.flush, p.rest, p.length = 5*time.Minute, time.Minute, 12*time.Hour, away+2*time.Hour
		p.add(time.Hour, "the centre is away for 72 h", func(w *world) {
			w.hit(faultLongOutage)
			w.road.away.Store(true)
			w.after(away, func() { w.road.away.Store(false) })
		})
		for at := 10 * time.Hour; at < away; at += 20 * time.Hour {
			p.add(at, "power cut", func(w *world) {
				if pr := w.process(w.nodes[0]); pr != nil {
					w.hit(faultPowerCut)
					pr.die(true)
				}
			})
		}
	}))
	report(t, out)
	torture.Record(t, "error 252 after an outage of 72 h", float64(out.tally.tooMany), "inserts refused", 0)
	torture.Record(t, "conservation imbalance over 76 h", float64(out.tally.unbalanced), "accounts stored that do not add up", 0)
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	torture.Note(t, "memory in the soak", float64(m.Sys>>20), "MiB", "most that node, broker and centre had together")
}
