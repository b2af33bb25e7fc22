package engine_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/weir-stream/weir/edge-node/engine"
)

func TestOnce(t *testing.T) {
	brokers, cl := broker(t)
	rng := rand.New(rand.NewPCG(1, 1))
	tr, c := &truth{}, newCentre()
	produce(t, cl, rng, tr, 3000)
	e, l := start(t, setup{brokers: brokers, group: "g", centre: c, atEnd: true, rng: rand.New(rand.NewPCG(9, 9))})
	for range 50 { // a life may end between rows and coverage
		if toEnd(t, e, l) {
			break
		}
		e, l = start(t, setup{brokers: brokers, group: "g", centre: c, atEnd: true, rng: rand.New(rand.NewPCG(9, rng.Uint64()))})
	}
	check(t, c, tr)
	for _, lane := range e.Status().Lanes {
		if lane.Lag != 0 || lane.Queued != 0 {
			t.Errorf("%s: lag %d, queued %d after the end", lane.Partition, lane.Lag, lane.Queued)
		}
	}
}

// TestKilled ends one life after another at random moments while records arrive, and compares the totals.
func TestKilled(t *testing.T) {
	eachSeed(t, 6, 2, func(t *testing.T, seed uint64) {
		brokers, cl := broker(t)
		rng := rand.New(rand.NewPCG(seed, 4))
		tr, c := &truth{}, newCentre()
		s := setup{brokers: brokers, group: "g", centre: c}
		deaths := 0
		for range 12 {
			produce(t, cl, rng, tr, 400)
			s.rng = rand.New(rand.NewPCG(seed, rng.Uint64()))
			s.rows = 1 + rng.IntN(400) // other batches in every life
			e, l := start(t, s)
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- e.Run(ctx) }()
			time.Sleep(time.Duration(20+rng.IntN(400)) * time.Millisecond)
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
		s.atEnd = true
		for range 50 {
			s.rng = rand.New(rand.NewPCG(seed, rng.Uint64()))
			e, l := start(t, s)
			if toEnd(t, e, l) {
				break
			}
			deaths++
		}
		check(t, c, tr)
		t.Logf("%d lives ended without notice, %d writes", deaths, c.writes)
	})
}

// TestRevision changes the revision after a clean stop: totals are summed over both.
func TestRevision(t *testing.T) {
	brokers, cl := broker(t)
	rng := rand.New(rand.NewPCG(5, 1))
	tr, c := &truth{}, newCentre()
	run := func(rev uint64) {
		produce(t, cl, rng, tr, 500)
		for range 50 {
			e, l := start(t, setup{brokers: brokers, group: "g", centre: c, atEnd: true, revision: rev, rng: rand.New(rand.NewPCG(3, rng.Uint64()))})
			if toEnd(t, e, l) {
				return
			}
		}
	}
	run(1)
	run(2)
	total, want := int64(0), int64(0)
	for _, g := range c.answer() {
		total += g[0]
	}
	for _, n := range tr.next {
		want += n
	}
	late, rejected := int64(0), int64(0)
	revisions := map[uint64]bool{}
	for _, cov := range c.coverage {
		late += cov.Counters.Late
		rejected += cov.Counters.Rejected
		revisions[cov.Revision] = true
	}
	// A new revision starts with a clock of its own, so which rows are late differs; every row is in exactly one place.
	if total+late+rejected != want || rejected != tr.rejected || len(revisions) != 2 {
		t.Errorf("%d aggregated + %d late + %d rejected of %d records, %d revisions", total, late, rejected, want, len(revisions))
	}
}

// TestCommitLost deletes the group: the node goes on after what the destination has.
func TestCommitLost(t *testing.T) {
	brokers, cl := broker(t)
	rng := rand.New(rand.NewPCG(6, 1))
	tr, c := &truth{}, newCentre()
	produce(t, cl, rng, tr, 500)
	finish := func() {
		for range 50 {
			e, l := start(t, setup{brokers: brokers, group: "g", centre: c, atEnd: true, rng: rand.New(rand.NewPCG(3, rng.Uint64()))})
			if toEnd(t, e, l) {
				return
			}
		}
	}
	finish()
	adm := kadm.NewClient(cl)
	if _, err := adm.DeleteGroups(t.Context(), "g"); err != nil {
		t.Fatal(err)
	}
	produce(t, cl, rng, tr, 500)
	finish()
	total := int64(0)
	for _, cov := range c.coverage {
		total += cov.Counters.RecordsIn
	}
	if total != 1000*partCount {
		t.Errorf("%d records accounted for, want %d: each exactly once", total, 1000*partCount)
	}
}

