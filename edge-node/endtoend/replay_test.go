package endtoend

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
	"github.com/weir-stream/weir/edge-node/pipeline"
	"github.com/weir-stream/weir/edge-node/replay"
)

// weir runs a command of weir beside the pipeline file, and gives its exit code and what it printed.
func (s *stream) weir(args ...string) (int, string) {
	s.t.Helper()
	p := startWeir(s.t, s.dir, args...)
	code := p.wait(s.t, patience)
	return code, p.stdout.String() + p.stderr.String()
}

// report runs replay or resend, and reads what it says.
func (s *stream) report(wantCode int, args ...string) *replay.Report {
	s.t.Helper()
	p := startWeir(s.t, s.dir, append(args, "--json", "pipeline.yaml")...)
	code := p.wait(s.t, patience)
	r := &replay.Report{}
	if err := json.Unmarshal([]byte(p.stdout.String()), r); err != nil || code != wantCode {
		s.t.Fatalf("%s: exit code %d, want %d, %v\n%s\n%s", strings.Join(args, " "), code, wantCode, err, p.stdout.String(), p.stderr.String())
	}
	return r
}

// tallies adds up the segments of a report.
func tallies(r *replay.Report) (rows, letters replay.Tally) {
	for _, s := range r.Segments {
		for _, p := range []struct{ to, of *replay.Tally }{{&rows, &s.Rows}, {&letters, &s.Letters}} {
			p.to.Identical += p.of.Identical
			p.to.Differing += p.of.Differing
			p.to.Missing += p.of.Missing
			p.to.Surplus += p.of.Surplus
			p.to.Sent += p.of.Sent
		}
	}
	return rows, letters
}

func (s *stream) exec(conn driver.Conn, sql string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	if err := conn.Exec(ctx, sql); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
}

func (s *stream) count(conn driver.Conn, sql string) (n int64) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	if err := conn.QueryRow(ctx, "SELECT toInt64(("+sql+"))").Scan(&n); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// atOnce makes a mutation wait until it is done.
const atOnce = " SETTINGS mutations_sync = 2"

