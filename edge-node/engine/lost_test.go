package engine_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
)

// TestLostTogether loses all partitions while each tries in vain to commit that its segment begins. They must not wait for
// each other's commits: meanwhile the node takes no part in its group.
func TestLostTogether(t *testing.T) {
	brokers, cl := broker(t)
	produce(t, cl, rand.New(rand.NewPCG(9, 1)), &truth{}, 200)
	e, l := start(t, setup{brokers: brokers, group: "g", centre: newCentre()})
	l.slowCommits = 2 * time.Second
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	for deadline := time.Now().Add(20 * time.Second); len(e.Status().Lanes) < partCount || l.tried.Load() == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d partitions were assigned, %d commits tried", len(e.Status().Lanes), l.tried.Load())
		}
	}
	time.Sleep(300 * time.Millisecond) // until all wait to commit
	var all []batch.Partition
	for _, lane := range e.Status().Lanes {
		all = append(all, lane.Partition)
	}
	slices.Reverse(all) // the first to commit is the last to go
	began := time.Now()
	e.Lost(all)
	// A commit of all partitions together may be on its way, and is waited for.
	took := time.Since(began)
	t.Logf("%d partitions were lost in %v, and a commit takes %v", len(all), took, l.slowCommits)
	if took > l.slowCommits+l.slowCommits/2 {
		t.Error("they waited for each other")
	}
	stop()
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
