package clickhouse_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

func TestWriteAndRead(t *testing.T) {
	b := newBed(t)
	b.write(
		b.cut(source{partition: 0}, 10,
			row{1_700_000_000, "a", 3, f(6), 3, f(4)},
			row{1_700_000_000, "b", 1, nil, 0, nil},
		),
		b.cut(source{partition: 1}, 7,
			row{1_700_000_000, "a", 1, f(6), 1, f(6)},
			row{1_700_000_010, "a", 2, f(1), 1, f(1)},
		),
	)
	b.want(`
1700000000 a 4 3 6
1700000000 b 1 null null
1700000010 a 2 1 1`)
}

// Whatever order versions arrive in, however often, from whichever node: the highest counts, once.
func TestHighestVersionWins(t *testing.T) {
	const want = `
1700000000 a 30 2 9
1700000010 a 4 1 1`
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			b := newBed(t)
			zombie := b.tab
			zombie.Node = "edge-2"
			other := &bed{t: t, cfg: b.cfg, tab: zombie, conn: b.conn}
			other.sink = other.open(b.cfg)

			versions := []*sink.Cut{
				b.cut(source{}, 10, row{1_700_000_000, "a", 10, f(10), 10, f(1)}),
				b.cut(source{}, 20, row{1_700_000_000, "a", 20, f(30), 20, f(5)}),
				b.cut(source{}, 35, row{1_700_000_000, "a", 30, f(60), 30, f(9)}, row{1_700_000_010, "a", 4, f(4), 4, f(1)}),
				b.cut(source{}, 31, row{1_700_000_000, "a", 29, f(59), 29, f(9)}, row{1_700_000_010, "a", 2, f(2), 2, f(1)}),
			}
			r := rand.New(rand.NewPCG(seed, 1))
			for range 3 {
				r.Shuffle(len(versions), func(i, j int) { versions[i], versions[j] = versions[j], versions[i] })
				for _, c := range versions {
					if r.IntN(2) == 0 {
						b.write(c)
					} else {
						other.write(c)
					}
				}
				if r.IntN(2) == 0 {
					b.exec("OPTIMIZE TABLE temps_partials FINAL")
				}
			}
			b.want(want)
			if r := b.audit(); !r.OK {
				t.Errorf("%+v", r.Partitions)
			}
		})
	}
}

// Everything in a row's identity keeps it apart from others, and answers add up over it.
func TestIdentity(t *testing.T) {
	b := newBed(t)
	r := row{1_700_000_000, "a", 1, f(2), 1, f(2)}
	sources := []source{{}, {partition: 1}, {rev: 1}, {segment: 1}, {topicID: 1}}
	for _, s := range sources {
		b.write(b.cut(s, 5, r))
	}
	munich := b.tab
	munich.Site = "munich"
	other := &bed{t: t, cfg: b.cfg, tab: munich, conn: b.conn}
	other.sink = other.open(b.cfg)
	other.write(other.cut(source{}, 5, r))
	named := b.cut(source{}, 5, r)
	named.Coverage.Partition.Topic = "other"
	b.write(named)

	b.exec("OPTIMIZE TABLE temps_partials FINAL")
	b.want("1700000000 a 7 2 2")
}

// The token saves the server a part when it sees an insert again, and is another one as soon as anything differs.
func TestTokenSavesWorkAndNothingElse(t *testing.T) {
	b := newBed(t)
	c := b.cut(source{}, 10, row{1_700_000_000, "a", 1, f(1), 1, f(1)})
	parts := func() string {
		return b.ask("SELECT toString(count()) FROM system.parts WHERE database = currentDatabase() AND table = 'temps_partials'")[0]
	}
	b.exec("SYSTEM STOP MERGES temps_partials")
	b.write(c)
	b.write(c)
	if n := parts(); n != "1" {
		t.Errorf("%s parts after a second delivery, want 1", n)
	}
	// Other content under the same identity and version: only a hash of the content tells them apart.
	b.write(b.cut(source{}, 10, row{1_700_000_000, "a", 2, f(1), 1, f(1)}))
	b.want("1700000000 a 2 1 1")
}

