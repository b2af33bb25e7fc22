package simulation

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

// segment names a segment of a place under a revision.
type segment struct {
	revision uint64
	place    place
	number   uint64
}

func (s segment) String() string {
	return fmt.Sprintf("revision %d, %s, segment %d", s.revision, s.place, s.number)
}

// row is what is stored of a window and key.
type row struct {
	version int64
	rows    uint64
	total   total
	end     int64  // of the window, in milliseconds since 1970
	hash    uint64 // of what was sent
	open    bool   // it was not final by the account that came with it
}

type rowID struct {
	segment segment
	group   group
	width   int64 // of a window that others were merged into; 0 of others
}

// letterID names a dead letter. All of a record's own rows fail alike here, so no index is needed.
type letterID struct {
	segment segment
	offset  int64
	index   int32
}

type stateID struct {
	segment segment
	offset  int64
	step    string
}

// centre is the destination: tables in which, of several rows of an identity, the one with the highest version is seen, and
// of several with the same version the one that came last; of accounts, that with fewer open rows. Every row is checked when it comes.
type centre struct {
	w *world

	mu       sync.Mutex
	rows     map[rowID]row
	coverage map[segment]sink.Coverage
	letters  map[letterID]batch.Reason
	states   map[stateID]sink.StepState
	accounts map[segment][]*account // how the segment may be read; fewer with every row that says more
	told     map[toldOf][]told
	parts    float64   // that wait to be merged
	merged   time.Time // up to when parts were
	inserts  int64
	taken    int64 // rows stored
	stale    int64 // rows that came with less than what was there
	tooMany  int64 // inserts refused because of too many parts

	lastWins bool // a mutant: what comes last is seen, whatever its version
}

func newCentre(w *world) *centre {
	return &centre{
		w: w, rows: map[rowID]row{}, coverage: map[segment]sink.Coverage{}, letters: map[letterID]batch.Reason{},
		states: map[stateID]sink.StepState{}, accounts: map[segment][]*account{}, told: map[toldOf][]told{}, merged: time.Now(),
	}
}

func segmentOf(c *sink.Coverage) segment {
	return segment{c.Revision, place{c.Partition.TopicID, c.Partition.ID}, c.Segment}
}

// The inserts of one write, in order.
type insertKind uint8

const (
	insertStates insertKind = iota
	insertOpening
	insertRows
	insertLetters
	insertCoverage
	insertKinds
)

func (k insertKind) String() string {
	return [...]string{"states", "opening coverage", "rows", "dead letters", "coverage"}[k]
}

// insert is one block on its way. It owns what it has.
type insert struct {
	kind insertKind
	cuts []*sink.Cut
}

// blocks makes the inserts of a write, as sink/clickhouse does.
func blocks(cuts []*sink.Cut, opened map[segment]bool) []insert {
	var out []insert
	for kind := range insertKinds {
		in := insert{kind: kind}
		for _, c := range cuts {
			has := false
			switch kind {
			case insertStates:
				has = len(c.States) > 0
			case insertOpening:
				has = c.Rows != nil && !opened[segmentOf(&c.Coverage)]
			case insertRows:
				has = c.Rows != nil
			case insertLetters:
				has = len(c.DeadLetters) > 0
			case insertCoverage:
				has = !c.Partial
			}
			if has {
				in.cuts = append(in.cuts, c)
			}
		}
		if len(in.cuts) > 0 {
			out = append(out, in)
		}
	}
	return out
}

// A table takes so many parts that are not merged, and merges so many a second.
const (
	partsLimit = 300
	mergeRate  = 5
)

// take stores an insert whole. It returns false where there are too many parts.
func (c *centre) take(in *insert) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.parts, c.merged = max(0, c.parts-mergeRate*now.Sub(c.merged).Seconds()), now
	if c.parts >= partsLimit {
		c.tooMany++
		return false
	}
	c.parts++
	c.inserts++
	for _, cut := range in.cuts {
		switch in.kind {
		case insertStates:
			c.storeStates(cut)
		case insertOpening:
			cov := cut.Coverage
			cov.Version, cov.Counters, cov.Spans = cov.Start, sink.Counters{}, nil
			cov.Final, cov.Content = sink.MinWatermark, sink.Content{Known: cov.Content.Known}
			if cov.Began != nil {
				cov.Final = cov.Began.Final
			}
			c.storeCoverage(&cov)
		case insertRows:
			c.storeRows(cut)
		case insertLetters:
			c.storeLetters(cut)
		case insertCoverage:
			c.storeCoverage(&cut.Coverage)
		}
	}
	return true
}

