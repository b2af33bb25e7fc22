package engine_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-stream/weir/edge-node/engine"
	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/sink"
)

// earlySegments counts the segments that began early.
func earlySegments(e *engine.Engine) (n int64) {
	for _, l := range e.Status().Lanes {
		n += l.Early
	}
	return n
}

// TestEarlySegment has several times more keys in open windows than there is memory for: lanes begin segments early, state stays near the
// budget, and every answer, late rows included, is the one with enough memory.
func TestEarlySegment(t *testing.T) {
	const records, budget = 10_000, 500 << 10
	for _, test := range []struct {
		name   string
		budget int64
		disk   bool
	}{{"enough memory", 0, false}, {"in memory", budget, false}, {"with a local store", budget, true}} {
		t.Run(test.name, func(t *testing.T) {
			brokers, cl := broker(t)
			tr, c := &truth{devices: 4000, pace: 4}, newCentre()
			produce(t, cl, rand.New(rand.NewPCG(21, 1)), tr, records)
			s := setup{brokers: brokers, group: "g", centre: c, atEnd: true, maxState: test.budget, rows: 100, flush: 10 * time.Millisecond}
			if test.disk {
				s.disk = openDisk(t, filepath.Join(t.TempDir(), "disk"))
				t.Cleanup(func() { _ = s.disk.Close() })
			}
			e, l := start(t, s)
			var most atomic.Int64
			l.beforeStore = func(*sink.Coverage) { most.Store(max(most.Load(), e.Status().StateBytes)) } // there is a cut whenever the budget is over
			if err := e.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			check(t, c, tr)
			n, early := 0, earlySegments(e)
			for part := range int32(partCount) {
				segs := segments(t, c, part)
				for i, cov := range segs {
					if cov.Segment != uint64(i) || cov.Gap != 0 || cov.GapReason != "" || cov.Lost != 0 {
						t.Errorf("partition %d, segment %d: %+v", part, i, cov)
					}
				}
				n += len(segs) - 1
			}
			t.Logf("%d segments began early, at most %d bytes of state", early, most.Load())
			if int64(n) != early || (early >= partCount) != (test.budget > 0) {
				t.Errorf("%d segments behind others, and %d are said to have begun early", n, early)
			}
			// Each of the lanes may have taken a batch before it saw that the sum is over the budget, and what grows is half as large again.
			if most := most.Load(); (most > 2*budget) != (test.budget == 0) {
				t.Errorf("%d bytes of state with a budget of %d", most, test.budget)
			}
		})
	}
}

// TestEarlySegmentRefused has pipelines for which a window must not be in two segments: the run ends, and says why. The next one, with
// enough memory, comes to the right answer.
func TestEarlySegmentRefused(t *testing.T) {
	for _, test := range []struct {
		name, want string
		change     func(s *setup)
		budget     int64
	}{
		{"what the windows say", "a session would be cut in two", func(s *setup) {
			s.change = func(g *engine.Generation) { g.Undivided = "a session would be cut in two" }
		}, 700 << 10},
		{"emit final", "shipped when they are final", func(s *setup) {
			s.change = func(g *engine.Generation) { g.EmitFinal = true }
		}, 700 << 10},
		{"stateful", "keeps state", func(s *setup) { s.steps = totalSteps(false) }, 700 << 10},
		{"outputs", "outputs are given windows as a whole", func(s *setup) {
			s.announce = func(context.Context, *engine.Finals) error { return nil }
		}, 700 << 10},
		{"one batch is too much", "not even room for one batch", func(*setup) {}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			brokers, cl := broker(t)
			tr, c := &truth{devices: 4000, pace: 4}, newCentre()
			produce(t, cl, rand.New(rand.NewPCG(22, 1)), tr, 3000)
			s := setup{brokers: brokers, group: "g", centre: c, atEnd: true, maxState: test.budget, rows: 100}
			test.change(&s)
			e, _ := start(t, s)
			err := e.Run(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "raise limits.state in node.yaml") {
				t.Errorf("ended with: %v", err)
			}
			if n := earlySegments(e); n > 0 {
				t.Errorf("%d segments began early", n)
			}
		})
	}
}

