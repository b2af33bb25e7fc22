package engine

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/weir-stream/weir/edge-node/failpoint"
	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/sink"
)

// resumption is where a lane takes a partition up again.
type resumption struct {
	read     int64 // first offset to read
	position int64 // offsets below were accounted for; between read and position records only rebuild windows
	segment  uint64
	start    int64 // first offset of the segment
	begins   bool  // the commit does not name the segment
	at       operators.Clock
	reached  operators.Clock
	counters sink.Counters
	content  sink.Content
	spans    sink.Spans
	open     int64 // rows that were withheld
	gap      int64
	lost     int64 // open rows of the segment before, see sink.Coverage
	why      string
	epoch    int32       // one more than a leader epoch that is not lower than that of any record below position; 0: not known
	stored   int64       // the offset under which the state of stateful steps before read is stored; 0: there is none yet
	disk     sink.Local  // where the lane saves what it cuts; nil if the node keeps nothing
	saved    *remembered // what is there, and is to be loaded
	from     point       // where a replay by the commit would begin, for what is saved of a stateful pipeline
}

// commitMetadata is what a commit says beside its offset, which is the lowest one a window that is not final needs.
// With it a new owner needs nothing else: Kafka is the changelog of window state.
type commitMetadata struct {
	Format   int      `json:"v"`
	Revision string   `json:"rev"`
	TopicID  string   `json:"tid"`
	Segment  uint64   `json:"seg"`
	Start    int64    `json:"start"`
	Position int64    `json:"b"`
	At       [3]int64 `json:"at"`      // the clock before the committed offset
	Reached  [3]int64 `json:"reached"` // the clock at Position
	Counters [7]int64 `json:"n"`
	Spans    []int64  `json:"spans,omitempty"` // windows that were dropped or merged; all of them are final at Position
	Content  *content `json:"h,omitempty"`
	Open     int64    `json:"open,omitempty"` // aggregated rows that are in no row shipped up to Position
	Gap      int64    `json:"gap,omitempty"`
	Lost     int64    `json:"lost,omitempty"` // open rows of the segment before, see sink.Coverage
	Why      string   `json:"why,omitempty"`
	Node     string   `json:"node"`
	State    int64    `json:"state,omitempty"` // the offset under which stateful steps' state before the committed offset is stored
}

// content is a sink.Content: the sums of the final rows and of all. There is none where it is not known; versions of weir that do
// not know it leave it out.
type content [2]uint64

func contentOf(c sink.Content) *content {
	if !c.Known {
		return nil
	}
	return &content{c.Final, c.All}
}

func (c *content) sink() sink.Content {
	if c == nil {
		return sink.Content{}
	}
	return sink.Content{Known: true, Final: c[0], All: c[1]}
}

// commitFormat is the version of commitMetadata. A reader refuses other versions.
const commitFormat = 1

func clockArray(c operators.Clock) [3]int64 { return [3]int64{c.Max, c.Jump, c.JumpN} }

func arrayClock(a [3]int64) operators.Clock {
	return operators.Clock{Max: a[0], Jump: a[1], JumpN: a[2]}
}

func countersArray(c sink.Counters) [7]int64 {
	return [7]int64{c.RecordsIn, c.Aggregated, c.Late, c.Filtered, c.Rejected, c.Expanded, c.Dropped}
}

// arrayCounters reads what countersArray gave. A commit from before windows were dropped has six.
func arrayCounters(a [7]int64) sink.Counters {
	return sink.Counters{RecordsIn: a[0], Aggregated: a[1], Late: a[2], Filtered: a[3], Rejected: a[4], Expanded: a[5], Dropped: a[6]}
}

