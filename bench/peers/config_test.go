package peers

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weir-stream/weir/bench/contender"
	"github.com/weir-stream/weir/bench/workload"
)

func task(t *testing.T, name string) contender.Task {
	t.Helper()
	cases, err := workload.Select(workload.Cases(), []string{name})
	if err != nil {
		t.Fatal(err)
	}
	return contender.Task{
		Case: cases[0], Size: workload.Size{Events: 1000, Partitions: 2}, Brokers: []string{"one:9092", "two:9092"}, Topic: "readings", Name: "bench-1",
		Dir: t.TempDir(), Cores: 1,
	}
}

// installed makes all engines look as if they were there: nothing of it is run.
func installed(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"bento", "redpanda-connect", "vector", "java"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, jar := range []string{"opt/flink-sql-client-1.jar", "opt/flink-sql-gateway-1.jar", "opt/flink-python-1.jar", "lib/flink-sql-connector-kafka-1.jar"} {
		file := filepath.Join(dir, filepath.FromSlash(jar))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	t.Setenv("FLINK_HOME", dir)
	for _, name := range []string{"WEIR_BENTO", "WEIR_REDPANDA_CONNECT", "WEIR_VECTOR"} {
		t.Setenv(name, "")
	}
}

// TestConfigurations compares what each engine is given with testdata. UPDATE=1 writes it anew.
func TestConfigurations(t *testing.T) {
	installed(t)
	for _, c := range []struct {
		peer     contender.Contender
		workload string
		file     string
	}{
		{Flink(), "sensors", "job.sql"},
		{Flink(), "project", "job.sql"},
		{Bento(), "project", "config.yaml"},
		{RedpandaConnect(), "project", "config.yaml"},
		{Vector(), "project", "config.yaml"},
	} {
		t.Run(c.peer.Name+"/"+c.workload, func(t *testing.T) {
			work := task(t, c.workload)
			cmd, err := c.peer.Command(t.Context(), work)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(strings.Join(cmd.Args, " "), filepath.Join(work.Dir, c.file)) || cmd.Finish == nil || cmd.Answer.File == "" {
				t.Errorf("it is started with %q and leaves its answer in %+v", cmd.Args, cmd.Answer)
			}
			got, err := os.ReadFile(filepath.Join(work.Dir, c.file))
			if err != nil {
				t.Fatal(err)
			}
			got = bytes.ReplaceAll(got, []byte(work.Dir), []byte("/dir"))
			golden := filepath.Join("testdata", c.peer.Name+"-"+c.workload+filepath.Ext(c.file))
			if os.Getenv("UPDATE") != "" {
				if err := os.WriteFile(golden, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("the configuration is not that of %s:\n%s", golden, got)
			}
		})
	}
}

// TestMissing holds the drivers to say what is not there, and where they look.
func TestMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("FLINK_HOME", "")
	for _, name := range []string{"WEIR_BENTO", "WEIR_REDPANDA_CONNECT", "WEIR_VECTOR"} {
		t.Setenv(name, "")
	}
	for _, c := range []struct {
		peer contender.Contender
		says string
	}{
		{KafkaStreams(), "Java 17"}, {Flink(), "FLINK_HOME"}, {Bento(), "WEIR_BENTO"}, {RedpandaConnect(), "WEIR_REDPANDA_CONNECT"}, {Vector(), "WEIR_VECTOR"},
	} {
		_, err := c.peer.Command(t.Context(), task(t, "project"))
		if !errors.Is(err, contender.ErrCannot) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, should be a reason with %q", c.peer.Name, err, c.says)
		}
	}
	t.Setenv("FLINK_HOME", t.TempDir())
	if _, err := Flink().Command(t.Context(), task(t, "project")); !errors.Is(err, contender.ErrCannot) || !strings.Contains(err.Error(), "flink-sql-client") {
		t.Errorf("Flink without its jars: %v", err)
	}
}

// TestFold compares the sums of rows with the truth: out of order, some of them twice, late ones among them.
func TestFold(t *testing.T) {
	work := task(t, "project")
	work.Size.Events = 20_000
	gen, err := work.Case.Stream(work.Size)
	if err != nil {
		t.Fatal(err)
	}
	truth, err := work.Case.Truth(work.Size)
	if err != nil {
		t.Fatal(err)
	}
	var rows []projected
	for r := (workload.Record{}); gen.Next(&r); {
		truth.Add(&r)
		var v struct {
			TS, Seq int64
			Temp    float64
		}
		if err := json.Unmarshal(r.Value, &v); err != nil {
			t.Fatal(err)
		}
		if v.Temp > 30 {
			row := projected{Partition: r.Partition, Offset: r.Offset, TS: v.TS, Seq: v.Seq, TempF: v.Temp*9/5 + 32}
			if rows = append(rows, row); r.Offset%7 == 0 {
				rows = append(rows, row)
			}
		}
	}
	if truth.Counts().Late == 0 {
		t.Fatal("no row is late")
	}
	slices.Reverse(rows)
	var lines bytes.Buffer
	for _, r := range rows {
		if err := json.NewEncoder(&lines).Encode(r); err != nil {
			t.Fatal(err)
		}
	}
	in, out := filepath.Join(work.Dir, "rows.jsonl"), filepath.Join(work.Dir, "answer.jsonl")
	if err := os.WriteFile(in, lines.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := fold(in, out); err != nil {
		t.Fatal(err)
	}
	if d := workload.Diff(truth.Columns(), truth.Windows(), readRows(t, out), 5); !d.Exact() || d.Compared == 0 {
		t.Error(d)
	}
	if err := os.WriteFile(in, []byte("{\"partition\":0}\nnot json\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := fold(in, out); err == nil || !strings.Contains(err.Error(), "row 2") {
		t.Errorf("a row that is no JSON: %v", err)
	}
}
