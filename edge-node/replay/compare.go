package replay

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/sink"
)

// Report is what became of a pipeline.
type Report struct {
	Pipeline string     `json:"pipeline"`
	Revision string     `json:"rev"` // of the file
	OK       bool       `json:"ok"`  // everything that was meant could be built again, and is what is stored
	Segments []*Segment `json:"segments"`
	// Others are segments of other revisions, which this file cannot build.
	Others []Other  `json:"others,omitempty"`
	Notes  []string `json:"notes,omitempty"`
}

// Other is a segment that the file is not the revision of.
type Other struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Segment   uint64 `json:"segment"`
	Revision  string `json:"rev"`
	Start     int64  `json:"start"`
	Version   int64  `json:"version"`
}

// Compare builds what was chosen again and compares it with what is stored. Errors are about asking; what differs is in the
// report.
func (c *Config) Compare(ctx context.Context, choice Choice) (*Report, error) {
	return c.each(ctx, choice, func(s *account, a ingest.Assignment, asked Choice) (*Segment, error) {
		from, to := s.Start, s.Version
		if asked.From >= 0 {
			from = max(from, asked.From)
		}
		if !asked.Since.IsZero() {
			since, err := c.after(ctx, a, asked.Since)
			if err != nil {
				return nil, err
			}
			from = max(from, since)
		}
		if asked.To >= 0 {
			to = min(to, asked.To)
		}
		if from > to {
			return nil, nil
		}
		out := newSegment(&s.Coverage, c.Most)
		if from < a.LogStart {
			out.note("the log begins at %d: what came before is not compared", a.LogStart)
			from = a.LogStart
		}
		if s.lost {
			out.fault("%s", s.lostText())
		}
		return c.compare(ctx, s, a, out, stretch{from: from, to: to})
	})
}

// each runs over the chosen segments of the file's revision.
func (c *Config) each(ctx context.Context, choice Choice, do func(*account, ingest.Assignment, Choice) (*Segment, error)) (*Report, error) {
	partitions, err := c.Log.Partitions(ctx)
	if err != nil {
		return nil, err
	}
	report := &Report{Pipeline: c.Table.Pipeline, Revision: sink.RevisionText(c.Revision), OK: true, Segments: []*Segment{}}
	found := false
	for _, a := range partitions {
		if !choice.takes(a.Partition) {
			continue
		}
		found = true
		all, notes, err := c.accounts(ctx, a)
		if err != nil {
			return nil, err
		}
		if a, err = c.ends(ctx, a, all); err != nil {
			return nil, err
		}
		for _, n := range notes {
			report.Notes = append(report.Notes, fmt.Sprintf("%s: %s", a.Partition, n))
		}
		for i := range all {
			s := &all[i]
			if choice.Segment >= 0 && uint64(choice.Segment) != s.Segment {
				continue
			}
			if s.Revision != c.Revision {
				report.Others = append(report.Others, Other{
					Topic: a.Partition.Topic, Partition: a.Partition.ID, Segment: s.Segment, Revision: sink.RevisionText(s.Revision),
					Start: s.Start, Version: s.Version,
				})
				continue
			}
			out, err := do(s, a, choice)
			if err != nil {
				return nil, err
			}
			if out == nil {
				continue
			}
			report.Segments = append(report.Segments, out)
			report.OK = report.OK && !out.Differs() && out.Refused == ""
		}
		if err := c.orphans(ctx, a, all, choice, report); err != nil {
			return nil, err
		}
	}
	switch {
	case !found && choice.Partition >= 0:
		return nil, fmt.Errorf("the topics have no partition %d", choice.Partition)
	case len(report.Segments) == 0 && len(report.Others) > 0:
		return nil, &RevisionError{File: c.Revision, Others: report.Others}
	}
	return report, nil
}

// ends asks again where the log ends, if an account is beyond: a node may have read on since it was asked.
func (c *Config) ends(ctx context.Context, a ingest.Assignment, all []account) (ingest.Assignment, error) {
	if !slices.ContainsFunc(all, func(s account) bool { return s.Version > a.LogEnd }) {
		return a, nil
	}
	partitions, err := c.Log.Partitions(ctx)
	if err != nil {
		return a, err
	}
	for _, now := range partitions {
		if now.Partition == a.Partition {
			a.LogStart, a.LogEnd = now.LogStart, now.LogEnd
		}
	}
	return a, nil
}