// resume decides where a partition goes on. The commit knows; without one that fits, the destination is asked, because
// rows it already has must neither be counted twice nor be overwritten by less.
func (e *Engine) resume(ctx context.Context, a ingest.Assignment, g *generation, stored *answers) (resumption, error) {
	saved, disk := e.preloaded(ctx, a.Partition, g)
	if err := ctx.Err(); err != nil {
		return resumption{}, err
	}
	if saved != nil && !saved.carries(g) {
		if err := disk.Clear(); err != nil {
			return resumption{}, fmt.Errorf("remove what was saved without the state of operators: %w", err)
		}
		saved = nil
	}
	if err := saved.compare(ctx, &a); err != nil {
		return resumption{}, err
	}
	at, err := e.resumeWith(ctx, a, g.Revision, saved, stored)
	if err != nil {
		return at, err
	}
	if at.disk = disk; disk != nil && !at.begins {
		if err := disk.Only(); err != nil {
			return at, fmt.Errorf("remove what was saved under other revisions: %w", err)
		}
	}
	if saved != nil && at.saved == nil {
		e.log.Info("what was saved of the partition does not fit its commit and is not used", "partition", a.Partition.String(), "position", saved.at.Position)
		if err := disk.Clear(); err != nil {
			return at, fmt.Errorf("remove what was saved and does not fit: %w", err)
		}
	}
	return at, nil
}

// resumeWith is resume with what the node's disk has.
func (e *Engine) resumeWith(ctx context.Context, a ingest.Assignment, revision uint64, saved *remembered, stored *answers) (resumption, error) {
	var m commitMetadata
	fits := a.Committed >= 0 && a.Metadata != "" && json.Unmarshal([]byte(a.Metadata), &m) == nil
	if fits && m.Format != commitFormat {
		return resumption{}, fmt.Errorf("the commit of %s was written by another version of weir (format %d, this one knows %d); use that version, or another group",
			a.Partition, m.Format, commitFormat)
	}
	if fits && m.TopicID == hex.EncodeToString(a.Partition.TopicID[:]) {
		rev, err := strconv.ParseUint(m.Revision, 16, 64)
		if err != nil || m.Position < a.Committed || m.Start > m.Position || m.State > a.Committed {
			return resumption{}, fmt.Errorf("the commit of %s is damaged: %s", a.Partition, a.Metadata)
		}
		switch {
		case a.SameUpTo >= 0 && m.Position > max(a.SameUpTo, a.LogStart):
			return e.cutBack(ctx, a, revision, rev, &m, stored)
		case a.SameUpTo < 0 && m.Position > a.LogEnd:
			// It was cut back, and the commit does not tell where. The account may.
			return e.newSegment(ctx, a, revision, opening{at: m.Position, number: m.Segment + 1}, stored)
		case m.Position > a.LogEnd:
			return resumption{}, fmt.Errorf("the commit of %s is at %d but the log ends at %d, and has all of these records", a.Partition, m.Position, a.LogEnd)
		}
		spans, err := sink.FlatSpans(m.Spans)
		if err != nil {
			return resumption{}, fmt.Errorf("the commit of %s: %w", a.Partition, err)
		}
		if rev == revision && saved != nil && saved.fits(&m, &a) {
			r := saved.resumption()
			r.from = point{offset: a.Committed, clock: arrayClock(m.At), stored: m.State}
			return r, nil
		}
		if rev == revision && a.Committed >= a.LogStart {
			return resumption{
				read: a.Committed, position: m.Position, segment: m.Segment, start: m.Start,
				at: arrayClock(m.At), reached: arrayClock(m.Reached), counters: arrayCounters(m.Counters), content: m.Content.sink(),
				spans: spans, open: m.Open, gap: m.Gap, lost: m.Lost, why: m.Why, epoch: a.Epoch, stored: m.State,
			}, nil
		}
		if rev != revision {
			if err := e.finishSaved(ctx, a, rev, &m, stored); err != nil {
				return resumption{}, err
			}
		}
		// Another revision, or records that open windows need are gone. What was stored up to the commit stays true;
		// a new segment adds to it.
		return e.newSegment(ctx, a, revision, opening{at: m.Position, number: m.Segment + 1}, stored)
	}
	if a.Committed >= 0 && !fits {
		return e.newSegment(ctx, a, revision, opening{at: a.Committed, byHand: true}, stored)
	}
	return e.newSegment(ctx, a, revision, opening{at: a.Begin}, stored)
}

// beginning is that of a segment, at an offset, which no clock comes to.
func beginning(at int64, segment uint64) resumption {
	unset := operators.Clock{Max: operators.Unset}
	return resumption{read: at, position: at, start: at, segment: segment, begins: true, at: unset, reached: unset, content: sink.Content{Known: true}}
}

