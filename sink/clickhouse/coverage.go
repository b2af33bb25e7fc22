package clickhouse

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"

	"github.com/weir-stream/weir/sink"
)

// insertCoverage stores coverage rows.
func (s *Sink) insertCoverage(ctx context.Context, cs []sink.Coverage) error {
	if len(cs) == 0 {
		return nil
	}
	columns := make([]string, len(coverageColumns))
	for i, c := range coverageColumns {
		columns[i] = c[0]
	}
	hashes := make([]string, len(cs))
	tok := newToken(qualified(s.cfg.Database, coverageTable))
	for i := range cs {
		hashes[i] = s.coverageHash(&cs[i])
		tok.text(hashes[i])
	}
	err := s.insert(ctx, s.layout.coverage(), columns, tok, len(cs), func(b driver.Batch) error {
		for i, c := range cs {
			// A row per partition and flush: few enough for the plain way.
			if err := b.Append(
				s.table.Site, s.table.Pipeline, c.Revision, c.Partition.Topic, uuid.UUID(c.Partition.TopicID),
				uint32(c.Partition.ID), c.Segment, c.Start, uint64(c.Version), c.Watermark, c.Final,
				c.Counters.RecordsIn, c.Counters.Expanded, c.Counters.Aggregated, c.Counters.Late,
				c.Counters.Filtered, c.Counters.Rejected, c.Gap, c.GapReason, s.table.Node, hashes[i],
				s.contentColumns(&c), c.Content.Final, c.Content.All, c.Counters.Dropped, c.Spans.Flat(), c.Counters.Open, c.Lost,
				leaderEpoch(&c),
			); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, c := range cs {
		s.opened[keyOf(c)] = true
	}
	return nil
}

// leaderEpoch is the leader epoch of an account as the table has it; nil where it is not known.
func leaderEpoch(c *sink.Coverage) *int32 {
	if c.Epoch == 0 {
		return nil
	}
	epoch := c.Epoch - 1
	return &epoch
}

// contentColumns are those that the hashes of an account are of; empty where it has none.
func (s *Sink) contentColumns(c *sink.Coverage) string {
	if !c.Content.Known {
		return ""
	}
	return contentColumns(s.schema)
}

// coverageHash guards a coverage row against being changed by hand: SHA-256 of its fields but the node, as text, each
// followed by a line feed. Columns that were added later come with their name, and only where they are not what older rows have:
// so those keep their hash. The audit computes it again in SQL; see coverageHashSQL.
func (s *Sink) coverageHash(c *sink.Coverage) string {
	id := func(v int64) string { return strconv.FormatInt(v, 10) }
	later := ""
	add := func(name, value, absent string) {
		if value != absent {
			later += name + "=" + value + "\n"
		}
	}
	add("content_columns", s.contentColumns(c), "")
	add("content_final", strconv.FormatUint(c.Content.Final, 10), "0")
	add("content_all", strconv.FormatUint(c.Content.All, 10), "0")
	add("dropped", strconv.FormatInt(c.Counters.Dropped, 10), "0")
	add("spans", listText(c.Spans.Flat()), "[]")
	add("open_rows", strconv.FormatInt(c.Counters.Open, 10), "0")
	add("lost_rows", strconv.FormatInt(c.Lost, 10), "0")
	if epoch := leaderEpoch(c); epoch != nil {
		add("leader_epoch", strconv.Itoa(int(*epoch)), "")
	}
	h := sha256.Sum256([]byte(strings.Join([]string{
		s.table.Site, s.table.Pipeline, strconv.FormatUint(c.Revision, 10), c.Partition.Topic,
		uuid.UUID(c.Partition.TopicID).String(), id(int64(c.Partition.ID)), strconv.FormatUint(c.Segment, 10),
		id(c.Start), id(c.Version), id(c.Watermark), id(c.Final),
		id(c.Counters.RecordsIn), id(c.Counters.Expanded), id(c.Counters.Aggregated), id(c.Counters.Late),
		id(c.Counters.Filtered), id(c.Counters.Rejected), id(c.Gap), c.GapReason, "",
	}, "\n") + later))
	return hex.EncodeToString(h[:])
}

// listText is a list of numbers as toString shows it.
func listText(list []int64) string {
	parts := make([]string, len(list))
	for i, v := range list {
		parts[i] = strconv.FormatInt(v, 10)
	}
	return "[" + strings.Join(parts, ",") + "]"
}

// coverageHashSQL is coverageHash over the columns of the table.
func coverageHashSQL() string {
	var parts []string
	for _, c := range coverageColumns {
		if c[0] == "node" || c[0] == "hash" {
			continue
		}
		switch absent, later := laterCoverageColumns[c[0]]; {
		case absent == "NULL":
			parts = append(parts, fmt.Sprintf("ifNull(concat('%[1]s=', toString(%[1]s), '\\n'), '')", c[0]))
			continue
		case later:
			parts = append(parts, fmt.Sprintf("if(%[1]s = %[2]s, '', concat('%[1]s=', toString(%[1]s), '\\n'))", c[0], absent))
			continue
		}
		parts = append(parts, "toString("+c[0]+")", "'\\n'")
	}
	return "lower(hex(SHA256(concat(" + strings.Join(parts, ", ") + "))))"
}

// Bounds of one insert of dead letters.
const (
	maxDeadLetterRows  = 20_000
	maxDeadLetterBytes = 16 << 20
)

var deadLetterColumns = []string{
	"site", "pipeline", "rev", "topic", "topic_id", "partition", "segment", "record_offset", "step", "row_index",
	"time", "reason", "detail", "record_key", "payload", "truncated", "is_row", "node",
}

// insertDeadLetters stores the dead letters of every cut that is not rejected.
func (w *write) insertDeadLetters(ctx context.Context) error {
	var page []*sink.DeadLetter
	size := 0
	flush := func() error {
		err := w.insertDeadLetterPage(ctx, page)
		page, size = page[:0], 0
		return err
	}
	for i, c := range w.cuts {
		if _, rejected := w.rejected[i]; rejected {
			continue
		}
		for j := range c.DeadLetters {
			d := &c.DeadLetters[j]
			if len(page) == maxDeadLetterRows || size >= maxDeadLetterBytes {
				if err := flush(); err != nil {
					return err
				}
			}
			page = append(page, d)
			size += len(d.Payload) + len(d.Key) + len(d.Detail) + 200
		}
	}
	return flush()
}

func (w *write) insertDeadLetterPage(ctx context.Context, page []*sink.DeadLetter) error {
	if len(page) == 0 {
		return nil
	}
	tok := newToken(qualified(w.cfg.Database, deadLetterTable))
	for _, d := range page {
		tok.source(w.table.Site, w.table.Pipeline, d.Partition, d.Revision, d.Segment, d.Offset)
		tok.uint(uint64(uint32(d.Index)))
		tok.uint(uint64(d.Time.UnixMilli()))
		for _, s := range []string{d.Step, string(d.Reason), d.Detail} {
			tok.text(s)
		}
		tok.bytes(d.Key)
		tok.bytes(d.Payload)
	}
	err := w.insert(ctx, w.layout.deadLetters(), deadLetterColumns, tok, len(page), func(b driver.Batch) error {
		for _, d := range page {
			if err := b.Append(
				w.table.Site, w.table.Pipeline, d.Revision, d.Partition.Topic, uuid.UUID(d.Partition.TopicID),
				uint32(d.Partition.ID), d.Segment, d.Offset, d.Step, d.Index, clampMillis(d.Time),
				string(d.Reason), d.Detail, d.Key, d.Payload, d.Truncated, d.Row, w.table.Node,
			); err != nil {
				return err
			}
		}
		return nil
	})
	var e *sink.Error
	if errors.As(err, &e) && e.Class == sink.Reject {
		// Any bytes fit these columns, so it is the table that does not.
		return &sink.Error{Class: sink.Stop, Err: e.Err, Hint: "look at the constraints of the table"}
	}
	return err
}
