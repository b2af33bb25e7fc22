package clickhouse

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/weir-stream/weir/sink"
)

// Letters reads the dead letters of one pipeline, of every site, and keeps account of what people do with them. It needs
// no plan of the pipeline: its name and its database are enough.
type Letters struct {
	s        *Sink
	pipeline string
}

// OpenLetters makes one. It connects to nothing yet.
func OpenLetters(cfg Config, pipeline string, log *slog.Logger) (*Letters, error) {
	cfg, opt, err := cfg.options()
	if err != nil {
		return nil, err
	}
	conn, err := clickhouse.Open(opt)
	if err != nil {
		return nil, fmt.Errorf("configure the ClickHouse client: %w", withoutURL(err, cfg.URL))
	}
	return &Letters{
		s: &Sink{
			cfg: cfg, conn: conn, log: log, table: sink.Table{Pipeline: pipeline},
			layout: &layout{database: cfg.Database, tables: []tableDef{deadLettersDef(cfg), letterMarksDef()}},
		},
		pipeline: pipeline,
	}, nil
}

// Close ends the connections. Closing twice is fine.
func (l *Letters) Close() error { return l.s.Close() }

// LetterFilter chooses dead letters. The zero value chooses all.
type LetterFilter struct {
	Site, Topic, Step, Reason string // each as it is stored; empty is any
	Partitions                []int32
	Offsets                   []OffsetRange // of the record, any of them
	Records                   []LetterRecord
	Since, Until              time.Time // time of the record, Until not included; zero is any
}

// OffsetRange is a range of offsets, both ends included.
type OffsetRange struct{ From, To int64 }

// LetterRecord names the record that letters are of.
type LetterRecord struct {
	Topic     string
	Partition int32
	Offset    int64
}

// String is the record as topic/partition/offset.
func (r LetterRecord) String() string { return fmt.Sprintf("%s/%d/%d", r.Topic, r.Partition, r.Offset) }

// where is the condition on the columns that letters and their marks both have.
func (l *Letters) where(f *LetterFilter) string {
	and := []string{"pipeline = " + quote(l.pipeline)}
	for _, c := range []struct{ column, value string }{{"site", f.Site}, {"topic", f.Topic}, {"step", f.Step}, {"reason", f.Reason}} {
		if c.value != "" {
			and = append(and, c.column+" = "+quote(c.value))
		}
	}
	if len(f.Partitions) > 0 {
		and = append(and, "partition IN ("+joined(f.Partitions, func(p int32) string { return fmt.Sprint(p) }, ", ")+")")
	}
	if len(f.Offsets) > 0 {
		and = append(and, "("+joined(f.Offsets, func(r OffsetRange) string {
			return fmt.Sprintf("record_offset BETWEEN %d AND %d", r.From, r.To)
		}, " OR ")+")")
	}
	if len(f.Records) > 0 {
		and = append(and, "(topic, partition, record_offset) IN ("+joined(f.Records, func(r LetterRecord) string {
			return fmt.Sprintf("(%s, %d, %d)", quote(r.Topic), r.Partition, r.Offset)
		}, ", ")+")")
	}
	if !f.Since.IsZero() {
		and = append(and, fmt.Sprintf("time >= fromUnixTimestamp64Milli(%d, 'UTC')", f.Since.UnixMilli()))
	}
	if !f.Until.IsZero() {
		and = append(and, fmt.Sprintf("time < fromUnixTimestamp64Milli(%d, 'UTC')", f.Until.UnixMilli()))
	}
	return strings.Join(and, " AND ")
}

func joined[T any](of []T, text func(T) string, sep string) string {
	parts := make([]string, len(of))
	for i, v := range of {
		parts[i] = text(v)
	}
	return strings.Join(parts, sep)
}

// LetterDimensions are what letters can be counted by.
var LetterDimensions = []string{"site", "topic", "partition", "step", "reason", "hour", "day"}

// LetterCount is a line of counts.
type LetterCount struct {
	By       []string // values of the dimensions, as text
	Letters  int64    // that are stored
	Replayed int64    // of all that there ever were, those whose record was sent again
	Purged   int64    // that were deleted on purpose, and are not counted in Letters
	Bytes    int64    // of payloads that are stored
	First    time.Time
	Last     time.Time
}