// storeRows holds every row to the promise and then lets it replace what is older.
func (c *centre) storeRows(cut *sink.Cut) {
	cov, b := &cut.Coverage, cut.Rows
	s := segmentOf(cov)
	starts, ends := batch.As[int64](b.Cols[0].Values), batch.As[int64](b.Cols[1].Values)
	rows, states := batch.As[uint64](b.Cols[2].Values), b.Cols[4:]
	var numbers []uint64
	if c.w.plan.counts != nil {
		numbers, states = batch.As[uint64](states[0].Values), states[1:]
	}
	n, sum := batch.As[uint64](states[0].Values), batch.As[int64](states[1].Values)
	hashes := make([]uint64, b.Rows)
	batch.HashRows(hashes, b, nil)
	for i := range b.Rows {
		g := group{start: starts[i], device: string(b.Cols[3].Bytes(i))}
		if numbers != nil {
			g.number = numbers[i]
			if ends[i] != g.start+c.w.plan.counts.timeout {
				c.w.wrong("%s, %s: the window ends at %d", s, g, ends[i])
			}
		}
		r := row{cov.Version, rows[i], total{int64(n[i]), sum[i]}, ends[i], hashes[i], ends[i]*1000 > cov.Final}
		width := c.widthOf(cov, g, ends[i])
		if int64(r.rows) != r.total.n {
			c.w.wrong("%s, %s: window to %d, %d rows, count %d", s, g, ends[i], r.rows, r.total.n)
		}
		c.check(s, cov.Start, g, width, r)
		c.taken++
		id := rowID{s, g, width}
		if old, ok := c.rows[id]; ok && old.version > r.version {
			c.stale++
			if !c.lastWins {
				continue
			}
		}
		c.rows[id] = r
	}
}

// check compares a row with all records of its identity below its version.
func (c *centre) check(s segment, start int64, g group, width int64, r row) {
	accounts := c.open(s, start)
	if accounts == nil {
		return
	}
	left := make([]*account, 0, len(accounts))
	for _, a := range accounts {
		if !a.to(r.version) {
			continue
		}
		if a.rev.sessions {
			if want, any := a.sessionsAt(r.version)[g]; want == (visited{r.total, r.end}) || !any && r.rows == 0 {
				left = append(left, a)
			}
			continue
		}
		if want, ok := a.wideAt(g, width, r.version); ok && want == r.total {
			left = append(left, a)
		}
	}
	if len(left) > 0 {
		c.accounts[s] = left
		return
	}
	c.w.wrong("%s: the row of %s at version %d has count %d and sum %d", s, g, r.version, r.total.n, r.total.sum)
	for _, a := range accounts {
		want, _ := a.wideAt(g, width, r.version)
		c.w.wrong("    read as %s (computed to %d) it would be count %d and sum %d", a, a.end(), want.n, want.sum)
		for _, near := range a.near(g, r.version) {
			c.w.wrong("        %s", near)
		}
	}
}

// open is how a segment may be read. A segment begins with no clock, or with the clock of one before it: where a process
// goes on after a gap or with another version.
func (c *centre) open(s segment, start int64) []*account {
	if have, ok := c.accounts[s]; ok {
		if have[0].start != start {
			c.w.wrong("%s begins at %d, and began at %d before", s, start, have[0].start)
		}
		return have
	}
	rev, log := c.w.revision(s.revision), c.w.logOf(s.place)
	if rev == nil || log == nil {
		c.w.wrong("%s was never run, or never was", s)
		return nil
	}
	clocks := []clock{{}}
	for other, accounts := range c.accounts {
		if other.place != s.place || other.number >= s.number {
			continue
		}
		for _, a := range accounts {
			for _, at := range []int64{start, c.coverage[other].Version} {
				if k, ok := a.clockAt(at); ok && !slices.Contains(clocks, k) {
					clocks = append(clocks, k)
				}
			}
		}
	}
	var out []*account
	for era := range log.eras {
		for _, k := range clocks {
			out = append(out, newAccount(rev, log, era, start, k))
		}
	}
	c.accounts[s] = out
	return out
}

