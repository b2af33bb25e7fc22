package simulation

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

// verdict compares what the centre has with the log, when all is at rest.
func (w *world) verdict() {
	c := w.centre
	c.mu.Lock()
	defer c.mu.Unlock()
	for s, cov := range c.coverage {
		w.checkSegment(s, &cov)
	}
	for id := range c.rows {
		if _, ok := c.coverage[id.segment]; !ok {
			w.wrong("%s has rows and no coverage", id.segment)
		}
	}
	for _, p := range w.places() {
		w.checkTiling(p)
	}
}

// checkSegment finds a way to read the segment by which everything that is stored of it is right.
func (w *world) checkSegment(s segment, cov *sink.Coverage) {
	var complaints []string
	for _, a := range w.centre.accounts[s] {
		text := w.compare(s, cov, a)
		if text == "" {
			return
		}
		complaints = append(complaints, text)
	}
	for _, text := range complaints {
		w.wrong("%s, offsets %d to %d: %s", s, cov.Start, cov.Version, text)
	}
}

// checkTiling has every offset of a place be in one segment, or in a gap that the schedule made.
func (w *world) checkTiling(p place) {
	var covs []sink.Coverage
	for s, cov := range w.centre.coverage {
		if s.place == p {
			covs = append(covs, cov)
		}
	}
	slices.SortFunc(covs, func(a, b sink.Coverage) int {
		return cmp.Or(cmp.Compare(a.Segment, b.Segment), cmp.Compare(a.Start, b.Start))
	})
	log := w.logOf(p)
	at := int64(0)
	for i, cov := range covs {
		switch {
		case cov.Start < at:
			w.wrong("%s: segment %d of revision %d begins at %d, and everything below %d was accounted for", p, cov.Segment, cov.Revision, cov.Start, at)
		case cov.Start > at && (cov.Start > log.first || i > 0 && cov.Gap != cov.Start-at):
			w.wrong("%s: offsets %d to %d are missing before segment %d, which tells of %d (%s); the log begins at %d",
				p, at, cov.Start, cov.Segment, cov.Gap, cov.GapReason, log.first)
		case cov.Start == at && cov.Gap != 0:
			w.wrong("%s: segment %d tells of a gap of %d (%s), and there is none", p, cov.Segment, cov.Gap, cov.GapReason)
		}
		at = max(at, cov.Version)
	}
	if at != log.end() {
		w.wrong("%s: accounted for up to %d, and the log ends at %d", p, at, log.end())
	}
}

var reasons = map[batch.Reason]fate{batch.ReasonLate: late, batch.ReasonMalformed: malformed, batch.ReasonFuture: future}

// compare tells how what is stored of a segment differs from an account of it, or nothing.
func (w *world) compare(s segment, cov *sink.Coverage, a *account) string {
	c := w.centre
	if !a.to(cov.Version) {
		return fmt.Sprintf("read as %s, the log ends at %d", a, a.end())
	}
	n := a.count(cov.Version)
	want := sink.Counters{
		RecordsIn: cov.Version - cov.Start, Aggregated: n[counted], Late: n[late], Filtered: n[filtered], Rejected: n[malformed] + n[future],
	}
	if cov.Counters != want {
		return fmt.Sprintf("read as %s, it counts %+v, and should %+v", a, cov.Counters, want)
	}
	seen, rows := 0, int64(0)
	for id, r := range c.rows {
		if id.segment != s {
			continue
		}
		seen++
		rows += int64(r.rows)
		if should, _ := a.totalAt(id.group, cov.Version); should != r.total {
			return fmt.Sprintf("read as %s, %s has count %d and sum %d, and should have %d and %d", a, id.group, r.total.n, r.total.sum, should.n, should.sum)
		}
	}
	groups := 0
	for g := range a.groups {
		if _, ok := a.totalAt(g, cov.Version); ok {
			groups++
		}
	}
	if seen != groups || rows != want.Aggregated {
		return fmt.Sprintf("read as %s, %d groups with %d rows, and should be %d with %d", a, seen, rows, groups, want.Aggregated)
	}
	letters := int64(0)
	for id, reason := range c.letters {
		if id.segment != s {
			continue
		}
		letters++
		f, known := reasons[reason]
		if i := id.offset - a.start; !known || i < 0 || i >= cov.Version-a.start || a.fates[i] != f || id.index != 0 {
			return fmt.Sprintf("read as %s, there is a dead letter of offset %d, row %d: %s", a, id.offset, id.index, reason)
		}
	}
	if want := want.Late + want.Rejected; letters != want {
		return fmt.Sprintf("read as %s, %d dead letters, and should be %d", a, letters, want)
	}
	return ""
}
