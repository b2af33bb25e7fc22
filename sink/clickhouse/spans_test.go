package clickhouse_test

import (
	"strings"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

// wide makes a row's window some windows wide.
func wide(c *sink.Cut, row int, ms int64) {
	starts, ends := batch.As[int64](c.Rows.Cols[0].Values), batch.As[int64](c.Rows.Cols[1].Values)
	ends[row] = starts[row] + ms
}

// TestSpans has windows dropped and merged by a node, and rows of the same windows stored by another that had the partition
// before, or reads it again: the newest account decides which of them count, and the audit adds up after each write.
func TestSpans(t *testing.T) {
	b := newBed(t)
	const t0 = 1_700_000_000 // windows of 10 s; a merged one has 30 s and begins at t0 + 10
	src := source{rev: 1}
	audited := func(notes ...string) {
		t.Helper()
		r := b.audit()
		var have []string
		for _, p := range r.Partitions {
			have = append(have, p.Notes...)
			have = append(have, p.Faults...)
		}
		text := strings.Join(have, "\n")
		if !r.OK {
			t.Errorf("the audit finds a fault:\n%s", text)
		}
		for _, n := range notes {
			if !strings.Contains(text, n) {
				t.Errorf("the audit does not say %q:\n%s", n, text)
			}
		}
	}
	// Somebody before stored one window of each kind while it was open.
	b.write(b.cut(src, 10, row{t0, "a", 2, f(2), 2, f(1)}, row{t0 + 10, "a", 3, f(3), 3, f(1)}))
	audited()

	spans := sink.Spans{{From: t0 * 1000, To: (t0 + 10) * 1000}, {From: (t0 + 10) * 1000, To: (t0 + 40) * 1000, Width: 30_000}}
	part := b.cut(src, 40, row{t0 + 10, "a", 20, f(20), 20, f(4)})
	wide(part, 0, 30_000)
	part.Partial, part.Backlog, part.Coverage.Spans = true, true, spans
	b.write(part)
	// Without its account a merged row does not count: not all may be there.
	b.want("1700000000 a 2 1 1\n1700000010 a 3 1 1")
	audited()

	whole := b.cut(src, 50, row{t0 + 40, "a", 7, f(7), 7, f(7)})
	whole.Coverage.Spans = spans
	whole.Coverage.Content = contentOf(part, whole)
	whole.Coverage.Counters = sink.Counters{RecordsIn: 36, Aggregated: 27, Dropped: 9}
	b.write(whole)
	const coarse = "1700000010 a 20 1 4\n1700000040 a 7 1 7"
	b.want(coarse)
	dropped := "windows from 2023-11-14T22:13:20Z to 2023-11-14T22:13:30Z were dropped"
	merged := "windows from 2023-11-14T22:13:30Z to 2023-11-14T22:14:00Z were merged into windows of 30s"
	audited(dropped, merged)
	if got := b.ask("SELECT concatWithSeparator(' ', toString(_shipped), toString(_width), toString(_rows)) FROM temps_partials FINAL ORDER BY window_start, _rows"); strings.Join(got, ", ") != "live 0 2, live 0 3, backlog 30000 20, live 0 7" {
		t.Errorf("shipped: %s", strings.Join(got, ", "))
	}
	completeness := `SELECT concatWithSeparator(' ', toString(dropped), toString(toUnixTimestamp(assumeNotNull(coarse_from))), toString(toUnixTimestamp(assumeNotNull(coarse_until)))) FROM weir_completeness`
	if got := b.ask(completeness); strings.Join(got, ", ") != "9 1700000010 1700000040" {
		t.Errorf("completeness: %s", got)
	}

	// The node lost its disk before its commit: another one builds the windows again, and has room for them.
	again := func(version int64, partial bool) *sink.Cut {
		c := b.cut(src, version, row{t0, "a", 9, f(9), 9, f(2)}, row{t0 + 10, "a", 8, f(8), 8, f(2)},
			row{t0 + 20, "a", 12, f(12), 12, f(4)}, row{t0 + 40, "a", 7, f(7), 7, f(7)})
		c.Partial = partial
		return c
	}
	b.write(again(45, true))
	b.want(coarse)
	audited(dropped)
	b.write(again(45, false))
	b.want(coarse)
	audited(dropped)
	b.write(again(60, false))
	b.want("1700000000 a 9 1 2\n1700000010 a 8 1 2\n1700000020 a 12 1 4\n1700000040 a 7 1 7")
	audited()

	// What was merged arrives once more, late.
	b.write(part, whole)
	b.want("1700000000 a 9 1 2\n1700000010 a 8 1 2\n1700000020 a 12 1 4\n1700000040 a 7 1 7")
	audited()
	if got, err := b.coverage(src.key()); err != nil || len(got) != 1 || len(got[0].Spans) != 0 {
		t.Errorf("coverage %+v, %v", got, err)
	}
}

// TestSpansOfOtherSegments hides nothing of segments and partitions that the spans are not of.
func TestSpansOfOtherSegments(t *testing.T) {
	b := newBed(t)
	const t0 = 1_700_000_000
	span := sink.Spans{{From: t0 * 1000, To: (t0 + 10) * 1000}}
	for _, s := range []source{{rev: 1}, {rev: 1, segment: 1}, {rev: 2, segment: 2}, {rev: 1, partition: 1}, {rev: 1, topicID: 1}} {
		b.write(b.cut(s, 10, row{t0, "a", 1, f(1), 1, f(1)}))
	}
	b.want("1700000000 a 5 1 1")
	with := b.cut(source{rev: 1, segment: 1}, 20)
	with.Rows = nil
	with.Coverage.Spans, with.Coverage.Counters = span, sink.Counters{RecordsIn: 1, Dropped: 1}
	b.write(with)
	b.want("1700000000 a 4 1 1")
	b.exec("ALTER TABLE weir_coverage UPDATE dropped = 0 WHERE segment = 1 SETTINGS mutations_sync = 2")
	if r := b.audit(); r.OK {
		t.Error("the audit does not see that the account was changed")
	}
}
