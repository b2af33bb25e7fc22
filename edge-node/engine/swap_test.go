package engine_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-stream/weir/edge-node/engine"
	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

// swap changes the generation and waits until every lane is in it.
func swap(t *testing.T, e *engine.Engine, g engine.Generation) engine.Swapped {
	t.Helper()
	s, err := e.Swap(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	done, err := s.Wait(ctx)
	if err != nil {
		t.Fatalf("the swap did not end: %v; %d partitions have not moved", err, e.Status().Moving)
	}
	return done
}

// segments lists the coverage of a partition and checks that it tiles the log.
func segments(t *testing.T, c *centre, part int32) []sink.Coverage {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []sink.Coverage
	for _, cov := range c.coverage {
		if cov.Partition.ID == part {
			out = append(out, cov)
		}
	}
	slices.SortFunc(out, func(a, b sink.Coverage) int { return int(a.Segment) - int(b.Segment) })
	next := int64(0)
	for _, cov := range out {
		if cov.Start != next {
			t.Errorf("partition %d: segment %d of revision %d starts at %d, the one before ends at %d", part, cov.Segment, cov.Revision, cov.Start, next)
		}
		next = cov.Version
	}
	return out
}

// TestSwap changes the revision several times under load. With the clock carried over, every answer, late rows included, is
// the one without a swap; and the group notices nothing.
func TestSwap(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partCount, topic))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	var joins atomic.Int64
	cluster.ControlKey(kmsg.JoinGroup.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		joins.Add(1)
		return nil, nil, false
	})
	cl, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	rng := rand.New(rand.NewPCG(11, 1))
	tr, c := &truth{}, newCentre()
	produce(t, cl, rng, tr, 400)
	e, l := start(t, setup{brokers: cluster.ListenAddrs(), group: "g", centre: c, revision: 1})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	processed := func() int64 { // by the partition that is furthest behind
		st := e.Status()
		if len(st.Lanes) < partCount {
			return 0
		}
		least := st.Lanes[0].Records
		for _, lane := range st.Lanes {
			least = min(least, lane.Records)
		}
		return least
	}
	until := func(n int64) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); processed() < n; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d of %d records", processed(), n)
			}
		}
	}
	until(1)
	joined := joins.Load()
	var freed atomic.Int64
	const swaps = 4
	for i := range uint64(swaps) {
		produce(t, cl, rng, tr, 400)
		until(int64(i+1)*400 + 1) // some of them
		g := generation(t, 2+i, 50+int(i)*100)
		g.Close = func() error { freed.Add(1); return nil }
		if done := swap(t, e, g); done.Segments != partCount {
			t.Errorf("swap %d: %d segments begun, want %d", i, done.Segments, partCount)
		}
	}
	// A generation of the same revision changes nothing.
	if done := swap(t, e, generation(t, 1+swaps, 77)); done.Segments != 0 {
		t.Errorf("%d segments begun though the revision is the same", done.Segments)
	}
	produce(t, cl, rng, tr, 400)
	until((swaps + 2) * 400)
	if n := joins.Load(); n != joined {
		t.Errorf("the group was joined %d times, %d before the swaps", n, joined)
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	check(t, c, tr)
	for part := range int32(partCount) {
		segs := segments(t, c, part)
		if len(segs) != 1+swaps {
			t.Errorf("partition %d has %d segments, want %d", part, len(segs), 1+swaps)
		}
		for i, cov := range segs {
			if cov.Revision != uint64(i+1) {
				t.Errorf("partition %d: segment %d is of revision %d", part, i, cov.Revision)
			}
		}
	}
	if freed.Load() != swaps {
		t.Errorf("%d generations were freed while the engine ran, want %d", freed.Load(), swaps)
	}
	if l.pauses.Load() != 0 {
		t.Errorf("partitions were paused %d times", l.pauses.Load())
	}
}

