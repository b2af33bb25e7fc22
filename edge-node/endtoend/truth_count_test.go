package endtoend

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-stream/weir/edge-node/pipeline"
	"github.com/weir-stream/weir/sink"
	"github.com/weir-stream/weir/sink/clickhouse"
)

// countedLayouts are of windows of so many rows of a key in a partition. The timeout is longer than the data, so that the answer can be had from
// a query alone.
var countedLayouts = []layout{
	{name: "hundreds", partitions: 3, spread: true, reach: 400, killed: true, window: &windowKind{yaml: "count: {rows: 100, timeout: 366d}", rows: "hundreds"}, full: 100},
}

// storePlaces stores at which offset each row lies. Records are produced in this order, by one producer.
func (l layout) storePlaces(ctx context.Context, t *testing.T, dsn string, records []*kgo.Record) {
	t.Helper()
	conn := openClickHouse(t, dsn)
	if err := conn.Exec(ctx, "CREATE TABLE "+l.window.rows+"_places (id Int64, partition Int32, offset Int64) ENGINE = MergeTree ORDER BY id"); err != nil {
		t.Fatal(err)
	}
	places, err := conn.PrepareBatch(ctx, "INSERT INTO "+l.window.rows+"_places")
	if err != nil {
		t.Fatal(err)
	}
	next := map[int32]int64{}
	for _, r := range records {
		var row struct{ ID int64 }
		if err := json.Unmarshal(r.Value, &row); err != nil {
			t.Fatal(err)
		}
		if err := places.Append(row.ID, r.Partition, next[r.Partition]); err != nil {
			t.Fatal(err)
		}
		next[r.Partition]++
	}
	if err := places.Send(); err != nil {
		t.Fatal(err)
	}
}

// compareCounted lays the windows of so many rows beside what a query makes of the raw rows and the offsets they lie at: the n-th window of a
// key in a partition has the rows from n times so many on.
func (tr *truth) compareCounted(ctx context.Context, t *testing.T, s nodeSpec, l layout) {
	t.Helper()
	plan, err := s.plan(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = plan.Close() }()
	answers := tr.taken(l)
	var truths, wrong strings.Builder
	for i, a := range answers {
		fmt.Fprintf(&truths, ", %s AS t%d", a.sql, i)
		fmt.Fprintf(&wrong, ", toInt64(countIf(NOT (%s)))", a.holds(i))
	}
	joined := fmt.Sprintf(`(SELECT * FROM (
			SELECT partition AS part, %[1]s, nth, argMin(ts, offset) AS began, count() AS rows%[2]s FROM (
				SELECT raw.*, p.partition, p.offset, intDiv(row_number() OVER (PARTITION BY p.partition, %[1]s ORDER BY p.offset) - 1, %[3]d) AS nth
				FROM raw INNER JOIN %[4]s_places AS p ON raw.id = p.id
			) GROUP BY partition, %[1]s, nth
		) AS truth FULL OUTER JOIN (
			SELECT *, toInt32(_partition) AS part, row_number() OVER (PARTITION BY _partition, %[1]s ORDER BY _segment, _window) - 1 AS nth FROM %[5]s
		) AS answers ON truth.part = answers.part AND truth.%[1]s = answers.%[1]s AND truth.nth = answers.nth SETTINGS join_use_nulls = 0)`,
		tr.key, truths.String(), l.full, l.window.rows, quoteIdent(plan.Spec.Sink.ClickHouse.Table))
	conn := openClickHouse(t, s.ClickHouse)
	dest := make([]any, 3+len(answers))
	for i := range dest {
		dest[i] = new(int64)
	}
	sql := fmt.Sprintf("SELECT toInt64(count()), toInt64(countIf(rows != _rows OR _full != (rows = %d))), toInt64(countIf(began != window_start))%s FROM %s", l.full, wrong.String(), joined)
	if err := conn.QueryRow(ctx, sql).Scan(dest...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	groups, rows, starts := *dest[0].(*int64), *dest[1].(*int64), *dest[2].(*int64)
	if groups < 100 || rows > 0 || starts > 0 {
		t.Errorf("%d windows, of which %d have other rows, and %d begin elsewhere", groups, rows, starts)
	}
	for i, a := range answers {
		if n := *dest[3+i].(*int64); n > 0 {
			t.Errorf("%s is wrong in %d of %d windows", a.weir, n, groups)
		}
	}
	wantAudit(ctx, t, plan)
	wantCountedLineage(ctx, t, plan, tr.key, conn)
	if !t.Failed() {
		t.Logf("%d windows, %d answers each", groups, len(answers))
	}
}

// wantCountedLineage asks what a window that is full, and one that is not, were made from: the rows of one partition.
func wantCountedLineage(ctx context.Context, t *testing.T, plan *pipeline.Plan, key string, conn driver.Conn) {
	t.Helper()
	s, err := clickhouse.New(plan.ClickHouse(), plan.Table, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	sql := fmt.Sprintf("SELECT window_start, %[1]s, toString(_window), _partition, toInt64(_rows), _full FROM %[2]s ORDER BY _full, window_start, _window, _partition LIMIT 1 BY _full", key, quoteIdent(plan.Table.Pipeline))
	asked := 0
	queryRows(ctx, t, conn, sql, func(rows driver.Rows) error {
		var of, number string
		var partition uint32
		var n int64
		var full bool
		at := clickhouse.RowAddress{Keys: map[string]*string{key: &of, sink.WindowNumber: &number}}
		if err := rows.Scan(&at.At, &of, &number, &partition, &n, &full); err != nil {
			return err
		}
		asked++
		l, err := s.Lineage(ctx, at)
		if err != nil {
			return fmt.Errorf("lineage of %s %s %s: %w", at.At, of, number, err)
		}
		state := map[bool]string{true: "final", false: "open"}[full]
		if l.Rows != n || len(l.Sources) != 1 || l.Sources[0].Partition != partition || l.Sources[0].State != state || l.Final != full || (len(l.Waiting) == 0) != full {
			t.Errorf("lineage of %s %s %s, %d rows, full %t: %+v", at.At, of, number, n, full, l)
		}
		return nil
	})
	if asked != 2 {
		t.Errorf("%d windows were asked about", asked)
	}
}
