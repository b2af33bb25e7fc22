package engine

import (
	"time"

	"github.com/weir-stream/weir/operators"
)

// rest has the chains that had no batch for a while give up what they hold: their operators' sandboxes, which the next batch
// makes anew. It takes a chain that no lane has, as a lane would, so it waits for nobody and nobody for long.
func (g *generation) rest(idle time.Duration) {
	g.resting.Lock()
	defer g.resting.Unlock()
	select {
	case <-g.closed:
		return
	default:
	}
	for range len(g.chains) {
		select {
		case c := <-g.chains:
			if time.Since(c.began) >= idle && c.release() {
				c.countAll(&g.counts)
			}
			g.chains <- c
		default: // the lanes have the others: these are not idle
			return
		}
	}
}

// release has the operators of a chain give up what they can make anew. It tells whether one did.
func (c *chain) release() bool {
	any := false
	for _, s := range c.steps {
		if r, ok := s.(operators.Releaser); ok && r.Release() {
			any = true
		}
	}
	return any
}

// restEvery is how often idle chains are looked for.
func restEvery(idle time.Duration) time.Duration { return max(idle/4, 10*time.Millisecond) }
