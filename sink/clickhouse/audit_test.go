package clickhouse_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
	"github.com/weir-stream/weir/sink/clickhouse"
)

func (b *bed) audit() *clickhouse.AuditReport {
	b.t.Helper()
	r, err := b.sink.Audit(b.ctx())
	if err != nil {
		b.t.Fatalf("audit: %v", err)
	}
	return r
}

// story stores two partitions with three segments, two revisions, a recorded gap, late and rejected records.
func (b *bed) story() {
	b.t.Helper()
	first := b.cut(source{rev: 1}, 10, row{1_700_000_000, "a", 6, f(6), 3, f(4)}, row{1_700_000_010, "b", 1, nil, 0, nil})
	first.Coverage.Final = 1_700_000_010_000_001 // one of its windows is
	first.Coverage.Content = contentOf(first)
	first.Coverage.Counters = sink.Counters{RecordsIn: 10, Aggregated: 7, Filtered: 1, Late: 1, Rejected: 2, Expanded: 1}
	letter := func(offset int64, index int32, reason batch.Reason) sink.DeadLetter {
		return sink.DeadLetter{
			Partition: source{}.key(), Revision: 1, Offset: offset, Index: index, Time: time.UnixMilli(1_700_000_000_123),
			Step: "decode", Reason: reason, Detail: "no", Key: []byte("k"), Payload: []byte("{\x00"),
		}
	}
	first.DeadLetters = []sink.DeadLetter{
		letter(3, 0, batch.ReasonMalformed), letter(3, 1, batch.ReasonMissing), letter(4, 0, batch.ReasonLate),
	}
	second := b.cut(source{rev: 2, segment: 1}, 30, row{1_700_000_000, "a", 20, f(6), 3, f(9)})
	second.Coverage.Start, second.Coverage.Epoch = 10, 1
	third := b.cut(source{rev: 2, segment: 2}, 100, row{1_700_000_020, "a", 50, f(6), 3, f(4)})
	third.Coverage.Start, third.Coverage.Gap, third.Coverage.GapReason = 50, 20, "retention"
	other := b.cut(source{partition: 1, rev: 2}, 5, row{1_700_000_000, "a", 5, f(1), 1, f(1)})
	b.write(first, other)
	b.write(second, third)
}

func TestAuditOfATrueStory(t *testing.T) {
	b := newBed(t)
	b.story()
	r := b.audit()
	if !r.OK || len(r.Partitions) != 2 {
		text, _ := json.MarshalIndent(r, "", "  ")
		t.Fatalf("%s", text)
	}
	p := r.Partitions[0]
	if p.Start != 0 || p.End != 100 || p.Gap != 20 || p.RecordsIn != 80 || len(p.Segments) != 3 {
		t.Errorf("%+v", p)
	}
	if len(p.Notes) != 1 || !strings.Contains(p.Notes[0], "offsets 30 to 49 are lost: retention") {
		t.Errorf("notes %q", p.Notes)
	}
	for _, g := range p.Segments {
		if g.Content != "ok" {
			t.Errorf("content of segment %d: %s", g.Segment, g.Content)
		}
	}
	// Everything once more, and an old version after a new one: the proof still holds.
	b.story()
	if r := b.audit(); !r.OK {
		t.Errorf("after a second delivery: %+v", r.Partitions)
	}
}

const changed = "values of stored rows are not those that were shipped: the rows do not have the hash of the account"

