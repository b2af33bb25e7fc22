package engine

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/ingest/decode"
	"github.com/weir-stream/weir/ingest/schema"
	"github.com/weir-stream/weir/operators"
)

// holder is a step whose instances hold something between batches, as sandboxes do.
type holder struct {
	in           *batch.Schema
	live, closed atomic.Int64
}

func (h *holder) Name() string       { return "1 holder" }
func (h *holder) In() *batch.Schema  { return h.in }
func (h *holder) Out() *batch.Schema { return h.in }
func (h *holder) Close() error       { return nil }
func (h *holder) Open(_ context.Context, env operators.Env) (operators.Operator, error) {
	o := &held{step: h}
	if !env.Lazy {
		o.hold()
	}
	return o, nil
}

type held struct {
	step           *holder
	holds          bool
	started, ended int64
	using          atomic.Bool
}

func (o *held) hold() {
	if !o.holds {
		o.holds = true
		o.started++
		o.step.live.Add(1)
	}
}

func (o *held) Process(context.Context, *batch.Batch) error {
	if !o.using.CompareAndSwap(false, true) {
		panic("an operator is used twice at a time")
	}
	o.hold()
	o.using.Store(false)
	return nil
}

func (o *held) Release() bool {
	if !o.using.CompareAndSwap(false, true) {
		panic("an operator is released while it is used")
	}
	defer o.using.Store(false)
	if !o.holds {
		return false
	}
	o.holds = false
	o.ended++
	o.step.live.Add(-1)
	return true
}

func (o *held) Close() error {
	o.Release()
	o.step.closed.Add(1)
	return nil
}

func (o *held) Usage() operators.Usage {
	return operators.Usage{Instances: o.started, Ended: o.ended}
}

func newHolding(t *testing.T, chains int) (*generation, *holder) {
	t.Helper()
	cols := schema.Columns{{Field: batch.Field{Name: "v", Type: batch.Type{Kind: batch.Int64}}, Path: []string{"v"}}}
	h := &holder{in: cols.Schema()}
	g, err := newGeneration(t.Context(), &Config{Chains: chains, PlainPool: true}, Generation{
		Decoder:   func() (ingest.Decoder, error) { return decode.New("json", cols, decode.Options{MaxRows: 8}) },
		Steps:     []operators.Step{h},
		BatchRows: 8, SlotSize: decode.SlotSize(cols, 8, 0),
	})
	if err != nil {
		t.Fatal(err)
	}
	return g, h
}

var oneRecord = []batch.Record{{Value: []byte(`{"v": 1}`)}}

// borrow runs a batch on a chain, as a lane does.
func borrow(t *testing.T, g *generation) {
	c := <-g.chains
	if _, err := c.run(context.Background(), batch.Partition{}, oneRecord, false, g.Steps, &g.counts); err != nil {
		t.Error(err)
	}
	c.batch.Release()
	g.chains <- c
}

func TestIdleChainsRest(t *testing.T) {
	g, h := newHolding(t, 3)
	live := func(want int64) {
		t.Helper()
		u := g.counts.steps[0].status("").Usage
		if h.live.Load() != want || u.Instances-u.Ended != want {
			t.Fatalf("%d live, %d counted, want %d", h.live.Load(), u.Instances-u.Ended, want)
		}
	}
	live(1) // the others wait for a batch
	g.rest(time.Hour)
	live(1)
	for range 3 {
		borrow(t, g)
	}
	live(3)
	g.rest(time.Hour)
	live(3)
	g.rest(0)
	live(0)
	borrow(t, g)
	live(1)
	taken := <-g.chains // a lane has it
	g.rest(0)
	g.chains <- taken
	if n := h.live.Load(); n > 1 {
		t.Errorf("%d live", n)
	}
	if err := g.close(); err != nil {
		t.Fatal(err)
	}
	live(0)
	g.rest(0) // after the end
}

// TestRestBesideLanes has lanes, rest and the end of the generation come together.
func TestRestBesideLanes(t *testing.T) {
	g, h := newHolding(t, 2)
	stop := make(chan struct{})
	var resting, lanes sync.WaitGroup
	for range 2 {
		resting.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					g.rest(0)
				}
			}
		})
	}
	for range 3 {
		lanes.Go(func() {
			for range 300 {
				borrow(t, g)
			}
		})
	}
	lanes.Wait()
	if err := g.close(); err != nil { // rest goes on
		t.Error(err)
	}
	close(stop)
	resting.Wait()
	if h.closed.Load() != 2 || h.live.Load() != 0 || g.counts.steps[0].in.Load() != 900 {
		t.Errorf("%d closed, %d live, %d rows", h.closed.Load(), h.live.Load(), g.counts.steps[0].in.Load())
	}
}
