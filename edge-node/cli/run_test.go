package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
)

const runPipeline = `pipeline: run-test
source:
  kafka: {brokers: "%s", topics: [%s], group: %s}
  columns: {device: string, ts: "timestamp[ms]", v: int64}
time: {column: ts}
window: {tumbling: 10s, group_by: [device], aggregates: {n: count(), total: sum(v)}}
sink: {clickhouse: {url: "%s", flush_every: 200ms}}
`

// TestRun takes a pipeline through its commands against a real broker and a real ClickHouse: it refuses to run without
// tables and says what to do, that is done, it runs to the end, runs again without counting anything twice, and the
// answer is right.
func TestRun(t *testing.T) {
	dsn := embeddedtest.ClickHouse(t)
	brokers, prefix := embeddedtest.Kafka(t)
	topic := prefix + "sensors"
	const records = 5000
	total := produce(t, brokers, topic, records)
	t.Chdir(t.TempDir())
	file := fmt.Sprintf(runPipeline, strings.Join(brokers, ","), topic, prefix+"group", dsn)
	if err := os.WriteFile("p.yaml", []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	run := []string{"run", "--stop-at-end", "--listen", "127.0.0.1:0", "p.yaml"}

	_, stderr, code := runCommand(t, run, nil)
	if code != exitFailed || !strings.Contains(stderr, "weir schema apply") || !strings.Contains(stderr, "table run_test_partials is missing") {
		t.Fatalf("without tables: exit %d\n%s", code, stderr)
	}
	stdout, stderr, code := runCommand(t, []string{"schema", "apply", "p.yaml"}, nil)
	if code != 0 || stdout != "p.yaml: the tables of run-test are there\n" {
		t.Fatalf("schema apply: exit %d\n%s%s", code, stdout, stderr)
	}
	for range 2 {
		if _, stderr, code = runCommand(t, run, nil); code != 0 {
			t.Fatalf("run: exit %d\n%s", code, stderr)
		}
		checkTotal(t, records, total)
	}
	for line := range strings.Lines(stderr) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not a JSON log line: %s", line)
		}
	}
}

func checkTotal(t *testing.T, records, total int64) {
	t.Helper()
	stdout, stderr, code := runCommand(t, []string{"query", "--jsonl", "-p", "p.yaml", "SELECT sum(n) AS n, sum(total) AS total FROM run_test"}, nil)
	if want := fmt.Sprintf("{\"n\":%d,\"total\":%d}\n", records, total); code != 0 || stdout != want {
		t.Errorf("got %s%s(exit %d), want %s", stdout, stderr, code, want)
	}
}

// produce writes records with known totals.
func produce(t *testing.T, brokers []string, topic string, n int64) (total int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.DefaultProduceTopic(topic))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopic(ctx, 3, 1, nil, topic); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		t.Fatal(err)
	}
	var batch []*kgo.Record
	for i := range n {
		total += i
		batch = append(batch, &kgo.Record{
			Key:   fmt.Appendf(nil, "%d", i%7),
			Value: fmt.Appendf(nil, `{"device":"d%d","ts":%d,"v":%d}`, i%7, 1_700_000_000_000+i*20, i),
		})
	}
	if err := client.ProduceSync(ctx, batch...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	return total
}

// TestRunAddressTaken starts a node on a port that somebody has.
func TestRunAddressTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	t.Chdir(t.TempDir())
	file := fmt.Sprintf(runPipeline, "127.0.0.1:1", "t", "g", "clickhouse://127.0.0.1:1/db")
	if err := os.WriteFile("p.yaml", []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	_, stderr, code := runCommand(t, []string{"run", "--listen", l.Addr().String(), "p.yaml"}, nil)
	if code != exitFailed || !strings.Contains(stderr, "in use") || !strings.Contains(stderr, "--listen") {
		t.Errorf("exit %d\n%s", code, stderr)
	}
}

// TestRunWaits starts a node while neither server is there: it says so, waits, and stops when told to.
func TestRunWaits(t *testing.T) {
	t.Chdir(t.TempDir())
	file := fmt.Sprintf(runPipeline, "127.0.0.1:1", "t", "g", "clickhouse://127.0.0.1:1/db")
	if err := os.WriteFile("p.yaml", []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var stderr strings.Builder
	a := &app{stdin: strings.NewReader(""), stdout: &stderr, stderr: &stderr, env: config.OSEnv()}
	if code := a.main(ctx, []string{"run", "--listen", "127.0.0.1:0", "--log-format", "text", "p.yaml"}); code != 0 {
		t.Errorf("exit %d", code)
	}
	for _, want := range []string{"WARN", "127.0.0.1:1", "connection refused", "stopped"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("no %q in\n%s", want, stderr.String())
		}
	}
}

// TestRunLimits gives a pipeline less memory for its windows than their keys need. Where windows must not be in parts it stops, and says which
// limit that was; elsewhere it begins segments early and comes to exact totals, which the audit proves and the log gives again.
func TestRunLimits(t *testing.T) {
	dsn := embeddedtest.ClickHouse(t)
	brokers, prefix := embeddedtest.Kafka(t)
	topic := prefix + "sensors"
	t.Chdir(t.TempDir())
	var input strings.Builder
	const keys = 40_000
	for i := range keys {
		fmt.Fprintf(&input, `{"device":"device-%d","ts":1700000000000,"v":%d}`+"\n", i, i)
	}
	file := fmt.Sprintf(runPipeline, strings.Join(brokers, ","), topic, prefix+"group", dsn)
	if err := os.WriteFile("p.yaml", []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"produce", "lines", "--kafka", strings.Join(brokers, ","), "--topic", topic},
		{"schema", "apply", "p.yaml"},
	} {
		if stdout, stderr, code := runCommand(t, args, []byte(input.String())); code != 0 {
			t.Fatalf("%v: exit %d\n%s%s", args, code, stdout, stderr)
		}
	}
	ordered := strings.NewReplacer("pipeline: run-test", "pipeline: run-test-ordered", "group: "+prefix+"group", "group: "+prefix+"ordered",
		"n: count(),", "n: count(), newest: last(v),").Replace(file)
	if err := os.WriteFile("ordered.yaml", []byte(ordered), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := runCommand(t, []string{"schema", "apply", "ordered.yaml"}, nil); code != 0 {
		t.Fatalf("exit %d\n%s", code, stderr)
	}
	t.Setenv("WEIR_STATE", "2MiB")
	t.Setenv("WEIR_QUEUE", "1MiB")
	run := []string{"run", "--stop-at-end", "--listen", "127.0.0.1:0", "ordered.yaml"}
	_, stderr, code := runCommand(t, run, nil)
	if code != exitFailed || !strings.Contains(stderr, "raise limits.state in node.yaml") || !strings.Contains(stderr, "the states of aggregate newest, last,") {
		t.Fatalf("exit %d\n%s", code, stderr)
	}
	run[len(run)-1] = "p.yaml"
	if _, stderr, code = runCommand(t, run, nil); code != 0 || !strings.Contains(stderr, "began its next segment early") {
		t.Fatalf("exit %d\n%s", code, stderr)
	}
	checkTotal(t, keys, keys*(keys-1)/2)
	for _, args := range [][]string{{"audit", "p.yaml"}, {"replay", "p.yaml"}, {"resend", "--since", "24h", "p.yaml"}} {
		if stdout, stderr, code := runCommand(t, args, nil); code != 0 {
			t.Errorf("%v: exit %d\n%s%s", args, code, stdout, stderr)
		}
	}
}
