package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-stream/weir/bench/workload"
	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
)

// consume reads n records of a topic, as "partition key=value", sorted, keeping the order within partitions out of it.
func consume(t *testing.T, brokers []string, topic string, n int) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(topic))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var got []string
	for len(got) < n {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%d of %d records: %v", len(got), n, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			key := "null"
			if r.Key != nil {
				key = string(r.Key)
			}
			got = append(got, fmt.Sprintf("%d %s=%s", r.Partition, key, r.Value))
		})
	}
	slices.Sort(got)
	return got
}

func TestProduceLines(t *testing.T) {
	brokers, prefix := embeddedtest.Kafka(t)
	topic := prefix + "lines"
	const text = `{"device":"d1","at":{"x":5}}` + "\r\n\n" + `not json` + "\n" + `{"device":7}` + "\n" + `{"device":null}`
	args := []string{"produce", "lines", "--kafka", strings.Join(brokers, ","), "--topic", topic, "--partitions", "1", "--key-field", "device"}
	stdout, stderr, code := runCommand(t, args, []byte(text))
	if code != 0 || !strings.HasPrefix(stdout, "sent 4 records to 1 partition of topic "+topic+" at 127.0.0.1:") ||
		stderr != "2 lines had no field device and went without a key\n" {
		t.Fatalf("exit %d\n%s%s", code, stdout, stderr)
	}
	want := []string{`0 7={"device":7}`, `0 d1={"device":"d1","at":{"x":5}}`, `0 null=not json`, `0 null={"device":null}`}
	if got := consume(t, brokers, topic, 4); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}

	// A file, to a topic that is there: all its partitions are used, --events bounds what is sent.
	file := t.TempDir() + "/lines"
	if err := os.WriteFile(file, []byte("a\nb\nc\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	topic = prefix + "three"
	produce(t, brokers, topic, 0) // makes it, with three partitions
	args = []string{"produce", "lines", file, "--kafka", strings.Join(brokers, ","), "--topic", topic, "--events", "2", "--json"}
	stdout, stderr, code = runCommand(t, args, nil)
	var sum produced
	if err := json.Unmarshal([]byte(stdout), &sum); err != nil || code != 0 || sum.Records != 2 || sum.Partitions != 3 {
		t.Fatalf("exit %d, %v\n%s%s", code, err, stdout, stderr)
	}
	if got := consume(t, brokers, topic, 2); !slices.Equal(got, []string{"0 null=a", "1 null=b"}) {
		t.Errorf("got %q", got)
	}
}

// TestProduceExamples sends the data of the examples; what it is, the tests of workload know.
func TestProduceExamples(t *testing.T) {
	brokers, prefix := embeddedtest.Kafka(t)
	t.Chdir("../..") // where the weather is
	for _, c := range []struct {
		args    []string
		records int
		want    string // part of some record
	}{
		{[]string{"sensors", "--events", "500", "--start", "2030-01-01T00:00:00Z"}, 500, `"ts":18934`},
		{[]string{"ticks", "--events", "300", "--partitions", "2"}, 300, `{"symbol":"KELP"`},
		{[]string{"weather", "-n", "100"}, 100, `0 seattle={"date":"2010-01-01T01:00:00Z","pressure":1016.6,"temperature":4.0,"wind":3.8}`},
	} {
		topic := prefix + c.args[0]
		args := append([]string{"produce"}, append(c.args, "--kafka", strings.Join(brokers, ","), "--topic", topic)...)
		stdout, stderr, code := runCommand(t, args, nil)
		if code != 0 || !strings.HasPrefix(stdout, fmt.Sprintf("sent %d records to ", c.records)) || stderr != "" {
			t.Fatalf("%v: exit %d\n%s%s", c.args, code, stdout, stderr)
		}
		if got := strings.Join(consume(t, brokers, topic, c.records), "\n"); !strings.Contains(got, c.want) {
			t.Errorf("%v: no %s", c.args, c.want)
		}
	}
}

// TestProduceInterrupted waits for input that does not come, until it is told to stop.
func TestProduceInterrupted(t *testing.T) {
	brokers, prefix := embeddedtest.Kafka(t)
	in, out := io.Pipe()
	defer func() { _ = out.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stdout, stderr bytes.Buffer
	a := &app{stdin: in, stdout: &stdout, stderr: &stderr, env: config.OSEnv()}
	code := make(chan int)
	topic := prefix + "slow"
	go func() {
		code <- a.main(ctx, []string{"produce", "lines", "--kafka", strings.Join(brokers, ","), "--topic", topic})
	}()
	if _, err := io.WriteString(out, "one\n"); err != nil {
		t.Fatal(err)
	}
	consume(t, brokers, topic, 1) // it does not wait for the end of the input
	cancel()
	select {
	case c := <-code:
		if c != exitInterrupted || !strings.HasPrefix(stdout.String(), "sent 1 record to 1 partition") {
			t.Errorf("exit %d\n%s%s", c, stdout.String(), stderr.String())
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it does not end")
	}
}

func TestLines(t *testing.T) {
	g := newLines(t.Context(), strings.NewReader("ok\n"+strings.Repeat("x", maxLine)+"\n"+strings.Repeat("y", maxLine+3)+"\n"), 4, "")
	var r workload.Record
	n := 0
	for g.Next(&r) {
		n++
	}
	if n != 2 || g.Err() == nil || !strings.Contains(g.Err().Error(), "line 3: it is longer than 1048576 bytes") {
		t.Errorf("%d lines, %v", n, g.Err())
	}
	for _, c := range []struct{ object, field, want string }{
		{`{"a":"x"}`, "a", "x"},
		{`{"a":{"b":"\u00e9"}}`, "a.b", "é"},
		{`{"a":{"b":1.50}}`, "a.b", "1.50"},
		{`{"a":{"b":1}}`, "a", `{"b":1}`},
		{`{"a":1}`, "a.b", ""},
		{`{"a":null}`, "a", ""},
		{`[1]`, "a", ""},
		{`{"a":1`, "a", ""},
		{``, "a", ""},
	} {
		if got := string(fieldText([]byte(c.object), strings.Split(c.field, "."))); got != c.want {
			t.Errorf("%s of %s is %q, want %q", c.field, c.object, got, c.want)
		}
	}
}
