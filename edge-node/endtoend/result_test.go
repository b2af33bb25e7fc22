package endtoend

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	chgo "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/weir-stream/weir/edge-node/pipeline"
	"github.com/weir-stream/weir/sink/clickhouse"
)

// result is what ClickHouse has after a run, as text.
type result struct{ answer, letters, coverage string }

func openClickHouse(t *testing.T, dsn string) driver.Conn {
	t.Helper()
	opts, err := chgo.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := chgo.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func readResult(ctx context.Context, t *testing.T, s nodeSpec, sent map[string]record) *result {
	t.Helper()
	plan, err := s.plan(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = plan.Close() }()
	conn := openClickHouse(t, s.ClickHouse)
	r := &result{}
	r.answer = readView(ctx, t, conn, plan.Spec.Sink.ClickHouse.Table)
	for i := range plan.Table.Rollups {
		r.answer += "\n" + plan.Table.Rollups[i].Name + "\n" + readView(ctx, t, conn, plan.Table.Rollups[i].Name)
	}
	r.answer = strings.ReplaceAll(r.answer, s.Prefix, "") // of columns that name topics
	r.letters = readLetters(ctx, t, conn, s.Prefix, sent)
	r.coverage = readCoverage(ctx, t, conn, s.Prefix)
	wantAudit(ctx, t, plan)
	return r
}

// readView is a view with the types of its columns.
func readView(ctx context.Context, t *testing.T, conn driver.Conn, view string) string {
	t.Helper()
	var head []string
	queryRows(ctx, t, conn, "DESCRIBE TABLE "+view, func(rows driver.Rows) error {
		dest := make([]string, len(rows.Columns()))
		ptrs := make([]any, len(dest))
		for i := range dest {
			ptrs[i] = &dest[i]
		}
		if err := rows.Scan(ptrs...); err != nil {
			return err
		}
		head = append(head, dest[0]+" "+dest[1])
		return nil
	})
	var b strings.Builder
	b.WriteString(strings.Join(head, "\t") + "\n")
	queryRows(ctx, t, conn, "SELECT formatRow('TSV', *) FROM (SELECT * FROM "+view+") ORDER BY ALL", func(rows driver.Rows) error {
		var line string
		err := rows.Scan(&line)
		b.WriteString(line)
		return err
	})
	return b.String()
}

// readLetters lists the dead letters, and checks that each holds the record it is about.
func readLetters(ctx context.Context, t *testing.T, conn driver.Conn, prefix string, sent map[string]record) string {
	t.Helper()
	const sql = `SELECT topic, partition, record_offset, step, row_index, reason, detail, record_key, payload, truncated, is_row
		FROM weir_dead_letters FINAL ORDER BY topic, partition, record_offset, step, row_index`
	var b strings.Builder
	queryRows(ctx, t, conn, sql, func(rows driver.Rows) error {
		var topic, step, reason, detail, key, payload string
		var isRow bool
		var partition uint32
		var offset int64
		var index int32
		var truncated bool
		if err := rows.Scan(&topic, &partition, &offset, &step, &index, &reason, &detail, &key, &payload, &truncated, &isRow); err != nil {
			return err
		}
		place := fmt.Sprintf("%s/%d@%d", strings.TrimPrefix(topic, prefix), partition, offset)
		from, ok := sent[place]
		if !ok {
			t.Errorf("dead letter of %s, where there was no record", place)
		}
		// 64 KiB of a payload are kept.
		cut := len(from.value) > 64<<10
		if isRow { // of a record with many: the payload is the row
			detail, payload, cut = detail+"\t"+payload, string(from.value), false
		}
		if value := from.value[:min(len(from.value), 64<<10)]; !bytes.Equal([]byte(payload), value) || truncated != cut || key != string(from.key) {
			t.Errorf("dead letter of %s holds key %q, %.200q, truncated %v", place, key, payload, truncated)
		}
		if index > 0 {
			place += fmt.Sprintf(".%d", index)
		}
		fmt.Fprintf(&b, "%s\t%s\t%s\t%s\n", place, step, reason, detail)
		return nil
	})
	return b.String()
}

func readCoverage(ctx context.Context, t *testing.T, conn driver.Conn, prefix string) string {
	t.Helper()
	const sql = `SELECT topic, partition, count(), toInt64(sum(records_in)), toInt64(sum(expanded)), toInt64(sum(aggregated)), toInt64(sum(late)),
		toInt64(sum(filtered)), toInt64(sum(rejected)), toInt64(sum(gap)) FROM weir_coverage FINAL GROUP BY topic, partition ORDER BY topic, partition`
	var b strings.Builder
	queryRows(ctx, t, conn, sql, func(rows driver.Rows) error {
		var topic string
		var partition uint32
		var segments uint64
		var n [7]int64
		if err := rows.Scan(&topic, &partition, &segments, &n[0], &n[1], &n[2], &n[3], &n[4], &n[5], &n[6]); err != nil {
			return err
		}
		if segments != 1 || n[6] != 0 {
			t.Errorf("%s/%d has %d segments and a gap of %d", topic, partition, segments, n[6])
		}
		if n[0] == 0 {
			return nil // whether a partition without records has an account depends on how long a run took
		}
		fmt.Fprintf(&b, "%s/%d", strings.TrimPrefix(topic, prefix), partition)
		for i, name := range []string{"records", "expanded", "aggregated", "late", "filtered", "rejected"} {
			fmt.Fprintf(&b, " %s %d", name, n[i])
		}
		b.WriteByte('\n')
		return nil
	})
	return b.String()
}

// wantAudit runs the audit of a pipeline, which must find nothing.
func wantAudit(ctx context.Context, t *testing.T, plan *pipeline.Plan) {
	t.Helper()
	s, err := clickhouse.New(plan.ClickHouse(), plan.Table, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	report, err := s.Audit(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range report.Partitions {
		for _, f := range p.Faults {
			t.Errorf("audit: %s/%d: %s", p.Topic, p.Partition, f)
		}
		for _, g := range p.Segments {
			if g.Content != "ok" {
				t.Errorf("audit: %s/%d, segment %d: its values are not proven: %s", p.Topic, p.Partition, g.Segment, g.Content)
			}
		}
	}
	if !report.OK {
		t.Error("the audit does not pass")
	}
	wantRevisions(ctx, t, s, report)
}

// wantRevisions holds what is known of revisions against the revisions of what is stored.
func wantRevisions(ctx context.Context, t *testing.T, s *clickhouse.Sink, report *clickhouse.AuditReport) {
	t.Helper()
	all, err := s.Revisions(ctx, report.Pipeline)
	if err != nil {
		t.Fatal(err)
	}
	described := map[uint64]bool{}
	for i := range all {
		r := &all[i]
		described[r.Revision.Revision] = true
		// No test has secrets in what decides about results, so the text is the whole of it.
		sum := sha256.Sum256([]byte(r.Spec))
		if digest := hex.EncodeToString(sum[:]); digest != r.SpecDigest || digest[:16] != fmt.Sprintf("%016x", r.Revision.Revision) {
			t.Errorf("revision %016x is described as what has the digest %s and not %s", r.Revision.Revision, digest, r.SpecDigest)
		}
	}
	for _, p := range report.Partitions {
		for _, g := range p.Segments {
			if g.Version > g.Start && !described[g.Revision] {
				t.Errorf("nothing is known of revision %016x, which %s/%d was read with from %d to %d", g.Revision, p.Topic, p.Partition, g.Start, g.Version)
			}
		}
	}
}

// wantLineage asks what some rows of the sensors pipeline were made from: every row of theirs must have a source, and every source
// a revision with its module and a node.
func wantLineage(ctx context.Context, t *testing.T, plan *pipeline.Plan, conn driver.Conn) {
	t.Helper()
	s, err := clickhouse.New(plan.ClickHouse(), plan.Table, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	const sql = "SELECT window_start, site, device, readings FROM line_temperature ORDER BY rand() LIMIT 3"
	queryRows(ctx, t, conn, sql, func(rows driver.Rows) error {
		var site, device string
		var readings uint64
		at := clickhouse.RowAddress{Keys: map[string]*string{"site": &site, "device": &device}}
		if err := rows.Scan(&at.At, &site, &device, &readings); err != nil {
			return err
		}
		l, err := s.Lineage(ctx, at)
		if err != nil {
			return fmt.Errorf("lineage of %s %s %s: %w", at.At, site, device, err)
		}
		sum := int64(0)
		for i := range l.Sources {
			src := &l.Sources[i]
			sum += src.Rows
			if src.Account == nil || src.From != src.Account.Start || src.To <= src.From || src.To > src.Account.Version || src.Rows > src.To-src.From {
				t.Errorf("lineage of %s %s %s: source %+v with account %+v", at.At, site, device, src, src.Account)
			}
		}
		if sum != l.Rows || uint64(sum) != readings || len(l.Sources) == 0 {
			t.Errorf("lineage of %s %s %s: %d rows in %d sources, and the answer is of %d", at.At, site, device, sum, len(l.Sources), readings)
		}
		for _, r := range l.Revisions {
			if len(r.Nodes) == 0 || len(r.Operators) != 1 || len(r.Operators[0].Digest) != 64 {
				t.Errorf("lineage of %s %s %s: revision %+v", at.At, site, device, r)
			}
		}
		return nil
	})
}

func queryRows(ctx context.Context, t *testing.T, conn driver.Conn, sql string, each func(driver.Rows) error) {
	t.Helper()
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := each(rows); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}
