package kafka

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/ingest/batch"
)

// transaction produces values in a transaction of its own and ends it.
func transaction(t *testing.T, brokers []string, topic string, commit kgo.TransactionEndTry, values ...string) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.TransactionalID("tx"), kgo.DefaultProduceTopic(topic),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for _, v := range values {
		if err := cl.ProduceSync(t.Context(), kgo.StringRecord(v)).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if err := cl.EndTransaction(t.Context(), commit); err != nil {
		t.Fatal(err)
	}
}

// TestTransactions reads what was committed alone, and is told how far the log goes behind it.
func TestTransactions(t *testing.T) {
	c, cl := cluster(t, kfake.SeedTopics(1, "a"))
	r := newRecorder()
	stop := run(t, Config{Brokers: c.ListenAddrs(), Topics: []string{"a"}, Group: "g"}, r)
	reached := func(offset int64) {
		t.Helper()
		eventually(t, fmt.Sprintf("offset %d", offset), func() bool { r.mu.Lock(); defer r.mu.Unlock(); return r.offsets["a/0"] == offset })
	}
	transaction(t, c.ListenAddrs(), "a", kgo.TryCommit, "1", "2") // offsets 0 and 1, and the end of the transaction
	reached(3)
	transaction(t, c.ListenAddrs(), "a", kgo.TryAbort, "gone", "gone", "gone")
	reached(7)
	produce(t, cl, "a", 0, "3")
	transaction(t, c.ListenAddrs(), "a", kgo.TryAbort, "gone")
	reached(10)
	stop()
	if got := fmt.Sprint(r.values["a/0"]); got != "[1 2 3]" {
		t.Errorf("read %s", got)
	}

	// The end of the log that a new owner is told of is the one it can come to.
	behind := newRecorder()
	stop = run(t, Config{Brokers: c.ListenAddrs(), Topics: []string{"a"}, Group: "other"}, behind)
	eventually(t, "the end", func() bool {
		behind.mu.Lock()
		defer behind.mu.Unlock()
		return len(behind.assigned) == 1 && behind.offsets["a/0"] == behind.assigned[0].LogEnd
	})
	stop()
}

// TestCompacted refuses a compacted topic and reads the one beside it, unless it is told to read both.
func TestCompacted(t *testing.T) {
	c, cl := cluster(t)
	policy := "compact,delete"
	adm := kadm.NewClient(cl)
	if _, err := adm.CreateTopic(t.Context(), 1, 1, map[string]*string{"cleanup.policy": &policy}, "table"); err != nil {
		t.Fatal(err)
	}
	if _, err := adm.CreateTopic(t.Context(), 1, 1, nil, "stream"); err != nil {
		t.Fatal(err)
	}
	produce(t, cl, "table", 0, "t")
	produce(t, cl, "stream", 0, "s")
	for _, allow := range []bool{false, true} {
		r := newRecorder()
		stop := run(t, Config{
			Brokers: c.ListenAddrs(), Topics: []string{"table", "stream"}, Group: fmt.Sprint("g-", allow), AllowCompacted: allow,
		}, r)
		want, refusals := "map[stream/0:[s]]", 1
		if allow {
			want, refusals = "map[stream/0:[s] table/0:[t]]", 0
		}
		eventually(t, want, func() bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			return fmt.Sprint(r.values) == want && len(r.assigned) == 2
		})
		stop()
		got := slices.DeleteFunc(r.failures, func(s string) bool { return !strings.Contains(s, "source.kafka.allow_compacted") })
		if len(got) != refusals {
			t.Errorf("allowed %v: refusals %q", allow, got)
		}
	}
}

// TestCannotAsk reads where the broker does not tell what a topic's policy is, and warns once.
func TestCannotAsk(t *testing.T) {
	c, cl := cluster(t, kfake.SeedTopics(1, "a", "b"))
	c.ControlKey(kmsg.DescribeConfigs.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		resp := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
		for _, r := range req.(*kmsg.DescribeConfigsRequest).Resources {
			denied := kmsg.NewDescribeConfigsResponseResource()
			denied.ResourceType, denied.ResourceName, denied.ErrorCode = r.ResourceType, r.ResourceName, kerr.TopicAuthorizationFailed.Code
			resp.Resources = append(resp.Resources, denied)
		}
		return resp, nil, true
	})
	produce(t, cl, "a", 0, "a")
	produce(t, cl, "b", 0, "b")
	var warned strings.Builder
	src, err := New(Config{Brokers: c.ListenAddrs(), Topics: []string{"a", "b"}, Group: "g"}, slog.New(slog.NewTextHandler(&warned, nil)))
	if err != nil {
		t.Fatal(err)
	}
	r := newRecorder()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- src.Run(ctx, r) }()
	eventually(t, "both records", func() bool { return r.count() == 2 })
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(warned.String(), "DESCRIBE_CONFIGS"); n != 1 {
		t.Errorf("warned %d times:\n%s", n, warned.String())
	}
}

