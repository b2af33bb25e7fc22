package engine_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/weir-stream/weir/edge-node/engine"
	"github.com/weir-stream/weir/sink/spool"
)

// TestFullKilled fills small disks while the destination is away for most of the time, and kills the node now and then, with its
// disk and without. Whatever the policy gives up, the account of it must be exact, and what it does not name must be there.
func TestFullKilled(t *testing.T) {
	seeds := 2
	if os.Getenv("WEIR_TORTURE") != "" {
		seeds = 20
	}
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint("drop_oldest/", seed), func(t *testing.T) {
			t.Parallel()
			fillAndKill(t, seed, engine.DropOldest)
		})
		t.Run(fmt.Sprint("coarsen/", seed), func(t *testing.T) {
			t.Parallel()
			fillAndKill(t, seed, engine.Coarsen)
		})
	}
}

func fillAndKill(t *testing.T, seed uint64, full engine.WhenFull) {
	brokers, cl := broker(t)
	rng := rand.New(rand.NewPCG(seed, 6))
	tr, c := &truth{devices: 400}, newCentre()
	s := setup{brokers: brokers, group: "g", centre: c, full: full}
	dirs := []string{filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")}
	given, deaths := int64(0), 0
	life := func(until time.Duration) bool {
		disk, err := spool.Open(spool.Config{
			Dir: dirs[min(1, rng.IntN(6))], Reserve: 1 << 20, MaxBytes: 400 << 10, MemTableSize: 64 << 10,
			Fatal: func(err error) { panic(err) },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := disk.Close(); err != nil {
				t.Error(err)
			}
		}()
		s.disk, s.gate = disk, nil
		s.rng = rand.New(rand.NewPCG(seed, rng.Uint64()))
		s.rows = 1 + rng.IntN(400)
		if until > 0 && rng.IntN(4) > 0 {
			s.gate = make(chan struct{})
		}
		lanes, died := liveAndDie(t, &s, rng, until, 3, func() { time.Sleep(until) })
		for _, lane := range lanes {
			given += lane.Dropped + lane.Merged
		}
		if died {
			deaths++
		}
		return !died
	}
	for n := range 60 {
		produce(t, cl, rng, tr, 1500)
		until := time.Duration(300+rng.IntN(900)) * time.Millisecond
		if n >= 12 { // a busy machine comes less far
			if given > 0 && deaths > 0 {
				break
			}
			until *= 3
		}
		life(until)
	}
	s.atEnd = true
	for range 60 {
		if life(0) {
			break
		}
	}
	check(t, c, tr)
	spans := 0
	for _, cov := range c.coverage {
		spans += len(cov.Spans)
		for _, span := range cov.Spans {
			if span.Dropped() != (full == engine.DropOldest) {
				t.Errorf("with policy %d, there is the span %+v", full, span)
			}
		}
	}
	t.Logf("%d rows dropped or merged, %d spans in the end, %d deaths, %d writes", given, spans, deaths, c.writes)
	if given == 0 || deaths == 0 {
		t.Error("nothing was tested")
	}
}
