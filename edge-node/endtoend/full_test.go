//go:build unix

package endtoend

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
	"github.com/weir-stream/weir/edge-node/pipeline"
)

// What is sent: a record of every device in every window, with more of it to keep than there is room for.
const (
	fullWindows, fullDevices = 160, 250
	fullBegin                = 1_700_000_000_000
)

const fullPipeline = `pipeline: full-%[5]s
source:
  kafka: {brokers: "%[1]s", topics: [%[2]s], group: %[2]s-%[3]s, instance_id: box}
  format: json
  columns: {ts: "timestamp[ms]", device: string, v: int64, note: string}
time: {column: ts}
window:
  tumbling: 1s
  group_by: [device]
  aggregates: {n: count(), total: sum(v), "note": last(note), "rise": delta(v)}
sink:
  clickhouse: {url: "%[4]s", table: full_%[3]s, flush_every: 200ms, schema: apply}
  spool: {when_full: %[3]s}
`

// fullRow is a row of the finished view.
type fullRow struct {
	n, total, rise int64
	note           string
}

// fullLog is what was sent, by device and window.
type fullLog struct {
	devices []string
	v       [fullWindows][fullDevices]int64
	note    [fullWindows][fullDevices]string
}

// row is what becomes of the records of a device in some windows.
func (l *fullLog) row(device, from, to int) fullRow {
	var r fullRow
	for w := from; w < to; w++ {
		v := l.v[w][device]
		if w > from {
			if before := l.v[w-1][device]; v < before {
				r.rise += v
			} else {
				r.rise += v - before
			}
		}
		r.n, r.total, r.note = r.n+1, r.total+v, l.note[w][device]
	}
	return r
}

// TestFull takes ClickHouse away from two nodes until there is no room for what waits. One merges windows, the other drops the oldest. Both
// are killed meanwhile. In the end every row must be that of its window, whatever it is wide, and all that is missing must be named.
func TestFull(t *testing.T) {
	t.Parallel()
	if embeddedtest.Server(t) == nil {
		t.Skip("SKIPPED, nothing was tested: the servers are not ours to kill")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	ch, cfg := ownClickHouse(ctx, t)
	brokers, prefix := embeddedtest.Kafka(t)
	topic := prefix + "full"

	policies := []string{"coarsen", "drop_oldest"}
	dirs, nodes := map[string]string{}, map[string]*process{}
	run := func(policy string, args ...string) *process {
		args = append([]string{"run", "--listen", "127.0.0.1:0", "--state-dir", filepath.Join(dirs[policy], "state")}, append(args, "pipeline.yaml")...)
		env := []string{envWeir + "=1", "WEIR_LOG_FORMAT=text", "WEIR_DISK=3MiB"}
		return start(t, dirs[policy], env, args...)
	}
	conn := openClickHouse(t, ch.DSN("default"))
	count := func(policy string) (n int64) {
		_ = conn.QueryRow(ctx, "SELECT toInt64(count()) FROM full_"+policy).Scan(&n)
		return n
	}
	log := sendFull(ctx, t, brokers, topic, nil, 0, 1)
	for _, policy := range policies {
		dirs[policy] = t.TempDir()
		text := fmt.Sprintf(fullPipeline, strings.Join(brokers, ","), topic, policy, ch.DSN("default"), strings.ReplaceAll(policy, "_", "-"))
		writeFile(t, filepath.Join(dirs[policy], "pipeline.yaml"), text)
		nodes[policy] = run(policy)
		eventually(t, patience, func() (bool, string) { return count(policy) == fullDevices, nodes[policy].stderr.String() })
	}
	ch.Kill()
	sendFull(ctx, t, brokers, topic, log, 1, 2)
	for _, policy := range policies { // a node for which nothing waits yet could do without its disk
		eventually(t, patience, func() (bool, string) {
			text := nodes[policy].stderr.String()
			return strings.Contains(text, "cannot store; trying again"), text
		})
	}
	given := map[string]string{"coarsen": "weir_rows_merged_total", "drop_oldest": "weir_rows_dropped_total"}
	// send has all of some windows read, a few at a time: what the disk has no room for is told with the next cut.
	send := func(from, to int) {
		const step = 20
		for at := from; at < to; at += step {
			sendFull(ctx, t, brokers, topic, log, at, min(at+step, to))
			for _, policy := range policies {
				eventually(t, patience, func() (bool, string) {
					return nodes[policy].sum(t, "weir_source_records_total") >= float64((min(at+step, to)-from)*fullDevices), nodes[policy].stderr.String()
				})
			}
		}
	}
	send(2, fullWindows/2)
	for _, policy := range policies { // it is twice what there is room for
		eventually(t, patience, func() (bool, string) { return nodes[policy].sum(t, given[policy]) > 0, nodes[policy].stderr.String() })
		nodes[policy].kill()
		nodes[policy] = run(policy)
	}
	send(fullWindows/2, fullWindows)
	for _, policy := range policies {
		nodes[policy].kill()
	}
	startClickHouse(ctx, t, cfg)
	for _, policy := range policies {
		nodes[policy] = run(policy, "--stop-at-end")
		if code := nodes[policy].wait(t, patience); code != 0 {
			t.Fatalf("%s: exit code %d:\n%s", policy, code, nodes[policy].stderr.String())
		}
		t.Run(policy, func(t *testing.T) { log.check(ctx, t, openClickHouse(t, ch.DSN("default")), dirs[policy], policy) })
	}
}

// sendFull sends the records of some windows.
func sendFull(ctx context.Context, t *testing.T, brokers []string, topic string, log *fullLog, from, to int) *fullLog {
	t.Helper()
	rng := rand.New(rand.NewPCG(uint64(from), 21))
	text := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[rng.IntN(62)]
		}
		return string(b)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.DefaultProduceTopic(topic))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if log == nil {
		if _, err := kadm.NewClient(cl).CreateTopic(ctx, 1, 1, nil, topic); err != nil {
			t.Fatal(err)
		}
		log = &fullLog{}
		for range fullDevices {
			log.devices = append(log.devices, text(32))
		}
	}
	var records []*kgo.Record
	for w := from; w < to; w++ {
		for d, device := range log.devices {
			log.v[w][d], log.note[w][d] = rng.Int64N(1000), text(200)
			ts := fullBegin + int64(w)*1000 + int64(d)
			value := fmt.Appendf(nil, `{"ts":%d,"device":%q,"v":%d,"note":%q}`, ts, device, log.v[w][d], log.note[w][d])
			records = append(records, &kgo.Record{Value: value, Timestamp: time.UnixMilli(ts)})
		}
	}
	if err := cl.ProduceSync(ctx, records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	return log
}

