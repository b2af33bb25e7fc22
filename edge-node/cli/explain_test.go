package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-stream/weir/bench/workload"
	"github.com/weir-stream/weir/ingest/batch"
)

// readings writes readings of the example as lines, and gives the truth about them.
func readings(t *testing.T, file string, n int64) workload.Counts {
	t.Helper()
	cfg := workload.SensorsConfig{Seed: 3, Events: n, Devices: 50, NumPartitions: 1, HugeSize: 1<<20 + 1<<10}.DefaultMix()
	cfg.LateRate, cfg.BrokenRate = 0.02, 0.005
	gen, err := workload.Sensors(cfg)
	if err != nil {
		t.Fatal(err)
	}
	truth, err := workload.NewSensorsTruth(workload.SensorsTruthConfig{})
	if err != nil {
		t.Fatal(err)
	}
	var lines bytes.Buffer
	for {
		var r workload.Record
		if !gen.Next(&r) {
			break
		}
		if len(r.Value) == 0 || bytes.ContainsAny(r.Value, "\n\r") {
			continue // no line
		}
		truth.Add(&r)
		lines.Write(r.Value)
		lines.WriteByte('\n')
	}
	if err := os.WriteFile(file, lines.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return truth.Counts()
}

// TestExplainAnalyze holds what every stage says it did against the truth.
func TestExplainAnalyze(t *testing.T) {
	input := filepath.Join(t.TempDir(), "readings.jsonl")
	want := readings(t, input, 20_000)
	const pipeline = "../../examples/sensors/pipeline.yaml"
	text, stderr, code := runCommand(t, []string{"explain", "--analyze", "--json", "--input", input, pipeline}, nil)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	var e explained
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	a := e.Analysis
	if a == nil || a.Records != want.Records || a.Aggregated != want.Aggregated || a.Late != want.Late || a.Copied != 0 || a.Answers == 0 {
		t.Fatalf("analysis %+v, want %+v", a, want)
	}
	if a.Late == 0 || want.AllRejected() == 0 || want.Filtered == 0 {
		t.Fatalf("the readings have too little that is wrong: %+v", want)
	}
	var names []string
	for _, s := range a.Stages {
		names = append(names, s.Name)
		if s.NanosByRow <= 0 || s.RowsIn == 0 || s.BytesIn == 0 || (s.FuelByRow > 0) != strings.Contains(s.Name, "wasm") {
			t.Errorf("stage %+v", s)
		}
	}
	if got := strings.Join(names, ", "); got != "decode, 1 filter, 2 wasm calibrate, 3 map, window" {
		t.Errorf("stages %s", got)
	}
	decode, filter, window := a.Stages[0], a.Stages[1], a.Stages[4]
	for reason, n := range want.Rejected {
		if decode.Rejected[batch.Reason(reason)] != n {
			t.Errorf("decode rejected %d as %s, want %d", decode.Rejected[batch.Reason(reason)], reason, n)
		}
	}
	if filter.RowsIn-filter.RowsOut != want.Filtered || window.Rejected["late"] != want.Late || window.RowsOut != a.Answers {
		t.Errorf("filter %+v, window %+v, want %+v", filter, window, want)
	}
	if fuel := a.Stages[2].FuelByRow; fuel < 1 || fuel > 1000 {
		t.Errorf("fuel of a row is %v", fuel)
	}
	// The same for people, from stdin.
	data, err := os.ReadFile(input)
	if err != nil {
		t.Fatal(err)
	}
	text, stderr, code = runCommand(t, []string{"explain", "--analyze", "--input", "-", pipeline}, data)
	if code != 0 || !strings.Contains(text, "bytes_copied 0\n") || !strings.Contains(text, "rejected by window: ") ||
		!strings.Contains(text, thousands(want.Records)+" records: ") {
		t.Errorf("exit code %d: %s\n%s", code, stderr, text)
	}
	t.Log("\n" + text)
}

// TestExplainAnalyzeAggregate tells what an aggregate of the user's takes, as a stage before the window.
func TestExplainAnalyzeAggregate(t *testing.T) {
	module, err := filepath.Abs("../../examples/operators/weighted-mean/weighted-mean.wasm")
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(finishPipeline, "localhost:9092", "t", "g", module, module, module, "avgWeighted", "clickhouse://localhost:9000/weir")
	file := filepath.Join(t.TempDir(), "p.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var input []byte
	for i := range 3000 {
		input = fmt.Appendf(input, "{\"device\": \"d%d\", \"ts\": %d, \"v\": %d}\n", i%7, 1_700_000_000_000+i, i)
	}
	out, stderr, code := runCommand(t, []string{"explain", "--analyze", "--json", "--input", "-", file}, input)
	var e explained
	if err := json.Unmarshal([]byte(out), &e); err != nil || code != exitOK {
		t.Fatalf("exit code %d, %v: %s", code, err, stderr)
	}
	var names []string
	for _, s := range e.Analysis.Stages {
		names = append(names, s.Name)
		if strings.HasPrefix(s.Name, "window ") && (s.FuelByRow < 10 || s.FuelByRow > 5000 || s.Instances == 0 || s.Copied == 0 || s.Traps != 0) {
			t.Errorf("stage %+v", s)
		}
	}
	if got := strings.Join(names, ", "); got != "decode, 1 map, window here, window there, window wrong, window" {
		t.Errorf("stages %s", got)
	}
}

// TestAggregateArgs finds columns of an aggregate's that are not there, and where they are written.
func TestAggregateArgs(t *testing.T) {
	module, err := filepath.Abs("../../examples/operators/weighted-mean/weighted-mean.wasm")
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(finishPipeline, "localhost:9092", "t", "g", module, module, module, "avgWeighted", "clickhouse://localhost:9000/weir")
	file := filepath.Join(t.TempDir(), "p.yaml")
	if err := os.WriteFile(file, []byte(strings.Replace(text, "args: [temp, one]}", "args: [tmp, one]}", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	out, stderr, code := runCommand(t, []string{"validate", file}, nil)
	for _, want := range []string{"p.yaml:", "window.aggregates.here.args", `"tmp"`} {
		if !strings.Contains(out+stderr, want) {
			t.Errorf("no %q in\n%s%s", want, out, stderr)
		}
	}
	if code == exitOK {
		t.Error("it is valid")
	}
}
