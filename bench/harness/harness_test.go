package harness_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-stream/weir/bench/contender"
	"github.com/weir-stream/weir/bench/harness"
	"github.com/weir-stream/weir/bench/report"
	"github.com/weir-stream/weir/edge-node/cli"
	"github.com/weir-stream/weir/edge-node/embedded"
	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
)

// This program is weir when a run of the benchmarks starts it as weir.
func TestMain(m *testing.M) {
	if code, ok := embedded.Child(); ok {
		os.Exit(code)
	}
	if len(os.Args) > 1 && (os.Args[1] == "run" || os.Args[1] == "bench") {
		os.Exit(cli.Main(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	embeddedtest.Main(m)
}

// TestRun measures a small stream for real: every contender's answer must equal the truth, and one that is wrong, or
// cannot take part, must be listed as that and count for nothing.
func TestRun(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	brokers, _ := embeddedtest.Kafka(t)
	dsn := embeddedtest.ClickHouse(t)
	liar := contender.Hand(self)
	liar.Name = "liar"
	liar.Command = func(ctx context.Context, task contender.Task) (contender.Command, error) {
		task.Size.Partitions, task.Size.Events = 1, 1000 // it leaves most of the topic out
		return contender.Hand(self).Command(ctx, task)
	}
	absent := contender.Contender{Name: "absent", Command: func(context.Context, contender.Task) (contender.Command, error) {
		return contender.Command{}, contender.Cannot("it is not installed")
	}}
	doc, err := harness.Run(ctx, harness.Options{
		Weir: self, Workloads: []string{"sensors", "arrow-in"}, Events: 20_000, Rounds: 1, Partitions: 4, Live: 4 * time.Second,
		Brokers: brokers, ClickHouse: dsn, Contenders: []contender.Contender{liar, absent}, Stderr: t.Output(),
		Progress: func(line string) { t.Log(line) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(doc.Throughput) != 2 {
		t.Fatalf("%d workloads were measured", len(doc.Throughput))
	}
	w := &doc.Throughput[0]
	for _, name := range []string{"bare", "hand", "weir"} {
		r := w.Find(name, 1)
		if r == nil || len(r.Rounds) != 1 || r.Wrong != "" || r.Rounds[0].CPU <= 0 || r.Rounds[0].PeakRSS < 10<<20 || r.Rounds[0].PeakRSS > 4<<30 {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if a := &doc.Throughput[1]; a.Events != 20_000 || a.Find("weir", 1) == nil || len(a.Find("weir", 1).Rounds) != 1 || a.Rows < 10_000 {
		t.Errorf("Arrow in: %+v", a)
	}
	if r := w.Find("liar", 1); r == nil || r.Wrong == "" || len(r.Rounds) != 0 || doc.Met() {
		t.Errorf("a wrong answer was taken: %+v", r)
	}
	if r := w.Find("absent", 1); r == nil || !strings.Contains(r.LeftOut, "not installed") {
		t.Errorf("a contender that cannot take part: %+v", r)
	}
	if w.Find("weir", 1).UplinkBytes < int64(w.Rows) {
		t.Errorf("%d bytes went to ClickHouse for %d rows", w.Find("weir", 1).UplinkBytes, w.Rows)
	}
	var names []string
	for _, f := range doc.Figures {
		names = append(names, f.Name)
	}
	for _, want := range []string{"cpu_ratio_to_bare_consumer", "cpu_ratio_to_hand_written", "allocs_per_row", "bytes_copied_by_transport", "uplink_bytes_per_event"} {
		if !slices.Contains(names, want) {
			t.Errorf("there is no figure %s in %v", want, names)
		}
	}
	if i := slices.IndexFunc(doc.Figures, func(f report.Figure) bool { return f.Name == "allocs_per_row" }); i < 0 || !doc.Figures[i].Met() {
		t.Errorf("few events have another number of allocations for each: %+v", doc.Figures)
	}
	if left := left(t, brokers, dsn); len(left) > 0 {
		t.Errorf("the run has left %v", left)
	}
	if doc.Machine.Cores < 1 || doc.Machine.CopyBytesPerS < 1e8 || doc.Machine.ClickHouse == "" {
		t.Errorf("the machine is not described: %+v", doc.Machine)
	}
}

// TestInterrupt ends a run in the middle: what was measured before is in the document, what was not is named.
func TestInterrupt(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	brokers, _ := embeddedtest.Kafka(t)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	doc, err := harness.Run(ctx, harness.Options{
		Weir: self, Workloads: []string{"project", "ticks"}, Scenarios: []string{"decode", "rest"}, Events: 5000, Rounds: 1, Partitions: 2, Live: 4 * time.Second,
		Brokers: brokers, ClickHouse: embeddedtest.ClickHouse(t), Stderr: t.Output(),
		Progress: func(line string) {
			if t.Log(line); strings.Contains(line, "ticks: producing") {
				cancel()
			}
		},
	})
	if !errors.Is(err, context.Canceled) || doc == nil {
		t.Fatalf("%v, %v", doc, err)
	}
	if len(doc.Throughput) != 1 || doc.Throughput[0].Workload != "project" || !doc.Interrupted || !slices.Equal(doc.Skipped, []string{"ticks", "decode", "rest"}) {
		t.Errorf("measured %d, skipped %v", len(doc.Throughput), doc.Skipped)
	}
	if i := slices.IndexFunc(doc.Asked, func(a report.Target) bool { return a.Figure == "project.cpu_ratio_to_hand_written" }); i < 0 || doc.Asked[i].Measured == nil {
		t.Error("what was measured is not set beside what is asked")
	}
}

// TestInner measures what is measured in this process.
func TestInner(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	brokers, _ := embeddedtest.Kafka(t)
	doc, err := harness.Run(t.Context(), harness.Options{
		Weir: self, Scenarios: []string{"decode", "arrow"}, Rounds: 1, Partitions: 1, Brokers: brokers, ClickHouse: embeddedtest.ClickHouse(t), Stderr: t.Output(),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"decode_ns_per_record", "arrow_mrows_per_s"} {
		if i := slices.IndexFunc(doc.Figures, func(f report.Figure) bool { return f.Name == name }); i < 0 || !(doc.Figures[i].Value() > 0.01 && doc.Figures[i].Value() < 1e6) {
			t.Errorf("%s: %+v", name, doc.Figures)
		}
	}
}

func TestSplit(t *testing.T) {
	cases, other, err := harness.Split([]string{"latency", "sensors", "rest"})
	if err != nil || fmt.Sprint(cases, other) != "[sensors] [latency rest]" {
		t.Errorf("%v, %v, %v", cases, other, err)
	}
	if _, _, err := harness.Split([]string{"sensor"}); err == nil {
		t.Error("a workload that is not there was taken")
	}
}

// left lists what a run has left on servers that are not its own.
func left(t *testing.T, brokers []string, dsn string) []string {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	topics, err := kadm.NewClient(cl).ListTopics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, name := range topics.Names() {
		if strings.Contains(name, "-sensors-") || strings.Contains(name, "-arrow-in-") {
			out = append(out, "topic "+name)
		}
	}
	opts, err := clickhouse.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := clickhouse.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	var databases []string
	if err := conn.QueryRow(t.Context(), "SELECT groupArray(name) FROM system.databases WHERE name LIKE 'weir_bench_%'").Scan(&databases); err != nil {
		t.Fatal(err)
	}
	return append(out, databases...)
}
