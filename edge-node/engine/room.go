package engine

import "time"

// tryRoom is how often a lane that waits for room in the local store looks for it. The flush clock may be slower.
const tryRoom = time.Second

// awaitRoom waits while the local store has no room and a cut is on its way: nothing is read meanwhile, so a node that can
// neither store nor save does no work. It notes a finish that comes meanwhile.
func (l *lane) awaitRoom() error {
	for l.stats.full.Load() && l.inFlight.Load() {
		l.hold()
		select {
		case <-l.wake:
			if l.finishing() {
				return nil
			}
		case <-time.After(tryRoom):
		case <-l.ctx.Done():
			return l.ctx.Err()
		}
		l.ship() // which saves if there is room
	}
	return nil
}

// hold pauses the partition until the lane has taken what waits.
func (l *lane) hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pause()
}
