package kafka

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-stream/weir/ingest"
)

func TestLease(t *testing.T) {
	now := time.Hour
	var l lease
	l.init(45*time.Second, nil)
	l.clock = func() time.Duration { return now }
	beat := func() { l.OnBrokerE2E(kgo.BrokerMetadata{}, int16(kmsg.Heartbeat), kgo.BrokerE2E{}) }
	want := func(what string, held bool) {
		t.Helper()
		if l.ask() != held {
			t.Errorf("%s: held is %v", what, !held)
		}
	}
	want("at first", false)
	beat()
	want("an answer that nobody read", false)
	l.renew(now)
	for range 20 {
		now += 4500 * time.Millisecond
		beat()
		want("heartbeats", true)
	}
	l.OnBrokerE2E(kgo.BrokerMetadata{}, int16(kmsg.Fetch), kgo.BrokerE2E{})
	now += 26 * time.Second
	want("other answers, and heartbeats that stopped", false)
	beat()
	want("an answer behind the end", false)
	l.renew(now)
	now += 4 * time.Second
	beat()
	// Stopped between question and answer: the answer is of before.
	now += 25 * time.Second
	beat()
	want("an old answer that is read late", true)
	now += 6 * time.Second
	want("an old answer that was read late", false)
	l.renew(now)
	l.end()
	want("lost", false)
}

// leased is a source whose clock can be moved on.
func leased(t *testing.T, cfg Config, r *recorder) (s *Source, later func(time.Duration)) {
	t.Helper()
	s, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	var more atomic.Int64
	s.lease.clock = func() time.Duration { return bootTime() + time.Duration(more.Load()) }
	r.source = s
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, r) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		for _, b := range r.broken {
			t.Error(b)
		}
	})
	return s, func(d time.Duration) { more.Add(int64(d)) }
}

// TestHeld takes a member through the life of its lease, under both protocols.
func TestHeld(t *testing.T) {
	for _, protocol := range []string{"classic", "consumer"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			c, cl := cluster(t, kfake.SeedTopics(2, "a"), kfake.BrokerConfigs(map[string]string{"group.consumer.heartbeat.interval.ms": "1000"}))
			produce(t, cl, "a", 0, "a0")
			r := newRecorder()
			s, later := leased(t, Config{Brokers: c.ListenAddrs(), Topics: []string{"a"}, Group: "g", Protocol: protocol, SessionTimeout: 10 * time.Second}, r)
			if s.Held() {
				t.Error("held before it is in the group")
			}
			eventually(t, "1 record", func() bool { return r.count() == 1 })
			if err := s.Renew(t.Context()); err != nil || !s.Held() {
				t.Fatalf("a member: %v", err)
			}
			// Longer than the lease is, in heartbeats.
			for range 8 {
				time.Sleep(time.Second)
				if !s.Held() {
					t.Fatal("it ran out between heartbeats")
				}
			}
			later(7 * time.Second)
			if s.Held() {
				t.Error("held after a stop")
			}
			time.Sleep(1500 * time.Millisecond)
			if s.Held() {
				t.Error("held by an answer that nobody read")
			}
			if err := s.Renew(t.Context()); err != nil || !s.Held() {
				t.Errorf("a member, again: %v", err)
			}
			if err := s.Commit(t.Context(), []ingest.Commit{{Partition: r.assigned[0].Partition, Offset: 0}}); err != nil {
				t.Error(err)
			}
		})
	}
}

// expel removes the only member of a group, as a session that times out does.
func expel(t *testing.T, cl *kgo.Client, s *Source) {
	t.Helper()
	member, _ := s.client.GroupMetadata()
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group, req.MemberID = s.cfg.Group, member
	m := kmsg.NewLeaveGroupRequestMember()
	m.MemberID = member
	req.Members = append(req.Members, m)
	resp, err := req.RequestWith(t.Context(), cl)
	if err != nil || resp.ErrorCode != 0 {
		t.Fatalf("expel: %v, code %d", err, resp.ErrorCode)
	}
}