// orphans adds the segments of which rows are stored, and of which nobody knows where they begin.
func (c *Config) orphans(ctx context.Context, a ingest.Assignment, known []account, choice Choice, report *Report) error {
	all, err := c.Stored.Orphans(ctx, a.Partition)
	if err != nil {
		return err
	}
	for i := range all {
		o := &all[i]
		if choice.Segment >= 0 && uint64(choice.Segment) != o.Segment || slices.ContainsFunc(known, func(s account) bool {
			return s.Revision == o.Revision && s.Segment == o.Segment
		}) {
			continue
		}
		out := newSegment(o, c.Most)
		out.Refused = "rows are stored and nothing says where it begins: it has no account, and the group has none of it"
		report.Segments = append(report.Segments, out)
		report.OK = false
	}
	return nil
}

func (s *account) lostText() string {
	if s.RowsVersion > s.Version {
		return fmt.Sprintf("the account is lost, or older than what the group knows: it should reach offset %d", s.Version)
	}
	return fmt.Sprintf("the account in weir_coverage is lost, or older than what the group knows: it should reach offset %d", s.Version)
}

// after is the first offset of a partition that is not older than a time.
func (c *Config) after(ctx context.Context, a ingest.Assignment, at time.Time) (int64, error) {
	offsets, err := c.Log.After(ctx, a.Partition.Topic, at)
	if err != nil {
		return 0, err
	}
	offset, ok := offsets[a.Partition.ID]
	if !ok {
		return 0, fmt.Errorf("the broker did not say which offset of %s is at %s", a.Partition, at.UTC().Format(time.RFC3339))
	}
	return offset, nil
}

// stretch is what is read of a segment.
type stretch struct {
	from, to       int64
	changed, until int64
	mend           bool // what is missing is to be stored, in this pass or in the next
	strict         bool // it is an error where windows that count begin before it
	send           func(ctx context.Context, rows *batch.Batch, letters []sink.DeadLetter) error
}

// compare reads a stretch, with one clock after the other where it is not known which the segment began with: the account tells.
func (c *Config) compare(ctx context.Context, s *account, a ingest.Assignment, out *Segment, of stretch) (*Segment, error) {
	if why := c.cannot(s, a, of); why != "" {
		out.Refused = why
		return out, nil
	}
	tries, asked := s.clocks, of.from
	var states []sink.StepState
	if of.from > s.Start {
		tries = []origin{{text: clockFound}}
		why, err := c.unprovable(ctx, s)
		if c.Table.Full > 0 && why == "" { // one that began before the stretch may begin behind others that are final there
			why = "which windows of so many rows are wholly in the range follows from all records before it"
		}
		if err == nil && why == "" {
			states, of.from, why, err = c.startWith(ctx, s, a, of.from)
		}
		if err != nil {
			return nil, err
		}
		if why != "" && s.Start < a.LogStart {
			out.Refused = why
			return out, nil
		}
		if why != "" {
			out.note("read from the segment's beginning: %s", why)
			tries, states, of.from = s.clocks, nil, s.Start
		}
		of.changed = max(of.changed, asked)
	}
	lateLetters, err := c.keptLate(ctx, s, of.mend)
	if err != nil {
		return nil, err
	}
	blank := *out
	var result *Segment
	for i, try := range tries {
		again := blank
		again.Faults, again.Notes = slices.Clone(blank.Faults), slices.Clone(blank.Notes)
		p := &pass{
			cfg: c, of: s.Coverage, keys: len(c.Table.Keys), from: of.from, to: of.to, known: s.Counters, states: states,
			changed: of.changed, until: of.until, strict: of.strict, lateLetters: lateLetters, out: &again, send: of.send, sending: of.send != nil,
		}
		if try.text != clockFound {
			p.clock = &try.clock
		}
		if i > 0 && of.send != nil {
			break // what the first clock gave was sent: it was the right one
		}
		err := p.run(ctx)
		if errors.Is(err, errUnproven) {
			again.Refused = err.Error()
			return &again, nil
		}
		if err != nil {
			return nil, err
		}
		again.From, again.To, again.Records, again.Clock = of.from, of.to, p.taken, try.text
		again.bound, again.first, again.content = p.bound, p.first, p.content
		fits := c.checkAccount(s, p, &again)
		if result == nil || fits {
			result = &again
		}
		if fits {
			if try.text != clockFound && p.to == s.Version && s.counted {
				s.clocks = tries[i : i+1] // what is sent goes by the same
			}
			break
		}
	}
	return result, nil
}

// cannot tells why a stretch cannot be built again; empty where nothing is known against it.
func (c *Config) cannot(s *account, a ingest.Assignment, of stretch) string {
	switch {
	case s.Revision != c.Revision:
		return c.otherRevision(s)
	case s.recut >= 0 && of.to > s.recut:
		return fmt.Sprintf("the log was cut back to %d and has other records since: offsets %d to %d are not those that were counted", s.recut, s.recut, s.Version-1)
	case of.to > a.LogEnd:
		return fmt.Sprintf("the log ends at %d, and the account at %d: the log was cut back, or the topic is another one", a.LogEnd, of.to)
	case of.from < a.LogStart:
		return fmt.Sprintf("the log begins at %d: offsets %d to %d are gone", a.LogStart, of.from, a.LogStart-1)
	}
	return ""
}

