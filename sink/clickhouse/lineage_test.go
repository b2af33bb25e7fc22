package clickhouse_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/sink"
	"github.com/weir-stream/weir/sink/clickhouse"
)

// TestLineage asks for rows of a story: one of several sources, one that no partition can change any more, and addresses that are
// not those of one row.
func TestLineage(t *testing.T) {
	b := newBed(t)
	b.sink.Describe(sink.Revision{Revision: 1, Spec: `{"x":1}`, SpecDigest: "0001", Weir: "weir 1", Started: time.Now(), Operators: []sink.Operator{{Step: "1 wasm a", File: "a.wasm", Digest: "ff"}}})
	b.story()
	at := func(second int64, keys ...string) clickhouse.RowAddress {
		a := clickhouse.RowAddress{At: time.Unix(second, 0), Keys: map[string]*string{}}
		for _, k := range keys {
			a.Keys["device"] = &k
		}
		return a
	}
	l, err := b.sink.Lineage(b.ctx(), at(1_700_000_003, "a"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range l.Sources {
		line := fmt.Sprintf("%s %d/%d rev %s [%d, %d) %d %s", s.Topic, s.Partition, s.Segment, s.Revision, s.From, s.To, s.Rows, s.State)
		if s.Account != nil && s.Account.Gap > 0 {
			line += fmt.Sprintf(" behind a gap of %d: %s", s.Account.Gap, s.Account.GapReason)
		}
		got = append(got, fmt.Sprint(line, " ", s.DeadLetters))
	}
	want := []string{
		"sensors 0/0 rev 0000000000000001 [0, 10) 6 final map[late:1 malformed:1 missing:1]",
		"sensors 0/1 rev 0000000000000002 [10, 30) 20 closed map[]",
		"sensors 1/0 rev 0000000000000002 [0, 5) 5 open map[]",
	}
	if !slices.Equal(got, want) {
		t.Errorf("sources\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	text, err := json.Marshal(l)
	if err != nil || l.Rows != 31 || l.Final || len(l.Waiting) != 2 {
		t.Errorf("%v %s", err, text)
	}
	for _, part := range []string{
		`"keys":{"device":"a"}`, `"answer":{"readings":31,`, `"temp_max":9}`, `"values":{"readings":6,"temp_avg__sum":6,"temp_avg__count":3,"temp_max":4}`,
		`{"rev":"0000000000000001","site":"berlin","spec_sha256":"0001","spec":{"x":1},"operators":[{"step":"1 wasm a","file":"a.wasm","sha256":"ff"}],"nodes":[{"node":"edge-1","weir":"weir 1",`,
		`{"rev":"0000000000000002","site":"berlin","spec_sha256":"","spec":null,"operators":[],"nodes":[]}`,
	} {
		if !strings.Contains(string(text), part) {
			t.Errorf("no %s in %s", part, text)
		}
	}
	// The third segment begins behind a gap.
	l, err = b.sink.Lineage(b.ctx(), at(1_700_000_020))
	if err != nil || len(l.Sources) != 1 || l.Sources[0].Account.Gap != 20 || l.Sources[0].Account.GapReason != "retention" || l.Sources[0].From != 50 {
		t.Errorf("%v %+v", err, l)
	}

	// Rows that are there before their account.
	b.exec("ALTER TABLE weir_coverage DELETE WHERE segment = 1 SETTINGS mutations_sync = 2")
	if l, err = b.sink.Lineage(b.ctx(), at(1_700_000_003, "a")); err != nil || l.Sources[1].State != "unaccounted" || l.Sources[1].Account != nil {
		t.Errorf("%v %+v", err, l)
	}

	if _, err := b.sink.Lineage(b.ctx(), at(1_700_000_003, "nobody")); !errors.Is(err, clickhouse.ErrNoRow) {
		t.Errorf("of a key that is not there: %v", err)
	}
	if _, err := b.sink.Lineage(b.ctx(), at(-9_000_000_000)); !errors.Is(err, clickhouse.ErrNoRow) {
		t.Errorf("of a time that is none: %v", err)
	}
	var rows []row
	for i := range 20 {
		rows = append(rows, row{1_700_000_040, fmt.Sprintf("d%02d", i), 1, f(1), 1, f(1)})
	}
	b.write(b.cut(source{partition: 2, rev: 2}, 20, rows...))
	var many *clickhouse.ManyRows
	if _, err := b.sink.Lineage(b.ctx(), at(1_700_000_049)); !errors.As(err, &many) || len(many.Keys) != 10 || !many.More || string(many.Keys[9][1].JSON) != `"d09"` {
		t.Errorf("of twenty rows: %v %+v", err, many)
	}
}

// TestLineageOfFinal: every partition has passed the window, so nothing of the row can change.
func TestLineageOfFinal(t *testing.T) {
	b := newBed(t)
	final := b.cut(source{rev: 1}, 10, row{1_700_000_000, "a", 10, f(6), 3, f(4)})
	final.Coverage.Final = 1_700_000_010_000_000
	gone := b.cut(source{rev: 1, topicID: 9}, 10) // a topic of the same name that was deleted
	b.write(gone)
	b.write(final)
	l, err := b.sink.Lineage(b.ctx(), clickhouse.RowAddress{At: time.Unix(1_700_000_000, 0)})
	if err != nil || !l.Final || len(l.Waiting) != 0 || l.Sources[0].State != "final" {
		t.Fatalf("%v %+v", err, l)
	}
	lost := b.cut(source{partition: 3, rev: 1}, 10)
	lost.Coverage.Final = final.Coverage.Final
	lost.Coverage.Spans = sink.Spans{{From: 1_700_000_000_000, To: 1_700_000_020_000}}
	lost.Coverage.Counters = sink.Counters{RecordsIn: 4, Dropped: 4}
	b.write(lost)
	l, err = b.sink.Lineage(b.ctx(), clickhouse.RowAddress{At: time.Unix(1_700_000_000, 0)})
	if err != nil || !l.Final || len(l.Dropped) != 1 || l.Dropped[0].Partition != 3 || l.Dropped[0].To != time.UnixMilli(1_700_000_020_000).UTC() {
		t.Errorf("with a partition that dropped the window: %v %+v", err, l)
	}
	behind := b.cut(source{partition: 1, rev: 1}, 10)
	behind.Coverage.Final, behind.Coverage.Watermark = sink.MinWatermark, sink.MinWatermark
	b.write(behind)
	l, err = b.sink.Lineage(b.ctx(), clickhouse.RowAddress{At: time.Unix(1_700_000_000, 0)})
	if err != nil || l.Final || len(l.Waiting) != 1 || l.Waiting[0].Partition != 1 || l.Waiting[0].Final != nil {
		t.Errorf("with a partition that had no row: %v %+v", err, l)
	}
}
