package engine

import (
	"context"
	"fmt"

	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/sink"
)

// A log that was cut back, by an unclean election, has other records under offsets that were counted. What was counted under them stays,
// and a segment begins where the others do. While a partition is read the client finds out, and lane.takeGap goes on. What is here is for
// one that nobody was reading: leader epochs tell, of the commit (ingest.Assignment.SameUpTo), of what is on the disk (remembered.compare),
// and of what the destination has.

// opening is where a segment may begin.
type opening struct {
	at     int64
	number uint64 // at least
	byHand bool   // somebody set the group's offset
}

// cutBack goes on where the log was cut back below the position of a commit, which is of a revision: to SameUpTo.
func (e *Engine) cutBack(ctx context.Context, a ingest.Assignment, revision, of uint64, m *commitMetadata, stored *answers) (resumption, error) {
	at := max(a.SameUpTo, a.LogStart)
	if err := e.tellCut(a, at, m.Position); err != nil {
		return resumption{}, err
	}
	ended := *m
	ended.Open = 0 // nobody can build them again
	if err := e.finishSaved(ctx, a, of, &ended, stored); err != nil {
		return resumption{}, err
	}
	cov, err := stored.of(ctx, a.Partition)
	if err != nil {
		return resumption{}, err
	}
	if len(cov) > 0 && cov[0].Segment > m.Segment {
		// Somebody has gone on behind the cut, and died before the group knew.
		return e.newSegment(ctx, a, revision, opening{at: at, number: m.Segment + 1}, stored)
	}
	return e.behindCut(a, cov, m.Segment+1, at), nil
}

// cutSince finds out whether the log was cut back below what the destination has of a partition, and goes on behind the cut. It is nil where
// the log was not, as far as anybody can tell.
func (e *Engine) cutSince(ctx context.Context, a ingest.Assignment, open opening, cov []sink.Coverage) (*resumption, error) {
	last := &cov[0]
	same := int64(-1) // up to where the log has the records of the account, as far as anybody can tell
	switch ofCommit := !open.byHand && last.Segment+1 == open.number; {
	case ofCommit && a.SameUpTo >= last.Version:
		same = a.SameUpTo
	case last.Epoch > 0 && a.EpochEnd != nil:
		var err error
		if same, err = a.EpochEnd(ctx, last.Epoch-1); err != nil {
			return nil, err
		}
	}
	reached := max(last.Version, beyond(last))
	at := max(same, a.LogStart)
	switch {
	case same >= 0 && last.Version > at:
		if err := e.tellCut(a, at, last.Version); err != nil && !open.byHand {
			return nil, err
		}
	case reached <= a.LogEnd:
		return nil, nil
	case open.byHand && open.at <= a.LogEnd:
		at = max(open.at, a.LogStart)
		e.log.Warn("the log was cut back, and goes on where the group's offset was set by hand", "partition", a.Partition.String(), "from", at, "counted_to", reached)
	default:
		return nil, fmt.Errorf("%s: offsets below %d were counted, but the log ends at %d: it was cut back, or the topic is another one, and nobody can tell where other records begin; "+
			"stop the pipeline everywhere, set the group's offset to where they do (kafka-consumer-groups.sh --reset-offsets --to-offset, at most %d), and start it again",
			a.Partition, reached, a.LogEnd, a.LogEnd)
	}
	r := e.behindCut(a, cov, open.number, at)
	if at == same {
		r.epoch = last.Epoch
	}
	return &r, nil
}

// tellCut tells that other records begin at an offset, and refuses to go on there where the pipeline says so.
func (e *Engine) tellCut(a ingest.Assignment, at, counted int64) error {
	e.log.Warn("the log was cut back: offsets are those of other records now", "partition", a.Partition.String(), "from", at, "counted_to", counted)
	if e.cfg.OnGapStop {
		return fmt.Errorf("%s: the log was cut back from %d to %d, and on_gap is stop; stop the pipeline everywhere, set the group's offset to %d "+
			"(kafka-consumer-groups.sh --reset-offsets --to-offset), and start it again to go on there", a.Partition, counted, at, at)
	}
	return nil
}

// behindCut begins a segment where other records do.
func (e *Engine) behindCut(a ingest.Assignment, cov []sink.Coverage, number uint64, at int64) resumption {
	if len(cov) > 0 {
		number = max(number, cov[0].Segment+1)
	}
	r := beginning(at, number)
	r.why = string(ingest.GapTruncated)
	r.lost = e.openRows(a.Partition, cov, r.why)
	return r
}
