package clickhouse_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/sink"
	"github.com/weir-stream/weir/sink/clickhouse"
)

func (b *bed) letters() *clickhouse.Letters {
	b.t.Helper()
	l, err := clickhouse.OpenLetters(b.cfg, b.tab.Pipeline, slog.New(slog.DiscardHandler))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = l.Close() })
	return l
}

func (b *bed) counts(l *clickhouse.Letters, f clickhouse.LetterFilter, by ...string) string {
	b.t.Helper()
	counts, err := l.Count(b.ctx(), &f, by, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	var lines []string
	for _, c := range counts {
		lines = append(lines, fmt.Sprintf("%s: %d letters, %d replayed, %d purged, %d bytes", strings.Join(c.By, " "), c.Letters, c.Replayed, c.Purged, c.Bytes))
	}
	return strings.Join(lines, "\n")
}

// TestPurge deletes letters in all the ways a purge can go, and audits after each: the account holds, and a letter that is
// deleted by hand is still a fault.
func TestPurge(t *testing.T) {
	b := newBed(t)
	b.story()
	b.exec("CREATE TABLE kept ENGINE = Memory AS SELECT * FROM weir_dead_letters")
	// A node ships some once more, in another block than before.
	comeBack := func(which string) {
		t.Helper()
		b.exec("INSERT INTO weir_dead_letters SELECT * FROM kept WHERE " + which + " SETTINGS insert_deduplicate = 0")
	}
	l := b.letters()
	ok := func(want bool) {
		t.Helper()
		if r := b.audit(); r.OK != want {
			t.Fatalf("the audit says %v: %+v", r.OK, r.Partitions[0])
		}
	}
	ok(true)
	malformed := clickhouse.LetterFilter{Reason: "malformed"}
	gone, err := l.Purge(b.ctx(), &malformed)
	if err != nil || gone != (clickhouse.Purged{Letters: 1, Bytes: 2}) {
		t.Fatalf("%+v, %v", gone, err)
	}
	ok(true)
	if left := b.ask("SELECT reason FROM weir_dead_letters FINAL ORDER BY reason"); strings.Join(left, " ") != "late missing" {
		t.Errorf("left are %q", left)
	}
	p := b.audit().Partitions[0]
	if p.Segments[0].PurgedLetters != 1 || p.Segments[0].OtherLetters != 2 || !strings.Contains(strings.Join(p.Notes, "\n"), "1 of its dead letters were purged") {
		t.Errorf("%+v", p)
	}
	if again, err := l.Purge(b.ctx(), &malformed); err != nil || again != (clickhouse.Purged{}) {
		t.Errorf("a second time: %+v, %v", again, err)
	}

	// The letter comes back, counts as purged, and goes with the next purge.
	comeBack("1")
	ok(true)
	if got := b.counts(l, clickhouse.LetterFilter{}, "reason"); got != "late: 1 letters, 0 replayed, 0 purged, 2 bytes\nmissing: 1 letters, 0 replayed, 0 purged, 2 bytes\nmalformed: 0 letters, 0 replayed, 1 purged, 0 bytes" {
		t.Errorf("it came back:\n%s", got)
	}
	n := 0
	if err := l.Read(b.ctx(), &clickhouse.LetterFilter{}, clickhouse.WithContents, 0, func(d *clickhouse.Letter) error {
		if n++; d.Reason == "malformed" {
			t.Errorf("%+v was purged", d)
		}
		return nil
	}); err != nil || n != 2 {
		t.Errorf("%d letters, %v", n, err)
	}
	if gone, err := l.Purge(b.ctx(), &malformed); err != nil || gone.Letters != 1 {
		t.Errorf("what came back: %+v, %v", gone, err)
	}
	if left := b.ask("SELECT reason FROM weir_dead_letters FINAL ORDER BY reason"); strings.Join(left, " ") != "late missing" {
		t.Errorf("left are %q", left)
	}
	ok(true)

	// A purge that died between the marks and the deletion.
	b.exec("INSERT INTO weir_dead_letter_marks (" + markColumns + ", mark) SELECT " + markColumns + ", 'purged' FROM weir_dead_letters WHERE reason = 'late'")
	ok(true)
	if gone, err := l.Purge(b.ctx(), &clickhouse.LetterFilter{Reason: "late"}); err != nil || gone.Letters != 1 {
		t.Errorf("half-way: %+v, %v", gone, err)
	}
	ok(true)

	// The audit can still fail: by a letter deleted by hand, and by a mark of a letter there never was.
	b.exec("ALTER TABLE weir_dead_letters DELETE WHERE reason = 'missing' SETTINGS mutations_sync = 2")
	ok(false)
	comeBack("reason = 'missing'")
	ok(true)
	b.exec("INSERT INTO weir_dead_letter_marks (" + markColumns + ", mark) SELECT * REPLACE (9 AS record_offset) FROM (SELECT " + markColumns + ", 'purged' FROM weir_dead_letters WHERE reason = 'missing')")
	ok(false)
}

const markColumns = "site, pipeline, rev, topic, topic_id, partition, segment, record_offset, step, row_index, time, reason"

// TestLetterMarks notes what a replay does.
func TestLetterMarks(t *testing.T) {
	b := newBed(t)
	b.story()
	l := b.letters()
	read := func() []*clickhouse.Letter {
		t.Helper()
		var all []*clickhouse.Letter
		if err := l.Read(b.ctx(), &clickhouse.LetterFilter{Step: "decode"}, clickhouse.WithoutContents, 0, func(d *clickhouse.Letter) error {
			all = append(all, d)
			return nil
		}); err != nil || len(all) != 3 {
			t.Fatalf("%d letters, %v", len(all), err)
		}
		return all
	}
	all := read()
	if d := all[0]; d.Offset != 3 || d.Payload == nil || len(d.Payload) != 0 || d.TopicID != "00000000-0000-0000-0000-000000000000" || d.Replayed != nil || d.Sending != nil {
		t.Errorf("%+v", d)
	}
	at := clickhouse.LetterTarget{Topic: "again", Partition: 2, Offset: 77}
	marks := []clickhouse.LetterMark{{Letter: all[0], Target: at}, {Letter: all[1], Target: at}}
	for range 2 { // a note may be made twice
		if err := l.MarkSending(b.ctx(), marks); err != nil {
			t.Fatal(err)
		}
	}
	at.Offset = 80
	marks = []clickhouse.LetterMark{{Letter: all[1], Target: at}}
	if err := l.MarkReplayed(b.ctx(), marks); err != nil {
		t.Fatal(err)
	}
	all = read()
	if s := all[0].Sending; s == nil || s.Topic != "again" || s.Partition != 2 || s.Offset != 77 || time.Since(s.At) > time.Hour || all[0].Replayed != nil {
		t.Errorf("%+v", s)
	}
	if r := all[1].Replayed; r == nil || r.Offset != 80 || all[1].Sending != nil {
		t.Errorf("%+v", r)
	}
	if all[2].Replayed != nil || all[2].Sending != nil {
		t.Errorf("%+v", all[2])
	}
	if got := b.counts(l, clickhouse.LetterFilter{Partitions: []int32{0}}); got != ": 3 letters, 1 replayed, 0 purged, 6 bytes" {
		t.Errorf("%s", got)
	}
	if r := b.audit(); !r.OK {
		t.Errorf("marks of replays are no dead letters: %+v", r.Partitions[0])
	}
}

// TestLettersOfBothSegments has a node die between dead letters and account, and the next segment read the records again.
func TestLettersOfBothSegments(t *testing.T) {
	b := newBed(t)
	cut := func(segment uint64, start, version int64, offsets ...int64) *sink.Cut {
		c := b.cut(source{rev: 1, segment: segment}, version)
		c.Rows = nil
		c.Coverage.Start, c.Coverage.Content = start, sink.Content{Known: true}
		n := int64(len(offsets))
		c.Coverage.Counters = sink.Counters{RecordsIn: version - start, Filtered: version - start - n, Rejected: n}
		for _, o := range offsets {
			c.DeadLetters = append(c.DeadLetters, sink.DeadLetter{
				Partition: c.Coverage.Partition, Revision: 1, Segment: segment, Offset: o, Time: time.UnixMilli(1_700_000_000_000), Reason: "malformed", Payload: []byte("x"),
			})
		}
		return c
	}
	died := cut(0, 0, 20, 15, 25)
	died.Partial = true
	b.write(cut(0, 0, 10, 5), died)
	l := b.letters()
	seen := func(want string) {
		t.Helper()
		var got []string
		if err := l.Read(b.ctx(), &clickhouse.LetterFilter{}, clickhouse.WithContents, 0, func(d *clickhouse.Letter) error {
			got = append(got, fmt.Sprintf("%d/%d", d.Segment, d.Offset))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("letters %s, want %s", text, want)
		}
		if got := b.counts(l, clickhouse.LetterFilter{}); !strings.HasPrefix(got, fmt.Sprintf(": %d letters", strings.Count(want, "/"))) {
			t.Errorf("counted: %s", got)
		}
		if r := b.audit(); !r.OK {
			t.Errorf("the audit says %+v", r.Partitions[0])
		}
	}
	seen("0/5 0/15 0/25") // the segment may go on
	b.write(cut(1, 10, 30, 15, 25))
	seen("0/5 1/15 1/25")
}