// startWith is where a stretch can begin that does not begin a segment: where the state of stateful steps is known. why says why
// there is no such place.
func (c *Config) startWith(ctx context.Context, s *account, a ingest.Assignment, from int64) (states []sink.StepState, at int64, why string, err error) {
	if !c.Stateful {
		return nil, from, "", nil
	}
	key := sink.StateKey{Revision: s.Revision, Segment: s.Segment, Offset: math.MinInt64}
	all, err := c.Stored.States(ctx, s.Partition, key)
	if err != nil {
		return nil, from, "", err
	}
	n, steps := map[int64]int{}, map[string]bool{}
	for _, st := range all {
		if st.Revision == s.Revision && st.Segment == s.Segment {
			steps[st.Step] = true
			n[st.Offset]++
		}
	}
	at = -1
	for offset, have := range n {
		if have == len(steps) && offset <= from && offset >= a.LogStart {
			at = max(at, offset)
		}
	}
	if at < 0 {
		return nil, from, fmt.Sprintf("operators keep state, and none is stored for an offset from %d to %d", max(a.LogStart, s.Start), from), nil
	}
	key.Offset = at
	if all, err = c.Stored.States(ctx, s.Partition, key); err != nil {
		return nil, from, "", err
	}
	for _, st := range all {
		if st.StateKey == key {
			states = append(states, st)
		}
	}
	return states, at, "", nil
}

// keptLate tells whether late rows have dead letters. Whether they do is no part of the revision: it may have been otherwise when
// the segment was read.
func (c *Config) keptLate(ctx context.Context, s *account, mend bool) (bool, error) {
	if !c.LateLetters || mend || !s.counted || s.Counters.Late == 0 {
		return c.LateLetters, nil
	}
	n, err := c.Stored.CountLetters(ctx, s.Coverage, batch.ReasonLate, s.Start, s.Version)
	return n > 0, err
}

// unprovable tells why nobody can say which rows were late.
func (c *Config) unprovable(ctx context.Context, s *account) (string, error) {
	const cannot = "it cannot begin in the middle of the segment: "
	if !s.counted {
		return cannot + "its account is lost, and with it how many rows were late", nil
	}
	if s.Counters.Late == 0 {
		return "", nil
	}
	if !c.LateLetters {
		return fmt.Sprintf(cannot+"%d rows were late and dropped, so nobody knows which they are", s.Counters.Late), nil
	}
	n, err := c.Stored.CountLetters(ctx, s.Coverage, batch.ReasonLate, s.Start, s.Version)
	if err != nil {
		return "", err
	}
	if n != s.Counters.Late {
		return fmt.Sprintf(cannot+"%d rows were late, and %d dead letters say which", s.Counters.Late, n), nil
	}
	return "", nil
}

// checkAccount compares what the records came to with the account, where they end with it.
func (c *Config) checkAccount(s *account, p *pass, out *Segment) bool {
	if p.to != s.Version || !s.counted {
		return true // each clock is as good
	}
	fits := true
	fault := func(format string, args ...any) {
		fits = false
		out.fault(format, args...)
	}
	if p.from == s.Start {
		got, want := c.Rebuild.Counters(), s.Counters
		for _, n := range []struct {
			what      string
			got, want int64
		}{
			{"records read", got.RecordsIn, want.RecordsIn},
			{"rows aggregated", got.Aggregated, want.Aggregated + want.Dropped + want.Open},
			{"late", got.Late, want.Late},
			{"filtered", got.Filtered, want.Filtered},
			{"rejected", got.Rejected, want.Rejected},
			{"rows added", got.Expanded, want.Expanded},
		} {
			if n.got != n.want {
				fault("%s: the log gives %d, and the account says %d", n.what, n.got, n.want)
			}
		}
		if s.Counters.Open > 0 {
			p.content.All = p.content.Final
		}
		if s.Content.Known && p.proves() && p.content != s.Content {
			fault("the rows that the log gives do not have the hash of the account")
		}
	}
	if got := c.Rebuild.Window().Watermark(); p.settled <= p.to && got != s.Watermark {
		fault("the watermark comes to %s, and the account says %s", microText(got), microText(s.Watermark))
	}
	return fits
}

func microText(us int64) string {
	if us == operators.Unset {
		return "none"
	}
	return time.UnixMicro(us).UTC().Format("2006-01-02T15:04:05.000Z")
}