// TestSwapBack restarts in the revision that a swap left, and then in that it went to: segments go on where they should.
func TestSwapBack(t *testing.T) {
	brokers, cl := broker(t)
	rng := rand.New(rand.NewPCG(12, 1))
	tr, c := &truth{punctual: true}, newCentre()
	s := setup{brokers: brokers, group: "g", centre: c, atEnd: true}
	for _, revs := range [][]uint64{{1, 2}, {2, 1, 2}, {1}, {2}} {
		produce(t, cl, rng, tr, 300)
		s.revision = revs[0]
		e, _ := start(t, s)
		for _, rev := range revs[1:] { // before a partition is there
			swap(t, e, generation(t, rev, 100))
		}
		if err := e.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	check(t, c, tr)
	for part := range int32(partCount) {
		var revs []uint64
		for _, cov := range segments(t, c, part) {
			revs = append(revs, cov.Revision)
		}
		if fmt.Sprint(revs) != "[2 1 2]" {
			t.Errorf("partition %d has segments of revisions %v", part, revs)
		}
	}
}

// TestSwapWithoutDestination swaps while nothing can be stored: lanes go on in the old revision and move when it can.
func TestSwapWithoutDestination(t *testing.T) {
	brokers, cl := broker(t)
	rng := rand.New(rand.NewPCG(13, 1))
	tr, c := &truth{}, newCentre()
	produce(t, cl, rng, tr, 300)
	gate := make(chan struct{})
	e, _ := start(t, setup{brokers: brokers, group: "g", centre: c, gate: gate, revision: 1})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	inFlight := func() bool {
		st := e.Status()
		n := 0
		for _, lane := range st.Lanes {
			if lane.InFlight && lane.Records >= 300 {
				n++
			}
		}
		return n == partCount
	}
	for deadline := time.Now().Add(20 * time.Second); !inFlight(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no cuts on their way")
		}
	}
	second, err := e.Swap(t.Context(), generation(t, 2, 100))
	if err != nil {
		t.Fatal(err)
	}
	third, err := e.Swap(t.Context(), generation(t, 3, 100)) // takes the place of the second
	if err != nil {
		t.Fatal(err)
	}
	produce(t, cl, rng, tr, 300)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		n := int64(0)
		st := e.Status()
		for _, lane := range st.Lanes {
			n += lane.Records
		}
		if n == 600*partCount {
			if st.Moving != partCount {
				t.Errorf("%d partitions are in the old revision, want all", st.Moving)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d records were processed: the swap holds lanes up", n)
		}
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := third.Wait(short); err == nil {
		t.Error("the swap ended though nothing was stored")
	}
	close(gate)
	for _, s := range []*engine.Swap{second, third} {
		if _, err := s.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	check(t, c, tr)
	for part := range int32(partCount) {
		if segs := segments(t, c, part); len(segs) != 2 || segs[1].Revision != 3 {
			t.Errorf("partition %d: %+v", part, segs)
		}
	}
}

// TestSwapRefused keeps the old generation where the new one cannot be made.
func TestSwapRefused(t *testing.T) {
	brokers, cl := broker(t)
	tr, c := &truth{}, newCentre()
	produce(t, cl, rand.New(rand.NewPCG(14, 1)), tr, 300)
	e, _ := start(t, setup{brokers: brokers, group: "g", centre: c, atEnd: true, revision: 1})
	g := generation(t, 2, 100)
	g.Decoder = func() (ingest.Decoder, error) { return nil, fmt.Errorf("no decoder today") }
	g.Close = func() error { t.Error("a generation that was refused belongs to the caller"); return nil }
	if _, err := e.Swap(t.Context(), g); err == nil || !strings.Contains(err.Error(), "no decoder today") {
		t.Errorf("swapped: %v", err)
	}
	if err := e.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	check(t, c, tr)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Swap(t.Context(), generation(t, 2, 100)); err == nil {
		t.Error("swapped a pipeline that has ended")
	}
}

// unfinished tells whether there are rows without an account at the end of a partition that only a revision can finish.
func (c *centre) unfinished(revision uint64) bool {
	c.mu.Lock()
	partitions := map[batch.Partition]bool{}
	for _, cov := range c.coverage {
		partitions[cov.Partition] = true
	}
	c.mu.Unlock()
	for p := range partitions {
		if cov, _ := c.read(context.Background(), p); cov[0].Revision == revision && cov[0].RowsVersion > cov[0].Version {
			return true
		}
	}
	return false
}

// liveToSwap waits until a life has all partitions, and tells whether it came to that: it may die before, or not be given those that another
// revision has to finish.
func liveToSwap(t *testing.T, e *engine.Engine, l *life) bool {
	t.Helper()
	for !l.dead.Load() && t.Context().Err() == nil {
		switch st := e.Status(); {
		case len(st.Lanes) == partCount:
			return true
		case len(st.Problems) > 0:
			return false
		}
		time.Sleep(time.Millisecond)
	}
	return false
}

// TestSwapKilled ends lives at random moments around swaps, before and after commits, between rows and coverage, and starts
// again in the old or the new revision.
func TestSwapKilled(t *testing.T) {
	eachSeed(t, 6, 2, func(t *testing.T, seed uint64) {
		brokers, cl := broker(t)
		rng := rand.New(rand.NewPCG(seed, 15))
		tr, c := &truth{punctual: true}, newCentre()
		c.acrossRevisions = true
		s := setup{brokers: brokers, group: "g", centre: c, revision: 1, deaths: 40}
		deaths, swaps := 0, int64(0)
		for life := 0; life < 16 || swaps == 0 && life < 100; life++ {
			produce(t, cl, rng, tr, 300)
			s.rng = rand.New(rand.NewPCG(seed, rng.Uint64()))
			s.rows = 1 + rng.IntN(400)
			e, l := start(t, s)
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- e.Run(ctx) }()
			if life%4 == 3 && liveToSwap(t, e, l) { // however slow this machine is
				sw, err := e.Swap(t.Context(), generation(t, 1+s.revision%3, 100))
				if err != nil {
					t.Fatal(err)
				}
				for !l.dead.Load() {
					short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
					done, err := sw.Wait(short)
					cancel()
					if err == nil {
						swaps += done.Segments
						break
					}
				}
			}
			for range rng.IntN(4) {
				time.Sleep(time.Duration(rng.IntN(150)) * time.Millisecond)
				to := 1 + rng.Uint64N(3)
				sw, err := e.Swap(t.Context(), generation(t, to, 1+rng.IntN(400)))
				if err != nil {
					t.Error(err)
					break
				}
				if rng.IntN(2) == 0 {
					s.revision = to // the file says so at the next start
				}
				short, cancel := context.WithTimeout(t.Context(), time.Duration(rng.IntN(300))*time.Millisecond)
				if done, err := sw.Wait(short); err == nil {
					swaps += done.Segments
				}
				cancel()
			}
			time.Sleep(time.Duration(rng.IntN(100)) * time.Millisecond)
			if rng.IntN(3) > 0 {
				l.dead.Store(true)
			}
			if l.dead.Load() {
				deaths++
			}
			stop()
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
		}
		s.rng, s.deaths = nil, 0
		for i := 0; ; i++ {
			s.atEnd = true
			e, _ := start(t, s)
			err := e.Run(t.Context())
			if err == nil {
				break
			}
			if !strings.Contains(err.Error(), "run that revision once more") || i == 20 {
				t.Fatal(err)
			}
			_, rest, _ := strings.Cut(err.Error(), "revision ")
			if s.revision, err = strconv.ParseUint(rest[:16], 16, 64); err != nil {
				t.Fatal(err)
			}
			// As long as it takes that revision to finish what it can; other partitions may need another one.
			s.atEnd = false
			e, _ = start(t, s)
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- e.Run(ctx) }()
			for began := time.Now(); c.unfinished(s.revision); time.Sleep(5 * time.Millisecond) {
				if time.Since(began) > time.Minute {
					t.Fatalf("revision %d does not finish what it began: %+v", s.revision, e.Status().Problems)
				}
			}
			stop()
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
		}
		check(t, c, tr)
		for part := range int32(partCount) {
			segments(t, c, part)
		}
		if swaps == 0 {
			t.Error("no lane was swapped: the test does not test")
		}
		t.Logf("%d lives ended without notice, %d lanes swapped, %d coverage rows", deaths, swaps, len(c.coverage))
	})
}
