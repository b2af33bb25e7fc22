package contender

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-stream/weir/bench/workload"
)

// Weir is weir: the binary at path, with the example operators in a folder. Extra arguments go to weir run.
func Weir(path, operators string, extra ...string) Contender {
	return Contender{
		Name: "weir", About: "weir run --stop-at-end",
		Command: func(_ context.Context, t Task) (Command, error) {
			file := filepath.Join(t.Dir, "pipeline.yaml")
			if err := os.WriteFile(file, []byte(t.Case.Pipeline), 0o600); err != nil {
				return Command{}, fmt.Errorf("write the pipeline: %w", err)
			}
			args := append([]string{"run", "--stop-at-end", "--listen", "127.0.0.1:0", "--log-format", "json"}, extra...)
			return Command{
				Path: path, Args: append(args, file), Env: WeirEnv(t, operators),
				Answer: Answer{Table: strings.ReplaceAll(t.Name, "-", "_")},
			}, nil
		},
	}
}

// WeirEnv is the environment that the pipelines of the workloads take their names and places from.
func WeirEnv(t Task, operators string) []string {
	return []string{
		"KAFKA_BROKERS=" + strings.Join(t.Brokers, ","), "WEIR_CLICKHOUSE=" + t.ClickHouse,
		"BENCH_NAME=" + t.Name, "BENCH_TOPIC=" + t.Topic, "BENCH_OPERATORS=" + operators,
	}
}

// The programs of this package run in a process of the weir binary, which calls Child for ChildArgs.
const envJob = "WEIR_BENCH_JOB"

// ChildArgs is the command line of a process that is to be one of the programs of this package.
func ChildArgs() []string { return []string{"bench", "contender"} }

// job is what such a process is to do, as JSON in its environment.
type job struct {
	Program    string
	Case       string
	Brokers    []string
	Topic      string
	Table      string
	ClickHouse string
	Events     int64
	Partitions int32
}

// Child does what the environment asks for, and is called by a process with ChildArgs.
func Child(ctx context.Context) error {
	var j job
	if err := json.Unmarshal([]byte(os.Getenv(envJob)), &j); err != nil {
		return fmt.Errorf("this command is started by 'weir bench' alone: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	switch j.Program {
	case "bare":
		return j.bare(ctx)
	case "hand":
		return j.hand(ctx)
	}
	return fmt.Errorf("there is no program %q", j.Program)
}

// Bare reads the topic with franz-go and does nothing with the records: the ceiling for anything that reads Kafka with it.
// It fetches with the library's defaults, which is what somebody writes who wants a fast consumer. self is a binary that
// calls Child.
func Bare(self string) Contender {
	return Contender{
		Name: "bare", About: "a franz-go consumer that does nothing with the records", Ceiling: true,
		Command: func(_ context.Context, t Task) (Command, error) { return child(self, "bare", t, Answer{}) },
	}
}

// Hand is what a good programmer would write in Go for one workload alone: the same consumer, a parser for these columns
// and no others, maps of structs, one insert into ClickHouse at the end. It cannot be changed while it runs, forgets
// everything when it dies, and keeps no account.
func Hand(self string) Contender {
	return Contender{
		Name: "hand", About: "Go written by hand for this workload alone",
		Command: func(_ context.Context, t Task) (Command, error) {
			if handWritten(t.Case.Name) == nil {
				return Command{}, Cannot("written for %s and %s alone", "sensors", "project")
			}
			return child(self, "hand", t, Answer{Table: strings.ReplaceAll(t.Name, "-", "_")})
		},
	}
}

func child(self, program string, t Task, answer Answer) (Command, error) {
	text, err := json.Marshal(job{
		Program: program, Case: t.Case.Name, Brokers: t.Brokers, Topic: t.Topic, Table: answer.Table, ClickHouse: t.ClickHouse,
		Events: t.Size.Events, Partitions: t.Size.Partitions,
	})
	if err != nil {
		return Command{}, fmt.Errorf("describe the job: %w", err)
	}
	return Command{Path: self, Args: ChildArgs(), Env: []string{envJob + "=" + string(text)}, Answer: answer}, nil
}

// consume reads the topic from the beginning until it has all records, and gives each fetch of a partition to take.
func (j *job) consume(ctx context.Context, take func(kgo.FetchTopicPartition) error) error {
	offsets := map[int32]kgo.Offset{}
	for p := range j.Partitions {
		offsets[p] = kgo.NewOffset().AtStart()
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(j.Brokers...), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{j.Topic: offsets}))
	if err != nil {
		return fmt.Errorf("set up the consumer: %w", err)
	}
	defer cl.Close()
	for n := int64(0); n < j.Events; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("read %s after %d of %d records: %w", j.Topic, n, j.Events, err)
		}
		var failed error
		fetches.EachPartition(func(f kgo.FetchTopicPartition) {
			n += int64(len(f.Records))
			if failed == nil {
				failed = take(f)
			}
		})
		if failed != nil {
			return failed
		}
	}
	return nil
}

func (j *job) bare(ctx context.Context) error {
	bytes := 0
	err := j.consume(ctx, func(f kgo.FetchTopicPartition) error {
		for _, r := range f.Records {
			bytes += len(r.Value)
		}
		return nil
	})
	fmt.Println(bytes)
	return err
}

// handWritten is the program for a workload, or nil.
func handWritten(name string) func() program {
	switch name {
	case "sensors":
		return newHandSensors
	case "project":
		return newHandProject
	}
	return nil
}

// program is a program written by hand.
type program interface {
	add(partition int32, value []byte) error
	columns() workload.Columns
	rows() []workload.Row
}
