package simulation

import "slices"

// Where windows are sessions: rows of a device that are less than gapMS apart are in one, and none goes beyond a multiple of longest.
const (
	gapMS   = 1_200
	longest = 30_000
)

// visit is a record that counts.
type visit struct {
	offset int64
	ts     int64
	device string
	v      int64
}

// visited is what a session comes to.
type visited struct {
	total
	end int64
}

// takeInSession is take where windows are sessions:
//
//	late     a session of the row alone has ended for another gap, and the lateness allowed, at or before the watermark before the row
func (a *account) takeInSession(offset int64, m *meaning, v int64) fate {
	if a.now.set && m.ts+gapMS+lateness <= a.now.max-disorder {
		return late
	}
	if !a.plausible(m) {
		return future
	}
	if !a.now.set || m.ts > a.now.max {
		a.now.set, a.now.max = true, m.ts
	}
	a.taken = append(a.taken, visit{offset, m.ts, m.device, v})
	return counted
}

// sessionsAt finds the sessions of the records below an offset: sorted by device and time, one after the other.
func (a *account) sessionsAt(offset int64) map[group]visited {
	if a.drawn != nil && a.until == offset {
		return a.drawn
	}
	end, _ := slices.BinarySearchFunc(a.taken, offset, func(v visit, offset int64) int { return int(v.offset - offset) })
	rows := slices.Clone(a.taken[:end])
	slices.SortFunc(rows, func(x, y visit) int {
		if x.device != y.device {
			return int(x.device[1]) - int(y.device[1]) // d0 to d5
		}
		return int(x.ts - y.ts)
	})
	all := map[group]visited{}
	var in group
	for i, r := range rows {
		bound := r.ts/longest*longest + longest
		if i == 0 || rows[i-1].device != r.device || r.ts-rows[i-1].ts >= gapMS || rows[i-1].ts < bound-longest {
			in = group{start: r.ts, device: r.device}
		}
		have := all[in]
		all[in] = visited{total{have.n + 1, have.sum + r.v}, min(r.ts+gapMS, bound)}
	}
	a.drawn, a.until = all, offset
	return all
}
