package engine_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/weir-stream/weir/edge-node/engine"
	"github.com/weir-stream/weir/ingest/batch"
)

// announced collects what is told of windows.
type announced struct {
	t      *testing.T
	mu     sync.Mutex
	groups map[string][2]int64 // guarded by mu: as in truth
	again  int                 // guarded by mu
}

func (a *announced) take(_ context.Context, f *engine.Finals) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	starts, n, sum := batch.As[int64](f.Rows.Cols[0].Values), batch.As[uint64](f.Rows.Cols[4].Values), batch.As[int64](f.Rows.Cols[5].Values)
	for i := range f.Rows.Rows {
		key := fmt.Sprintf("%d|%d|%s", f.Partition.ID, starts[i], f.Rows.Cols[3].Bytes(i))
		value := [2]int64{int64(n[i]), sum[i]}
		if have, ok := a.groups[key]; ok {
			if a.again++; have != value {
				a.t.Errorf("%s was %v, and is %v", key, have, value)
			}
		}
		a.groups[key] = value
	}
	return nil
}

func (a *announced) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.groups)
}

// TestAnnounce is told of windows while nothing can be stored, and by lives that end at random moments: in the end of each window that is
// final, with the same rows each time.
func TestAnnounce(t *testing.T) {
	t.Parallel()
	brokers, cl := broker(t)
	rng := rand.New(rand.NewPCG(3, 14))
	tr, c, a := &truth{}, newCentre(), &announced{t: t, groups: map[string][2]int64{}}
	s := setup{brokers: brokers, group: "g", centre: c, announce: a.take, rows: 100}
	produce(t, cl, rng, tr, 1500)

	away := s
	away.gate = make(chan struct{})
	e, l := start(t, away)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	for a.count() == 0 && t.Context().Err() == nil {
		time.Sleep(5 * time.Millisecond)
	}
	if n := len(c.answer()); n != 0 {
		t.Errorf("%d groups are stored", n)
	}
	l.dead.Store(true)
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}

	s.atEnd = true
	for seed := range uint64(50) {
		produce(t, cl, rng, tr, 100)
		s.rng = rand.New(rand.NewPCG(seed, 15))
		e, l := start(t, s)
		if toEnd(t, e, l) {
			break
		}
	}
	check(t, c, tr)
	a.mu.Lock()
	defer a.mu.Unlock()
	final := 0
	for key, want := range tr.groups {
		var part int
		var window int64
		if _, err := fmt.Sscanf(key, "%d|%d|", &part, &window); err != nil {
			t.Fatal(err)
		}
		isFinal := window+windowMS+lateness <= tr.newest[part]-disorder
		have, ok := a.groups[key]
		switch {
		case isFinal && have != want:
			t.Errorf("told of %s: %v, want %v", key, have, want)
		case !isFinal && ok:
			t.Errorf("told of %s, which is not final", key)
		}
		if isFinal {
			final++
		}
	}
	if len(a.groups) != final || final == 0 {
		t.Errorf("told of %d windows and keys, and %d are final", len(a.groups), final)
	}
	t.Logf("%d windows and keys, %d of them told again", final, a.again)
}

// TestAnnounceFirst has nobody to take what is told: no window that is final is passed.
func TestAnnounceFirst(t *testing.T) {
	t.Parallel()
	brokers, cl := broker(t)
	tr, c := &truth{}, newCentre()
	produce(t, cl, rand.New(rand.NewPCG(4, 1)), tr, 1500)
	var asked sync.Map
	e, l := start(t, setup{brokers: brokers, group: "g", centre: c, announce: func(ctx context.Context, f *engine.Finals) error {
		asked.Store(f.Partition.ID, true)
		<-ctx.Done()
		return ctx.Err()
	}})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	for n := 0; n < partCount && t.Context().Err() == nil; {
		time.Sleep(5 * time.Millisecond)
		n = 0
		asked.Range(func(any, any) bool { n++; return true })
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	l.dead.Store(true)
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, cov := range c.coverage {
		if first := int64(1_700_000_000_000) / windowMS * windowMS; cov.Final >= (first+windowMS)*1000 {
			t.Errorf("%s has passed windows up to %d", id, cov.Final)
		}
	}
}

// TestAnnounceAtOnce has a flush clock that does not tick: a window is told of as soon as it is final.
func TestAnnounceAtOnce(t *testing.T) {
	t.Parallel()
	brokers, cl := broker(t)
	tr, a := &truth{}, &announced{t: t, groups: map[string][2]int64{}}
	produce(t, cl, rand.New(rand.NewPCG(4, 2)), tr, 1500)
	e, l := start(t, setup{brokers: brokers, group: "g", centre: newCentre(), announce: a.take, rows: 100, flush: time.Hour})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	for a.count() == 0 && t.Context().Err() == nil {
		time.Sleep(5 * time.Millisecond)
	}
	l.dead.Store(true)
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}
