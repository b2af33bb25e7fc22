package clickhouse_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
	"github.com/weir-stream/weir/sink"
	"github.com/weir-stream/weir/sink/clickhouse"
)

// TestFinal has windows stored when they are final, and all of them where a lane ends in order: the newest account decides which
// count, and the audit adds up after each write.
func TestFinal(t *testing.T) {
	b := &bed{t: t, cfg: clickhouse.Config{URL: embeddedtest.ClickHouse(t), Table: "temps"}, tab: temperature()}
	b.tab.Final = true
	b.conn = open(t, b.cfg.URL)
	b.sink = b.open(b.cfg)
	b.apply()
	const t0 = 1_700_000_000
	audited := func(fault string) {
		t.Helper()
		r := b.audit()
		var have []string
		for _, p := range r.Partitions {
			have = append(have, p.Faults...)
		}
		if text := strings.Join(have, "\n"); r.OK != (fault == "") || !strings.Contains(text, fault) {
			t.Errorf("ok is %t, with the faults %q; want %q", r.OK, text, fault)
		}
	}
	// account completes a cut: final is up to when windows are, and open how many rows are in others.
	account := func(c *sink.Cut, final, aggregated, open int64) *sink.Cut {
		c.Coverage.Final = final * 1_000_000
		c.Coverage.Content = contentOf(c)
		c.Coverage.Counters = sink.Counters{RecordsIn: aggregated + open, Aggregated: aggregated, Open: open}
		return c
	}
	src := source{rev: 1}
	b.write(account(b.cut(src, 10, row{t0, "a", 2, f(2), 2, f(1)}), t0+10, 2, 5))
	b.want("1700000000 a 2 1 1")
	audited("")

	// The lane ends in order, in the middle of a window: it is stored, and counts.
	first := b.cut(src, 12, row{t0, "a", 2, f(2), 2, f(1)}, row{t0 + 10, "a", 6, f(6), 6, f(1)})
	b.write(account(first, t0+10, 8, 0))
	b.want("1700000000 a 2 1 1\n1700000010 a 6 1 1")
	audited("")

	// The segment goes on: what was stored of the window does not count until the window is final.
	none := b.cut(src, 20)
	none.Coverage.Content = contentOf(b.cut(src, 20, row{t0, "a", 2, f(2), 2, f(1)}))
	none.Rows, none.Coverage.Final, none.Coverage.Counters = nil, (t0+15)*1_000_000, sink.Counters{RecordsIn: 12, Aggregated: 2, Open: 10}
	none.Coverage.Content.Final = none.Coverage.Content.All
	b.write(none)
	b.want("1700000000 a 2 1 1")
	audited("")
	if got, err := b.coverage(src.key()); err != nil || len(got) != 1 || got[0].Counters.Open != 10 {
		t.Errorf("coverage %+v, %v", got, err)
	}
	// Another partition has nothing to do with it.
	b.write(account(b.cut(source{rev: 1, partition: 1}, 3, row{t0 + 10, "b", 3, f(3), 3, f(1)}), t0, 3, 0))
	b.want("1700000000 a 2 1 1\n1700000010 b 3 1 1")

	last := b.cut(src, 30, row{t0 + 10, "a", 9, f(9), 9, f(1)})
	both := account(b.cut(src, 30, row{t0, "a", 2, f(2), 2, f(1)}, row{t0 + 10, "a", 9, f(9), 9, f(1)}), t0+20, 11, 4)
	last.Coverage = both.Coverage
	b.write(last)
	b.want("1700000000 a 2 1 1\n1700000010 a 9 1 1\n1700000010 b 3 1 1")
	audited("")

	// Another segment begins, and nobody stored the rest.
	next := b.cut(source{rev: 1, segment: 1}, 40, row{t0 + 20, "a", 1, f(1), 1, f(1)})
	next.Coverage.Start = 30
	b.write(next)
	audited("4 rows were in windows that were not final when the segment before ended, and it tells of 0")
	// The log lost their records, and the account says so.
	next.Coverage.Lost, next.Coverage.GapReason = 4, "retention"
	b.write(next)
	audited("")
	if notes := strings.Join(b.audit().Partitions[0].Notes, "\n"); !strings.Contains(notes, "4 rows of the segment before, in windows that were not final when it ended, are lost: retention") {
		t.Errorf("notes are %q", notes)
	}
	if got, err := b.coverage(src.key()); err != nil || len(got) != 2 || got[0].Lost != 4 {
		t.Errorf("coverage %+v, %v", got, err)
	}
	b.exec("ALTER TABLE weir_coverage UPDATE filtered = 1, aggregated = 10 WHERE segment = 0 AND partition = 0 SETTINGS mutations_sync = 2")
	audited("the account was changed by hand")
}

