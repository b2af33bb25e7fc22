package endtoend

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/tools/txtar"

	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
)

var update = flag.Bool("update", false, "rewrite what the cases in testdata expect")

// testCase is a file of testdata. Its comment says what it shows, and may have these lines:
//
//	partitions: 3   of every topic; default 1
//	topics: a b     default "in"
//	fails: yes      an operator fails on rows: they are copied to find them, and why they fail differs from engine to engine
//	state: yes      an operator keeps state: it is also killed behind every few cuts
//	spread: yes     the answer does not depend on which record is in which partition: it is run over several, too
//
// Its files are pipeline.yaml; input.jsonl, see parseInput; arrow.schema, see newArrowWriter; and what must come out: answer, dead_letters and coverage, or
// error, which is what planning says.
type testCase struct {
	file       string
	archive    *txtar.Archive
	partitions int32
	topics     []string
	spread     bool
	fails      bool
	state      bool
	yaml       string
	records    []record
}

func readCase(file string) (*testCase, error) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		return nil, err
	}
	c := &testCase{file: file, archive: archive, partitions: 1, topics: []string{"in"}}
	for line := range strings.Lines(string(archive.Comment)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch name {
		case "partitions":
			n, err := strconv.ParseInt(value, 10, 32)
			if err != nil {
				return nil, err
			}
			c.partitions = int32(n)
		case "topics":
			c.topics = strings.Fields(value)
		case "fails":
			c.fails = value == "yes"
		case "state":
			c.state = value == "yes"
		case "spread":
			c.spread = value == "yes"
		}
	}
	c.yaml = string(c.get("pipeline.yaml"))
	if input := c.get("input.jsonl"); input != nil {
		var arrow *arrowWriter
		if arrow, err = newArrowWriter(string(c.get("arrow.schema"))); err == nil {
			c.records, err = parseInput(input, arrow)
		}
	}
	return c, err
}

func (c *testCase) get(name string) []byte {
	for _, f := range c.archive.Files {
		if f.Name == name {
			return f.Data
		}
	}
	return nil
}

// want compares a part of what came out, or writes it down.
func (c *testCase) want(t *testing.T, name, got string, write bool) {
	t.Helper()
	if !write {
		if want := string(c.get(name)); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
		return
	}
	i := slices.IndexFunc(c.archive.Files, func(f txtar.File) bool { return f.Name == name })
	switch {
	case i < 0 && got != "":
		c.archive.Files = append(c.archive.Files, txtar.File{Name: name, Data: []byte(got)})
	case i >= 0 && got == "":
		c.archive.Files = slices.Delete(c.archive.Files, i, i+1)
	case i >= 0:
		c.archive.Files[i].Data = []byte(got)
	}
	if err := os.WriteFile(c.file, txtar.Format(c.archive), 0o644); err != nil {
		t.Fatal(err)
	}
}

// parallel bounds how many runs of cases there are at a time: each has a broker's group and tables of its own, and waits most of
// the time.
var parallel = make(chan struct{}, 4)

// TestCases runs every file of testdata in every way there is, and expects one answer.
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases, %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			c, err := readCase(file)
			if err != nil {
				t.Fatal(err)
			}
			if !*update {
				t.Parallel()
			}
			if want := c.get("error"); want != nil || c.records == nil && *update && c.get("input.jsonl") == nil {
				_, err := nodeSpec{YAML: c.yaml, Brokers: []string{"127.0.0.1:1"}, ClickHouse: "clickhouse://127.0.0.1:1/none"}.plan(t.Context())
				if err == nil {
					t.Fatal("no error")
				}
				c.want(t, "error", strings.TrimSpace(err.Error())+"\n", *update)
				return
			}
			for _, w := range ways(c) {
				if *update && w.name != "whole" {
					continue
				}
				t.Run(w.name, func(t *testing.T) {
					if !*update {
						t.Parallel()
					}
					parallel <- struct{}{}
					defer func() { <-parallel }()
					runCase(t, c, w)
				})
			}
		})
	}
}

