package cli

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
)

const finishPipeline = `
pipeline: finish-test
source:
  kafka: {brokers: [%s], topics: [%s], group: %s}
  columns:
    device: string
    ts: timestamp[ms]
    v: float64
time: {column: ts, max_out_of_order: 10s}
steps:
  - map: {temp: v / 3, one: 1.0}
window:
  tumbling: 10s
  group_by: [device]
  aggregates:
    readings: count()
    plain: avg(temp)
    here: {wasm: %s, args: [temp, one]}
    there: {wasm: %s, args: [temp, one], merge: avgWeighted}
    wrong: {wasm: %s, args: [temp, one], merge: "%s"}
sink: {clickhouse: {url: %q}}
`

// TestFinish finishes states of three partitions in their module, and compares with ClickHouse's own averages, in the view
// and over what was inserted.
func TestFinish(t *testing.T) {
	dsn := embeddedtest.ClickHouse(t)
	brokers, prefix := embeddedtest.Kafka(t)
	topic := prefix + "sensors"
	const records = 2000
	produce(t, brokers, topic, records)
	module, err := filepath.Abs("../../examples/operators/weighted-mean/weighted-mean.wasm")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	file := fmt.Sprintf(finishPipeline, strings.Join(brokers, ","), topic, prefix+"group", module, module, module, "uniqExact", dsn)
	good := file[:strings.Index(file, "    wrong:")] + file[strings.Index(file, "sink:"):]
	finished := strings.ReplaceAll(good, "args: [temp, one]}", "args: [temp, one], merge: avgWeighted}")
	for name, text := range map[string]string{"wrong.yaml": file, "p.yaml": good, "none.yaml": finished} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	weir := func(want int, args ...string) (stdout, stderr string) {
		t.Helper()
		stdout, stderr, code := runCommand(t, args, nil)
		if code != want {
			t.Fatalf("weir %s: exit %d, want %d\n%s%s", strings.Join(args, " "), code, want, stdout, stderr)
		}
		return stdout, stderr
	}
	if _, errs := weir(exitFailed, "schema", "apply", "wrong.yaml"); !strings.Contains(errs, "aggregate wrong: the server cannot read a state of it as one of uniqExact") {
		t.Errorf("a state that ClickHouse cannot read: %s", errs)
	}
	weir(exitOK, "schema", "apply", "p.yaml")
	if out, _ := weir(exitOK, "finish", "--json", "p.yaml"); strings.TrimSpace(out) != "[]" {
		t.Errorf("before there are rows: %s", out)
	}
	weir(exitOK, "run", "--stop-at-end", "--listen", "127.0.0.1:0", "p.yaml")
	out, _ := weir(exitOK, "finish", "--json", "p.yaml")
	type row struct {
		Device             string
		Readings           int
		Plain, Here, There float64
	}
	var rows []row
	if err := json.Unmarshal([]byte(out), &rows); err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	total := 0
	for _, r := range rows {
		total += r.Readings
		if math.Abs(r.Here-r.Plain) > 1e-9 || r.Here != r.There {
			t.Errorf("%+v: all three should be the same", r)
		}
	}
	if total != records {
		t.Errorf("%d rows of %d readings, of %d", len(rows), total, records)
	}
	used, _ := weir(exitOK, "query", "--csv", "--url", dsn, `SELECT step, length(any(digest)), sum(fuel) > 1000, sum(instances) > 0, sum(bytes_copied) > 16000, sum(traps)
		FROM weir_usage FINAL WHERE step LIKE 'window %' GROUP BY step ORDER BY step`)
	if !strings.HasSuffix(strings.TrimSpace(used), "window here,64,1,1,1,0\nwindow there,64,1,1,1,0") {
		t.Errorf("the usage of the aggregates: %s", used)
	}
	if csv, _ := weir(exitOK, "finish", "--csv", "--where", "device = '"+rows[0].Device+"'", "p.yaml"); !strings.Contains(csv, ",here,") || strings.Contains(csv, "here_states") {
		t.Errorf("as CSV:\n%s", csv)
	}
	if out, _ := weir(exitOK, "finish", "--json", "--since", "1s", "p.yaml"); strings.TrimSpace(out) != "[]" {
		t.Errorf("of the last second: %s", out)
	}
	weir(exitOK, "query", "--url", dsn, `CREATE TABLE whole (window_start DateTime64(3, 'UTC'), window_end DateTime64(3, 'UTC'), device String,
		readings UInt64, plain Float64, here Nullable(Float64), there Nullable(Float64)) ENGINE = MergeTree ORDER BY (window_start, device)`)
	if _, errs := weir(exitOK, "finish", "--into", "whole", "p.yaml"); !strings.Contains(errs, fmt.Sprintf("%s into whole", count(len(rows), "row"))) {
		t.Errorf("it says %s", errs)
	}
	sum, _ := weir(exitOK, "query", "--csv", "--url", dsn, "SELECT sum(readings), countIf(abs(here - plain) > 1e-9) FROM whole")
	if !strings.HasSuffix(strings.TrimSpace(sum), fmt.Sprintf("%d,0", records)) {
		t.Errorf("stored: %s", sum)
	}
	if _, errs := weir(exitFailed, "finish", "none.yaml"); !strings.Contains(errs, "there is nothing to finish") {
		t.Errorf("of an aggregate that ClickHouse finishes: %s", errs)
	}
	weir(exitUsage, "finish", "--since", "yesterday", "p.yaml")

	// A revision that makes the states of other arguments: they are told apart by nothing but the revision.
	changed := strings.Replace(good, "here: {wasm: "+module+", args: [temp, one]}", "here: {wasm: "+module+", args: [one, temp]}", 1)
	if err := os.WriteFile("changed.yaml", []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	weir(exitOK, "finish", "--json", "p.yaml")
	produce(t, brokers, topic, 10)
	weir(exitOK, "run", "--stop-at-end", "--listen", "127.0.0.1:0", "changed.yaml")
	for file, want := range map[string]string{
		"p.yaml":       "of (one, temp) in revision ",
		"changed.yaml": "of (temp, one) in revision ",
	} {
		out, errs := weir(exitFailed, "finish", "--json", file)
		if !strings.Contains(errs, "here: module ") || !strings.Contains(errs, want) || !strings.Contains(errs, "--mixed") || strings.Contains(errs, "there: ") || out != "" {
			t.Errorf("states of two revisions: %s%s", out, errs)
		}
		weir(exitOK, "finish", "--json", "--mixed", file)
		weir(exitOK, "finish", "--json", "--since", "1s", file) // no rows of either
	}
	weir(exitOK, "query", "--url", dsn, "TRUNCATE TABLE weir_revisions")
	if _, errs := weir(exitFailed, "finish", "p.yaml"); !strings.Contains(errs, "here: something that weir_revisions does not tell in revision ") {
		t.Errorf("of a revision that nothing is known of: %s", errs)
	}
}
