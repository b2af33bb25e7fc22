package simulation

import (
	"slices"
	"strings"
	"testing"

	"github.com/weir-stream/weir/edge-node/engine"
)

// TestControls breaks weir in eight ways, one at a time, and wants each to be noticed within some schedules.
func TestControls(t *testing.T) {
	const within = 60
	for _, c := range []struct {
		mutant mutant
		forced []fault
		store  bool
		full   engine.WhenFull
	}{
		{mutantNoFinal, []fault{faultKill, faultKillAt}, false, engine.Block},
		{mutantLastWins, []fault{faultLostAck}, false, engine.Block},
		{mutantNoSync, []fault{faultPowerCut, faultPowerCut}, true, engine.Block},
		{mutantAllCount, []fault{faultKill}, true, engine.Coarsen},
		{mutantAmnesia, []fault{faultKill}, false, engine.Block},
		{mutantSplit, []fault{faultKillAt, faultKillAt}, true, engine.Block},
		{mutantUncounted, []fault{faultKill}, false, engine.Block},
		{mutantEarly, []fault{faultKill}, false, engine.Block},
	} {
		t.Run(c.mutant.String(), func(t *testing.T) {
			t.Parallel()
			for s := range uint64(within) {
				out := run(t, newPlanOf(1_000_000+s, func(p *plan) {
					p.mutant, p.forced, p.store, p.whenFull = c.mutant, c.forced, c.store, c.full
					p.stateful = p.stateful || c.mutant == mutantAmnesia
				}))
				// A world that stands still is noticed too, but it is not a wrong answer.
				if len(out.problems) > 0 && !slices.ContainsFunc(out.problems, func(s string) bool { return strings.Contains(s, "come to rest") }) {
					t.Logf("noticed in schedule %d: %s", s+1, out.problems[0])
					return
				}
			}
			t.Errorf("%s: not noticed in %d schedules", c.mutant, within)
		})
	}
}