// way is a way to run a case that must not change its answer.
type way struct {
	name   string
	spec   nodeSpec // its Brokers are others than those of embeddedtest, or none
	kills  int
	cuts   bool // a life ends when everything produced so far is stored, and its commit is perhaps made
	spread bool
}

// sandboxed tells whether the pipeline has operators or functions of the user's.
func (c *testCase) sandboxed() bool { return strings.Contains(c.yaml, "wasm:") }

func ways(c *testCase) []way {
	ways := []way{
		{name: "whole"},
		{name: "by_row", spec: nodeSpec{Rows: 1}},
		{name: "killed", spec: nodeSpec{Instance: "n1"}, kills: 4},
	}
	if c.sandboxed() {
		ways = append(ways, way{name: "copied", spec: nodeSpec{Copy: true, Rows: 3}}, way{name: "interpreted", spec: nodeSpec{Interpreter: true}})
	}
	if c.state {
		ways = append(ways, way{name: "killed_behind_cuts", spec: nodeSpec{Instance: "n1"}, kills: 9, cuts: true})
	}
	if c.spread {
		ways = append(ways, way{name: "spread", spread: true})
	}
	return ways
}

// spreadOver is how many partitions a case is spread over. One gets nothing.
const spreadOver = 4

func runCase(t *testing.T, c *testCase, w way) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s := w.spec
	s.YAML, s.ClickHouse = c.yaml, embeddedtest.ClickHouse(t)
	if s.Brokers == nil {
		s.Brokers, s.Prefix = embeddedtest.Kafka(t)
	} else {
		s.Prefix = embeddedtest.Prefix(t, s.Brokers)
	}
	producer, err := kgo.NewClient(kgo.SeedBrokers(s.Brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchMaxBytes(8<<20),
		kgo.UnknownTopicRetries(50)) // a busy broker of Apache Kafka has a topic that was just made a while after it said so
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	partitions := c.partitions
	if w.spread {
		partitions = spreadOver
	}
	size, keep := "8388608", "-1"
	configs := map[string]*string{"max.message.bytes": &size, "retention.ms": &keep}
	for _, topic := range c.topics {
		if _, err := kadm.NewClient(producer).CreateTopic(ctx, partitions, 1, configs, s.Prefix+topic); err != nil {
			t.Fatal(err)
		}
	}

	sent := map[string]record{} // by topic/partition@offset
	rng := rand.New(rand.NewPCG(seed(c.file), 1))
	rest := c.records
	for i := range w.kills {
		n := rng.IntN(len(rest) + 1)
		if w.cuts {
			n = min(n, 2*len(c.records)/w.kills)
		}
		produce(ctx, t, producer, s.Prefix, w.spread, rest[:n], sent)
		rest = rest[n:]
		if i == 0 || !c.sandboxed() { // how many rows a batch has at most decides what an operator's row may use
			s.Rows = int64(rng.IntN(3)) // 0 is the pipeline's own: every life cuts its batches elsewhere
		}
		node := startNode(t, s)
		if w.cuts {
			waitStored(ctx, t, s, len(sent))
			time.Sleep(time.Duration(rng.IntN(150)) * time.Millisecond)
			node.kill()
			continue
		}
		select {
		case <-time.After(time.Duration(150+rng.IntN(450)) * time.Millisecond):
		case <-node.done:
			t.Fatalf("the node ended:\n%s", node.stderr.String())
		}
		node.kill()
	}
	produce(ctx, t, producer, s.Prefix, w.spread, rest, sent)
	s.StopAtEnd = true
	status, err := s.run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if ctx.Err() != nil {
		t.Fatal("the pipeline has not come to its end in time")
	}
	for _, step := range status.Engine.Steps {
		if strings.HasPrefix(step.Name, "window ") { // an aggregate of the user's: rows and states are copied to it, always
			if step.Usage.BytesCopied == 0 || step.Usage.Fuel == 0 {
				t.Errorf("%s was not counted: %+v", step.Name, step.Usage)
			}
			continue
		}
		if step.Usage.BytesCopied > 0 && !s.Copy && !c.fails {
			t.Errorf("step %s copied %d bytes", step.Name, step.Usage.BytesCopied)
		}
		if step.In > 0 && step.Usage.BytesCopied == 0 && step.Usage.Instances > 0 && s.Copy {
			t.Errorf("step %s copied nothing", step.Name)
		}
	}

	r := readResult(ctx, t, s, sent)
	if w.name == "whole" || w.cuts {
		wantReplay(ctx, t, s)
	}
	if c.fails {
		r.letters = operatorDetail.ReplaceAllString(r.letters, "$1")
	}
	c.want(t, "answer", r.answer, *update)
	if w.spread {
		r.checkSpread(t, c)
	} else {
		c.want(t, "dead_letters", r.letters, *update)
		c.want(t, "coverage", r.coverage, *update)
	}
	if t.Failed() {
		t.Logf("lanes: %+v", status.Engine.Lanes)
	}
}