// newSegment opens a segment at the given offset, or after what the destination already has of the partition.
func (e *Engine) newSegment(ctx context.Context, a ingest.Assignment, revision uint64, open opening, stored *answers) (resumption, error) {
	cov, err := stored.of(ctx, a.Partition)
	if err != nil {
		return resumption{}, err
	}
	failpoint.Hit(failpoint.ResumeCoverage)
	r := beginning(open.at, open.number)
	if len(cov) > 0 {
		if cut, err := e.cutSince(ctx, a, open, cov); err != nil {
			return resumption{}, err
		} else if cut != nil {
			return *cut, nil
		}
		last := cov[0]
		r.epoch = last.Epoch
		if last.Revision == revision && last.Start >= a.LogStart && open.number <= last.Segment {
			// The segment was never closed by a commit, so whoever wrote it may still be writing: another segment
			// beside it could count the same records twice. The same one from its beginning cannot.
			r.read, r.position, r.start, r.segment = last.Start, last.Start, last.Start, last.Segment
			r.gap, r.lost, r.why = last.Gap, last.Lost, last.GapReason
			return r, nil
		}
		if beyond(&last) > last.Version {
			// A node died after it stored rows and before it stored their coverage.
			if last.Revision == revision && !e.cfg.OnGapStop {
				return e.unaccounted(a, last), nil
			}
			return resumption{}, fmt.Errorf("%s: revision %s stored rows up to offset %d but accounted for %d only; run that revision once more so that it can finish",
				a.Partition, sink.RevisionText(last.Revision), last.RowsVersion, last.Version)
		}
		if last.Counters.Open > 0 && last.Revision != revision {
			return resumption{}, withheld(a.Partition, last.Revision, last.Counters.Open)
		}
		r.segment = max(open.number, last.Segment+1)
		r.read = max(open.at, last.Version)
		if open.at < last.Version {
			e.log.Info("the destination is ahead of the group's offset", "partition", a.Partition.String(), "from", last.Version)
		}
		if r.read > last.Version {
			r.gap, r.why = r.read-last.Version, string(ingest.GapCommit)
		}
	}
	if r.read < a.LogStart {
		r.gap += a.LogStart - r.read
		r.why = string(ingest.GapRetention)
		if len(cov) == 0 {
			r.gap, r.why = 0, "" // nothing was ever stored: the log simply begins here
		}
		r.read = a.LogStart
	}
	if r.read > a.LogEnd {
		return resumption{}, fmt.Errorf("%s would go on at offset %d but the log ends at %d: set the group's offset to one that the log has, or the topic is another one",
			a.Partition, r.read, a.LogEnd)
	}
	if r.gap > 0 {
		r.epoch = 0 // of the records between, nobody knows
	}
	r.start, r.position = r.read, r.read
	if len(cov) > 0 && cov[0].Counters.Open > 0 && r.why == "" {
		r.why = string(ingest.GapRetention) // or the segment would go on
	}
	if r.lost = e.openRows(a.Partition, cov, r.why); r.lost > 0 && e.cfg.OnGapStop {
		return resumption{}, fmt.Errorf("%s: %d rows of windows that were not final are lost (%s), and on_gap is stop", a.Partition, r.lost, r.why)
	}
	if r.gap > 0 {
		e.log.Warn("offsets are missing", "partition", a.Partition.String(), "from", r.read-r.gap, "to", r.read, "reason", r.why)
		if e.cfg.OnGapStop {
			return resumption{}, fmt.Errorf("%s: offsets %d to %d are missing (%s), and on_gap is stop", a.Partition, r.read-r.gap, r.read-1, r.why)
		}
	}
	return r, nil
}

// unaccounted goes on after rows that were stored without their coverage and that cannot be made again, because the
// log no longer has their records. Blocks are stored whole, so the rows are most likely complete; the gap says where
// they might not be.
func (e *Engine) unaccounted(a ingest.Assignment, last sink.Coverage) resumption {
	at := max(last.RowsVersion, a.LogStart)
	e.log.Warn("rows were stored without an account of them, and the log no longer has their records",
		"partition", a.Partition.String(), "from", last.Version, "to", at)
	r := beginning(at, last.Segment+1)
	r.gap, r.why = at-last.Version, string(ingest.GapRetention)
	return r
}
