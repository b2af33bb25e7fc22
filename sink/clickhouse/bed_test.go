package clickhouse_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	chgo "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
	"github.com/weir-stream/weir/sink/clickhouse"
)

// bed is a database with a sink, and a connection of the test's own to look at the result.
type bed struct {
	t    *testing.T
	cfg  clickhouse.Config
	tab  sink.Table
	sink *clickhouse.Sink
	conn driver.Conn
}

// kind is short for a type in tables of tests.
func kind(k batch.Kind) batch.Type { return batch.Type{Kind: k} }

// temperature is the table of the examples: a key, a count, an average that may be null, a maximum.
func temperature() sink.Table {
	return sink.Table{
		Site: "berlin", Node: "edge-1", Pipeline: "line-temperature", Window: 10 * time.Second,
		Keys: []batch.Field{{Name: "device", Type: kind(batch.String)}},
		Aggregates: []sink.Aggregate{
			{Name: "readings", Type: kind(batch.Uint64), States: []sink.State{
				{Field: batch.Field{Name: "readings", Type: kind(batch.Uint64)}},
			}},
			{Name: "temp_avg", Type: kind(batch.Float64), Finish: sink.FinishRatio, States: []sink.State{
				{Field: batch.Field{Name: "temp_avg__sum", Type: kind(batch.Float64), Nullable: true}},
				{Field: batch.Field{Name: "temp_avg__count", Type: kind(batch.Uint64)}},
			}},
			{Name: "temp_max", Type: kind(batch.Float64), States: []sink.State{
				{Field: batch.Field{Name: "temp_max", Type: kind(batch.Float64), Nullable: true}, Merge: sink.MergeMax},
			}},
		},
	}
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{t: t, cfg: clickhouse.Config{URL: embeddedtest.ClickHouse(t), Table: "temps"}, tab: temperature()}
	b.conn = open(t, b.cfg.URL)
	b.sink = b.open(b.cfg)
	b.apply()
	return b
}

func open(t testing.TB, dsn string) driver.Conn {
	t.Helper()
	opt, err := chgo.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := chgo.Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// open makes another sink on the same tables, like another process.
func (b *bed) open(cfg clickhouse.Config) *clickhouse.Sink {
	b.t.Helper()
	s, err := clickhouse.New(cfg, b.tab, slog.New(slog.NewTextHandler(b.t.Output(), nil)))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = s.Close() })
	return s
}

func (b *bed) apply() {
	b.t.Helper()
	if err := b.sink.Apply(b.ctx(), nil); err != nil {
		b.t.Fatalf("apply: %v", err)
	}
}

// coverage is what is stored of one source.
func (b *bed) coverage(p batch.Partition) ([]sink.Coverage, error) {
	b.t.Helper()
	all, err := b.sink.Coverage(b.ctx(), []batch.Partition{p})
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

func (b *bed) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	b.t.Cleanup(cancel)
	return ctx
}

func (b *bed) write(cuts ...*sink.Cut) {
	b.t.Helper()
	if err := b.sink.Write(b.ctx(), cuts); err != nil {
		b.t.Fatalf("write: %v", err)
	}
}

func (b *bed) exec(sql string) {
	b.t.Helper()
	if err := b.conn.Exec(b.ctx(), sql); err != nil {
		b.t.Fatalf("%s: %v", sql, err)
	}
}

// ask runs a query in the test's database and gives each row as its values with spaces between.
func (b *bed) ask(sql string) []string {
	b.t.Helper()
	rows, err := b.conn.Query(b.ctx(), sql)
	if err != nil {
		b.t.Fatalf("%s: %v", sql, err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			b.t.Fatalf("%s: %v", sql, err)
		}
		out = append(out, line)
	}
	if err := rows.Err(); err != nil {
		b.t.Fatalf("%s: %v", sql, err)
	}
	return out
}

// answers reads the finished view.
func (b *bed) answers() string {
	b.t.Helper()
	return strings.Join(b.ask(`SELECT concatWithSeparator(' ', toString(toUnixTimestamp(window_start)), device, toString(readings),
		ifNull(toString(temp_avg), 'null'), ifNull(toString(temp_max), 'null')) FROM temps ORDER BY window_start, device`), "\n")
}

func (b *bed) want(want string) {
	b.t.Helper()
	if got := b.answers(); got != strings.TrimSpace(want) {
		b.t.Fatalf("the view has\n%s\nwant\n%s", got, strings.TrimSpace(want))
	}
}

// row is a row of the temperature table. A NaN-free sum of nil is null.
type row struct {
	start  int64 // seconds since 1970
	device string
	rows   uint64
	sum    *float64
	count  uint64
	max    *float64
}

func f(v float64) *float64 { return &v }

// source is where cuts of a test come from.
type source struct {
	partition int32
	rev       uint64
	segment   uint64
	topicID   byte
}

func (s source) key() batch.Partition {
	return batch.Partition{Topic: "sensors", TopicID: [16]byte{15: s.topicID}, ID: s.partition}
}