func TestManyDaysAndSmallInserts(t *testing.T) {
	b := newBed(t)
	cfg := b.cfg
	cfg.MaxInsertRows, cfg.MaxInsertDays = 7, 3
	small := b.open(cfg)
	var one, two []row
	want := []string{}
	for i := range int64(150) { // days: more than a server takes in one insert
		start := 1_600_000_000 + i*86_400
		one = append(one, row{start, "a", 1, f(2), 1, f(2)})
		two = append(two, row{start, "a", 2, f(1), 1, f(1)})
		want = append(want, fmt.Sprintf("%d a 3 1.5 2", start))
	}
	for range 10 { // more rows of one day than fit one insert
		one = append(one, row{1_600_000_000, fmt.Sprintf("b%d", len(one)), 1, f(1), 1, f(1)})
		want = append(want, fmt.Sprintf("1600000000 b%d 1 1 1", len(one)-1))
	}
	rand.Shuffle(len(one), func(i, j int) { one[i], one[j] = one[j], one[i] })
	check := func() {
		t.Helper()
		got := strings.Split(b.answers(), "\n")
		if len(got) != len(want) {
			t.Fatalf("%d rows, want %d", len(got), len(want))
		}
		have := map[string]bool{}
		for _, g := range got {
			have[g] = true
		}
		for _, w := range want {
			if !have[w] {
				t.Errorf("no row %s", w)
			}
		}
	}
	cuts := []*sink.Cut{b.cut(source{}, 10, one...), b.cut(source{partition: 1}, 20, two...)}
	b.write(cuts...)
	check()
	b.exec("TRUNCATE TABLE temps_partials")
	if err := small.Write(b.ctx(), cuts); err != nil {
		t.Fatal(err)
	}
	check()
	if r := b.audit(); !r.OK {
		t.Errorf("%+v", r.Partitions)
	}
}

