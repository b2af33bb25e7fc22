package engine

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// askAgain is how often Drain looks, and pokes lanes that could not ship yet.
const askAgain = 100 * time.Millisecond

// Drain ships everything that lanes have processed by now, in memory or saved on the disk, and returns when the destination has
// acknowledged it and the group has the commits. The run goes on meanwhile, and what it reads after this moment is not waited
// for. An error names the partitions of which something is left.
func (e *Engine) Drain(ctx context.Context) error {
	type goal struct {
		l           *lane
		to, segment int64
	}
	var goals []goal
	e.eachLane(func(l *lane) {
		goals = append(goals, goal{l, l.stats.position.Load(), l.stats.segment.Load()})
	})
	for {
		left := goals[:0]
		for _, g := range goals {
			// A segment ends with all that is in it acknowledged.
			if g.l.stats.acknowledged.Load() >= g.to || g.l.stats.segment.Load() != g.segment {
				continue
			}
			select {
			case <-g.l.done:
				return fmt.Errorf("%s left this node before all of it was acknowledged; whoever reads it next ships the rest", g.l.partition)
			default:
				g.l.request(wantFlush)
				left = append(left, g)
			}
		}
		if goals = left; len(goals) == 0 {
			return e.commits.flush(ctx, e)
		}
		select {
		case <-ctx.Done():
			var names []string
			for _, g := range goals {
				names = append(names, g.l.partition.String())
			}
			return fmt.Errorf("not all is acknowledged yet of %s: %w", strings.Join(names, ", "), ctx.Err())
		case <-time.After(askAgain):
		}
	}
}

// shipSavedOnly makes a new lane one that ends when what it has on the disk is acknowledged. One that has nothing there does
// nothing at all: it opens no segment.
func (l *lane) shipSavedOnly() {
	l.endAt, l.begins, l.opened = l.position, false, true
	l.e.cfg.Source.Pause(l.partition)
}