func TestAuditCatchesDamage(t *testing.T) {
	for _, c := range []struct {
		name, sql, fault string
	}{
		{
			"a partial is deleted",
			"ALTER TABLE temps_partials DELETE WHERE device = 'b' SETTINGS mutations_sync = 2",
			"segment 0 of revision 0000000000000001: 7 rows were aggregated and 6 are stored",
		},
		{
			"a partial is doubled under another segment",
			`INSERT INTO temps_partials (window_start, window_end, _rows, device, readings, _site, _pipeline, _rev, _topic, _topic_id, _partition, _segment, _version)
			 SELECT window_start, window_end, _rows, device, readings, _site, _pipeline, _rev, _topic, _topic_id, _partition, 7, _version FROM temps_partials WHERE device = 'b'`,
			"segment 7 of revision 0000000000000001: 1 rows are stored and there is no account of them",
		},
		{
			"a count is changed in a row",
			"ALTER TABLE temps_partials UPDATE _rows = 9 WHERE device = 'b' SETTINGS mutations_sync = 2",
			"segment 0 of revision 0000000000000001: 7 rows were aggregated and 15 are stored",
		},
		{
			"a process that lost the partition adds to its segment",
			`INSERT INTO temps_partials (window_start, window_end, _rows, device, readings, _site, _pipeline, _rev, _topic, _topic_id, _partition, _segment, _version)
			 SELECT window_start, window_end, _rows + 4, device, readings + 4, _site, _pipeline, _rev, _topic, _topic_id, _partition, _segment, 14 FROM temps_partials WHERE device = 'a' AND _segment = 0 AND _partition = 0`,
			"segment 0 of revision 0000000000000001: its rows reach to 14 and the next segment begins at 10: offsets 10 to 13 may be counted twice, by a process that did not know that it had lost the partition",
		},
		{
			"a segment is shifted",
			"ALTER TABLE weir_coverage UPDATE start_offset = 12 WHERE segment = 1 SETTINGS mutations_sync = 2",
			"segment 1 of revision 0000000000000002: begins at 12 and the one before ends at 10: what is between is not accounted for",
		},
		{
			"a segment is longer than told",
			"INSERT INTO weir_coverage SELECT * REPLACE (14 AS version) FROM weir_coverage WHERE segment = 0 AND partition = 0 AND records_in = 10",
			"segment 1 of revision 0000000000000002: begins at 10 and the one before ends at 14: what is between may be counted twice",
		},
		{
			"a recorded gap is made smaller",
			"ALTER TABLE weir_coverage UPDATE gap = 19 WHERE segment = 2 SETTINGS mutations_sync = 2",
			"segment 2 of revision 0000000000000002: begins at 50 and the one before ends at 30: what is between is not accounted for",
		},
		{
			"a segment is removed",
			"ALTER TABLE weir_coverage DELETE WHERE segment = 1 SETTINGS mutations_sync = 2",
			"segment 1 of revision 0000000000000002: 20 rows are stored and there is no account of them",
		},
		{
			"a counter is changed",
			"ALTER TABLE weir_coverage UPDATE filtered = 2 WHERE segment = 0 AND partition = 0 SETTINGS mutations_sync = 2",
			"segment 0 of revision 0000000000000001: 10 records and 1 rows more, but 7 aggregated, 0 open, 1 late, 2 filtered, 2 rejected, 0 dropped",
		},
		{
			"counters are changed in a way that adds up",
			"ALTER TABLE weir_coverage UPDATE filtered = 2, records_in = 11 WHERE segment = 0 AND partition = 0 SETTINGS mutations_sync = 2",
			"segment 0 of revision 0000000000000001: the account was changed by hand: its hash does not fit",
		},
		{
			"a value is changed",
			"ALTER TABLE temps_partials UPDATE temp_avg__sum = 6.000000000000001 WHERE device = 'a' AND _segment = 1 SETTINGS mutations_sync = 2",
			"segment 1 of revision 0000000000000002: " + changed,
		},
		{
			"a null becomes a value",
			"ALTER TABLE temps_partials UPDATE temp_max = 0 WHERE device = 'b' SETTINGS mutations_sync = 2",
			"segment 0 of revision 0000000000000001: " + changed,
		},
		{
			"a partial is deleted and another counts its rows",
			"ALTER TABLE temps_partials DELETE WHERE device = 'b', UPDATE _rows = 7 WHERE device = 'a' AND _segment = 0 SETTINGS mutations_sync = 2",
			"segment 0 of revision 0000000000000001: " + changed,
		},
		{
			"what one value loses another gains",
			"ALTER TABLE temps_partials UPDATE readings = if(device = 'a', 5, 2) WHERE _segment = 0 AND _partition = 0 SETTINGS mutations_sync = 2",
			"segment 0 of revision 0000000000000001: " + changed,
		},
		{
			"the values of two rows are exchanged",
			"ALTER TABLE temps_partials UPDATE readings = if(device = 'a', 1, 6) WHERE _segment = 0 AND _partition = 0 SETTINGS mutations_sync = 2",
			"segment 0 of revision 0000000000000001: " + changed,
		},
		{
			"a final value is replaced by a later version",
			`INSERT INTO temps_partials (window_start, window_end, _rows, device, readings, temp_avg__sum, temp_avg__count, temp_max, _site, _pipeline, _rev, _topic, _topic_id, _partition, _segment, _version)
			 SELECT window_start, window_end, _rows, device, readings, temp_avg__sum, temp_avg__count, 99, _site, _pipeline, _rev, _topic, _topic_id, _partition, _segment, _version + 1
			 FROM temps_partials WHERE _segment = 0 AND device = 'a'`,
			"segment 0 of revision 0000000000000001: " + changed,
		},
		{
			"value and hash are changed together",
			"ALTER TABLE weir_coverage UPDATE content_all = content_all + 1 WHERE segment = 1 SETTINGS mutations_sync = 2",
			"segment 1 of revision 0000000000000002: the account was changed by hand: its hash does not fit",
		},
		{
			"the hashes are removed",
			"ALTER TABLE weir_coverage UPDATE content_columns = '', content_all = 0, content_final = 0 WHERE segment = 1 SETTINGS mutations_sync = 2",
			"segment 1 of revision 0000000000000002: the account was changed by hand: its hash does not fit",
		},
		{
			"the leader epoch is changed",
			"ALTER TABLE weir_coverage UPDATE leader_epoch = 1 WHERE segment = 1 SETTINGS mutations_sync = 2",
			"segment 1 of revision 0000000000000002: the account was changed by hand: its hash does not fit",
		},
		{
			"the leader epoch is removed",
			"ALTER TABLE weir_coverage UPDATE leader_epoch = NULL WHERE segment = 1 SETTINGS mutations_sync = 2",
			"segment 1 of revision 0000000000000002: the account was changed by hand: its hash does not fit",
		},
		{
			"a dead letter is deleted",
			"ALTER TABLE weir_dead_letters DELETE WHERE reason = 'missing' SETTINGS mutations_sync = 2",
			"segment 0 of revision 0000000000000001: 2 rejected and 1 late, but 1 and 1 dead letters",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			b.story()
			b.exec(c.sql)
			r := b.audit()
			if r.OK {
				t.Fatal("nothing was found")
			}
			var faults []string
			for _, p := range r.Partitions {
				faults = append(faults, p.Faults...)
			}
			for _, f := range faults {
				if f == c.fault {
					return
				}
			}
			t.Errorf("found\n%s\nwant\n%s", strings.Join(faults, "\n"), c.fault)
		})
	}
}