// check compares everything that is stored with what was sent.
func (l *fullLog) check(ctx context.Context, t *testing.T, conn driver.Conn, dir, policy string) {
	number := map[string]int{}
	for i, d := range l.devices {
		number[d] = i
	}
	rows, n, wide, wrong := 0, int64(0), 0, 0
	queryRows(ctx, t, conn, `SELECT toUnixTimestamp64Milli(window_start), toUnixTimestamp64Milli(window_end), device, toInt64(n), toInt64(total), note, toInt64(ifNull(rise, 0))
		FROM full_`+policy, func(r driver.Rows) error {
		var start, end int64
		var device string
		var got fullRow
		if err := r.Scan(&start, &end, &device, &got.n, &got.total, &got.note, &got.rise); err != nil {
			return err
		}
		from, to := max(0, int(start-fullBegin)/1000), min(fullWindows, int(end-fullBegin)/1000)
		if want := l.row(number[device], from, to); got != want {
			if wrong++; wrong < 5 {
				t.Errorf("%s, windows %d to %d: %+v, want %+v", device, from, to, got, want)
			}
		}
		if rows++; to-from > 1 {
			wide++
		}
		n += got.n
		return nil
	})
	if wrong > 0 {
		t.Errorf("%d of %d rows are wrong", wrong, rows)
	}
	dropped, aggregated := int64(0), int64(0)
	var spans []int64
	if err := conn.QueryRow(ctx, "SELECT dropped, aggregated, spans FROM weir_coverage FINAL WHERE pipeline = ?", "full-"+strings.ReplaceAll(policy, "_", "-")).Scan(&dropped, &aggregated, &spans); err != nil {
		t.Fatal(err)
	}
	named := int64(0)
	for i := 0; i < len(spans); i += 3 {
		for w := range int64(fullWindows) {
			if at := fullBegin + 1000*w; spans[i+2] == 0 && spans[i] <= at && at < spans[i+1] {
				named += fullDevices
			}
		}
	}
	t.Logf("%d rows, %d of wider windows, %d records dropped; spans %v", rows, wide, dropped, spans)
	if n+dropped != fullWindows*fullDevices || n != aggregated || dropped != named {
		t.Errorf("%d records are in rows, %d by the account; %d are dropped, in windows that had %d; %d were sent", n, aggregated, dropped, named, fullWindows*fullDevices)
	}
	if (policy == "coarsen") != (wide > 0) || (policy == "coarsen") == (dropped > 0) {
		t.Errorf("%d rows of wide windows, and %d records dropped", wide, dropped)
	}
	spec, err := config.Load(filepath.Join(dir, "pipeline.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := pipeline.New(ctx, spec, config.DefaultNode(), pipeline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = plan.Close() }()
	wantAudit(ctx, t, plan)

	s := &stream{t: t, dir: dir}
	whole := s.report(0, "replay")
	if g := whole.Segments[0]; !whole.OK || g.Rows.Identical != int64(rows) {
		t.Errorf("replay compared %+v of %d rows, and skipped %+v", g.Rows, rows, g.Skipped)
	}
	if wide == 0 {
		return
	}
	why, _ := runWeir(t, 0, "why", "--window", time.UnixMilli(fullBegin).UTC().Format(time.RFC3339), "--key", "device="+l.devices[3], s.file())
	if !strings.Contains(why, "2023-11-14T22:13:20Z to ") || !strings.Contains(why, "erged") {
		t.Errorf("weir why:\n%s", why)
	}
	// Wide rows that the centre lost are stored again, and are as wide.
	s.exec(conn, "ALTER TABLE full_coarsen_partials DELETE WHERE _width > 0 AND device = '"+l.devices[3]+"'"+atOnce)
	lost, _ := tallies(s.report(5, "replay"))
	sent, _ := tallies(s.report(0, "resend", "--since", "2023-11-14T22:00:00Z"))
	if again, _ := tallies(s.report(0, "replay")); lost.Missing == 0 || sent.Sent != lost.Missing || again.Identical != int64(rows) {
		t.Errorf("lost %+v, sent %+v, and then %+v", lost, sent, again)
	}
	wantAudit(ctx, t, plan)
}