// cut makes a cut of the temperature table whose counters and hashes fit its rows if rows were all there is.
func (b *bed) cut(s source, version int64, rows ...row) *sink.Cut {
	n := int64(0)
	for _, r := range rows {
		n += int64(r.rows)
	}
	c := &sink.Cut{
		Coverage: sink.Coverage{
			Partition: s.key(), Revision: s.rev, Segment: s.segment, Version: version,
			Watermark: 1_700_000_000_000_000, Final: 1_700_000_000_000_000 - 1,
			Counters: sink.Counters{RecordsIn: n, Aggregated: n},
		},
		Rows: b.rows(rows),
	}
	c.Coverage.Content = contentOf(c)
	return c
}

// contentOf is the content of a segment that has the rows of these cuts and no others.
func contentOf(cuts ...*sink.Cut) sink.Content {
	c := sink.Content{Known: true}
	for _, cut := range cuts {
		hashes := make([]uint64, cut.Rows.Rows)
		batch.HashRows(hashes, cut.Rows, nil)
		for i, end := range batch.As[int64](cut.Rows.Cols[1].Values)[:cut.Rows.Rows] {
			if c.All += hashes[i]; end*1000 <= cut.Coverage.Final {
				c.Final += hashes[i]
			}
		}
	}
	return c
}

func (b *bed) rows(rows []row) *batch.Batch {
	bb := newBuilder(b.tab.Schema())
	for _, r := range rows {
		bb.add(r.start*1000, r.start*1000+10_000, r.rows, r.device, r.rows, r.sum, r.count, r.max)
	}
	return bb.batch()
}

// builder makes batches from Go values. It is a test's: slow and forgiving.
type builder struct {
	schema *batch.Schema
	cells  [][]any
}

func newBuilder(s *batch.Schema) *builder {
	return &builder{schema: s, cells: make([][]any, len(s.Fields))}
}

func (b *builder) add(values ...any) {
	for i, v := range values {
		b.cells[i] = append(b.cells[i], v)
	}
}

func (b *builder) batch() *batch.Batch {
	n := len(b.cells[0])
	out := &batch.Batch{Schema: b.schema, Rows: n}
	out.SetWidth(len(b.schema.Fields))
	for i, f := range b.schema.Fields {
		out.Cols[i] = column(f, b.cells[i])
	}
	return out
}

func column(f batch.Field, cells []any) batch.Column {
	n := len(cells)
	c := batch.Column{Validity: make([]byte, batch.BitmapLen(n))}
	values := make([]uint64, 2*n+1) // aligned, and large enough for every width
	raw := batch.Bytes(values)
	offsets := make([]int32, n+1)
	var data []byte
	for i, v := range cells {
		if p, ok := v.(*float64); ok && p != nil {
			v = *p
		} else if ok {
			v = nil
		}
		if v != nil {
			batch.SetBit(c.Validity, i)
		} else {
			c.Nulls++
		}
		switch f.Type.Kind {
		case batch.Bool:
			if v == true {
				batch.SetBit(raw, i)
			}
		case batch.String, batch.Binary:
			if v != nil {
				data = append(data, v.(string)...)
			}
			offsets[i+1] = int32(len(data))
		default:
			put(raw, i, f.Type, v)
		}
	}
	if c.Nulls == 0 {
		c.Validity = nil
	}
	if f.Type.Variable() {
		c.Offsets, c.Values = batch.Bytes(offsets), data
		return c
	}
	c.Values = raw
	return c
}

func put(raw []byte, i int, t batch.Type, v any) {
	switch t.Kind {
	case batch.Int8:
		batch.As[int8](raw)[i] = as[int8](v)
	case batch.Int16:
		batch.As[int16](raw)[i] = as[int16](v)
	case batch.Int32, batch.Date32:
		batch.As[int32](raw)[i] = as[int32](v)
	case batch.Int64, batch.Timestamp:
		batch.As[int64](raw)[i] = as[int64](v)
	case batch.Uint8:
		batch.As[uint8](raw)[i] = as[uint8](v)
	case batch.Uint16:
		batch.As[uint16](raw)[i] = as[uint16](v)
	case batch.Uint32:
		batch.As[uint32](raw)[i] = as[uint32](v)
	case batch.Uint64:
		batch.As[uint64](raw)[i] = as[uint64](v)
	case batch.Float32:
		batch.As[float32](raw)[i] = as[float32](v)
	case batch.Float64:
		batch.As[float64](raw)[i] = as[float64](v)
	case batch.Decimal:
		(&batch.Column{Values: raw}).Decimals()[i] = as[batch.Int128](v)
	default:
		panic("no such type in tests: " + t.String())
	}
}

func as[T any](v any) T {
	if v == nil {
		var zero T
		return zero
	}
	t, ok := v.(T)
	if !ok {
		panic(fmt.Sprintf("%T is not %T", v, t))
	}
	return t
}