// TestTakenForDead removes a member from the group. Its next commit finds out and has the client join again, which then goes
// on with the partitions as if nothing had been. The handler must lose them, and have them assigned anew.
func TestTakenForDead(t *testing.T) {
	for _, committing := range []bool{true, false} {
		c, cl := cluster(t, kfake.SeedTopics(2, "a"))
		produce(t, cl, "a", 0, "a0", "a1")
		r := newRecorder()
		s, later := leased(t, Config{Brokers: c.ListenAddrs(), Topics: []string{"a"}, Group: "g", Protocol: "classic", SessionTimeout: 20 * time.Second}, r)
		eventually(t, "2 records", func() bool { return r.count() == 2 })
		p := r.assigned[0].Partition
		p.ID = 0
		if err := s.Commit(t.Context(), []ingest.Commit{{Partition: p, Offset: 1}}); err != nil {
			t.Fatal(err)
		}
		if err := s.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.Pause(p) // by the handler of before: whoever has the partition next knows nothing of it
		expel(t, cl, s)
		// Somebody else has the partition, and gives it back.
		adm := kadm.NewClient(cl)
		offsets := kadm.Offsets{}
		offsets.Add(kadm.Offset{Topic: "a", Partition: 0, At: 2, LeaderEpoch: -1, Metadata: "other"})
		if err := adm.CommitAllOffsets(t.Context(), "g", offsets); err != nil {
			t.Fatal(err)
		}
		if committing {
			err := s.Commit(t.Context(), []ingest.Commit{{Partition: p, Offset: 1}})
			if err == nil {
				t.Error("a member that was taken for dead could commit")
			}
			if s.Held() {
				t.Errorf("the lease is held though the group refused a commit: %v", err)
			}
		} else {
			later(time.Minute) // it was stopped
			if err := s.Renew(t.Context()); err == nil {
				t.Error("a lease was renewed for a member that the group does not know")
			}
		}
		eventually(t, "both partitions lost and assigned anew", func() bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			return len(r.lost) == 2 && len(r.assigned) == 4
		})
		for _, a := range r.assigned[2:] {
			if a.Partition.ID == 0 && (a.Committed != 2 || a.Metadata != "other") {
				t.Errorf("assigned anew with another commit: %+v", a)
			}
		}
		produce(t, cl, "a", 0, "a2")
		produce(t, cl, "a", 1, "b0")
		eventually(t, "4 records", func() bool { return r.count() == 4 })
		if err := s.Renew(t.Context()); err != nil || !s.Held() {
			t.Errorf("a member again: %v", err)
		}
		if err := s.Commit(t.Context(), []ingest.Commit{{Partition: p, Offset: 3}}); err != nil {
			t.Error(err)
		}
	}
}

// TestTwoOfOneName starts a second process under the instance_id of one that lives. The first loses its partitions, stores and
// commits nothing more, and says why.
func TestTwoOfOneName(t *testing.T) {
	c, cl := cluster(t, kfake.SeedTopics(2, "a"))
	produce(t, cl, "a", 0, "a0")
	cfg := Config{Brokers: c.ListenAddrs(), Topics: []string{"a"}, Group: "g", Protocol: "classic", InstanceID: "box-1", SessionTimeout: 10 * time.Second}
	first, second := newRecorder(), newRecorder()
	s, _ := leased(t, cfg, first)
	eventually(t, "1 record", func() bool { return first.count() == 1 })
	if err := s.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	leased(t, cfg, second)
	eventually(t, "the second has the partitions", func() bool { return second.count() == 1 })
	eventually(t, "the first is told that it lost them", func() bool {
		first.mu.Lock()
		defer first.mu.Unlock()
		return len(first.lost) == 2
	})
	if s.Held() {
		t.Error("the first still holds the lease")
	}
	if err := s.Commit(t.Context(), []ingest.Commit{{Partition: first.assigned[0].Partition, Offset: 1}}); err == nil {
		t.Error("the first could commit")
	}
	time.Sleep(2 * time.Second)
	first.mu.Lock()
	defer first.mu.Unlock()
	second.mu.Lock()
	defer second.mu.Unlock()
	if said := strings.Join(first.failures, " "); !strings.Contains(said, "FENCED_INSTANCE_ID") || len(first.assigned) != 2 || len(second.lost) != 0 {
		t.Errorf("the first was assigned %d partitions and said %q; the second lost %d", len(first.assigned), said, len(second.lost))
	}
}
