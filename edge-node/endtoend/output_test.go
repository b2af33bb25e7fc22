package endtoend

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
	"github.com/weir-stream/weir/edge-node/pipeline"
)

const alarms = `
pipeline: alarms
source:
  kafka: {topics: ["${PREFIX}in"]}
  columns:
    device: string
    ts: timestamp[ms]
    v: float64?
time: {column: ts, max_out_of_order: 1s}
window:
  tumbling: 10s
  group_by: [device]
  aggregates:
    n: count()
    total: sum(v)
    mean: avg(v)
    most: max(v)
    spread: stddev(v)
    middle: median(v)
    different: uniq(v)
    newest: last(v)
    all: group_array(v, 5)
outputs:
  - kafka: {topic: "${PREFIX}alarms"}
    where: mean > 20 && n >= 3
    columns: [n, total, mean, most, spread, middle, different, newest]
  - kafka: {topic: "${PREFIX}levels"}
    where: n >= 3
    columns: [n, mean]
    steps:
      - wasm: {module: ../../../examples/operators/severity/severity.wasm, config: {column: mean, warning: 15, critical: 22}}
      - map: {urgent: "severity == 'critical'"}
      - drop: [device]
sink: {clickhouse: {}}
`

// TestOutput sends windows that are final to a topic, and kills the node in between. In the end it has every window that is final and of which the condition is true, with the answers that the view has; copies of
// one have one identity and differ in nothing else.
func TestOutput(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s := nodeSpec{YAML: alarms, ClickHouse: embeddedtest.ClickHouse(t), Instance: "n1"}
	s.Brokers, s.Prefix = embeddedtest.Kafka(t)
	client, err := kgo.NewClient(kgo.SeedBrokers(s.Brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	if _, err := admin.CreateTopic(ctx, 2, 1, nil, s.Prefix+"in"); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.CreateTopics(ctx, 1, 1, nil, s.Prefix+"alarms", s.Prefix+"levels"); err != nil {
		t.Fatal(err)
	}
	const begin = 1_700_000_000_000
	second := 0
	produceTo := func(until int) { // of two devices, each in a partition of its own
		var records []*kgo.Record
		for ; second < until; second++ {
			for part := range int32(2) {
				v := fmt.Sprint((second*7 + int(part)*5) % 40)
				if second%11 == 0 {
					v = "null"
				}
				value := fmt.Appendf(nil, `{"device":"d%d","ts":%d,"v":%s}`, part, begin+second*1000, v)
				records = append(records, &kgo.Record{Topic: s.Prefix + "in", Partition: part, Value: value})
			}
		}
		if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	node := startNode(t, s)
	produceTo(35)
	waitStored(ctx, t, s, 2*second)
	produceTo(60)
	node.kill()
	produceTo(95)
	s.StopAtEnd = true
	status, err := s.run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(status.Outputs) != 2 || status.Outputs[0].Sent == 0 || status.Outputs[0].Left == 0 || status.Outputs[0].Err != nil {
		t.Errorf("the output says %+v", status.Outputs)
	}

	conn := openClickHouse(t, s.ClickHouse)
	got := readAlarms(ctx, t, s)
	want := map[string]string{}
	queryRows(ctx, t, conn, `SELECT formatRowNoNewline('JSONEachRow', window_start, window_end, device, n, total, mean, most, spread, middle, different, newest)
		FROM alarms WHERE mean > 20 AND n >= 3 AND window_end <= (SELECT complete_until FROM weir_completeness)
		SETTINGS output_format_json_quote_64bit_integers = 0, date_time_output_format = 'iso'`, func(rows driver.Rows) error {
		var line string
		err := rows.Scan(&line)
		var v map[string]any
		if err == nil {
			err = json.Unmarshal([]byte(line), &v)
		}
		want[windowOf(v)] = answersOf(t, v)
		return err
	})
	if len(want) < 5 {
		t.Fatalf("there are only %d windows to compare", len(want))
	}
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if got[k] != want[k] {
			t.Errorf("window %s\nwas told %s\nthe view  %s", k, got[k], want[k])
		}
	}
	checkLevels(ctx, t, s, conn, status)
	if len(got) != len(want) {
		t.Errorf("%d windows were told of, and %d should be: %v", len(got), len(want), slices.Sorted(maps.Keys(got)))
	}
}

// checkLevels compares what an operator made of the windows with what the view has of them.
func checkLevels(ctx context.Context, t *testing.T, s nodeSpec, conn driver.Conn, status pipeline.Status) {
	t.Helper()
	want, got, keys := map[string]string{}, map[string]string{}, map[string]bool{}
	queryRows(ctx, t, conn, `SELECT toUnixTimestamp(window_start), device, n, mean, mean >= 22 FROM alarms
		WHERE mean >= 15 AND n >= 3 AND window_end <= (SELECT complete_until FROM weir_completeness)`, func(rows driver.Rows) error {
		var start uint32
		var device string
		var n uint64
		var mean float64
		var critical bool
		err := rows.Scan(&start, &device, &n, &mean, &critical)
		word := map[bool]string{true: "critical", false: "warning"}[critical]
		want[fmt.Sprintf(`%d {"device":%q}`, start, device)] = fmt.Sprintf("%d %.9g %s %v", n, mean, word, critical)
		return err
	})
	if len(want) < 5 {
		t.Fatalf("there are only %d windows to compare", len(want))
	}
	readTopic(ctx, t, s, s.Prefix+"levels", func(r *kgo.Record) {
		var v struct {
			Start    time.Time `json:"window_start"`
			N        int
			Mean     float64
			Severity string
			Urgent   bool
			Device   *string
		}
		if err := json.Unmarshal(r.Value, &v); err != nil || v.Device != nil {
			t.Fatalf("%s: %v", r.Value, err)
		}
		window := fmt.Sprintf("%d %s", v.Start.Unix(), r.Key)
		answer := fmt.Sprintf("%d %.9g %s %v", v.N, v.Mean, v.Severity, v.Urgent)
		if have, ok := got[window]; ok && have != answer {
			t.Errorf("window %s is\n%s\nand\n%s", window, have, answer)
		}
		got[window], keys[string(r.Headers[0].Value)] = answer, true
	})
	if !maps.Equal(got, want) || len(keys) != len(want) {
		t.Errorf("the operator made\n%v\nand should have made\n%v; %d identities", got, want, len(keys))
	}
	if len(status.OutputSteps) != 3 || status.OutputSteps[0].Name != "output "+s.Prefix+"levels 1 wasm severity" || status.OutputSteps[0].Usage.Fuel == 0 ||
		status.OutputSteps[0].In == 0 || status.OutputSteps[0].Digest == "" {
		t.Errorf("its steps say %+v", status.OutputSteps)
	}
}

// TestIdleOutput has windows go through the operator of an output, and then none: its sandbox is given up, and made anew for the next ones.
func TestIdleOutput(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s := nodeSpec{YAML: alarms, ClickHouse: embeddedtest.ClickHouse(t)}
	s.Brokers, s.Prefix = embeddedtest.Kafka(t)
	client, err := kgo.NewClient(kgo.SeedBrokers(s.Brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopics(ctx, 1, 1, nil, s.Prefix+"in", s.Prefix+"alarms", s.Prefix+"levels"); err != nil {
		t.Fatal(err)
	}
	plan, err := s.plan(ctx)
	if err != nil {
		t.Fatal(err)
	}
	plan.Node.IdleAfter = 50 * time.Millisecond
	runner, err := plan.Open(ctx, pipeline.RunOptions{Log: testLog()})
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- runner.Run(running) }()
	for round := range 2 {
		before := runner.Status().OutputSteps[0].In
		for second := range 30 {
			value := fmt.Appendf(nil, `{"device":"d","ts":%d,"v":18}`, 1_700_000_000_000+1000*(second+60*round))
			if err := client.ProduceSync(ctx, &kgo.Record{Topic: s.Prefix + "in", Value: value}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, patience, func() (bool, string) {
			st := runner.Status().OutputSteps[0]
			return st.In > before && st.Usage.Instances == st.Usage.Ended, fmt.Sprintf("round %d: the step is %+v", round, st)
		})
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := runner.Close(); err != nil {
		t.Error(err)
	}
}

// readTopic reads partition 0 of a topic to where it ends now.
func readTopic(ctx context.Context, t *testing.T, s nodeSpec, topic string, each func(*kgo.Record)) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.Brokers...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	end, _ := ends.Lookup(topic, 0)
	for next := int64(0); next < end.Offset; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			next = r.Offset + 1
			each(r)
		})
	}
}

// readAlarms reads what was sent: answers by window. Those of one identity must be the same.
func readAlarms(ctx context.Context, t *testing.T, s nodeSpec) map[string]string {
	t.Helper()
	got, ids, version := map[string]string{}, map[string]string{}, int64(0)
	readTopic(ctx, t, s, s.Prefix+"alarms", func(r *kgo.Record) {
		var v map[string]any
		if err := json.Unmarshal(r.Value, &v); err != nil {
			t.Fatalf("%s: %v", r.Value, err)
		}
		key, window := fmt.Sprintf(`{"device":%q}`, v["device"]), windowOf(v)
		if string(r.Key) != key || v["_site"] != "" && v["_site"] == nil || v["_pipeline"] != "alarms" || v["_node"] != "n1" || v["_topic"] != s.Prefix+"in" || v["_segment"] != 0.0 {
			t.Errorf("a record with the key %s and the value %s", r.Key, r.Value)
		}
		headers := map[string]string{}
		for _, h := range r.Headers {
			headers[h.Key] = string(h.Value)
		}
		if _, err := fmt.Sscan(headers["weir-version"], &version); err != nil || float64(version) != v["_version"] {
			t.Errorf("headers %v of %s", headers, r.Value)
		}
		answers := answersOf(t, v)
		if have, ok := ids[headers["weir-id"]]; ok && have != window+answers {
			t.Errorf("one identity of\n%s\n%s", have, window+answers)
		}
		if have, ok := got[window]; ok && have != answers {
			t.Errorf("window %s is\n%s\nand\n%s", window, have, answers)
		}
		ids[headers["weir-id"]], got[window] = window+answers, answers
	})
	if len(ids) != len(got) {
		t.Errorf("%d identities of %d windows", len(ids), len(got))
	}
	return got
}

func windowOf(v map[string]any) string {
	start, err := time.Parse(time.RFC3339, fmt.Sprint(v["window_start"]))
	return fmt.Sprint(start.Unix(), " ", v["device"], " ", err)
}

// answersOf are the answers, floats to 9 digits.
func answersOf(t *testing.T, v map[string]any) string {
	t.Helper()
	var b strings.Builder
	for _, name := range []string{"n", "total", "mean", "most", "spread", "middle", "different", "newest"} {
		x, ok := v[name].(float64)
		if !ok {
			t.Errorf("%s is %v", name, v[name])
		}
		fmt.Fprintf(&b, "%s %.9g, ", name, x)
	}
	return b.String()
}