func TestAuditOfRowsOnTheirWay(t *testing.T) {
	b := newBed(t)
	b.story()
	// A node that ended between its rows and their account.
	b.exec(`INSERT INTO temps_partials (window_start, window_end, _rows, device, readings, _site, _pipeline, _rev, _topic, _topic_id, _partition, _segment, _version)
		SELECT window_start, window_end, _rows + 1, device, readings + 1, _site, _pipeline, _rev, _topic, _topic_id, _partition, _segment, _version + 1
		FROM temps_partials WHERE _segment = 2`)
	r := b.audit()
	p := r.Partitions[0]
	if !r.OK || p.Segments[2].Stored != "ahead" || len(p.Notes) != 2 {
		t.Errorf("%+v", p)
	}
}

// TestAuditOfOtherColumns gives the pipeline an aggregate more and takes one away, and goes back to before there were hashes.
func TestAuditOfOtherColumns(t *testing.T) {
	b := newBed(t)
	old := b.cut(source{rev: 1}, 10, row{1_700_000_000, "a", 10, f(6), 3, f(4)})
	none := b.cut(source{partition: 1, rev: 1}, 10, row{1_700_000_000, "a", 10, f(6), 3, f(4)})
	none.Coverage.Content = sink.Content{}
	b.write(old, none)
	// The account of an older version has the hash it always had.
	if got := b.ask(`SELECT toString(hash = lower(hex(SHA256(arrayStringConcat([toString(site), toString(pipeline), toString(rev), toString(topic),
		toString(topic_id), toString(partition), toString(segment), toString(start_offset), toString(version), toString(watermark_us), toString(final_us),
		toString(records_in), toString(expanded), toString(aggregated), toString(late), toString(filtered), toString(rejected), toString(gap), gap_reason, ''], '\n')))))
		FROM weir_coverage FINAL WHERE partition = 1`); got[0] != "1" {
		t.Error("an account without hashes of rows has another hash than before")
	}

	whole := b.tab
	b.tab.Aggregates = append(slices.Clone(whole.Aggregates[1:]), sink.Aggregate{
		Name: "first", Type: kind(batch.Int64), States: []sink.State{{Field: batch.Field{Name: "first", Type: kind(batch.Int64)}}},
	}, whole.Aggregates[0])
	b.sink = b.open(b.cfg)
	b.apply()
	r := b.audit()
	if !r.OK || r.Partitions[0].Segments[0].Content != "ok" || r.Partitions[1].Segments[0].Content != "no hash" || len(r.Partitions[1].Notes) != 1 {
		t.Errorf("%+v", r.Partitions)
	}
	b.tab.Aggregates = whole.Aggregates[:2]
	b.sink = b.open(b.cfg)
	r = b.audit()
	if !r.OK || r.Partitions[0].Segments[0].Content != "other columns" || len(r.Partitions[0].Notes) != 1 {
		t.Errorf("%+v", r.Partitions)
	}
	// By name or not, a changed value is found.
	b.exec("ALTER TABLE temps_partials UPDATE temp_max = 5 WHERE 1 SETTINGS mutations_sync = 2")
	b.tab.Aggregates = append(slices.Clone(whole.Aggregates[1:]), whole.Aggregates[0])
	b.sink = b.open(b.cfg)
	if r := b.audit(); r.OK || r.Partitions[0].Segments[0].Content != "CHANGED" {
		t.Errorf("%+v", r.Partitions)
	}
}

// A partition from which nothing was read yet has an account with nothing in it.
func TestAuditOfNothing(t *testing.T) {
	b := newBed(t)
	b.write(b.cut(source{rev: 1}, 0))
	r := b.audit()
	if !r.OK || len(r.Partitions) != 1 {
		t.Fatalf("%+v", r)
	}
	if p := r.Partitions[0]; len(p.Notes) != 0 || p.RecordsIn != 0 || p.Segments[0].Letters != "ok" {
		t.Errorf("%+v", p)
	}
}
