package kafka

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
)

// TestPartitionsAddedDuringRestart adds a partition while static members restart within their session. To the group they are the
// members of before, with the same subscriptions, so nothing is divided again.
func TestPartitionsAddedDuringRestart(t *testing.T) {
	t.Parallel()
	c, cl := cluster(t, kfake.SeedTopics(2, "a"))
	// live runs members until they have so many partitions together.
	live := func(partitions int) (stop func()) {
		t.Helper()
		var stops []func()
		var members []*recorder
		for _, name := range []string{"box-1", "box-2"} {
			r := newRecorder()
			members = append(members, r)
			stops = append(stops, run(t, Config{
				Brokers: c.ListenAddrs(), Topics: []string{"a"}, Group: "g", InstanceID: name, Protocol: "classic", SessionTimeout: time.Minute,
			}, r))
		}
		for began, held := time.Now(), 0; held != partitions; time.Sleep(10 * time.Millisecond) {
			held = 0
			for _, r := range members {
				r.mu.Lock()
				held += len(r.held)
				r.mu.Unlock()
			}
			if time.Since(began) > time.Minute {
				t.Fatalf("%d partitions are read, and should be %d", held, partitions)
			}
		}
		if _, err := c.WaitGroupStable(t.Context(), "g", len(members)); err != nil {
			t.Fatal(err)
		}
		return func() {
			for _, stop := range stops {
				stop()
			}
		}
	}
	live(2)()
	// Further lives join as the last will: without partitions.
	for range 2 {
		live(2)()
	}
	if _, err := kadm.NewClient(cl).UpdatePartitions(t.Context(), 3, "a"); err != nil {
		t.Fatal(err)
	}
	live(3)()
}