// TestReplayAndResend damages what ClickHouse has in every way, behind weir's back, and has it found and mended.
func TestReplayAndResend(t *testing.T) {
	t.Parallel()
	brokers, prefix := embeddedtest.Kafka(t)
	s := newStream(t, brokers, prefix+"sensors", embeddedtest.ClickHouse(t), "    protocol: classic")
	s.produce(t.Context(), 31, 60_000, 0)
	conn := openClickHouse(t, s.clickhouse)
	s.waitProduced()
	s.finish()
	s.check()

	whole := s.report(0, "replay")
	rows, letters := tallies(whole)
	n := s.count(conn, "SELECT count() FROM line_temperature_partials FINAL")
	if !whole.OK || rows.Identical != n || n == 0 || rows.Missing+rows.Differing+rows.Surplus != 0 {
		t.Fatalf("replay compared %+v of %d rows", rows, n)
	}
	if n := s.count(conn, "SELECT count() FROM weir_dead_letters FINAL"); letters.Identical != n || n == 0 || letters.Missing+letters.Differing+letters.Surplus != 0 {
		t.Fatalf("replay compared %+v of %d dead letters", letters, n)
	}
	if code, out := s.weir("replay", "pipeline.yaml"); code != 0 || !strings.Contains(out, fmt.Sprintf("identical: %s", thousandsOf(rows.Identical))) {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	// The middle of a segment: what begins before is left out, and the rest is the same.
	middle := s.report(0, "replay", "--partition", "2", "--from", "3000", "--to", "8000")
	if g := middle.Segments[0]; g.Rows.Identical == 0 || len(g.Skipped) == 0 || g.Records == 0 || g.Records > 5000 || g.Clock != "found from the records" {
		t.Errorf("the middle of a segment: %+v", g)
	}

	// A value changed by hand, its count of rows left as it is: the audit says that there is one, replay says where.
	s.exec(conn, "ALTER TABLE line_temperature_partials UPDATE temp_max = temp_max + 1 WHERE _partition = 3 AND device = (SELECT min(device) FROM line_temperature_partials WHERE _partition = 3)"+atOnce)
	changed := s.report(5, "replay", "--differences", "3")
	rows, _ = tallies(changed)
	var listed []replay.Difference
	for _, g := range changed.Segments {
		listed = append(listed, g.Differences...)
	}
	if rows.Differing == 0 || rows.Missing+rows.Surplus != 0 || len(listed) == 0 || len(listed) > 3 || listed[0].Columns[0].Column != "temp_max" {
		t.Errorf("a changed value: %+v, %+v", rows, listed)
	}
	if code, out := s.weir("replay", "--partition", "3", "pipeline.yaml"); code != 5 || !strings.Contains(out, "DIFFERS "+s.topic+"/3 segment 0: window ") {
		t.Errorf("exit code %d:\n%s", code, out)
	}

	// A row that nothing in the log gives.
	s.exec(conn, `INSERT INTO line_temperature_partials (window_start, window_end, site, device, readings, _rows, _site, _pipeline, _rev, _topic, _topic_id, _partition, _segment, _version)
		SELECT window_start, window_end, site, 'nobody', readings, _rows, _site, _pipeline, _rev, _topic, _topic_id, _partition, _segment, _version FROM line_temperature_partials WHERE _partition = 1 LIMIT 1`)
	if rows, _ := tallies(s.report(5, "replay", "--partition", "1")); rows.Surplus != 1 {
		t.Errorf("a row too many: %+v", rows)
	}
	s.exec(conn, "ALTER TABLE line_temperature_partials DELETE WHERE device = 'nobody'"+atOnce)

	damages := []string{
		"ALTER TABLE line_temperature_partials DELETE WHERE _partition IN (0, 5)" + atOnce,
		"ALTER TABLE weir_dead_letters DELETE WHERE partition = 2" + atOnce,
		"ALTER TABLE weir_coverage DELETE WHERE partition IN (4, 5)" + atOnce,
	}
	for _, sql := range damages {
		s.exec(conn, sql)
	}
	if code, out := s.weir("audit", "pipeline.yaml"); code != 5 {
		t.Fatalf("the audit sees no damage: %d\n%s", code, out)
	}
	dry := s.report(5, "resend", "--since", "3650d", "--dry-run")
	if rows, letters := tallies(dry); rows.Missing == 0 || rows.Differing == 0 || letters.Missing == 0 || rows.Sent+letters.Sent != 0 {
		t.Errorf("dry run: %+v %+v", rows, letters)
	}
	rows, letters = tallies(s.report(0, "resend", "--since", "3650d"))
	if rows.Sent == 0 || letters.Sent == 0 || rows.Sent != rows.Missing+rows.Differing {
		t.Errorf("resent %+v %+v", rows, letters)
	}
	s.check()
	if rows, letters := tallies(s.report(0, "resend", "--since", "3650d")); rows.Sent+letters.Sent != 0 {
		t.Errorf("a second time: %+v %+v", rows, letters)
	}
	s.report(0, "replay")
	// The same rows once more: the server remembers the insert that brought them back, and must take it again.
	s.exec(conn, damages[0])
	if rows, _ := tallies(s.report(0, "resend", "--since", "3650d")); rows.Sent == 0 {
		t.Errorf("the same rows once more: %+v", rows)
	}
	s.report(0, "replay")

	// Everything is gone: the group alone knows.
	for _, table := range []string{"line_temperature_partials", "weir_coverage", "weir_dead_letters"} {
		s.exec(conn, "TRUNCATE TABLE "+table)
	}
	s.report(0, "resend", "--since", "3650d")
	s.check()
	s.report(0, "replay")

	// Another revision is refused, by name.
	text, err := os.ReadFile(s.file())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.file(), []byte(strings.Replace(string(text), "temp > -40", "temp > -41", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out := s.weir("replay", "pipeline.yaml")
	if code != 1 || !strings.Contains(out, "is of revision "+whole.Revision) || !strings.Contains(out, `Steps[0].Expr: "status == \"ok\" && temp > -40" then`) {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	// But it is recorded.
	recorded := s.report(0, "replay", "--recorded")
	if rows, letters := tallies(recorded); rows.Identical != n || letters.Identical == 0 || len(recorded.Others) != 0 {
		t.Errorf("recorded: %+v %+v, others %v", rows, letters, recorded.Others)
	}
}

// TestResendSince loses the newest windows, and has to read no more than they need. Then the log loses its beginning, and the table
// drops what is old.
func TestResendSince(t *testing.T) {
	t.Parallel()
	brokers, prefix := embeddedtest.Kafka(t)
	s := newStream(t, brokers, prefix+"sensors", embeddedtest.ClickHouse(t), "    protocol: classic")
	s.produce(t.Context(), 33, 60_000, 0)
	conn := openClickHouse(t, s.clickhouse)
	s.waitProduced()
	s.finish()
	s.check()

	const since = "2023-11-14T22:17:40Z" // 40 s before the end
	s.exec(conn, "ALTER TABLE line_temperature_partials DELETE WHERE window_start >= toDateTime64('2023-11-14 22:17:40', 3, 'UTC')"+atOnce)
	r := s.report(0, "resend", "--since", since)
	if rows, _ := tallies(r); rows.Sent == 0 {
		t.Errorf("resent %+v", rows)
	}
	for _, g := range r.Segments {
		if g.From == 0 || g.Clock != "found from the records" {
			t.Errorf("partition %d was read from %d, clock %q: %+v", g.Partition, g.From, g.Clock, g.Notes)
		}
	}
	s.check()

	// The log loses the first third of partition 1.
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var to kadm.Offsets
	to.Add(kadm.Offset{Topic: s.topic, Partition: 1, At: 3300})
	if resp, err := kadm.NewClient(client).DeleteRecords(t.Context(), to); err != nil || resp.Error() != nil {
		t.Fatal(err, resp.Error())
	}
	before := s.count(conn, "SELECT count() FROM line_temperature_partials FINAL WHERE _partition = 1")
	s.exec(conn, "ALTER TABLE line_temperature_partials DELETE WHERE _partition IN (1, 2)"+atOnce)
	r = s.report(1, "resend", "--since", "3650d")
	for _, g := range r.Segments {
		switch {
		case g.Partition != 1 && (g.Gone != nil || g.Refused != ""):
			t.Errorf("partition %d: %+v", g.Partition, g)
		case g.Partition == 1 && (g.Gone == nil || g.Gone.From != 0 || g.Gone.To != 3300 || g.Gone.WindowsTo == nil || g.Rows.Sent == 0):
			t.Errorf("partition 1: %+v", g)
		}
	}
	after := s.count(conn, "SELECT count() FROM line_temperature_partials FINAL WHERE _partition = 1")
	if after == 0 || after >= before {
		t.Errorf("partition 1 had %d rows, and has %d of what the log still gives", before, after)
	}
	s.checkStored(conn)
	if code, out := s.weir("replay", "--partition", "1", "pipeline.yaml"); code != 0 || !strings.Contains(out, "the log begins at 3300") {
		t.Errorf("exit code %d:\n%s", code, out)
	}

	// What the table drops is not brought back.
	s.exec(conn, "ALTER TABLE line_temperature_partials MODIFY TTL toDateTime(window_end) + toIntervalDay(30)"+atOnce)
	s.exec(conn, "TRUNCATE TABLE line_temperature_partials")
	r = s.report(0, "resend", "--since", "3650d", "--partition", "3")
	if g := r.Segments[0]; g.Rows.Sent+g.Rows.Missing != 0 || len(g.Skipped) != 1 || g.Skipped[0].Count == 0 {
		t.Errorf("with a TTL: %+v", g)
	}
}

// checkStored compares what is stored, be it all or not, with the truth: a window that is there must be whole.
func (s *stream) checkStored(conn driver.Conn) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	want := map[string]float64{}
	for _, r := range s.truth.Windows() {
		want[fmt.Sprint(r.Start, r.Keys)] = r.Values[0]
	}
	queryRows(ctx, s.t, conn, "SELECT toUnixTimestamp64Milli(window_start), site, device, toFloat64(readings) FROM line_temperature", func(rows driver.Rows) error {
		var start int64
		keys := make([]string, 2)
		var readings float64
		err := rows.Scan(&start, &keys[0], &keys[1], &readings)
		if n := want[fmt.Sprint(start, keys)]; n != readings {
			s.t.Errorf("window %s of %s has %v readings, want %v", time.UnixMilli(start).UTC(), keys[1], readings, n)
		}
		return err
	})
}

// TestResendBesideNode loses rows again and again while a node stores more, and resends them meanwhile.
func TestResendBesideNode(t *testing.T) {
	t.Parallel()
	brokers, prefix := embeddedtest.Kafka(t)
	s := newStream(t, brokers, prefix+"sensors", embeddedtest.ClickHouse(t), "    instance_id: box-1")
	conn := openClickHouse(t, s.clickhouse)
	s.produce(t.Context(), 32, 80_000, 6000)
	node := s.start()
	sent := int64(0)
	for i := range 4 {
		before := s.stored(conn)
		eventually(t, patience, func() (bool, string) { return s.stored(conn) > before+4000, node.stderr.String() })
		s.exec(conn, fmt.Sprintf("ALTER TABLE line_temperature_partials DELETE WHERE _partition = %d", i)+atOnce)
		if i == 2 {
			node.kill() // nobody ships what is open in the meantime, and what was on its way is lost
			s.exec(conn, "ALTER TABLE weir_coverage DELETE WHERE partition = 2"+atOnce)
		}
		rows, _ := tallies(s.report(0, "resend", "--since", "3650d"))
		sent += rows.Sent
		if i == 2 {
			node = s.start()
		}
	}
	if sent == 0 {
		t.Error("nothing was lost: the test does not test")
	}
	s.waitProduced()
	node.signal(t, os.Interrupt)
	if code := node.wait(t, patience); code != 0 {
		t.Errorf("exit code %d:\n%s", code, node.stderr.String())
	}
	s.finish()
	s.report(0, "resend", "--since", "3650d")
	s.check()
	s.report(0, "replay")
}

// wantReplay reads the log of a case again: all that is stored must come out once more, whatever the case is about.
func wantReplay(ctx context.Context, t *testing.T, s nodeSpec) {
	t.Helper()
	plan, err := s.plan(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = plan.Close() }()
	r, err := plan.OpenReplay(ctx, pipeline.ReplayOptions{Timeout: patience, Most: 5, Log: testLog()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	report, err := r.Compare(ctx, replay.Choice{Partition: -1, Segment: -1, From: -1, To: -1})
	if err != nil {
		t.Fatalf("replay: %v", err)
	}
	if text, err := json.MarshalIndent(report, "", " "); !report.OK || err != nil {
		t.Errorf("replay: %v\n%s", err, text)
	}
}

// thousandsOf writes a number as weir does.
func thousandsOf(n int64) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
