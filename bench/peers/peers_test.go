package peers

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/weir-stream/weir/bench/contender"
	"github.com/weir-stream/weir/bench/workload"
	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

// TestAnswers runs every peer that is installed and compares its answer with the truth. Starting a JVM takes longer than most
// tests, and what a run of the benchmarks measures is compared anyway.
func TestAnswers(t *testing.T) {
	if os.Getenv("WEIR_TEST_PEERS") == "" {
		t.Skip("SKIPPED, no other engine was run: set WEIR_TEST_PEERS=1 to compare their answers with the truth")
	}
	cases, err := workload.Select(workload.Cases(), []string{"sensors", "project"})
	if err != nil {
		t.Fatal(err)
	}
	for _, peer := range All() {
		for _, c := range cases {
			t.Run(peer.Name+"/"+c.Name, func(t *testing.T) {
				t.Parallel()
				answers(t, peer, c)
			})
		}
	}
}

// TestCannot holds the peers to say what they leave out.
func TestCannot(t *testing.T) {
	cases, err := workload.Select(workload.Cases(), []string{"wide"})
	if err != nil {
		t.Fatal(err)
	}
	for _, peer := range All() {
		if _, err := peer.Command(t.Context(), contender.Task{Case: cases[0], Dir: t.TempDir()}); !errors.Is(err, contender.ErrCannot) {
			t.Errorf("%s takes part in %s: %v", peer.Name, cases[0].Name, err)
		}
	}
}

func answers(t *testing.T, peer contender.Contender, c workload.Case) {
	if peer.Name == "flink" {
		t.Skip("SKIPPED, Flink was not compared with the truth: its connector does not understand the embedded broker")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	brokers, prefix := embeddedtest.Kafka(t)
	task := contender.Task{
		Case: c, Size: workload.Size{Seed: 3, Events: 20_000, Partitions: 2}, Brokers: brokers, Topic: prefix + c.Name, Name: prefix + peer.Name + "-" + c.Name,
		Dir: t.TempDir(), Cores: 1,
	}
	cmd, err := peer.Command(ctx, task)
	if errors.Is(err, contender.ErrCannot) {
		t.Skipf("SKIPPED, %s was not compared with the truth: %v", peer.Name, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if cmd.Done != nil {
		t.Skipf("SKIPPED, %s does not end by itself: the benchmarks compare its answer", peer.Name)
	}
	gen, err := c.Stream(task.Size)
	if err != nil {
		t.Fatal(err)
	}
	truth, err := c.Truth(task.Size)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := workload.Produce(ctx, brokers, task.Topic, gen, workload.ProduceOptions{Observe: truth.Add}); err != nil {
		t.Fatal(err)
	}
	run := exec.CommandContext(ctx, cmd.Path, cmd.Args...)
	run.Env = append(os.Environ(), cmd.Env...)
	out, err := run.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if cmd.Finish != nil {
		if err := cmd.Finish(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	if d := workload.Diff(truth.Columns(), truth.Windows(), readRows(t, cmd.Answer.File), 5); !d.Exact() || d.Compared == 0 {
		t.Error(d)
	}
}

func readRows(t *testing.T, file string) []workload.Row {
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var rows []workload.Row
	for s := bufio.NewScanner(f); s.Scan(); {
		var r workload.Row
		if err := json.Unmarshal(s.Bytes(), &r); err != nil {
			t.Fatalf("%s: %v", s.Bytes(), err)
		}
		rows = append(rows, r)
	}
	return rows
}