// TestBackPressure holds the destination up: lanes take what fits, pause their partitions, and go on when it is back.
func TestBackPressure(t *testing.T) {
	brokers, cl := broker(t)
	tr, c := &truth{devices: 5000}, newCentre()
	produce(t, cl, rand.New(rand.NewPCG(7, 1)), tr, 20_000)
	gate := make(chan struct{})
	// Windows cannot close before a cut is stored, so their state reaches the budget and lanes wait.
	e, l := start(t, setup{brokers: brokers, group: "g", centre: c, atEnd: true, gate: gate, maxState: 1200 << 10, queued: 256 << 10})
	ended := make(chan error, 1)
	go func() { ended <- e.Run(t.Context()) }()
	var st engine.Status
	for deadline := time.Now().Add(20 * time.Second); l.pauses.Load() < 1; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("nothing was paused: %+v", e.Status())
		}
	}
	time.Sleep(300 * time.Millisecond)
	st = e.Status()
	processed := int64(0)
	for _, lane := range st.Lanes {
		processed += lane.Records
	}
	if processed >= 20_000*partCount {
		t.Errorf("all records were processed though nothing was stored")
	}
	// A poll that was on its way may come on top of the bound.
	if st.QueuedBytes > 8<<20 {
		t.Errorf("%d bytes wait", st.QueuedBytes)
	}
	close(gate)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	check(t, c, tr)
}

// TestOutageUsesBudget holds the destination up while windows become final: what they take may wait for the cut that is on its way, but
// not for longer than that takes, since the budget of window state is there for outages.
func TestOutageUsesBudget(t *testing.T) {
	brokers, cl := broker(t)
	tr, c := &truth{devices: 5000}, newCentre()
	const records, budget = 20_000, 32 << 20
	produce(t, cl, rand.New(rand.NewPCG(7, 1)), tr, records)
	gate := make(chan struct{})
	e, _ := start(t, setup{brokers: brokers, group: "g", centre: c, atEnd: true, gate: gate, maxState: budget})
	// A group takes more than a hundred bytes, whether it is open or in the one cut that waits at the gate. So a node that reads all records
	// has used more than the eighth of the budget at which lanes wait for a cut first.
	if held := 100 * len(tr.groups); held < budget/8*5/4 || held > budget/2 {
		t.Fatalf("about %d bytes of state show nothing", held)
	}
	ended := make(chan error, 1)
	go func() { ended <- e.Run(t.Context()) }()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		st := e.Status()
		processed := int64(0)
		for _, lane := range st.Lanes {
			processed += lane.Records
		}
		if processed == records*partCount {
			break
		}
		if time.Now().After(deadline) {
			t.Errorf("%d of %d records were processed, with %d bytes of state", processed, records*partCount, st.StateBytes)
			break
		}
	}
	close(gate)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	check(t, c, tr)
}

// TestSlowPause has lanes take what waits while the source is still being told to pause: what comes last must be the resumption.
func TestSlowPause(t *testing.T) {
	brokers, cl := broker(t)
	tr, c := &truth{}, newCentre()
	rng := rand.New(rand.NewPCG(8, 1))
	for range 10 {
		produce(t, cl, rng, tr, 500)
	}
	e, l := start(t, setup{brokers: brokers, group: "g", centre: c, atEnd: true, queued: 64 << 10})
	l.slowPause = 20 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	if err := e.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if ctx.Err() != nil {
		t.Fatalf("it came to a stop, after %d pauses: %+v", l.pauses.Load(), e.Status())
	}
	check(t, c, tr)
	if l.pauses.Load() == 0 {
		t.Error("nothing was paused")
	}
}

// TestStateBudget has more keys in open windows than the budget holds: the run ends and says what to do.
func TestStateBudget(t *testing.T) {
	brokers, cl := broker(t)
	tr, c := &truth{}, newCentre()
	produce(t, cl, rand.New(rand.NewPCG(7, 1)), tr, 500)
	e, _ := start(t, setup{brokers: brokers, group: "g", centre: c, atEnd: true, maxState: 1})
	err := e.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "limits.state") {
		t.Errorf("ended with %v", err)
	}
}

// TestRetention deletes records before they are read: the gap is reported with its size, and the rest is exact.
func TestRetention(t *testing.T) {
	brokers, cl := broker(t)
	rng := rand.New(rand.NewPCG(8, 1))
	tr, c := &truth{}, newCentre()
	finish := func() {
		for range 50 {
			e, l := start(t, setup{brokers: brokers, group: "g", centre: c, atEnd: true, rng: rand.New(rand.NewPCG(3, rng.Uint64()))})
			if toEnd(t, e, l) {
				return
			}
		}
	}
	produce(t, cl, rng, tr, 300)
	finish()
	produce(t, cl, rng, tr, 300)
	var cut kadm.Offsets
	cut.Add(kadm.Offset{Topic: topic, Partition: 1, At: 450})
	if _, err := kadm.NewClient(cl).DeleteRecords(t.Context(), cut); err != nil {
		t.Fatal(err)
	}
	finish()
	gaps := map[string]int64{}
	for _, cov := range c.coverage {
		if cov.Gap > 0 {
			gaps[fmt.Sprintf("%s %s before %d", cov.Partition, cov.GapReason, cov.Start)] += cov.Gap
		}
	}
	if len(gaps) != 1 || gaps["sensors/1 retention before 450"] != 150 {
		t.Errorf("gaps: %v, want 150 records of sensors/1 before 450", gaps)
	}
}