// Count counts letters by dimensions, at most limit lines, most letters first; without a limit, 0.
func (l *Letters) Count(ctx context.Context, f *LetterFilter, by []string, limit int) ([]LetterCount, error) {
	texts := []string{}
	for _, d := range by {
		switch d {
		case "site", "topic", "step", "reason":
			texts = append(texts, d)
		case "partition":
			texts = append(texts, "toString(partition)")
		case "hour":
			texts = append(texts, "formatDateTime(toStartOfHour(time), '%F %H:00', 'UTC')")
		case "day":
			texts = append(texts, "formatDateTime(time, '%F', 'UTC')")
		default:
			return nil, fmt.Errorf("letters cannot be counted by %q; there are: %s", d, strings.Join(LetterDimensions, ", "))
		}
	}
	identity := strings.Join(letterIdentity, ", ")
	r := strings.NewReplacer(
		"{identity}", identity,
		"{letters}", qualified(l.s.cfg.Database, deadLetterTable),
		"{marks}", qualified(l.s.cfg.Database, letterMarkTable),
		"{where}", l.where(f), "{source}", sourceColumns, "{ended}", endedSQL(l.s.cfg.Database, l.pipeline),
		"{by}", "["+strings.Join(texts, ", ")+"]",
	)
	sql := r.Replace(countLettersSQL)
	if len(by) == 0 {
		sql = strings.Replace(sql, "[] AS dimensions", "CAST([], 'Array(String)') AS dimensions", 1)
	}
	if limit > 0 {
		sql += fmt.Sprintf("\nLIMIT %d", limit)
	}
	var counts []LetterCount
	err := l.s.query(ctx, "count the dead letters", sql, func(rows driver.Rows) error {
		var c LetterCount
		if err := rows.Scan(&c.By, &c.Letters, &c.Replayed, &c.Purged, &c.Bytes, &c.First, &c.Last); err != nil {
			return err
		}
		counts = append(counts, c)
		return nil
	})
	return counts, l.s.explain(ctx, err)
}

// Every letter is one row with what is noted of it. A letter that came back after it was purged counts as purged.
const countLettersSQL = `SELECT {by} AS dimensions,
    toInt64(countIf(stored AND NOT purged)) AS letters, toInt64(countIf(replayed)) AS replayed_letters, toInt64(countIf(purged)) AS purged_letters,
    toInt64(sumIf(size, NOT purged)) AS bytes, min(time) AS first, max(time) AS last
FROM
(
    SELECT {identity}, any(reason) AS reason, any(time) AS time, max(is_letter) AS stored, max(is_replayed) AS replayed, max(is_purged) AS purged, max(length) AS size
    FROM
    (
        SELECT {identity}, reason, time, 1 AS is_letter, 0 AS is_replayed, 0 AS is_purged, length(payload) AS length
        FROM (SELECT * FROM {letters} FINAL WHERE {where}) AS d
        LEFT JOIN
        (
        {ended}
        ) AS e USING ({source})
        WHERE has_next = 0 OR record_offset < letters_end
        UNION ALL
        SELECT {identity}, reason, time, 0, mark = 'replayed', mark = 'purged', 0
        FROM {marks} FINAL WHERE {where}
    )
    GROUP BY {identity}
)
GROUP BY dimensions
ORDER BY letters DESC, dimensions`

// LetterID tells the letters of a pipeline apart.
type LetterID struct {
	Site      string `json:"site"`
	Topic     string `json:"topic"`
	TopicID   string `json:"topic_id"`
	Partition int32  `json:"partition"`
	Revision  uint64 `json:"rev"`
	Segment   uint64 `json:"segment"`
	Offset    int64  `json:"offset"` // of the record
	Step      string `json:"step"`
	Index     int32  `json:"row_index"` // tells rows of one record apart
}

// Record names the record the letter is of.
func (id *LetterID) Record() LetterRecord { return LetterRecord{id.Topic, id.Partition, id.Offset} }

// Letter is a dead letter as it is stored, and what is noted of it.
type Letter struct {
	LetterID
	Time       time.Time // of the record
	Reason     string
	Detail     string
	Key        []byte
	Payload    []byte
	Truncated  bool // the payload is only the beginning
	Row        bool // the payload is a row as JSON: its record is not known, and Offset is that of the first it may be
	Node       string
	ReceivedAt time.Time
	// Replayed is where its record was sent to, or nil. Sending is where a replay was about to send it, at this offset or
	// behind; nil where how that ended is noted.
	Replayed, Sending *LetterTarget
}

