package kafka

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
)

// TestTopicIDsAreNotRemembered makes a topic again within the time for which the client keeps what it knows of topics.
func TestTopicIDsAreNotRemembered(t *testing.T) {
	c, cl := cluster(t, kfake.SeedTopics(1, "a"))
	r := newRecorder()
	run(t, Config{Brokers: c.ListenAddrs(), Topics: []string{"a"}, Group: "g"}, r)
	eventually(t, "an assignment", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return len(r.assigned) == 1 })
	s, adm := r.source, kadm.NewClient(cl)
	for i := range 2 {
		if _, err := s.adm.ListTopics(t.Context(), "a"); err != nil { // the client knows it now
			t.Fatal(err)
		}
		if _, err := adm.DeleteTopics(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		if _, err := adm.CreateTopics(t.Context(), 1, 1, nil, "a"); err != nil {
			t.Fatal(err)
		}
		ids, err := s.topicIDs(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		if want := c.TopicInfo("a").TopicID; ids["a"] != want {
			t.Errorf("made again %d times: the ID is %s, want %x", i+1, ids["a"], want)
		}
	}
}

// TestRecordsOfAnotherTopic has a source be told that a topic is another one than the client reads, as by a broker that lags behind. Its
// records are not taken for those of the other.
func TestRecordsOfAnotherTopic(t *testing.T) {
	c, cl := cluster(t, kfake.SeedTopics(1, "a"))
	r := newRecorder()
	run(t, Config{Brokers: c.ListenAddrs(), Topics: []string{"a"}, Group: "g"}, r)
	produce(t, cl, "a", 0, "1")
	eventually(t, "a record", func() bool { return r.count() == 1 })
	s := r.source
	s.mu.Lock()
	s.owned[tp{"a", 0}].partition.TopicID = [16]byte{1}
	s.mu.Unlock()
	produce(t, cl, "a", 0, "2")
	eventually(t, "the record under the topic's own ID", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return slices.Contains(r.values["a/0"], "2")
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.lost)+len(r.revoked) == 0 || len(r.assigned) < 2 {
		t.Errorf("lost %v, revoked %v, %d assignments", r.lost, r.revoked, len(r.assigned))
	}
	if last := r.assigned[len(r.assigned)-1]; last.Partition.TopicID != c.TopicInfo("a").TopicID {
		t.Errorf("assigned as %x", last.Partition.TopicID)
	}
}
