package replay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/weir-stream/weir/edge-node/engine"
	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/sink"
)

// account is what is vouched for of a segment, by whoever knows most: the destination's coverage, the group's commit, or the
// beginning of the next segment.
type account struct {
	sink.Coverage
	counted bool     // Counters, Watermark and Final are known
	lost    bool     // the destination has no coverage of the segment, or an older one
	recut   int64    // the log was cut back to here and has other records since; -1: it was not
	clocks  []origin // the event-time clock the segment began with, the likeliest first
}

// origin is a clock that a segment may have begun with.
type origin struct {
	clock operators.Clock
	text  string
}

// The clocks of segments, as reports name them.
const (
	clockNone      = "none"
	clockCarried   = "carried over"
	clockCommitted = "committed"
	clockFound     = "found from the records"
)

// accounts puts together what is known of a partition's segments, in their order.
func (c *Config) accounts(ctx context.Context, a ingest.Assignment) ([]account, []string, error) {
	stored, err := c.Stored.Coverage(ctx, []batch.Partition{a.Partition})
	if err != nil {
		return nil, nil, err
	}
	var notes []string
	commit, err := committed(a)
	switch {
	case errors.Is(err, engine.ErrNoCommit):
	case err != nil:
		notes = append(notes, err.Error())
	}
	var all []account
	for _, s := range stored[0] {
		all = append(all, account{Coverage: s, counted: true, recut: -1})
	}
	if commit != nil {
		all = c.withCommit(all, a, commit)
	}
	slices.SortFunc(all, func(x, y account) int {
		return cmp.Or(cmp.Compare(x.Segment, y.Segment), cmp.Compare(x.Start, y.Start))
	})
	for i := range all {
		s := &all[i]
		s.clocks = append(s.clocks, origin{operators.Clock{Max: operators.Unset}, clockNone})
		if i > 0 {
			c.follow(&all[i-1], s)
		}
		if commit != nil && commit.Revision == s.Revision && commit.Coverage.Segment == s.Segment && commit.Offset == s.Start {
			s.clocks = []origin{{commit.At, clockCommitted}}
		}
	}
	return all, notes, nil
}

// committed reads the group's commit of a partition; nil where there is none of weir's of this topic.
func committed(a ingest.Assignment) (*engine.Committed, error) {
	if a.Committed < 0 {
		return nil, engine.ErrNoCommit
	}
	commit, err := engine.ReadCommit(a.Committed, a.Metadata)
	if err != nil {
		return nil, err
	}
	if commit.TopicID != a.Partition.TopicID {
		return nil, engine.ErrNoCommit
	}
	return commit, nil
}

// withCommit lets the commit vouch for its segment where the destination knows less.
func (c *Config) withCommit(all []account, a ingest.Assignment, commit *engine.Committed) []account {
	of := commit.Coverage
	of.Partition = a.Partition
	of.Watermark, of.Final = sink.MinWatermark, sink.MinWatermark
	if commit.Reached.Max != operators.Unset {
		of.Watermark = commit.Reached.Max - c.MaxOutOfOrder.Microseconds()
		of.Final = of.Watermark - c.AllowedLateness.Microseconds()
	}
	for i := range all {
		s := &all[i]
		if s.Revision != of.Revision || s.Segment != of.Segment {
			continue
		}
		if of.Start == s.Start && of.Version > s.Version {
			of.RowsVersion = s.RowsVersion
			s.Coverage, s.lost = of, true
		}
		return all
	}
	return append(all, account{Coverage: of, counted: true, lost: true, recut: -1})
}

// follow draws conclusions from the segment that comes next: where it begins, all of the one before was stored, and its clock may
// have gone on.
func (c *Config) follow(before, s *account) {
	if s.Segment == before.Segment+1 && s.GapReason != string(ingest.GapTruncated) {
		if end := s.Start - s.Gap; end > before.Version {
			before.Version, before.counted, before.lost = end, false, true
			before.Content, before.Counters.Open = sink.Content{}, 0
		}
	}
	if s.Start < before.Version {
		before.recut = s.Start
	}
	if before.counted && before.Watermark != sink.MinWatermark && before.Version == s.Start-s.Gap {
		carried := origin{operators.Clock{Max: before.Watermark + c.MaxOutOfOrder.Microseconds()}, clockCarried}
		if before.Revision != s.Revision || s.Gap == 0 && s.GapReason == "" { // it was swapped to, or began early
			s.clocks = append([]origin{carried}, s.clocks...)
		} else {
			s.clocks = append(s.clocks, carried)
		}
	}
}

// otherRevision says why a segment cannot be built by the pipeline's file.
func (c *Config) otherRevision(s *account) string {
	return fmt.Sprintf("it is of revision %s, and the file is revision %s", sink.RevisionText(s.Revision), sink.RevisionText(c.Revision))
}
