package simulation

import (
	"testing"
	"time"
)

// TestFound plays what schedules have found, by hand, since another draw would not come by it.
func TestFound(t *testing.T) {
	for _, c := range []struct {
		name  string
		world func(p *plan)
	}{
		{"a node without a partition of the topic that is made again", func(p *plan) {
			p.parts, p.nodes, p.begin, p.protocol, p.static = 2, 3, 3, "classic", false
			p.add(30*time.Second, "the topic is deleted and made again", (*world).recreate)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(4) { // where partitions go is not decided by the seed
				p := newPlanOf(seed, func(p *plan) { p.quietly = true; c.world(p) })
				if out := run(t, p); len(out.problems) > 0 {
					report(t, out)
					return
				}
			}
		})
	}
}