// TestEarlySegmentIdle has one lane that waits for room and has little, while one that is idle has most of it: that one begins a segment.
func TestEarlySegmentIdle(t *testing.T) {
	brokers, cl := broker(t)
	tr, c := &truth{devices: 4000, pace: 4}, newCentre()
	rng := rand.New(rand.NewPCG(23, 1))
	const budget, first = 500 << 10, 3000
	produceTo(t, cl, rng, tr, 0, first)
	e, _ := start(t, setup{brokers: brokers, group: "g", centre: c, maxState: budget, rows: 100})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	read := func(n int64) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
			sum := int64(0)
			for _, l := range e.Status().Lanes {
				sum += l.Records
			}
			if sum == n {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d of %d records: %+v", sum, n, e.Status())
			}
		}
	}
	read(first)
	if st := e.Status(); st.StateBytes > budget || st.StateBytes < budget/2 || earlySegments(e) > 0 {
		t.Fatalf("%d bytes of state show nothing", st.StateBytes)
	}
	n := int64(first)
	for part := 1; earlySegments(e) == 0 && n < 2*first; part = 1 + part%(partCount-1) {
		produceTo(t, cl, rng, tr, part, 100)
		n += 100
		read(n)
	}
	for _, l := range e.Status().Lanes {
		if l.Early != 0 != (l.Partition.ID == 0) {
			t.Errorf("%s: %d segments began early", l.Partition, l.Early)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	check(t, c, tr)
}

// TestEarlySegmentAway has no destination when the budget is full: nothing is read, nothing is lost, and no segment begins before it is back.
func TestEarlySegmentAway(t *testing.T) {
	brokers, cl := broker(t)
	tr, c := &truth{devices: 4000, pace: 4}, newCentre()
	const records, budget = 10_000, 500 << 10
	produce(t, cl, rand.New(rand.NewPCG(24, 1)), tr, records)
	gate := make(chan struct{})
	e, _ := start(t, setup{brokers: brokers, group: "g", centre: c, atEnd: true, maxState: budget, rows: 100, gate: gate})
	ended := make(chan error, 1)
	go func() { ended <- e.Run(t.Context()) }()
	for deadline := time.Now().Add(30 * time.Second); e.Status().StateBytes <= budget; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the budget is never full: %+v", e.Status())
		}
	}
	time.Sleep(100 * time.Millisecond) // as much as lanes take that do not wait
	st := e.Status()
	sum := int64(0)
	for _, l := range st.Lanes {
		sum += l.Records
	}
	if sum >= records*partCount || earlySegments(e) > 0 {
		t.Errorf("%d records, %d bytes of state, %d segments", sum, st.StateBytes, earlySegments(e))
	}
	close(gate)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	check(t, c, tr)
	if earlySegments(e) == 0 {
		t.Error("no segment began early")
	}
}