// anew notes that the log of a place was cut back: segments that had not come so far may go on with the records of the new era.
func (c *centre) anew(p place, to int64) {
	for s, accounts := range c.accounts {
		if s.place != p {
			continue
		}
		for _, a := range slices.Clone(accounts) {
			if a.start <= to {
				accounts = append(accounts, newAccount(a.rev, a.log, len(a.log.eras)-1, a.start, a.from))
			}
		}
		c.accounts[s] = accounts
	}
}

func (c *centre) storeCoverage(cov *sink.Coverage) {
	s := segmentOf(cov)
	n := cov.Counters
	if n.RecordsIn+n.Expanded != n.Aggregated+n.Open+n.Late+n.Filtered+n.Rejected+n.Dropped || n.RecordsIn != cov.Version-cov.Start {
		c.w.count(&c.w.tally.unbalanced)
		c.w.wrong("%s does not add up: offsets %d to %d, %+v", s, cov.Start, cov.Version, n)
	}
	c.open(s, cov.Start)
	c.w.checkSpans(s, cov)
	// As the table's precedence has it: of two accounts of one version that with fewer open rows holds.
	if old, ok := c.coverage[s]; ok && (old.Version > cov.Version || old.Version == cov.Version && old.Counters.Open < n.Open) {
		c.stale++
		if !c.lastWins {
			return
		}
	}
	c.coverage[s] = *cov
}

func (c *centre) storeLetters(cut *sink.Cut) {
	for i := range cut.DeadLetters {
		d := &cut.DeadLetters[i]
		s := segment{d.Revision, place{d.Partition.TopicID, d.Partition.ID}, d.Segment}
		c.open(s, cut.Coverage.Start)
		c.letters[letterID{s, d.Offset, d.Index}] = d.Reason
	}
}

func (c *centre) storeStates(cut *sink.Cut) {
	for _, st := range cut.States {
		s := segmentOf(&cut.Coverage)
		s.revision, s.number = st.Revision, st.Segment
		id := stateID{s, st.Offset, st.Step}
		if !c.states[id].Released {
			c.states[id] = st
		}
	}
}

// read answers sink.Sink.Coverage.
func (c *centre) read(p batch.Partition) []sink.Coverage {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := place{p.TopicID, p.ID}
	highest := map[segment]int64{}
	for id, r := range c.rows {
		highest[id.segment] = max(highest[id.segment], r.version)
	}
	var out []sink.Coverage
	for s, cov := range c.coverage {
		if s.place == at {
			cov.RowsVersion = max(cov.Version, highest[s])
			out = append(out, cov)
		}
	}
	slices.SortFunc(out, func(a, b sink.Coverage) int {
		if a.Segment != b.Segment {
			return int(b.Segment) - int(a.Segment)
		}
		return int(b.Version) - int(a.Version)
	})
	return out
}

// readStates answers sink.Sink.States.
func (c *centre) readStates(_ context.Context, p batch.Partition, at sink.StateKey) []sink.StepState {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []sink.StepState
	for id, st := range c.states {
		if id.segment.place != (place{p.TopicID, p.ID}) || st.Released {
			continue
		}
		if st.StateKey != at {
			st.Bytes = nil
		}
		st.Bytes = bytes.Clone(st.Bytes)
		out = append(out, st)
	}
	return out
}

// reached is up to where a place is accounted for.
func (c *centre) reached(at place) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	newest, reached := segment{}, int64(-1)
	for s, cov := range c.coverage {
		if s.place == at && (reached < 0 || s.number > newest.number) {
			newest, reached = s, cov.Version
		}
	}
	return reached
}
