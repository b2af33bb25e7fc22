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
	w.tellLater()
	c := w.centre
	c.mu.Lock()
	defer c.mu.Unlock()
	for s, cov := range c.coverage {
		if s.place.topic == w.topicID { // nobody owes anything about a topic that is gone
			w.checkSegment(s, &cov)
			w.checkContent(s, &cov)
		}
	}
	for id := range c.rows {
		if _, ok := c.coverage[id.segment]; !ok {
			w.wrong("%s has rows and no coverage", id.segment)
		}
	}
	for _, p := range w.places() {
		w.checkTiling(p)
	}
	w.checkTold()
}

// checkContent holds the hashes of an account against the rows that are stored, as the audit does: of rows that are final always, of
// all where none is beyond the account.
func (w *world) checkContent(s segment, cov *sink.Coverage) {
	got, ahead := sink.Content{Known: true}, false
	for id, r := range w.centre.rows {
		if id.segment != s || !w.counts(cov, id) {
			continue
		}
		ahead = ahead || r.version > cov.Version
		if got.All += r.hash; w.final(&r, cov.Final) {
			got.Final += r.hash
		}
	}
	if ahead {
		got.All = cov.Content.All
		if w.plan.counts != nil { // it may have become full behind the account
			got.Final = cov.Content.Final
		}
	}
	if got != cov.Content {
		w.wrong("%s, offsets %d to %d: the rows have the hashes %+v, and the account says %+v", s, cov.Start, cov.Version, got, cov.Content)
	}
}

// finished tells whether a window counts by an account, by its end: where the account has open rows, only those do that are final.
func finished(cov *sink.Coverage, end int64) bool {
	return cov.Counters.Open == 0 || end*1000 <= cov.Final
}

// checkSegment finds a way to read the segment by which everything that is stored of it is right.
func (w *world) checkSegment(s segment, cov *sink.Coverage) {
	at := w.rowsOf(s, cov)
	var complaints []string
	for _, a := range w.centre.accounts[s] {
		text := w.compare(s, cov, at, a)
		if text == "" {
			if w.plan.outputs {
				w.checkOwed(s, cov.Version, a)
			}
			return
		}
		complaints = append(complaints, text)
	}
	for _, text := range complaints {
		w.wrong("%s, offsets %d to %d: %s", s, cov.Start, cov.Version, text)
	}
}

// rowsOf is up to where a segment has rows. That is where it is accounted for, but where a process died between rows and
// coverage, and retention took the records before they could be read again: then the next segment tells of a gap there. The
// rows are whole all the same, since a block is stored whole; the account and the dead letters are what is missing.
func (w *world) rowsOf(s segment, cov *sink.Coverage) int64 {
	at := cov.Version
	if cov.Counters.Open > 0 {
		return at // no row of a later version counts
	}
	for id, r := range w.centre.rows {
		if id.segment == s {
			at = max(at, r.version)
		}
	}
	switch next := w.behind(s); {
	case next == nil:
	case next.Gap > 0 && next.Start-next.Gap == cov.Version && at <= next.Start:
		return at
	case next.GapReason == "truncated" && next.Start < cov.Version:
		return at // the same, where the log was cut back: rows of what was there are whole, too, and stay
	}
	return cov.Version
}

// inOrder are the accounts of a place, one segment behind the other.
func (w *world) inOrder(p place) []sink.Coverage {
	var covs []sink.Coverage
	for s, cov := range w.centre.coverage {
		if s.place == p {
			covs = append(covs, cov)
		}
	}
	slices.SortFunc(covs, func(a, b sink.Coverage) int {
		return cmp.Or(cmp.Compare(a.Segment, b.Segment), cmp.Compare(a.Start, b.Start))
	})
	return covs
}

// behind is the account of the segment that comes next, or nil.
func (w *world) behind(s segment) *sink.Coverage {
	covs := w.inOrder(s.place)
	for i := range covs {
		if segmentOf(&covs[i]) == s && i+1 < len(covs) {
			return &covs[i+1]
		}
	}
	return nil
}

// checkTiling has every offset of a place be in one segment, or in a gap that the schedule made.
func (w *world) checkTiling(p place) {
	covs := w.inOrder(p)
	log := w.logOf(p)
	at, rows := int64(0), int64(0)
	for i, cov := range covs {
		w.checkLost(covs, i, log)
		switch {
		case cov.Start < at && cov.GapReason == "truncated" && cov.Gap == 0 && log.differs(cov.Start, at):
			at = cov.Start // what was counted stays, and other records are counted from here on
		case cov.Start < at:
			w.wrong("%s: segment %d of revision %d begins at %d, and everything below %d was accounted for", p, cov.Segment, cov.Revision, cov.Start, at)
		case cov.Start > at && (cov.Start > max(log.first, rows) || i > 0 && cov.Gap != cov.Start-at):
			w.wrong("%s: offsets %d to %d are missing before segment %d, which tells of %d (%s); the log begins at %d",
				p, at, cov.Start, cov.Segment, cov.Gap, cov.GapReason, log.first)
		case cov.Start == at && cov.Gap != 0:
			w.wrong("%s: segment %d tells of a gap of %d (%s), and there is none", p, cov.Segment, cov.Gap, cov.GapReason)
		}
		at = max(at, cov.Version)
		rows = w.rowsOf(segmentOf(&cov), &cov)
	}
	if at != log.end() {
		w.wrong("%s: accounted for up to %d, and the log ends at %d", p, at, log.end())
	}
	if w.isWrong() {
		for _, cov := range covs {
			w.wrong("    segment %d of revision %d: offsets %d to %d, %d open, gap %d, %d rows lost %s",
				cov.Segment, cov.Revision, cov.Start, cov.Version, cov.Counters.Open, cov.Gap, cov.Lost, cov.GapReason)
		}
	}
}