// TestEarlySegmentOrder holds the order that makes it exact: nothing of a segment is shipped before the group has the commit that begins
// it, and that is not sent before all of the segment before is stored.
func TestEarlySegmentOrder(t *testing.T) {
	brokers, cl := broker(t)
	tr, c := &truth{devices: 4000, pace: 4}, newCentre()
	produce(t, cl, rand.New(rand.NewPCG(25, 1)), tr, 5000)
	e, l := start(t, setup{brokers: brokers, group: "g", centre: c, atEnd: true, maxState: 500 << 10, rows: 100})
	begun := map[string]bool{}
	l.beforeCommit = func(commit ingest.Commit) {
		c.mu.Lock()
		defer c.mu.Unlock()
		is, err := engine.ReadCommit(commit.Offset, commit.Metadata)
		if err != nil {
			t.Error(err)
			return
		}
		p, cov := commit.Partition, is.Coverage
		id := fmt.Sprintf("%s|%d", p, cov.Segment)
		if begun[id] {
			return
		}
		begun[id] = true
		if cov.Segment == 0 {
			return
		}
		if before := c.coverage[coverageID(sink.Coverage{Partition: p, Segment: cov.Segment - 1})]; before.Version != cov.Start || cov.Version != cov.Start {
			t.Errorf("%s: segment %d is begun at %d with a commit of %d, and the one before is stored up to %d", p, cov.Segment, cov.Start, cov.Version, before.Version)
		}
	}
	l.beforeStore = func(cov *sink.Coverage) {
		if cov.Segment > 0 && (cov.Began == nil || cov.Began.Final <= 0 || cov.Began.Final > cov.Final) {
			t.Errorf("%s: segment %d does not say how far its partition was where it begins: %+v", cov.Partition, cov.Segment, cov.Began)
		}
		if !begun[fmt.Sprintf("%s|%d", cov.Partition, cov.Segment)] {
			t.Errorf("%s: something of segment %d is stored, and nobody committed that it begins", cov.Partition, cov.Segment)
		}
	}
	if err := e.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	check(t, c, tr)
	if earlySegments(e) == 0 {
		t.Error("no segment began early: the test does not test")
	}
}

// TestEarlySegmentKilled ends lives at random moments, around the commits that begin segments too, with less memory than open windows
// need; with a local store, that of another node, and without.
func TestEarlySegmentKilled(t *testing.T) {
	eachSeed(t, 4, 2, func(t *testing.T, seed uint64) {
		brokers, cl := broker(t)
		rng := rand.New(rand.NewPCG(seed, 26))
		tr, c := &truth{devices: 3000, pace: 4}, newCentre()
		s := setup{brokers: brokers, group: "g", centre: c, deaths: 40}
		dirs := []string{filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")}
		early, deaths := int64(0), 0
		life := func() bool {
			s.rng = rand.New(rand.NewPCG(seed, rng.Uint64()))
			s.rows = 1 + rng.IntN(300)
			s.maxState = 450<<10 + rng.Int64N(200<<10)
			if seed%2 == 1 {
				s.disk = openDisk(t, dirs[min(1, rng.IntN(4))])
				defer func() {
					if err := s.disk.Close(); err != nil {
						t.Error(err)
					}
				}()
			}
			e, l := start(t, s)
			ended := false
			if s.atEnd {
				ended = toEnd(t, e, l)
			} else {
				ctx, stop := context.WithCancel(t.Context())
				run := make(chan error, 1)
				go func() { run <- e.Run(ctx) }()
				for wait := rng.Int64N(4); !l.dead.Load() && earlySegments(e) < wait && lag(e) > 0; {
					time.Sleep(time.Millisecond)
				}
				time.Sleep(time.Duration(rng.IntN(100)) * time.Millisecond)
				if rng.IntN(3) > 0 {
					l.dead.Store(true)
				}
				stop()
				if err := <-run; err != nil && !l.dead.Load() {
					t.Fatal(err)
				}
			}
			if l.dead.Load() {
				deaths++
			}
			early += earlySegments(e)
			return ended
		}
		for range 6 {
			produce(t, cl, rng, tr, 2500)
			life()
		}
		s.atEnd = true
		for i := 0; !life(); i++ {
			if i == 100 {
				t.Fatal("it does not come to the end")
			}
		}
		check(t, c, tr)
		for part := range int32(partCount) {
			segments(t, c, part)
		}
		if early == 0 {
			t.Error("no segment began early: the test does not test")
		}
		t.Logf("%d lives ended without notice, %d segments began early, %d coverage rows", deaths, early, len(c.coverage))
	})
}

// lag is how many records a node has not read yet; 1 as long as it does not know.
func lag(e *engine.Engine) int64 {
	st := e.Status()
	if len(st.Lanes) < partCount {
		return 1
	}
	sum := int64(0)
	for _, l := range st.Lanes {
		sum += l.Lag
	}
	return sum
}
