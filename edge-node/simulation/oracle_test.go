package simulation

import (
	"fmt"
	"sort"
)

// fate is what becomes of a record.
type fate uint8

const (
	counted fate = iota
	filtered
	late
	malformed
	future
	fates
)

func (f fate) String() string {
	return [...]string{"counted", "filtered", "late", "malformed", "future"}[f]
}

// clock is the event time of a partition: the greatest accepted.
type clock struct {
	set bool
	max int64
}

// group names a total.
type group struct {
	start  int64 // of the window, in milliseconds
	device string
	number uint64 // of the window in its segment, where windows are of so many rows
}

func (g group) String() string {
	return fmt.Sprintf("window %d, %s, number %d", g.start, g.device, g.number)
}

// total is what a row should say.
type total struct{ n, sum int64 }

// step is a total from some offset on.
type step struct {
	offset int64 // of the record that made it so
	total  total
}

// account is one way to read a segment: these records, this revision, beginning here with this clock. It computes what
// every record becomes, one after another, by the rules that weir documents:
//
// Where windows are sessions, see sessions_test.go, and where they are of so many rows counts_test.go. Else:
//
//	late     the window of a row ends, with the lateness allowed, at or before the watermark before the row
//	future   more than maxJump ahead of the greatest time so far, and of the record's own timestamp
//	totals   all other rows of a window and device since the segment began
type account struct {
	rev   *revision
	start int64
	from  clock
	log   *remembered
	era   int

	now    clock
	fates  []fate  // by offset from start on
	clocks []clock // behind each
	groups map[group][]step
	sums   map[string]int64 // of a stateful revision

	last  map[string]filling // where windows are of so many rows, by device
	begun uint64             // such windows

	taken []visit // where windows are sessions
	drawn map[group]visited
	until int64 // the offset that drawn is of
}

func newAccount(rev *revision, log *remembered, era int, start int64, from clock) *account {
	return &account{rev: rev, start: start, from: from, log: log, era: era, now: from, groups: map[group][]step{}, sums: map[string]int64{}, last: map[string]filling{}}
}

func (a *account) String() string {
	return fmt.Sprintf("era %d from %d with clock %d", a.era, a.start, a.from.max)
}

// end is the offset after the last record computed.
func (a *account) end() int64 { return a.start + int64(len(a.fates)) }

// to computes up to an offset, and tells whether the log has that much.
func (a *account) to(offset int64) bool {
	records := a.log.eras[a.era]
	for a.end() < offset {
		if a.end() >= int64(len(records)) {
			return false
		}
		at := a.end()
		a.fates = append(a.fates, a.take(at, &records[at]))
		a.clocks = append(a.clocks, a.now)
	}
	return true
}

func (a *account) take(offset int64, m *meaning) fate {
	if m.broken {
		return malformed
	}
	if m.v%a.rev.modulo == 0 {
		return filtered
	}
	v := m.v
	if a.rev.stateful {
		a.sums[m.device] += v
		v = a.sums[m.device]
	}
	if a.rev.sessions {
		return a.takeInSession(offset, m, v)
	}
	if a.rev.counts != nil {
		return a.takeInCount(offset, m, v)
	}
	start := m.ts / windowMS * windowMS
	if a.now.set && start+windowMS+lateness <= a.now.max-disorder {
		return late
	}
	if !a.plausible(m) {
		return future
	}
	if !a.now.set || m.ts > a.now.max {
		a.now.set, a.now.max = true, m.ts
	}
	g := group{start: start, device: m.device}
	steps := a.groups[g]
	var t total
	if len(steps) > 0 {
		t = steps[len(steps)-1].total
	}
	a.groups[g] = append(steps, step{offset, total{t.n + 1, t.sum + v}})
	return counted
}

// plausible is the rule against clocks that run ahead. That 64 records in a row are believed is left out: none of the
// schedules has as many.
func (a *account) plausible(m *meaning) bool {
	return a.now.set && m.ts <= a.now.max+maxJump || m.ts <= m.stamp+maxJump
}

// totalAt is the total of a group over the records below an offset.
func (a *account) totalAt(g group, offset int64) (total, bool) {
	steps := a.groups[g]
	i := sort.Search(len(steps), func(i int) bool { return steps[i].offset >= offset })
	if i == 0 {
		return total{}, false
	}
	return steps[i-1].total, true
}

// near tells of the windows of a group's device that hold its start.
func (a *account) near(g group, offset int64) []string {
	var out []string
	for other := range a.groups {
		if t, ok := a.totalAt(other, offset); ok && other.device == g.device {
			out = append(out, fmt.Sprintf("%s has count %d and sum %d", other, t.n, t.sum))
		}
	}
	sort.Strings(out)
	return out
}

// clockBefore is the clock before an offset up to which the account is computed.
func (a *account) clockBefore(offset int64) clock {
	if offset <= a.start {
		return a.from
	}
	return a.clocks[offset-a.start-1]
}

// clockAt is the clock before an offset.
func (a *account) clockAt(offset int64) (clock, bool) {
	if !a.to(offset) || offset < a.start {
		return clock{}, false
	}
	b := newAccount(a.rev, a.log, a.era, a.start, a.from)
	b.to(offset)
	return b.now, true
}

// count is how many records of each fate there are below an offset.
func (a *account) count(offset int64) (n [fates]int64) {
	for _, f := range a.fates[:offset-a.start] {
		n[f]++
	}
	return n
}