// checkLost has the rows that no segment has any more be named by the account of the segment behind: those in windows that were not
// final where a segment ended, which compare holds to the log. They may be lost only where the log lost records of theirs.
func (w *world) checkLost(covs []sink.Coverage, i int, log *remembered) {
	before := sink.Coverage{}
	if i > 0 {
		before = covs[i-1]
	}
	cov := &covs[i]
	switch lost := before.Counters.Open; {
	case cov.Lost != lost:
		w.wrong("%s: %d rows were in windows that were not final when the segment before ended, and the account says that %d are lost", segmentOf(cov), lost, cov.Lost)
	case lost > 0 && cov.GapReason == "":
		w.wrong("%s: %d rows are lost, and nobody says why", segmentOf(cov), lost)
	case lost > 0 && log.first <= before.Start && len(log.eras) == 1:
		w.wrong("%s: %d rows are lost (%s), and the log has all of their records", segmentOf(cov), lost, cov.GapReason)
	case lost > 0:
		w.count(&w.tally.lostRows)
	}
}

var reasons = map[batch.Reason]fate{batch.ReasonLate: late, batch.ReasonMalformed: malformed, batch.ReasonFuture: future}

// accountOf is by what account the rows of a segment count that reach to an offset: its own, or where they go beyond that, what the node would
// have written that died before it did. Where windows are shipped when they are final, the rows of the others are nowhere: they are lost with
// the offsets of the gap behind.
func (w *world) accountOf(cov *sink.Coverage, at int64, a *account) *sink.Coverage {
	if at == cov.Version || !w.plan.emitFinal {
		return cov
	}
	now, _ := a.clockAt(at)
	by := *cov
	by.Counters.Open, by.Final = 1, (now.max-disorder-lateness)*1000
	return &by
}

// compare tells how what is stored of a segment differs from an account of it, or nothing.
func (w *world) compare(s segment, cov *sink.Coverage, at int64, a *account) string {
	c := w.centre
	if !a.to(at) {
		return fmt.Sprintf("read as %s, the log ends at %d", a, a.end())
	}
	ahead := at > cov.Version && w.plan.store
	if ahead {
		// What waited on the disk is shipped in parts, and the rest of them never came: rows are right by their own version, as each was
		// held to when it came, and complete up to the account.
		at = cov.Version
	}
	n := a.count(cov.Version)
	by := w.accountOf(cov, at, a)
	rowsWant, dropped := a.expected(by, at)
	want := sink.Counters{
		RecordsIn: cov.Version - cov.Start, Aggregated: n[counted] - dropped, Dropped: dropped, Late: n[late], Filtered: n[filtered], Rejected: n[malformed] + n[future],
	}
	if cov.Counters.Open > 0 {
		if !w.plan.emitFinal {
			return "it has open rows"
		}
		for g := range a.groups {
			if t, _ := a.totalAt(g, cov.Version); !finished(cov, g.start+windowMS) {
				want.Open += t.n
			}
		}
		if a.rev.sessions {
			for _, v := range a.sessionsAt(cov.Version) {
				if !finished(cov, v.end) {
					want.Open += v.n
				}
			}
		}
		want.Aggregated -= want.Open
	}
	if cov.Counters != want {
		return fmt.Sprintf("read as %s, it counts %+v, and should %+v", a, cov.Counters, want)
	}
	seen, rows, later := 0, int64(0), int64(0)
	for id, r := range c.rows {
		if id.segment != s {
			continue
		}
		if ahead && r.version > at {
			later += rowsWant[id].n
			delete(rowsWant, id)
			continue
		}
		if !w.counts(by, id) {
			continue
		}
		seen++
		rows += int64(r.rows)
		if should := rowsWant[id]; should != r.total {
			return fmt.Sprintf("read as %s, %s of width %d has count %d and sum %d, and should have %d and %d", a, id.group, id.width, r.total.n, r.total.sum, should.n, should.sum)
		}
	}
	all, left := a.count(at)[counted]-dropped-want.Open-later, int64(0)
	for id, t := range rowsWant {
		if !a.rev.sessions && !finished(by, id.group.start+max(windowMS, id.width)) {
			delete(rowsWant, id)
			continue
		}
		left += t.n
	}
	if by != cov {
		all = left
	}
	if seen != len(rowsWant) || rows != all {
		return fmt.Sprintf("read as %s, %d groups with %d rows, and should be %d with %d", a, seen, rows, len(rowsWant), all)
	}
	letters, next := int64(0), w.behind(s)
	for id, reason := range c.letters {
		if id.segment != s {
			continue
		}
		if id.offset >= cov.Version && id.offset < at {
			continue
		}
		if next != nil && id.offset >= max(cov.Version, next.Start) {
			continue // the next segment accounts for the record, and its letter is the one that counts
		}
		if next != nil && id.offset >= max(cov.Version, next.Start-next.Gap) {
			continue // of a record that is lost: its letter is all there is of it
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