// waitStored waits until the destination has accounted for so many records.
func waitStored(ctx context.Context, t *testing.T, s nodeSpec, records int) {
	t.Helper()
	conn := openClickHouse(t, s.ClickHouse)
	defer conn.Close()
	eventually(t, patience, func() (bool, string) {
		n := int64(-1)
		err := conn.QueryRow(ctx, "SELECT sum(records_in) FROM weir_coverage FINAL").Scan(&n)
		return n >= int64(records), fmt.Sprintf("%d of %d records are stored (%v)", n, records, err)
	})
}

var operatorDetail = regexp.MustCompile(`(?m)(\toperator)\t.*`)

func seed(file string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(file))
	return h.Sum64()
}

// produce sends records in order and notes which offset each got.
func produce(ctx context.Context, t *testing.T, client *kgo.Client, prefix string, spread bool, records []record, sent map[string]record) {
	t.Helper()
	for _, r := range records {
		if spread {
			r.partition = int32(len(sent)) % (spreadOver - 1)
		}
		out := &kgo.Record{Topic: prefix + r.topic, Partition: r.partition, Timestamp: r.at, Key: r.key, Value: r.value, Headers: r.headers}
		if err := client.ProduceSync(ctx, out).FirstErr(); err != nil {
			t.Fatalf("produce: %v", err)
		}
		sent[fmt.Sprintf("%s/%d@%d", r.topic, r.partition, out.Offset)] = r
	}
}

// sortedLetters drops where dead letters are from.
func sortedLetters(s string) []string {
	lines := strings.Split(strings.TrimSuffix(s, "\n"), "\n")
	for i, l := range lines {
		_, lines[i], _ = strings.Cut(l, "\t")
	}
	slices.Sort(lines)
	return lines
}

// checkSpread compares what is left when records are in other partitions.
func (r *result) checkSpread(t *testing.T, c *testCase) {
	t.Helper()
	if got, want := sortedLetters(r.letters), sortedLetters(string(c.get("dead_letters"))); !slices.Equal(got, want) {
		t.Errorf("dead letters: got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got, want := totals(t, r.coverage), totals(t, string(c.get("coverage"))); !bytes.Equal([]byte(got), []byte(want)) {
		t.Errorf("coverage: got %s, want %s", got, want)
	}
}

// totals adds up the counters of a coverage.
func totals(t *testing.T, coverage string) string {
	t.Helper()
	sums := map[string]int{}
	for line := range strings.Lines(coverage) {
		words := strings.Fields(line)
		for i := 1; i+1 < len(words); i += 2 {
			n, err := strconv.Atoi(words[i+1])
			if err != nil {
				t.Fatalf("coverage %q: %v", line, err)
			}
			sums[words[i]] += n
		}
	}
	return fmt.Sprint(sums)
}