// TestEpochEnds tells how far a log is the one that the commit was made of.
func TestEpochEnds(t *testing.T) {
	c, cl := cluster(t, kfake.SeedTopics(1, "a"))
	cfg := Config{Brokers: c.ListenAddrs(), Topics: []string{"a"}, Group: "g"}
	produce(t, cl, "a", 0, "0", "1", "2", "3")
	epoch := int32(-1)
	lives := func() ingest.Assignment {
		t.Helper()
		r := newRecorder()
		stop := run(t, cfg, r)
		eventually(t, "an assignment", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return len(r.assigned) == 1 })
		a := r.assigned[0]
		if a.Committed < 0 {
			eventually(t, "4 records", func() bool { return r.count() == 4 })
			if epoch = r.source.LeaderEpoch(a.Partition); epoch < 0 {
				t.Error("the leader epoch of records that were handed over is not known")
			}
			if other := (batch.Partition{Topic: a.Partition.Topic, TopicID: [16]byte{1}}); r.source.LeaderEpoch(other) != -1 {
				t.Error("a topic that was deleted has the leader epoch of the one that was made again")
			}
			if err := r.source.Commit(t.Context(), []ingest.Commit{{Partition: a.Partition, Offset: 1, Metadata: "x"}}); err != nil {
				t.Fatal(err)
			}
		} else if end, err := a.EpochEnd(t.Context(), epoch); end != a.SameUpTo || err != nil {
			t.Errorf("asked by the handler the log is the same up to %d (%v), and by the commit to %d", end, err, a.SameUpTo)
		}
		stop()
		return a
	}
	if a := lives(); a.SameUpTo != -1 {
		t.Errorf("without a commit: %d", a.SameUpTo)
	}
	if a := lives(); a.SameUpTo != 4 {
		t.Errorf("with a log that goes on: %d, want 4", a.SameUpTo)
	}
	c.ControlKey(kmsg.OffsetForLeaderEpoch.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		resp := req.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
		for _, rt := range req.(*kmsg.OffsetForLeaderEpochRequest).Topics {
			topic := kmsg.NewOffsetForLeaderEpochResponseTopic()
			topic.Topic = rt.Topic
			for _, rp := range rt.Partitions {
				p := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
				p.Partition, p.LeaderEpoch, p.EndOffset = rp.Partition, rp.LeaderEpoch, 2
				topic.Partitions = append(topic.Partitions, p)
			}
			resp.Topics = append(resp.Topics, topic)
		}
		return resp, nil, true
	})
	if a := lives(); a.SameUpTo != 2 {
		t.Errorf("with a log that was cut back: %d, want 2", a.SameUpTo)
	}
}

// TestCommitsOfTopicsByID keeps the metadata of commits of which the broker names the topic by its ID alone, and asks for the name
// without holding anybody up.
func TestCommitsOfTopicsByID(t *testing.T) {
	c, cl := cluster(t, kfake.SeedTopics(1, "a"))
	r := newRecorder()
	stop := run(t, Config{Brokers: c.ListenAddrs(), Topics: []string{"a"}, Group: "g"}, r)
	defer stop()
	eventually(t, "an assignment", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return len(r.assigned) == 1 })
	topics, err := kadm.NewClient(cl).ListTopics(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	s := r.source
	var asked, held atomic.Bool
	c.ControlKey(kmsg.Metadata.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		asked.Store(true)
		for until := time.Now().Add(5 * time.Second); !s.mu.TryLock(); time.Sleep(time.Millisecond) {
			if time.Now().After(until) {
				held.Store(true)
				return nil, nil, false
			}
		}
		s.mu.Unlock()
		return nil, nil, false
	})
	metadata := "x"
	answer := func(ids ...kadm.TopicID) *kmsg.OffsetFetchResponse {
		resp := kmsg.NewPtrOffsetFetchResponse()
		group := kmsg.NewOffsetFetchResponseGroup()
		for _, id := range ids {
			topic, part := kmsg.NewOffsetFetchResponseGroupTopic(), kmsg.NewOffsetFetchResponseGroupTopicPartition()
			part.Offset, part.LeaderEpoch, part.Metadata = 7, 3, &metadata
			topic.TopicID, topic.Partitions = id, append(topic.Partitions, part)
			group.Topics = append(group.Topics, topic)
		}
		resp.Groups = append(resp.Groups, group)
		return resp
	}
	eventually(t, "a question", func() bool { // the client's own answer serves for a second
		if err := s.offsetsFetched(t.Context(), nil, answer(topics["a"].ID, kadm.TopicID{1})); err != nil {
			t.Fatal(err)
		}
		return asked.Load()
	})
	s.mu.Lock()
	got, unnamed := s.metadata[tp{"a", 0}], s.metadata[tp{"", 0}]
	s.mu.Unlock()
	if want := (commitMeta{offset: 7, epoch: 3, metadata: "x"}); got != want || unnamed != (commitMeta{}) {
		t.Errorf("kept %+v, and %+v of a topic that is gone", got, unnamed)
	}
	if held.Load() {
		t.Error("the source was locked while it asked")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	eventually(t, "an error", func() bool { return s.offsetsFetched(ctx, nil, answer(topics["a"].ID)) != nil })
}