func TestDeadLetters(t *testing.T) {
	b := newBed(t)
	c := b.cut(source{rev: 3, segment: 2}, 10)
	c.Rows = nil
	for i := range 3 {
		c.DeadLetters = append(c.DeadLetters, sink.DeadLetter{
			Partition: c.Coverage.Partition, Revision: 3, Segment: 2, Offset: 5, Index: int32(i),
			Time: time.UnixMilli(1_700_000_000_123), Step: "1 filter", Reason: batch.ReasonExpression, Detail: "it's `odd`",
			Key: []byte{0, 0xff}, Payload: []byte("a\x00b\xffc"), Truncated: i == 1,
		})
	}
	c.DeadLetters[2].Time = time.Date(30_000, 1, 1, 0, 0, 0, 0, time.UTC) // a record's own time may be anything
	b.write(c)
	b.write(c)
	got := b.ask(`SELECT concatWithSeparator('|', site, pipeline, toString(rev), topic, toString(partition), toString(segment), toString(record_offset), step,
		toString(row_index), toString(time), reason, detail, hex(record_key), hex(payload), toString(truncated), node)
		FROM weir_dead_letters FINAL ORDER BY row_index`)
	common := "berlin|line-temperature|3|sensors|0|2|5|1 filter|"
	want := []string{
		common + "0|2023-11-14 22:13:20.123|expression|it's `odd`|00FF|610062FF63|false|edge-1",
		common + "1|2023-11-14 22:13:20.123|expression|it's `odd`|00FF|610062FF63|true|edge-1",
		common + "2|2262-04-11 23:47:16.000|expression|it's `odd`|00FF|610062FF63|false|edge-1",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestCoverage(t *testing.T) {
	b := newBed(t)
	s := source{rev: 18_446_744_073_709_551_615, topicID: 9}
	if got, err := b.coverage(s.key()); err != nil || len(got) != 0 {
		t.Fatalf("of nothing: %v, %v", got, err)
	}
	first := b.cut(s, 10)
	first.Coverage.Watermark, first.Coverage.Final = sink.MinWatermark, sink.MinWatermark
	s.segment = 1
	second := b.cut(s, 40, row{1_700_000_000, "a", 4, f(1), 1, f(1)})
	second.Coverage = sink.Coverage{
		Partition: s.key(), Revision: s.rev, Segment: 1, Start: 12, Version: 40,
		Watermark: 1_700_000_009_000_000, Final: 1_700_000_000_000_000,
		Counters: sink.Counters{RecordsIn: 1, Aggregated: 2, Late: 3, Filtered: 4, Rejected: 5, Expanded: 6},
		Gap:      2, GapReason: "retention",
		Epoch: 1, // leader epoch 0, and that of the first is not known
	}
	older := b.cut(s, 20)
	older.Coverage.Start = 12
	b.write(first)
	b.write(second)
	b.write(older)
	b.write(b.cut(source{topicID: 8}, 999)) // the topic it replaces

	got, err := b.coverage(s.key())
	if err != nil {
		t.Fatal(err)
	}
	first.Coverage.RowsVersion, second.Coverage.RowsVersion = 10, 40
	want := []sink.Coverage{second.Coverage, first.Coverage}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}

	// A node that ended between its rows and their account.
	b.exec(`INSERT INTO temps_partials (window_start, window_end, _rows, device, readings, _site, _pipeline, _rev, _topic, _topic_id, _partition, _segment, _version)
		SELECT window_start, window_end, _rows, device, readings, _site, _pipeline, _rev, _topic, _topic_id, _partition, _segment, 45 FROM temps_partials`)
	got, err = b.coverage(s.key())
	if err != nil || got[0].Version != 40 || got[0].RowsVersion != 45 {
		t.Errorf("with rows beyond it: %+v, %v", got, err)
	}
}

// Rows never exist without coverage, even if the process ends right after its first insert.
func TestSegmentIsOpenedBeforeItsRows(t *testing.T) {
	b := newBed(t)
	b.exec("ALTER TABLE weir_coverage ADD CONSTRAINT c CHECK aggregated = 0")
	c := b.cut(source{segment: 4}, 30, row{1_700_000_000, "a", 4, f(1), 1, f(1)})
	c.Coverage.Start, c.Coverage.Epoch = 20, 3
	if err := b.sink.Write(b.ctx(), []*sink.Cut{c}); err == nil {
		t.Fatal("the account was stored")
	}
	got, err := b.coverage(source{}.key())
	if err != nil || len(got) != 1 || got[0].Segment != 4 || got[0].Start != 20 || got[0].Version != 20 || got[0].RowsVersion != 30 || got[0].Epoch != 3 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestCompleteness(t *testing.T) {
	b := newBed(t)
	for i, final := range []int64{1_700_000_000_000_000, sink.MinWatermark, 1_690_000_000_000_000} {
		c := b.cut(source{partition: int32(i)}, 10)
		c.Coverage.Final, c.Coverage.Watermark = final, final
		if i == 0 {
			c.Coverage.Gap, c.Coverage.GapReason = 3, "retention"
		}
		b.write(c)
	}
	got := b.ask(`SELECT concatWithSeparator(' ', site, pipeline, toString(partitions), toString(partitions_without_rows),
		toString(complete_until), toString(gap), toString(gap_reasons)) FROM weir_completeness`)
	want := "berlin line-temperature 3 1 2023-07-22 04:26:40.000000 3 ['retention']"
	if len(got) != 1 || got[0] != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestCompletenessOfNewSegment begins a segment in the partition that is furthest behind: what is complete does not jump ahead to where the
// others are while its rows are stored and its account is not.
func TestCompletenessOfNewSegment(t *testing.T) {
	b := newBed(t)
	const behind, ahead = 1_690_000_000_000_000, 1_700_000_000_000_000
	for i, final := range []int64{behind, ahead} {
		c := b.cut(source{partition: int32(i)}, 10)
		c.Coverage.Final, c.Coverage.Watermark = final, final
		b.write(c)
	}
	next := b.cut(source{segment: 1}, 20, row{1_690_000_000, "a", 1, f(1), 1, f(1)})
	next.Coverage.Start, next.Coverage.Began, next.Partial = 10, &sink.Began{Watermark: behind, Final: behind}, true
	b.write(next)
	got := b.ask("SELECT concatWithSeparator(' ', toString(partitions_without_rows), toString(complete_until), toString(watermark)) FROM weir_completeness")
	if want := "0 2023-07-22 04:26:40.000000 2023-07-22 04:26:40.000000"; len(got) != 1 || got[0] != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRejectedBeforeItIsSent(t *testing.T) {
	b := newBed(t)
	good := b.cut(source{}, 10, row{1_700_000_000, "a", 1, f(1), 1, f(1)})
	year9999 := b.cut(source{partition: 1}, 10, row{1_700_000_000, "a", 1, f(1), 1, f(1)}, row{253_402_300_000, "far", 1, f(1), 1, f(1)})
	null := b.cut(source{partition: 2}, 10, row{1_700_000_000, "a", 1, f(1), 1, f(1)})
	null.Rows.Cols[3].Validity, null.Rows.Cols[3].Nulls = []byte{0}, 1
	short := b.cut(source{partition: 3}, 10, row{1_700_000_000, "a", 1, f(1), 1, f(1)})
	short.Rows.Cols[4].Values = short.Rows.Cols[4].Values[:4]
	unordered := b.cut(source{partition: 4}, 10, row{1_700_000_000, "a", 1, f(1), 1, f(1)})
	batch.As[int32](unordered.Rows.Cols[3].Offsets)[1] = 5
	other := b.cut(source{partition: 5}, 10, row{1_700_000_000, "a", 1, f(1), 1, f(1)})
	other.Rows.Schema = &batch.Schema{Fields: other.Rows.Schema.Fields[:3]}
	negative := b.cut(source{partition: 6}, -1)

	err := b.sink.Write(b.ctx(), []*sink.Cut{year9999, good, null, short, unordered, other, negative})
	var e *sink.Error
	var r *sink.Rejected
	if !errors.As(err, &e) || e.Class != sink.Reject || !errors.As(err, &r) {
		t.Fatalf("%v", err)
	}
	want := []string{
		"0 sensors/1: column window_start: 253402300000000 (ms since 1970) is outside the years 1900 to 2262 that ClickHouse can hold",
		"2 sensors/2: column device is null and may not be",
		"3 sensors/3: column readings: 4 bytes are too few for 1 rows",
		"4 sensors/4: column device: offset 5 of row 1 is out of order",
		"5 sensors/5: the rows have the columns (window_start: timestamp[ms], window_end: timestamp[ms], _rows: uint64), and the table has " +
			"(window_start: timestamp[ms], window_end: timestamp[ms], _rows: uint64, device: string, readings: uint64, temp_avg__sum: float64?, temp_avg__count: uint64, temp_max: float64?)",
		"6 sensors/6: version -1 or the partition is negative",
	}
	var got []string
	for _, c := range r.Cuts {
		got = append(got, fmt.Sprint(c.Index, " ", c.Err))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if !strings.Contains(r.Cuts[0].Row, `"device":"far"`) {
		t.Errorf("the row shown is %s", r.Cuts[0].Row)
	}
	b.want("1700000000 a 1 1 1")
	if got := b.ask("SELECT toString(partition) FROM weir_coverage FINAL"); len(got) != 1 || got[0] != "0" {
		t.Errorf("coverage of partitions %q is stored, want 0 alone", got)
	}
}

func TestRejectedByTheServer(t *testing.T) {
	b := newBed(t)
	b.exec("ALTER TABLE temps_partials ADD CONSTRAINT plausible CHECK ifNull(temp_max, 0) < 1000")
	var rows []row
	for i := range 200 {
		v := float64(i)
		if i == 57 || i == 111 {
			v = 5000
		}
		rows = append(rows, row{1_700_000_000, fmt.Sprintf("d%03d", i), 1, f(v), 1, f(v)})
	}
	good := b.cut(source{partition: 1}, 10, row{1_700_000_000, "a", 1, f(1), 1, f(1)})
	err := b.sink.Write(b.ctx(), []*sink.Cut{b.cut(source{}, 200, rows...), good})
	var e *sink.Error
	var r *sink.Rejected
	if !errors.As(err, &e) || e.Class != sink.Reject || !errors.As(err, &r) || len(r.Cuts) != 1 || r.Cuts[0].Index != 0 {
		t.Fatalf("%v", err)
	}
	if !strings.Contains(r.Cuts[0].Row, "d057") || !strings.Contains(err.Error(), "plausible") {
		t.Errorf("it does not show the row and the reason: %v", err)
	}
	if n := b.ask("SELECT toString(count()) FROM temps")[0]; n != "199" {
		t.Errorf("%s rows are stored, want all but two", n)
	}
	if got := b.ask("SELECT toString(partition) FROM weir_coverage FINAL WHERE version > 0"); len(got) != 1 || got[0] != "1" {
		t.Errorf("coverage of partitions %q is stored, want 1 alone", got)
	}
}

func TestTableThatRefusesEveryRowNeedsAPerson(t *testing.T) {
	b := newBed(t)
	b.exec("ALTER TABLE temps_partials ADD CONSTRAINT site_is_me CHECK _site = 'munich'")
	err := b.sink.Write(b.ctx(), []*sink.Cut{b.cut(source{}, 10, row{1_700_000_000, "a", 1, f(1), 1, f(1)}, row{1_700_000_000, "b", 1, f(1), 1, f(1)})})
	var e *sink.Error
	if !errors.As(err, &e) || e.Class != sink.Stop || !strings.Contains(err.Error(), "site_is_me") {
		t.Errorf("%v", err)
	}
}
