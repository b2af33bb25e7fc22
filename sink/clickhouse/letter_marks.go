package clickhouse

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// What is noted of dead letters. The letters themselves are never changed: a node that ships one again, as it may after
// a crash, would undo it.
const (
	markSending  = "sending"  // a replay was about to send it: its record may be in the topic, or not
	markReplayed = "replayed" // its record is in the topic, at the offset noted
	markPurged   = "purged"   // it was deleted on purpose: the account still has it
)

// letterIdentity are the columns that tell the dead letters of a pipeline apart.
var letterIdentity = []string{"site", "topic", "topic_id", "partition", "rev", "segment", "record_offset", "step", "row_index"}

// letterMarksDef is the table of what people did with dead letters. There is no TTL: the audit counts those that were
// purged from here, for as long as there is an account of their segment.
func letterMarksDef() tableDef {
	d := tableDef{
		name:     letterMarkTable,
		order:    []string{"site", "pipeline", "topic", "topic_id", "partition", "rev", "segment", "record_offset", "step", "row_index", "mark"},
		settings: []string{fmt.Sprintf("non_replicated_deduplication_window = %d", dedupWindow)},
		comment:  "weir: which dead letters were replayed, and which purged",
	}
	for _, c := range letterMarkColumns {
		d.columns = append(d.columns, columnDef{name: c[0], typ: c[1]})
	}
	d.columns = append(d.columns, columnDef{name: "received_at", typ: "DateTime64(3, 'UTC')", computed: "now64(3, 'UTC')"})
	return d
}

// letterMarkColumns are the columns weir writes, with their types.
var letterMarkColumns = [][2]string{
	{"site", "String"},
	{"pipeline", "String"},
	{"rev", "UInt64"},
	{"topic", "String"},
	{"topic_id", "UUID"},
	{"partition", "UInt32"},
	{"segment", "UInt64"},
	{"record_offset", "Int64"},
	{"step", "String"},
	{"row_index", "Int32"},
	{"mark", "String"},
	{"time", "DateTime64(3, 'UTC')"}, // of the letter
	{"reason", "String"},             // of the letter
	{"target", "String"},             // topic its record was sent to
	{"target_partition", "Int32"},
	{"target_offset", "Int64"},
}

// LetterMark is what is noted of a letter: that a replay sends its record, or has sent it.
type LetterMark struct {
	*Letter
	Target LetterTarget
}

// MarkSending notes that the records of letters are about to be sent: each to a partition of its target, at the offset or
// behind it.
func (l *Letters) MarkSending(ctx context.Context, marks []LetterMark) error {
	return l.mark(ctx, markSending, marks)
}

// MarkReplayed notes where the records of letters are now.
func (l *Letters) MarkReplayed(ctx context.Context, marks []LetterMark) error {
	return l.mark(ctx, markReplayed, marks)
}

func (l *Letters) mark(ctx context.Context, mark string, marks []LetterMark) error {
	columns := make([]string, len(letterMarkColumns))
	for i, c := range letterMarkColumns {
		columns[i] = c[0]
	}
	def := letterMarksDef()
	for page := range slices.Chunk(marks, maxDeadLetterRows) {
		tok := newToken(qualified(l.s.cfg.Database, letterMarkTable))
		tok.text(mark)
		tok.uint(uint64(time.Now().UnixNano())) // the same note may be made again, and its time is told
		for i := range page {
			m := &page[i]
			tok.text(fmt.Sprint(m.LetterID, m.Target))
		}
		err := l.s.insert(ctx, &def, columns, tok, len(page), func(b driver.Batch) error {
			for i := range page {
				m := &page[i]
				if err := b.Append(
					m.Site, l.pipeline, m.Revision, m.Topic, m.TopicID, uint32(m.Partition), m.Segment, m.Offset, m.Step, m.Index,
					mark, m.Time, m.Reason, m.Target.Topic, m.Target.Partition, m.Target.Offset,
				); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return l.s.explain(ctx, err)
		}
	}
	return nil
}

// Purged is what a purge deletes.
type Purged struct {
	Letters int64 `json:"letters"`
	Bytes   int64 `json:"bytes"` // of payloads
}

// Purgeable counts what Purge would delete.
func (l *Letters) Purgeable(ctx context.Context, f *LetterFilter) (Purged, error) {
	counts, err := l.Count(ctx, f, nil, 0)
	if err != nil || len(counts) == 0 {
		return Purged{}, err
	}
	return Purged{counts[0].Letters, counts[0].Bytes}, nil
}

// Purge deletes the letters that are chosen, and waits until the table has none of their bytes in use. What tells them
// apart, and why they were rejected, stays as a mark, so that the audit can still account for every rejected record. It may
// be ended at any moment and done again. Letters that were purged before and came back, because a node shipped them again,
// go as well, and are in what it returns.
func (l *Letters) Purge(ctx context.Context, f *LetterFilter) (Purged, error) {
	var columns, values []string
	for _, c := range letterMarkColumns {
		columns = append(columns, c[0])
		switch c[0] {
		case "mark":
			values = append(values, quote(markPurged))
		case "target":
			values = append(values, "''")
		case "target_partition", "target_offset":
			values = append(values, "0")
		default:
			values = append(values, c[0])
		}
	}
	letters, marks := qualified(l.s.cfg.Database, deadLetterTable), qualified(l.s.cfg.Database, letterMarkTable)
	identity := strings.Join(letterIdentity, ", ")
	purged := fmt.Sprintf("(%s) IN (SELECT %[1]s FROM %s WHERE pipeline = %s AND mark = %s)", identity, marks, quote(l.pipeline), quote(markPurged))
	// The marks first: a letter that is marked and still there counts once, one that is gone without a mark is a fault.
	sql := fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM %s FINAL WHERE %s AND NOT %s",
		marks, strings.Join(columns, ", "), strings.Join(values, ", "), letters, l.where(f), purged)
	if err := l.s.exec(ctx, "mark the dead letters to purge", sql); err != nil {
		return Purged{}, l.s.explain(ctx, err)
	}
	var gone Purged
	sql = fmt.Sprintf("SELECT toInt64(count()), toInt64(sum(length(payload))) FROM %s FINAL WHERE pipeline = %s AND %s", letters, quote(l.pipeline), purged)
	if err := l.s.query(ctx, "count the dead letters to purge", sql, func(rows driver.Rows) error {
		return rows.Scan(&gone.Letters, &gone.Bytes)
	}); err != nil {
		return Purged{}, l.s.explain(ctx, err)
	}
	if gone.Letters == 0 {
		return gone, nil
	}
	sql = fmt.Sprintf("ALTER TABLE %s DELETE WHERE pipeline = %s AND %s SETTINGS mutations_sync = 2", letters, quote(l.pipeline), purged)
	return gone, l.s.explain(ctx, l.s.exec(ctx, "delete the dead letters", sql))
}