// TestOpenRowsOfATopicThatIsGone has a topic be deleted and made again while windows of it are open, and shipped when they are final: the
// audit says which rows are lost, and only when there is another topic of the name.
func TestOpenRowsOfATopicThatIsGone(t *testing.T) {
	b := &bed{t: t, cfg: clickhouse.Config{URL: embeddedtest.ClickHouse(t), Table: "temps"}, tab: temperature()}
	b.tab.Final = true
	b.conn = open(t, b.cfg.URL)
	b.sink = b.open(b.cfg)
	b.apply()
	const t0 = 1_700_000_000
	write := func(src source, version, open int64) {
		c := b.cut(src, version, row{t0, "a", 2, f(2), 2, f(1)})
		c.Coverage.Final = (t0 + 10) * 1_000_000
		c.Coverage.Content = contentOf(c)
		c.Coverage.Counters = sink.Counters{RecordsIn: version, Aggregated: 2, Open: open, Filtered: version - 2 - open}
		b.write(c)
		time.Sleep(5 * time.Millisecond) // accounts are told apart by when they came, in milliseconds
	}
	told := func(want ...string) {
		t.Helper()
		r := b.audit()
		var have []string
		for _, p := range r.Partitions {
			for _, n := range p.Notes {
				have = append(have, fmt.Sprintf("%d: %s", p.Partition, n))
			}
		}
		if !r.OK || len(have) != len(want) {
			t.Fatalf("ok is %t, noted %q, want %q", r.OK, have, want)
		}
		for i := range want {
			if !strings.Contains(have[i], want[i]) {
				t.Errorf("noted %q, want %q", have[i], want[i])
			}
		}
	}
	before, other := source{rev: 1, topicID: 1}, source{rev: 1, topicID: 1, partition: 1}
	write(before, 10, 5)
	write(other, 10, 0)
	told()
	write(source{rev: 1, topicID: 2}, 3, 1)
	told("5 rows are in windows that are not final, and the newest account of a topic sensors is of another topic ID, 00000000-0000-0000-0000-000000000002")
	write(before, 12, 7) // it was not deleted: there are two clusters
	told("1 rows are in windows that are not final, and the newest account of a topic sensors is of another topic ID, 00000000-0000-0000-0000-000000000001")
}

// TestAccountsOfOneVersion has a lane end in order at the version of its account before, and that one arrive late, once more: the one
// without open rows holds, in any order, and without the tokens of inserts.
func TestAccountsOfOneVersion(t *testing.T) {
	b := &bed{t: t, cfg: clickhouse.Config{URL: embeddedtest.ClickHouse(t), Table: "temps"}, tab: temperature()}
	b.tab.Final = true
	b.conn = open(t, b.cfg.URL)
	b.sink = b.open(b.cfg)
	b.apply()
	b.exec("ALTER TABLE weir_coverage MODIFY SETTING non_replicated_deduplication_window = 0")
	const t0 = 1_700_000_000
	a, open := row{t0, "a", 2, f(2), 2, f(1)}, row{t0 + 10, "a", 6, f(6), 6, f(1)}
	src := source{rev: 1}
	account := func(final, open int64, rows ...row) *sink.Cut {
		c := b.cut(src, 10, rows...)
		c.Coverage.Final = final * 1_000_000
		c.Coverage.Content = contentOf(c)
		c.Coverage.Counters = sink.Counters{RecordsIn: 10, Aggregated: 8 - open, Filtered: 2, Open: open}
		return c
	}
	early := account(t0, 8, a)
	early.Rows, early.Coverage.Content = nil, sink.Content{Known: true}
	withheld, whole := account(t0+10, 6, a), account(t0+10, 0, a, open)
	audited := func(open int64) {
		t.Helper()
		if r := b.audit(); !r.OK {
			t.Errorf("faults: %v", r.Partitions[0].Faults)
		}
		if got, err := b.coverage(src.key()); err != nil || len(got) != 1 || got[0].Counters.Open != open {
			t.Errorf("coverage %+v, %v; want %d open rows", got, err, open)
		}
	}
	b.write(withheld)
	b.write(early)
	b.want("1700000000 a 2 1 1")
	audited(6)
	b.write(whole)
	for _, late := range []*sink.Cut{withheld, early, whole, withheld} {
		b.write(late)
		b.want("1700000000 a 2 1 1\n1700000010 a 6 1 1")
		audited(0)
	}
	b.exec("OPTIMIZE TABLE weir_coverage FINAL")
	audited(0)
}
