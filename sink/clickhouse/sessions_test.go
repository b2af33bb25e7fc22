package clickhouse_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
	"github.com/weir-stream/weir/sink/clickhouse"
)

// sessionBed has sessions of a table, none of which is longer than an hour from half past on.
func sessionBed(t *testing.T, final bool) *bed {
	t.Helper()
	b := &bed{t: t, cfg: clickhouse.Config{URL: embeddedtest.ClickHouse(t), Table: "temps"}, tab: temperature()}
	b.tab.Sessions, b.tab.Final, b.tab.Window, b.tab.Offset = true, final, time.Hour, 30*time.Minute
	b.conn = open(t, b.cfg.URL)
	b.sink = b.open(b.cfg)
	b.apply()
	return b
}

// wantSessions compares sessions with their ends, which the bed's rows have 10 s behind their start.
func (b *bed) wantSessions(want ...string) {
	b.t.Helper()
	got := b.ask(`SELECT concatWithSeparator(' ', toString(toUnixTimestamp(window_start) - 1700000000), toString(toUnixTimestamp(window_end) - 1700000000), device,
		toString(readings), toString(temp_max)) FROM temps ORDER BY window_start, device`)
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		b.t.Errorf("sessions\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestSessions has sessions of several partitions become one where they meet, and rows that take others back count nowhere.
func TestSessions(t *testing.T) {
	b := sessionBed(t, false)
	const t0 = 1_700_000_000
	ten := func(at int64, device string, n uint64) row {
		return row{t0 + at, device, n, f(float64(n)), n, f(float64(at))}
	}
	first := b.cut(source{rev: 1}, 10, ten(0, "a", 2), ten(30, "a", 4), ten(0, "b", 8))
	b.write(first)
	b.write(b.cut(source{rev: 1, partition: 1}, 10, ten(5, "a", 16), ten(40, "a", 32), ten(9, "b", 64), ten(18, "b", 128)))
	b.wantSessions("0 15 a 18 5", "0 28 b 200 18", "30 40 a 4 30", "40 50 a 32 40")

	// A row moves the start of a session.
	later := b.cut(source{rev: 1}, 20, ten(25, "a", 5), ten(30, "a", 0))
	batch.As[int64](later.Rows.Cols[1].Values)[0] += 5_000
	whole := b.cut(source{rev: 1}, 20, ten(0, "a", 2), ten(25, "a", 5), ten(0, "b", 8))
	batch.As[int64](whole.Rows.Cols[1].Values)[1] += 5_000
	later.Coverage.Counters, later.Coverage.Content = whole.Coverage.Counters, contentOf(whole)
	b.write(later)
	b.wantSessions("0 15 a 18 5", "0 28 b 200 18", "25 40 a 5 25", "40 50 a 32 40")
	if r := b.audit(); !r.OK {
		t.Errorf("the audit finds %+v", r.Partitions)
	}

	device := "b"
	l, err := b.sink.Lineage(b.ctx(), clickhouse.RowAddress{At: time.Unix(t0+20, 0), Keys: map[string]*string{"device": &device}})
	if err != nil || len(l.Sources) != 3 || l.Rows != 200 || len(l.Answer) != 3 {
		t.Errorf("%v %+v", err, l)
	}
	if l, err = b.sink.Lineage(b.ctx(), clickhouse.RowAddress{At: time.Unix(t0+26, 0)}); err == nil {
		t.Errorf("of two sessions at a moment: %+v", l)
	}
	if l, err = b.sink.Lineage(b.ctx(), clickhouse.RowAddress{At: time.Unix(t0+35, 0)}); err != nil || len(l.Sources) != 1 || l.Rows != 5 {
		t.Errorf("%v %+v", err, l)
	}

	stored := 0
	if err := b.sink.Rows(b.ctx(), first.Coverage, 0, 1<<50, func(rows *batch.Batch, _ []int64) error { stored += rows.Rows; return nil }); err != nil || stored != 3 {
		t.Errorf("%d rows are stored, %v", stored, err)
	}
}

// TestSessionsAreCut: what is on both sides of where sessions are cut are two, and readers who ask for stretches read no others.
func TestSessionsAreCut(t *testing.T) {
	b := sessionBed(t, false)
	const cut = 1_700_001_000/3600*3600 + 1800
	var rows []row
	for day := range int64(20) {
		rows = append(rows, row{cut + day*86400 - 5, "a", 1, f(1), 1, f(1)}, row{cut + day*86400 - 1, "a", 1, f(1), 1, f(1)}, row{cut + day*86400 + 1, "a", 1, f(1), 1, f(1)})
	}
	b.write(b.cut(source{rev: 1}, 10, rows...))
	asked := fmt.Sprintf("FROM temps WHERE _stretch >= fromUnixTimestamp64Milli(toInt64(%d), 'UTC')", (cut+18*86400-3600)*1000)
	got := b.ask("SELECT concatWithSeparator(' ', toString(toUnixTimestamp(window_start)), toString(readings), toString(toUnixTimestamp(_stretch))) " + asked + " ORDER BY window_start")
	var want []string
	for _, day := range []int64{18, 19} {
		at := cut + day*86400
		want = append(want, fmt.Sprintf("%d 2 %d", at-5, at-3600), fmt.Sprintf("%d 1 %d", at+1, at))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("sessions\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	explained := strings.Join(b.ask("SELECT explain FROM (EXPLAIN indexes = 1 SELECT * "+asked+")"), "\n")
	if !strings.Contains(explained, "Parts: 2/20") {
		t.Errorf("a reader of two days reads more:\n%s", explained)
	}
}

// TestSessionsOpenAtTheEnd: what a lane stored of sessions that were not final, because it ended, counts until somebody goes on.
func TestSessionsOpenAtTheEnd(t *testing.T) {
	b := sessionBed(t, true)
	const t0 = 1_700_000_000
	src := source{rev: 1}
	end := b.cut(src, 10, row{t0, "a", 2, f(2), 2, f(1)}, row{t0 + 20, "a", 3, f(3), 3, f(2)})
	end.Coverage.Final = (t0 + 10) * 1_000_000
	end.Coverage.Content = contentOf(end)
	b.write(end)
	b.wantSessions("0 10 a 2 1", "20 30 a 3 2")
	audited := func() {
		t.Helper()
		if r := b.audit(); !r.OK {
			t.Errorf("the audit finds %+v", r.Partitions)
		}
	}
	audited()

	// The session goes on, beyond what is final then: its row does not, though it ends before.
	on := b.cut(src, 20)
	on.Rows = nil
	on.Coverage.Final, on.Coverage.Counters = (t0+35)*1_000_000, sink.Counters{RecordsIn: 12, Aggregated: 2, Open: 10}
	on.Coverage.Content = contentOf(b.cut(src, 20, row{t0, "a", 2, f(2), 2, f(1)}))
	on.Coverage.Content.Final = on.Coverage.Content.All
	b.write(on)
	b.wantSessions("0 10 a 2 1")
	audited()

	// A node stores the session when it has become final, and dies before the account. It was not by the account there is.
	died := b.cut(src, 30, row{t0 + 20, "a", 12, f(12), 12, f(5)})
	batch.As[int64](died.Rows.Cols[1].Values)[0] += 22_000
	died.Coverage.Final, died.Partial = (t0+60)*1_000_000, true
	b.write(died)
	b.wantSessions("0 10 a 2 1")
	audited()

	// The log lost records of it, so the next segment counts those behind the account, and says how many are lost.
	next := b.cut(source{rev: 1, segment: 1}, 40, row{t0 + 42, "a", 4, f(4), 4, f(5)})
	next.Coverage.Start, next.Coverage.Final, next.Coverage.Lost, next.Coverage.GapReason = 20, (t0+60)*1_000_000, 10, "retention"
	next.Coverage.Content = contentOf(next)
	b.write(next)
	b.wantSessions("0 10 a 2 1", "42 52 a 4 5")
	audited()
}
