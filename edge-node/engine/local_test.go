package engine_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/edge-node/engine"
	"github.com/weir-stream/weir/sink/spool"
)

func openDisk(t *testing.T, dir string) *spool.Store {
	t.Helper()
	s, err := spool.Open(spool.Config{Dir: dir, Reserve: 1 << 20, Fatal: func(err error) { panic(err) }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// liveAndDie has a node with a store live for a while, or to the end of the topic where until is 0. What happens meanwhile takes
// the time. In one of comesBack lives the destination comes back before the end, which mostly comes without notice. It gives the
// lanes as they were, and whether nothing that the node did at last arrived, or it did not come to the end.
func liveAndDie(t *testing.T, s *setup, rng *rand.Rand, until time.Duration, comesBack int, meanwhile func()) (lanes []engine.LaneStatus, died bool) {
	t.Helper()
	e, l := start(t, *s)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var err error
	if until > 0 {
		ended := make(chan error, 1)
		go func() { ended <- e.Run(ctx) }()
		meanwhile()
		if s.gate != nil && rng.IntN(comesBack) == 0 {
			close(s.gate)
			time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond)
			s.gate = nil
		}
		if rng.IntN(3) > 0 {
			l.dead.Store(true)
		}
		stop()
		err = <-ended
	} else {
		died = !toEnd(t, e, l)
	}
	lanes = e.Status().Lanes
	if s.gate != nil {
		l.dead.Store(true) // what waits at the gate never arrives
		close(s.gate)
	}
	if err != nil && (!l.dead.Load() || !strings.Contains(err.Error(), "dead")) {
		t.Fatal(err)
	}
	return lanes, died || l.dead.Load()
}

// TestLocalKilled is TestKilled with a local store: lives end at random moments, also before and after they save; the
// destination is away for some of them; some find no disk, or that of another node which is not up to date.
func TestLocalKilled(t *testing.T) { localKilled(t, false) }

// TestLocalKilledWithState is the same for a pipeline with a stateful step, whose state is saved with the windows.
func TestLocalKilledWithState(t *testing.T) { localKilled(t, true) }

func localKilled(t *testing.T, stateful bool) {
	seeds := 3
	if os.Getenv("WEIR_TORTURE") != "" {
		seeds = 30
	}
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			brokers, cl := broker(t)
			rng := rand.New(rand.NewPCG(seed, 5))
			tr, c := &truth{}, newCentre()
			s := setup{brokers: brokers, group: "g", centre: c}
			if stateful {
				tr.sums, s.steps = map[string]int64{}, totalSteps(false)
			}
			dirs := []string{filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")}
			deaths, away, saves := 0, 0, int64(0)
			life := func(until time.Duration) bool {
				disk := openDisk(t, dirs[min(1, rng.IntN(4))]) // mostly that of node b
				defer func() {
					if err := disk.Close(); err != nil {
						t.Error(err)
					}
				}()
				s.disk = disk
				s.rng = rand.New(rand.NewPCG(seed, rng.Uint64()))
				s.rows = 1 + rng.IntN(400)
				s.gate = nil
				if until > 0 && rng.IntN(2) == 0 {
					s.gate = make(chan struct{})
					away++
				}
				lanes, died := liveAndDie(t, &s, rng, until, 2, func() {
					for range 3 {
						time.Sleep(until / 3)
						produce(t, cl, rng, tr, 50)
					}
				})
				for _, lane := range lanes {
					saves += lane.Saves
				}
				if died {
					deaths++
				}
				return !died
			}
			for range 14 {
				produce(t, cl, rng, tr, 300)
				life(time.Duration(20+rng.IntN(400)) * time.Millisecond)
			}
			s.atEnd = true
			for range 60 {
				if life(0) {
					break
				}
			}
			check(t, c, tr)
			t.Logf("%d lives ended without notice, the destination was away in %d, %d saves, %d writes", deaths, away, saves, c.writes)
			if saves == 0 || deaths == 0 || away == 0 {
				t.Error("nothing was tested")
			}
		})
	}
}
