package window

import "github.com/weir-stream/weir/operators"

// due is a heap of all sessions by when they may be final. A session that goes on stays where it is until its turn comes, so that rows
// do not touch the heap.
type due struct{ at []dueAt }

type dueAt struct {
	end   int64 // at or before that of the session
	group uint32
}

func (d *due) push(of []session, g uint32, end int64) {
	d.at = append(d.at, dueAt{end, g})
	d.up(of, len(d.at)-1)
}

// remove takes a session out.
func (d *due) remove(of []session, g uint32) {
	i, last := int(of[g].due), len(d.at)-1
	of[g].due = gone
	moved := d.at[last]
	d.at = d.at[:last]
	if i == last {
		return
	}
	d.at[i] = moved
	of[moved.group].due = int32(i)
	d.down(of, i)
	d.up(of, int(of[moved.group].due))
}

// next gives a session that ends at or before a time, and takes it out.
func (d *due) next(of []session, by int64) (g uint32, ok bool) {
	for len(d.at) > 0 && d.at[0].end <= by {
		first := &d.at[0]
		if end := of[first.group].end; end > first.end {
			first.end = end
			d.down(of, 0)
			continue
		}
		g = first.group
		d.remove(of, g)
		return g, true
	}
	return 0, false
}

// all takes out every one that is due, behind what is there.
func (d *due) all(to []uint32, of []session, by int64) []uint32 {
	for {
		g, ok := d.next(of, by)
		if !ok {
			return to
		}
		to = append(to, g)
	}
}

func (d *due) up(of []session, i int) {
	e := d.at[i]
	for i > 0 {
		above := (i - 1) / 2
		if d.at[above].end <= e.end {
			break
		}
		d.at[i] = d.at[above]
		of[d.at[i].group].due = int32(i)
		i = above
	}
	d.at[i] = e
	of[e.group].due = int32(i)
}

func (d *due) down(of []session, i int) {
	e := d.at[i]
	for {
		below := 2*i + 1
		if below >= len(d.at) {
			break
		}
		if below+1 < len(d.at) && d.at[below+1].end < d.at[below].end {
			below++
		}
		if d.at[below].end >= e.end {
			break
		}
		d.at[i] = d.at[below]
		of[d.at[i].group].due = int32(i)
		i = below
	}
	d.at[i] = e
	of[e.group].due = int32(i)
}

// origins are the batches in which sessions began: a replay that builds a session again has to begin with its batch. They are in the
// order of the log.
type origins struct {
	all    []origin
	live   int   // that have sessions
	offset int64 // of the batch at hand, and the clock before it
	clock  operators.Clock
	fresh  bool // the last of all is not of the batch at hand
}

type origin struct {
	offset   int64
	clock    operators.Clock
	sessions int32
}

func (o *origins) batch(offset int64, before operators.Clock) {
	o.offset, o.clock, o.fresh = offset, before, true
}

// hold gives the batch at hand one more session.
func (o *origins) hold() uint32 {
	if o.fresh {
		o.fresh = false
		o.all = append(o.all, origin{offset: o.offset, clock: o.clock})
	}
	at := len(o.all) - 1
	if o.all[at].sessions++; o.all[at].sessions == 1 {
		o.live++
	}
	return uint32(at)
}

// release takes a session from a batch.
func (o *origins) release(at uint32) {
	if o.all[at].sessions--; o.all[at].sessions == 0 {
		o.live--
	}
}

// older is the batch of a session that two became.
func (o *origins) older(a, b uint32) uint32 {
	o.release(max(a, b))
	return min(a, b)
}

// first is the earliest batch that has a session.
func (o *origins) first() (origin, bool) {
	for _, at := range o.all {
		if at.sessions > 0 {
			return at, true
		}
	}
	return origin{}, false
}

// spareOrigins is how many batches without sessions may be kept, beside as many as have any.
const spareOrigins = 64

// compact forgets batches without sessions, where they are most of them, and numbers those of sessions anew.
func (o *origins) compact(of []session, sessions []dueAt) {
	if len(o.all) <= 2*o.live+spareOrigins {
		return
	}
	numbers := make([]uint32, len(o.all))
	kept := o.all[:0]
	for i, at := range o.all {
		numbers[i] = uint32(len(kept))
		if at.sessions > 0 {
			kept = append(kept, at)
		}
	}
	o.all, o.fresh = kept, true
	for _, d := range sessions {
		of[d.group].origin = numbers[of[d.group].origin]
	}
}
