package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-stream/weir/edge-node/embedded"
	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
	"github.com/weir-stream/weir/edge-node/embedded/kafka"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func start(t *testing.T, cfg kafka.Config) *embedded.Kafka {
	t.Helper()
	p, err := embedded.StartKafka(testContext(t), embedded.Options{}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

func client(t *testing.T, brokers []string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append(opts, kgo.SeedBrokers(brokers...))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// produce writes n records to a topic of one partition and waits for the acknowledgements.
func produce(t *testing.T, brokers []string, topic string, from, n int) {
	t.Helper()
	c := client(t, brokers)
	defer c.Close()
	var records []*kgo.Record
	for i := range n {
		records = append(records, &kgo.Record{Topic: topic, Value: fmt.Append(nil, "value ", from+i)})
	}
	if err := c.ProduceSync(testContext(t), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// consume reads n records as a member of a group, and commits them with metadata.
func consume(t *testing.T, brokers []string, topic, group string, n int) []string {
	t.Helper()
	c := client(t, brokers, kgo.ConsumeTopics(topic), kgo.ConsumerGroup(group), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer c.Close()
	var out []string
	for len(out) < n {
		f := c.PollRecords(testContext(t), n-len(out))
		if err := f.Err(); err != nil {
			t.Fatal(err)
		}
		f.EachRecord(func(r *kgo.Record) { out = append(out, string(r.Value)) })
	}
	if err := c.CommitUncommittedOffsets(testContext(t)); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestRestart stops the broker well and kills it, and looks for records, offsets and topic ids afterwards.
func TestRestart(t *testing.T) {
	for _, end := range []string{"stop", "kill"} {
		t.Run(end, func(t *testing.T) {
			dir := t.TempDir()
			ctx := testContext(t)
			p := start(t, kafka.Config{Dir: dir})
			if _, err := kadm.NewClient(client(t, p.Brokers)).CreateTopic(ctx, 1, 1, nil, "t"); err != nil {
				t.Fatal(err)
			}
			produce(t, p.Brokers, "t", 0, 100)
			consume(t, p.Brokers, "t", "g", 60)
			before, err := kadm.NewClient(client(t, p.Brokers)).ListTopics(ctx, "t")
			if err != nil {
				t.Fatal(err)
			}
			if end == "kill" {
				p.Kill()
			} else if err := p.Stop(); err != nil {
				t.Fatal(err)
			}

			p = start(t, kafka.Config{Dir: dir})
			after, err := kadm.NewClient(client(t, p.Brokers)).ListTopics(ctx, "t")
			if err != nil || after["t"].ID != before["t"].ID {
				t.Errorf("topic id %v became %v, %v", before["t"].ID, after["t"].ID, err)
			}
			produce(t, p.Brokers, "t", 100, 1)
			if got := consume(t, p.Brokers, "t", "g", 41); got[0] != "value 60" || got[40] != "value 100" {
				t.Errorf("after a restart the group reads %q to %q", got[0], got[40])
			}
		})
	}
}

func TestBrokersAndTopics(t *testing.T) {
	ctx := testContext(t)
	p := start(t, kafka.Config{Brokers: 3, Partitions: 5, AutoCreate: true})
	if len(p.Brokers) != 3 {
		t.Fatalf("brokers %v", p.Brokers)
	}
	c := client(t, p.Brokers[2:], kgo.AllowAutoTopicCreation())
	if err := c.ProduceSync(ctx, kgo.StringRecord("x")).FirstErr(); err == nil {
		t.Error("a record without a topic was accepted")
	}
	if err := c.ProduceSync(ctx, &kgo.Record{Topic: "auto", Value: []byte("x")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	topics, err := kadm.NewClient(c).ListTopics(ctx, "auto")
	if err != nil || len(topics["auto"].Partitions) != 5 {
		t.Errorf("%d partitions, %v", len(topics["auto"].Partitions), err)
	}
	leaders := map[int32]bool{}
	for _, part := range topics["auto"].Partitions {
		leaders[part.Leader] = true
	}
	if len(leaders) < 2 {
		t.Errorf("one broker leads all partitions")
	}

	strict := start(t, kafka.Config{})
	c = client(t, strict.Brokers, kgo.AllowAutoTopicCreation(), kgo.UnknownTopicRetries(1))
	if err := c.ProduceSync(ctx, &kgo.Record{Topic: "absent", Value: []byte("x")}).FirstErr(); !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Errorf("got %v", err)
	}
}

func TestOneProcessAFolder(t *testing.T) {
	dir := t.TempDir()
	start(t, kafka.Config{Dir: dir})
	_, err := embedded.StartKafka(testContext(t), embedded.Options{}, kafka.Config{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "another embedded broker uses it") {
		t.Errorf("got %v", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, c := range []struct {
		cfg  kafka.Config
		want string
	}{
		{kafka.Config{}, "no data folder"},
		{kafka.Config{Dir: "x", Brokers: 99}, "brokers"},
		{kafka.Config{Dir: "x", Brokers: -1}, "brokers"},
		{kafka.Config{Dir: "x", Ports: []int{1, 70000}}, "70000 is no port"},
		{kafka.Config{Dir: "x", Ports: []int{9092, 9092}}, "given twice"},
		{kafka.Config{Dir: "x", Partitions: -1}, "partitions"},
	} {
		if err := c.cfg.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v, want %q", c.cfg, err, c.want)
		}
	}
	if err := (kafka.Config{Dir: "x", Ports: []int{0, 0, 0}}).Validate(); err != nil {
		t.Error(err)
	}
}

// TestShared checks the seam itself: each test has names of its own on one broker.
func TestShared(t *testing.T) {
	a, prefixA := embeddedtest.Kafka(t)
	b, prefixB := embeddedtest.Kafka(t)
	if prefixA == prefixB || fmt.Sprint(a) != fmt.Sprint(b) {
		t.Errorf("%v %s, %v %s", a, prefixA, b, prefixB)
	}
	if _, err := kadm.NewClient(client(t, a)).CreateTopic(testContext(t), 1, 1, nil, prefixA+"t"); err != nil {
		t.Fatal(err)
	}
}
