package endtoend

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
	"github.com/weir-stream/weir/edge-node/engine"
	"github.com/weir-stream/weir/edge-node/pipeline"
)

// meteredNode runs the stream's pipeline to the end of the topic, as a node of this name, and gives what it used.
func (s *stream) meteredNode(node, group string) []engine.StepStatus {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	status, err := func() (st pipeline.Status, err error) {
		spec, err := config.Load(s.file())
		if err != nil {
			return st, err
		}
		spec.Source.Kafka.Group = group
		n := config.DefaultNode()
		n.Site, n.Node, n.UsageEvery = "north", node, time.Second
		plan, err := pipeline.New(ctx, spec, n, pipeline.Options{})
		if err != nil {
			return st, err
		}
		defer func() { err = errors.Join(err, plan.Close()) }()
		runner, err := plan.Open(ctx, pipeline.RunOptions{StopAtEnd: true, Log: testLog()})
		if err != nil {
			return st, err
		}
		defer func() { err = errors.Join(err, runner.Close()) }()
		err = runner.Run(ctx)
		return runner.Status(), err
	}()
	if err != nil {
		s.t.Fatal(err)
	}
	return status.Engine.Steps
}

// usageLine is a step's usage as TestUsage compares it.
func usageLine(s engine.StepStatus) string {
	return fmt.Sprintln(s.Name, len(s.Digest), s.Batches, s.In, s.Out, s.Rejected, s.BytesIn, s.BytesOut,
		s.Usage.BytesCopied, int64(s.Time), s.Usage.Fuel, s.Usage.Instances, s.Usage.Traps)
}

// TestUsage holds what is in weir_usage against what the engines counted, over a restart and two nodes.
func TestUsage(t *testing.T) {
	t.Parallel()
	brokers, prefix := embeddedtest.Kafka(t)
	s := newStream(t, brokers, prefix+"sensors", embeddedtest.ClickHouse(t), "")
	text, err := os.ReadFile(s.file())
	if err != nil {
		t.Fatal(err)
	}
	tagged := strings.Replace(string(text), "team: plant-ops", `team: 'it''s "größe" \ 100% {x}', "cost center: a, b": "\t"`, 1)
	if err := os.WriteFile(s.file(), []byte(tagged), 0o600); err != nil {
		t.Fatal(err)
	}
	conn := openClickHouse(t, s.clickhouse)
	read := func(where string) map[string]string {
		t.Helper()
		got := map[string]string{}
		queryRows(t.Context(), t, conn, `SELECT step, arrayStringConcat([step, toString(length(any(digest))), toString(sum(batches)),
				toString(sum(rows_in)), toString(sum(rows_out)), toString(sum(rows_rejected)), toString(sum(bytes_in)),
				toString(sum(bytes_out)), toString(sum(bytes_copied)), toString(toInt64(round(sum(seconds) * 1e9))), toString(sum(fuel)),
				toString(sum(instances)), toString(sum(traps))], ' ') || '\n'
			FROM weir_usage_hourly WHERE `+where+` GROUP BY step`, func(rows driver.Rows) error {
			var step, line string
			err := rows.Scan(&step, &line)
			got[step] = line
			return err
		})
		return got
	}
	check := func(where string, want []engine.StepStatus) {
		t.Helper()
		got := read(where)
		if len(got) != len(want) {
			t.Errorf("%s: %d steps, want %d: %v", where, len(got), len(want), got)
		}
		for _, step := range want {
			if got[step.Name] != usageLine(step) {
				t.Errorf("%s:\n%s\nwant\n%s", where, got[step.Name], usageLine(step))
			}
			if step.In == 0 || step.Time == 0 || (step.Digest != "") != (step.Usage.Fuel > 0) {
				t.Errorf("step %s did nothing: the test does not test", step.Name)
			}
		}
	}
	s.produce(t.Context(), 5, 30_000, 0)
	s.waitProduced()
	first := s.meteredNode("a", prefix+"one")
	check("node = 'a'", first)

	s.produce(t.Context(), 6, 20_000, 0)
	s.waitProduced()
	both := s.meteredNode("a", prefix+"one") // started again: it adds
	for i := range both {
		both[i] = sumOf(both[i], first[i])
	}
	check("node = 'a'", both)

	other := s.meteredNode("b", prefix+"two")
	check("node = 'b'", other)
	check("node = 'a'", both)
	records := other[0].In
	for i := range other {
		other[i] = sumOf(other[i], both[i])
	}
	check("site = 'north' AND tags['team'] = 'it\\'s \"größe\" \\\\ 100% {x}' AND tags['cost_center'] = '4711' AND tags['cost center: a, b'] = '\\t'", other)

	// Where usage cannot be stored, everything else is.
	if err := conn.Exec(t.Context(), "ALTER TABLE weir_usage ADD CONSTRAINT none CHECK rows_in > 1e18"); err != nil {
		t.Fatal(err)
	}
	third := s.meteredNode("c", prefix+"three")
	if third[0].In != records {
		t.Errorf("%d records were read, want %d", third[0].In, records)
	}
	if got := read("node = 'c'"); len(got) != 0 {
		t.Errorf("it was stored against the constraint: %v", got)
	}
}

func sumOf(a, b engine.StepStatus) engine.StepStatus {
	a.Batches += b.Batches
	a.Time += b.Time
	a.In += b.In
	a.Out += b.Out
	a.Rejected += b.Rejected
	a.BytesIn += b.BytesIn
	a.BytesOut += b.BytesOut
	a.Usage.BytesCopied += b.Usage.BytesCopied
	a.Usage.Fuel += b.Usage.Fuel
	a.Usage.Instances += b.Usage.Instances
	a.Usage.Traps += b.Usage.Traps
	return a
}
