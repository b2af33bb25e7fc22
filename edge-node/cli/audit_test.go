package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
)

// TestAudit audits what a run has stored, damages it, and audits again: the damage must be found, named and told in
// the exit code.
func TestAudit(t *testing.T) {
	dsn := embeddedtest.ClickHouse(t)
	brokers, prefix := embeddedtest.Kafka(t)
	topic := prefix + "sensors"
	const records = 2000
	produce(t, brokers, topic, records)
	t.Chdir(t.TempDir())
	// The file names a server that is not there, so that --url and --clickhouse are seen to work.
	file := fmt.Sprintf(runPipeline, strings.Join(brokers, ","), topic, prefix+"group", dsn)
	away := strings.ReplaceAll(file, dsn, "clickhouse://127.0.0.1:1/db")
	for name, text := range map[string]string{"p.yaml": file, "away.yaml": away} {
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
	if _, errs := weir(exitFailed, "audit", "p.yaml"); !strings.Contains(errs, "weir schema apply") {
		t.Errorf("without tables: %s", errs)
	}
	weir(exitOK, "schema", "apply", "p.yaml")
	out, errs := weir(exitFailed, "audit", "--json", "p.yaml")
	if !strings.HasPrefix(out, "{\n  \"ok\": false,") || !strings.Contains(errs, "nothing to prove") {
		t.Errorf("without rows:\n%s%s", out, errs)
	}
	weir(exitOK, "run", "--stop-at-end", "--listen", "127.0.0.1:0", "p.yaml")

	const proven = "run-test: proven: 2,000 records in 3 segments of 3 partitions, each in one place; no offset is missing; " +
		"all stored totals are those counted\n"
	out, errs = weir(exitOK, "audit", "p.yaml")
	if !strings.HasSuffix(out, proven) || strings.Count(out, "\n") != 1+3+1 || strings.Count(out, "  ok\n") != 3 || errs != "" {
		t.Errorf("got\n%s%s", out, errs)
	}
	if again, _ := weir(exitOK, "audit", "--url", dsn, "away.yaml"); again != out {
		t.Errorf("with --url:\n%s", again)
	}
	if _, errs := weir(exitUnreachable, "audit", "away.yaml"); !strings.Contains(errs, "127.0.0.1:1") {
		t.Errorf("away: %s", errs)
	}

	// The statements say the same by hand: four of them, and no verdict in capitals.
	statements, _ := weir(exitOK, "audit", "--sql", "p.yaml")
	checkByHand(t, dsn, statements, false)

	exec(t, dsn, "ALTER TABLE run_test_partials DELETE WHERE (_partition, window_start, device) = "+
		"(SELECT _partition, window_start, device FROM run_test_partials WHERE _partition = 1 ORDER BY window_start, device LIMIT 1) "+
		"SETTINGS mutations_sync = 2")
	out, errs = weir(exitDiffers, "audit", "p.yaml")
	for _, want := range []string{
		`(?m)^local +` + topic + ` +0 +1 +0 to \d+ +\d+  ok$`,
		`(?m)^local +` + topic + ` +1 +1 +0 to \d+ +\d+  FAULT$`,
		`(?m)^FAULT  local ` + topic + `/1: segment 0 of revision [0-9a-f]{16}: (\d+) rows were aggregated and (\d+) are stored$`,
		`(?m)^run-test: NOT PROVEN: 1 fault in 1 of 3 partitions$`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("no line %s in\n%s", want, out)
		}
	}
	if errs != "" {
		t.Errorf("stderr: %s", errs)
	}
	checkByHand(t, dsn, statements, true)

	out, _ = weir(exitDiffers, "audit", "--json", "p.yaml")
	var got audited
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got.OK || len(got.Pipelines) != 1 || got.Pipelines[0].OK || len(got.Pipelines[0].Partitions) != 3 {
		t.Fatalf("%s", out)
	}
	for i, p := range got.Pipelines[0].Partitions {
		if p.OK != (i != 1) || (len(p.Faults) == 0) != p.OK || len(p.Segments) != 1 {
			t.Errorf("partition %d: %+v", i, p)
		}
	}
}

// checkByHand runs the statements that weir audit --sql prints.
func checkByHand(t *testing.T, dsn, statements string, fault bool) {
	t.Helper()
	found, n := false, 0
	for statement := range strings.SplitSeq(statements, ";\n") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		n++
		out, errs, code := runCommand(t, []string{"query", "--url", dsn, "--jsonl", "-"}, []byte(statement))
		if code != 0 {
			t.Fatalf("exit %d: %s", code, errs)
		}
		found = found || regexp.MustCompile(`:"[A-Z ]{3,}"`).MatchString(out)
	}
	if n != 4 || found != fault {
		t.Errorf("%d statements, a fault is %v, want %v", n, found, fault)
	}
}

func exec(t *testing.T, dsn, sql string) {
	t.Helper()
	conn, err := openClickHouse(config.NewSecret(dsn))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}
