package clickhouse

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

// storedRows and storedBytes are how much of what is stored is handed over at a time.
const (
	storedRows  = 8192
	storedBytes = 16 << 20
)

// Rows reads the rows that are stored of a segment, the newest version of each, for windows that start in [from, to), in
// milliseconds since 1970. Of the coverage only partition, revision and segment count. each is given rows of a cut's schema and
// the version of each row; both are its own. An error of each ends it and is returned as it is.
func (s *Sink) Rows(ctx context.Context, of sink.Coverage, from, to int64, each func(rows *batch.Batch, versions []int64) error) error {
	op := fmt.Sprintf("read the rows of %s", of.Partition)
	sql := fmt.Sprintf("SELECT %s, toInt64(_version) FROM %s FINAL\nWHERE %s%s",
		idents(s.schema.Names()), qualified(s.cfg.Database, s.layout.partials().name), s.segmentCondition("_", of), windowBounds(from, to))
	if s.table.Sessions {
		sql += " AND " + sessionsStand(s.cfg.Database, &s.table)
	}
	b := newRowBuilder(s.schema)
	var failed error
	flush := func() error {
		rows, versions := b.take()
		if rows.Rows > 0 {
			failed = each(rows, versions)
		}
		return failed
	}
	err := s.query(ctx, op, sql, func(rows driver.Rows) error {
		if err := b.scan(rows); err != nil {
			return err
		}
		if len(b.versions) == storedRows || b.bytes() >= storedBytes {
			return flush()
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	if failed != nil {
		return failed
	}
	if err != nil {
		return s.explain(ctx, err)
	}
	return nil
}

// segmentCondition chooses the rows of a segment; prefix is that of the table's columns.
func (s *Sink) segmentCondition(prefix string, of sink.Coverage) string {
	c := strings.NewReplacer("{", prefix, "}", "")
	return c.Replace("{site} = ") + quote(s.table.Site) + c.Replace(" AND {pipeline} = ") + quote(s.table.Pipeline) +
		c.Replace(" AND {rev} = ") + strconv.FormatUint(of.Revision, 10) + c.Replace(" AND {topic} = ") + quote(of.Partition.Topic) +
		c.Replace(" AND {topic_id} = ") + quote(uuid.UUID(of.Partition.TopicID).String()) +
		c.Replace(" AND {partition} = ") + strconv.FormatInt(int64(of.Partition.ID), 10) +
		c.Replace(" AND {segment} = ") + strconv.FormatUint(of.Segment, 10)
}

// windowBounds chooses windows by their start. What no time of the server can be is no bound.
func windowBounds(from, to int64) string {
	text := ""
	if from > minTime.UnixMilli() {
		text += fmt.Sprintf(" AND window_start >= fromUnixTimestamp64Milli(%d, 'UTC')", min(from, maxTime.UnixMilli()))
	}
	if to <= maxTime.UnixMilli() {
		text += fmt.Sprintf(" AND window_start < fromUnixTimestamp64Milli(%d, 'UTC')", max(to, minTime.UnixMilli()))
	}
	return text
}

// lettersSQL are the dead letters of a segment and those that were purged from it. Both parts have the same conditions.
const lettersSQL = `SELECT record_offset, step, row_index, time, reason, detail, record_key, payload, truncated, is_row, false AS purged
FROM {letters} FINAL WHERE {where}
UNION ALL
SELECT record_offset, step, row_index, time, reason, '', '', '', false, false, true
FROM {marks} FINAL WHERE {where} AND mark = 'purged'`

func (s *Sink) lettersQuery(sql string, of sink.Coverage, from, to int64, more string) string {
	return strings.NewReplacer(
		"{letters}", qualified(s.cfg.Database, deadLetterTable), "{marks}", qualified(s.cfg.Database, letterMarkTable),
		"{where}", fmt.Sprintf("%s AND record_offset >= %d AND record_offset < %d%s", s.segmentCondition("", of), from, to, more),
	).Replace(sql)
}

// DeadLetters reads the dead letters of a segment for records at offsets in [from, to): those that are stored, and what is known of
// those that were purged. One that came back after that is given twice. Of the coverage only partition, revision and segment count.
func (s *Sink) DeadLetters(ctx context.Context, of sink.Coverage, from, to int64, each func(d sink.DeadLetter, purged bool) error) error {
	op := fmt.Sprintf("read the dead letters of %s", of.Partition)
	var failed error
	err := s.query(ctx, op, s.lettersQuery(lettersSQL, of, from, to, ""), func(rows driver.Rows) error {
		d := sink.DeadLetter{Partition: of.Partition, Revision: of.Revision, Segment: of.Segment}
		var reason string
		var purged bool
		if err := rows.Scan(&d.Offset, &d.Step, &d.Index, &d.Time, &reason, &d.Detail, &d.Key, &d.Payload, &d.Truncated, &d.Row, &purged); err != nil {
			return err
		}
		d.Reason = batch.Reason(reason)
		failed = each(d, purged)
		return failed
	})
	if failed != nil {
		return failed
	}
	if err != nil {
		return s.explain(ctx, err)
	}
	return nil
}

// CountLetters counts the dead letters of a segment with a reason, for records at offsets in [from, to), those included that were
// purged.
func (s *Sink) CountLetters(ctx context.Context, of sink.Coverage, why batch.Reason, from, to int64) (int64, error) {
	op := fmt.Sprintf("count the dead letters of %s", of.Partition)
	sql := "SELECT toInt64(uniqExact(record_offset, step, row_index)) FROM (" + s.lettersQuery(lettersSQL, of, from, to, " AND reason = "+quote(string(why))) + ")"
	n := int64(0)
	if err := s.query(ctx, op, sql, func(rows driver.Rows) error { return rows.Scan(&n) }); err != nil {
		return 0, s.explain(ctx, err)
	}
	return n, nil
}

// Orphans lists the segments of a partition of which rows are stored and no account; only Partition, Revision, Segment and
// RowsVersion are set.
func (s *Sink) Orphans(ctx context.Context, p batch.Partition) ([]sink.Coverage, error) {
	op := fmt.Sprintf("look for rows of %s without an account", p)
	sql := fmt.Sprintf(`SELECT _rev, _segment, toInt64(max(_version)) FROM %s
WHERE _site = %[3]s AND _pipeline = %[4]s AND _topic = %[5]s AND _topic_id = %[6]s AND _partition = %[7]d
    AND (_rev, _segment) NOT IN (SELECT rev, segment FROM %[2]s WHERE site = %[3]s AND pipeline = %[4]s AND topic = %[5]s AND topic_id = %[6]s AND partition = %[7]d)
GROUP BY _rev, _segment ORDER BY _segment, _rev`,
		qualified(s.cfg.Database, s.layout.partials().name), qualified(s.cfg.Database, coverageTable),
		quote(s.table.Site), quote(s.table.Pipeline), quote(p.Topic), quote(uuid.UUID(p.TopicID).String()), p.ID)
	var all []sink.Coverage
	err := s.query(ctx, op, sql, func(rows driver.Rows) error {
		c := sink.Coverage{Partition: p}
		if err := rows.Scan(&c.Revision, &c.Segment, &c.RowsVersion); err != nil {
			return err
		}
		all = append(all, c)
		return nil
	})
	if err != nil {
		return nil, s.explain(ctx, err)
	}
	return all, nil
}

// Expiry is how long a table keeps windows and dead letters; 0 is for ever.
type Expiry struct{ Windows, DeadLetters time.Duration }

var ttlInterval = regexp.MustCompile(`toInterval(Second|Minute|Hour|Day|Week)\((\d+)\)`)

var ttlUnits = map[string]time.Duration{
	"Second": time.Second, "Minute": time.Minute, "Hour": time.Hour, "Day": 24 * time.Hour, "Week": 7 * 24 * time.Hour,
}

// Expiry reads how long the tables keep what is in them. It may differ from the pipeline's file: people may change it. One that
// weir cannot read is an error.
func (s *Sink) Expiry(ctx context.Context) (Expiry, error) {
	server, err := s.find(ctx, "look at the tables")
	if err != nil {
		return Expiry{}, s.explain(ctx, err)
	}
	var e Expiry
	if e.Windows, err = expiryOf(server[s.layout.partials().name]); err == nil {
		e.DeadLetters, err = expiryOf(server[deadLetterTable])
	}
	return e, err
}

func expiryOf(f *found) (time.Duration, error) {
	if !expires(f) {
		return 0, nil
	}
	_, text, _ := strings.Cut(f.engineFull, " TTL ")
	text, _, _ = strings.Cut(text, " SETTINGS ")
	m := ttlInterval.FindAllStringSubmatch(text, -1)
	if len(m) != 1 {
		return 0, fmt.Errorf("the table drops old rows by a rule that weir does not know: TTL %s", text)
	}
	n, err := strconv.ParseInt(m[0][2], 10, 64)
	unit := ttlUnits[m[0][1]]
	if err != nil || n > int64(math.MaxInt64/unit) {
		return 0, fmt.Errorf("the table drops old rows after %s of %s, which is no time", m[0][2], m[0][1])
	}
	return time.Duration(n) * unit, nil
}

// rowBuilder makes batches of the rows that a query gives.
type rowBuilder struct {
	schema   *batch.Schema
	cols     []columnBuilder
	dest     []any
	version  int64
	versions []int64
}

func newRowBuilder(schema *batch.Schema) *rowBuilder {
	b := &rowBuilder{schema: schema, cols: make([]columnBuilder, len(schema.Fields))}
	for i, f := range schema.Fields {
		b.cols[i] = newColumnBuilder(f)
		b.dest = append(b.dest, b.cols[i].dest)
	}
	b.dest = append(b.dest, &b.version)
	return b
}

func (b *rowBuilder) scan(rows driver.Rows) error {
	if err := rows.Scan(b.dest...); err != nil {
		return err
	}
	n := len(b.versions)
	for i := range b.cols {
		b.cols[i].add(n)
	}
	b.versions = append(b.versions, b.version)
	return nil
}

// bytes is about what was gathered.
func (b *rowBuilder) bytes() int {
	n := 0
	for i := range b.cols {
		n += len(b.cols[i].col.Values)
	}
	return n
}

// take hands out what was gathered.
func (b *rowBuilder) take() (*batch.Batch, []int64) {
	out := &batch.Batch{Schema: b.schema, Rows: len(b.versions), Cols: make([]batch.Column, len(b.cols))}
	for i := range b.cols {
		out.Cols[i] = b.cols[i].take(out.Rows)
	}
	versions := b.versions
	b.versions = nil
	return out, versions
}

// columnBuilder gathers the values of a column.
type columnBuilder struct {
	dest   any // where a row is scanned to
	append func(c *batch.Column) (valid bool)
	col    batch.Column
	valid  []bool
}

func newColumnBuilder(f batch.Field) columnBuilder {
	t := f.Type
	switch t.Kind {
	case batch.Bool:
		return gathered(f, func(c *batch.Column, v bool) { c.Values = append(c.Values, flag(v)) })
	case batch.Int8:
		return fixed[int8](f)
	case batch.Int16:
		return fixed[int16](f)
	case batch.Int32:
		return fixed[int32](f)
	case batch.Int64:
		return fixed[int64](f)
	case batch.Uint8:
		return fixed[uint8](f)
	case batch.Uint16:
		return fixed[uint16](f)
	case batch.Uint32:
		return fixed[uint32](f)
	case batch.Uint64:
		return fixed[uint64](f)
	case batch.Float32:
		return fixed[float32](f)
	case batch.Float64:
		return fixed[float64](f)
	case batch.String, batch.Binary:
		return gathered(f, func(c *batch.Column, v string) {
			if c.Offsets == nil {
				c.Offsets = append(c.Offsets, 0, 0, 0, 0)
			}
			c.Values = append(c.Values, v...)
			c.Offsets = append(c.Offsets, batch.Bytes([]int32{int32(len(c.Values))})...)
		})
	case batch.Date32:
		return gathered(f, func(c *batch.Column, v time.Time) {
			c.Values = append(c.Values, batch.Bytes([]int32{int32(floorDays(v.Unix()))})...)
		})
	case batch.Timestamp:
		return gathered(f, func(c *batch.Column, v time.Time) {
			c.Values = append(c.Values, batch.Bytes([]int64{outTime(v, t.Unit)})...)
		})
	case batch.Decimal:
		return gathered(f, func(c *batch.Column, v decimal.Decimal) {
			c.Values = append(c.Values, batch.DecimalBytes([]batch.Int128{outDecimal(v, int(t.Scale))})...)
		})
	default:
		panic("clickhouse: column of type " + t.String()) // checkTable refuses it
	}
}

func fixed[T batch.Fixed](f batch.Field) columnBuilder {
	return gathered(f, func(c *batch.Column, v T) { c.Values = append(c.Values, batch.Bytes([]T{v})...) })
}

// gathered is the builder of a column whose values the client gives as T. What stands under a null is a zero.
func gathered[T any](f batch.Field, put func(*batch.Column, T)) columnBuilder {
	if !f.Nullable {
		dest := new(T)
		return columnBuilder{dest: dest, append: func(c *batch.Column) bool { put(c, *dest); return true }}
	}
	dest := new(*T)
	return columnBuilder{dest: dest, append: func(c *batch.Column) bool {
		var v T
		valid := *dest != nil
		if valid {
			v = **dest
		}
		put(c, v)
		return valid
	}}
}

func (b *columnBuilder) add(row int) {
	if b.append(&b.col) {
		return
	}
	for len(b.valid) < row {
		b.valid = append(b.valid, true)
	}
	b.valid = append(b.valid, false)
	b.col.Nulls++
}

func (b *columnBuilder) take(rows int) batch.Column {
	c := b.col
	if _, isBool := b.dest.(*bool); isBool || isNullableBool(b.dest) {
		bits := make([]byte, batch.BitmapLen(rows))
		for i, v := range c.Values {
			if v != 0 {
				batch.SetBit(bits, i)
			}
		}
		c.Values = bits
	}
	if c.Nulls > 0 {
		c.Validity = make([]byte, batch.BitmapLen(rows))
		for i := range rows {
			if i >= len(b.valid) || b.valid[i] {
				batch.SetBit(c.Validity, i)
			}
		}
	}
	b.col, b.valid = batch.Column{}, nil
	return c
}

func isNullableBool(dest any) bool { _, ok := dest.(**bool); return ok }

// floorDays is the day of a time in seconds.
func floorDays(seconds int64) int64 { return day(seconds * 1000) }

// outTime is a time as a timestamp value.
func outTime(t time.Time, u batch.Unit) int64 {
	switch u {
	case batch.Second:
		return t.Unix()
	case batch.Millisecond:
		return t.UnixMilli()
	case batch.Microsecond:
		return t.UnixMicro()
	default:
		return t.UnixNano()
	}
}
