package replay

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

// sendRows is how many rows one cut has at most.
const sendRows = 50_000

// Write stores cuts, as sink.Sink does, but whatever was inserted before.
type Write func(ctx context.Context, cuts []*sink.Cut) error

// Resend builds again what changed since a time, and stores what the destination does not have of it. A nil write stores
// nothing. Every segment is read twice where something is missing: nothing is stored before all of it was built once and came to
// what the account says.
func (c *Config) Resend(ctx context.Context, choice Choice, write Write) (*Report, error) {
	return c.each(ctx, choice, func(s *account, a ingest.Assignment, asked Choice) (*Segment, error) {
		return c.resend(ctx, s, a, asked, write)
	})
}

func (c *Config) resend(ctx context.Context, s *account, a ingest.Assignment, asked Choice, write Write) (*Segment, error) {
	of := stretch{from: s.Start, to: s.Version, changed: s.Start, mend: true}
	if !asked.Since.IsZero() {
		since, err := c.after(ctx, a, asked.Since)
		if err != nil {
			return nil, err
		}
		if since > a.LogStart { // else records that are gone may have come since, too
			of.changed = max(of.changed, since)
		}
	}
	if !asked.Until.IsZero() {
		until, err := c.after(ctx, a, asked.Until)
		if err != nil {
			return nil, err
		}
		of.until = until
		if until <= s.Start {
			return nil, nil
		}
	}
	if of.changed >= s.Version && !s.lost {
		return nil, nil // nothing of the segment has changed since
	}
	out, of, err := c.dryRun(ctx, s, a, asked, of)
	if err != nil || out.Refused != "" {
		return out, err
	}
	gone := out.Gone
	if !s.counted && of.from == s.Start && len(s.clocks) > 1 {
		out.Refused = "its account is lost, and nobody knows which rows were late: the segment may have begun with the clock of the one before, or without"
		return out, nil
	}
	if s.lost && !s.counted && of.from == s.Start {
		// The account is what the records came to.
		s.Counters, s.Content, s.counted = c.Rebuild.Counters(), out.content, true
		s.Watermark, s.Final = c.Rebuild.Window().Watermark(), c.Rebuild.Window().Final()
	}
	switch {
	case len(out.Faults) > 0:
		out.Refused = "the log does not give what was counted, so nothing of it is stored"
		return out, nil
	case of.from > s.Start && out.Rows.Surplus > 0:
		out.Refused = "rows are stored that the log does not give, so nothing of it is stored"
		return out, nil
	case s.lost && !s.counted:
		out.fault("%s; the log no longer has its beginning, so it cannot be made again", s.lostText())
	case s.lost:
		out.note("%s", s.lostText())
	}
	if write == nil {
		if s.lost && s.counted {
			out.fault("the account is missing")
		}
		return out, nil
	}
	if out.Rows.Missing+out.Rows.Differing+out.Letters.Missing+out.Letters.Differing > 0 {
		of.send = c.sender(s, write)
		notes, faults := out.Notes, out.Faults
		if out, err = c.compare(ctx, s, a, newSegment(&s.Coverage, c.Most), of); err != nil {
			return out, err
		}
		out.Notes, out.Faults, out.Gone = append(notes, out.Notes...), append(faults, out.Faults...), gone
	}
	if s.lost && s.counted {
		if err := write(ctx, []*sink.Cut{{Coverage: s.Coverage}}); err != nil {
			return nil, fmt.Errorf("store the account of %s: %w", s.Partition, err)
		}
		out.note("its account was stored again, up to offset %d", s.Version)
	}
	return out, nil
}

// dryRun reads the segment from where it can be built, and compares alone. It begins as late as it may: where all windows begin
// that took anything since.
func (c *Config) dryRun(ctx context.Context, s *account, a ingest.Assignment, asked Choice, of stretch) (*Segment, stretch, error) {
	slack := 2*c.Table.Window + c.MaxOutOfOrder + c.AllowedLateness
	for back := 2*slack + time.Minute; ; back *= 8 {
		of.from, of.strict = s.Start, false
		if !asked.Since.IsZero() && back < 10*366*24*time.Hour {
			from, err := c.after(ctx, a, asked.Since.Add(-back))
			if err != nil {
				return nil, of, err
			}
			of.from = max(s.Start, min(from, of.changed))
			of.strict = of.from > max(s.Start, a.LogStart)
		}
		gone := of.from < a.LogStart
		of.from = max(of.from, a.LogStart)
		out, err := c.compare(ctx, s, a, newSegment(&s.Coverage, c.Most), of)
		if errors.Is(err, errLate) {
			continue
		}
		if err != nil {
			return nil, of, err
		}
		of.from, of.strict = out.From, false
		if gone {
			c.tooOld(s, a, out)
		}
		return out, of, nil
	}
}

// tooOld says what cannot be built again because the log no longer has it.
func (c *Config) tooOld(s *account, a ingest.Assignment, out *Segment) {
	if out.Refused == "" && out.bound <= out.first {
		return // windows that count begin behind
	}
	g := &Gone{From: s.Start, To: a.LogStart}
	if out.first > math.MinInt64+1 {
		g.WindowsFrom = windowTime(out.first)
	}
	if out.bound > math.MinInt64 {
		g.WindowsTo = windowTime(out.bound)
	}
	out.Gone = g
}

// sender stores rows and dead letters of a segment, with the version that is vouched for.
func (c *Config) sender(s *account, write Write) func(context.Context, *batch.Batch, []sink.DeadLetter) error {
	return func(ctx context.Context, rows *batch.Batch, letters []sink.DeadLetter) error {
		for from := 0; rows != nil && from < rows.Rows; from += sendRows {
			part := rows
			if rows.Rows > sendRows {
				n := min(sendRows, rows.Rows-from)
				numbers := make([]int32, n)
				for i := range numbers {
					numbers[i] = int32(from + i)
				}
				part = pick(rows, numbers)
			}
			if err := write(ctx, []*sink.Cut{{Coverage: s.Coverage, Rows: part, Partial: true}}); err != nil {
				return fmt.Errorf("store rows of %s: %w", s.Partition, err)
			}
		}
		if len(letters) > 0 {
			if err := write(ctx, []*sink.Cut{{Coverage: s.Coverage, DeadLetters: letters, Partial: true}}); err != nil {
				return fmt.Errorf("store dead letters of %s: %w", s.Partition, err)
			}
		}
		return nil
	}
}