// LetterTarget is where the record of a letter was sent to.
type LetterTarget struct {
	Topic     string    `json:"topic"`
	Partition int32     `json:"partition"`
	Offset    int64     `json:"offset"`
	At        time.Time `json:"at"` // when it was noted
}

// Contents tells whether keys, payloads and details are read.
type Contents bool

// Letters can be many, and their contents large.
const (
	WithContents    Contents = true
	WithoutContents Contents = false
)

// Read gives the letters that are chosen to each, in the order of their records; at most limit where that is not 0. Those
// that were purged are left out.
func (l *Letters) Read(ctx context.Context, f *LetterFilter, contents Contents, limit int, each func(*Letter) error) error {
	columns := "detail, record_key, payload"
	if contents == WithoutContents {
		columns = "'', '', ''"
	}
	r := strings.NewReplacer(
		"{contents}", columns,
		"{identity}", strings.Join(letterIdentity, ", "),
		"{letters}", qualified(l.s.cfg.Database, deadLetterTable),
		"{marks}", qualified(l.s.cfg.Database, letterMarkTable),
		"{where}", l.where(f), "{source}", sourceColumns, "{ended}", endedSQL(l.s.cfg.Database, l.pipeline),
	)
	sql := r.Replace(readLettersSQL)
	if limit > 0 {
		sql += fmt.Sprintf("\nLIMIT %d", limit)
	}
	var failed error
	err := l.s.query(ctx, "read the dead letters", sql, func(rows driver.Rows) error {
		var d Letter
		var partition uint32
		var key, payload string
		var sending, replayed uint8
		var before, to LetterTarget
		if err := rows.Scan(&d.Site, &d.Topic, &d.TopicID, &partition, &d.Revision, &d.Segment, &d.Offset, &d.Step, &d.Index,
			&d.Time, &d.Reason, &d.Detail, &key, &payload, &d.Truncated, &d.Row, &d.Node, &d.ReceivedAt,
			&sending, &before.Topic, &before.Partition, &before.Offset, &before.At,
			&replayed, &to.Topic, &to.Partition, &to.Offset, &to.At); err != nil {
			return err
		}
		d.Partition, d.Key, d.Payload = int32(partition), []byte(key), []byte(payload)
		switch {
		case replayed == 1:
			d.Replayed = &to
		case sending == 1:
			d.Sending = &before
		}
		failed = each(&d)
		return failed
	})
	if failed != nil {
		return failed
	}
	return l.s.explain(ctx, err)
}

const readLettersSQL = `SELECT
    site, topic, toString(topic_id) AS topic_uuid, partition, rev, segment, record_offset, step, row_index,
    time, reason, {contents}, truncated, is_row, node, received_at,
    sending, sending_topic, sending_partition, sending_offset, sending_at,
    replayed, replayed_topic, replayed_partition, replayed_offset, replayed_at
FROM (SELECT *, received_at FROM {letters} FINAL WHERE {where}) AS d
LEFT JOIN
(
        {ended}
) AS e USING ({source})
LEFT JOIN
(
    SELECT
        {identity},
        max(mark = 'sending') AS sending, anyIf(target, mark = 'sending') AS sending_topic,
        anyIf(target_partition, mark = 'sending') AS sending_partition, anyIf(target_offset, mark = 'sending') AS sending_offset,
        anyIf(noted_at, mark = 'sending') AS sending_at,
        max(mark = 'replayed') AS replayed, anyIf(target, mark = 'replayed') AS replayed_topic,
        anyIf(target_partition, mark = 'replayed') AS replayed_partition, anyIf(target_offset, mark = 'replayed') AS replayed_offset,
        anyIf(noted_at, mark = 'replayed') AS replayed_at,
        max(mark = 'purged') AS purged
    FROM (SELECT *, received_at AS noted_at FROM {marks} FINAL WHERE {where})
    GROUP BY {identity}
) AS m USING ({identity})
WHERE purged = 0 AND (has_next = 0 OR record_offset < letters_end)
ORDER BY site, topic, topic_uuid, partition, record_offset, rev, segment, step, row_index`
