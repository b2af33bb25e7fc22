package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/sink"
)

// total is a stateful step: v becomes the sum of all v of the device so far.
type total struct {
	name    string
	schema  *batch.Schema
	amnesia bool // a step that does not take its state back
}

func (d *total) Name() string       { return d.name }
func (d *total) In() *batch.Schema  { return d.schema }
func (d *total) Out() *batch.Schema { return d.schema }
func (d *total) Close() error       { return nil }
func (d *total) Stateful() bool     { return true }
func (d *total) Open(context.Context, operators.Env) (operators.Operator, error) {
	return &totals{step: d, sums: map[string]int64{}}, nil
}

type totals struct {
	step *total
	sums map[string]int64
}

func (o *totals) Process(_ context.Context, b *batch.Batch) error {
	values := append([]int64(nil), batch.As[int64](b.Cols[2].Values)[:b.Rows]...)
	for i, v := range values {
		device := string(b.Cols[1].Bytes(i))
		o.sums[device] += v
		values[i] = o.sums[device]
	}
	b.Cols[2].Values = batch.Bytes(values)
	return nil
}

func (o *totals) Snapshot(dst []byte) ([]byte, error) {
	if len(o.sums) == 0 {
		return dst, nil
	}
	text, err := json.Marshal(o.sums)
	return append(dst, text...), err
}

func (o *totals) Restore(_ context.Context, state []byte) error {
	o.sums = map[string]int64{}
	if len(state) == 0 || o.step.amnesia {
		return nil
	}
	return json.Unmarshal(state, &o.sums)
}

func (o *totals) Close() error { return nil }

func (c *centre) storeStates(cut *sink.Cut) {
	for _, s := range cut.States {
		id := fmt.Sprintf("%s|%x|%d|%d|%s", cut.Coverage.Partition, s.Revision, s.Segment, s.Offset, s.Step)
		if old := c.states[id]; !old.Released {
			c.states[id] = s
		}
	}
}

func (c *centre) readStates(_ context.Context, p batch.Partition, at sink.StateKey) ([]sink.StepState, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []sink.StepState
	for id, s := range c.states {
		if !strings.HasPrefix(id, p.String()+"|") || s.Released {
			continue
		}
		if s.StateKey != at {
			s.Bytes = nil
		}
		out = append(out, s)
	}
	return out, nil
}

// live counts the states that are not released.
func (c *centre) live() (n int) {
	for _, s := range c.states {
		if !s.Released {
			n++
		}
	}
	return n
}

func totalSteps(amnesia bool) []operators.Step {
	cols := testColumns()
	return []operators.Step{&total{"1 first", cols.Schema(), amnesia}}
}

// killedWithState ends one life after another while records arrive, as TestKilled does, and gives the centre and the truth.
func killedWithState(t *testing.T, seed uint64, lives int) (*centre, *truth) {
	t.Helper()
	brokers, cl := broker(t)
	rng := rand.New(rand.NewPCG(seed, 4))
	tr, c := &truth{sums: map[string]int64{}}, newCentre()
	s := setup{brokers: brokers, group: "g", centre: c, steps: totalSteps(false)}
	for range lives {
		s.rng = rand.New(rand.NewPCG(seed, rng.Uint64()))
		s.rows = 1 + rng.IntN(400) // other batches in every life
		e, l := start(t, s)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- e.Run(ctx) }()
		for range 6 {
			produce(t, cl, rng, tr, 50+rng.IntN(200))
			time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond)
		}
		if rng.IntN(3) > 0 {
			l.dead.Store(true)
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
	}
	return c, tr
}

// TestKilledWithState compares the totals of a stateful pipeline whose process ends at random moments.
func TestKilledWithState(t *testing.T) {
	eachSeed(t, 2, 1, func(t *testing.T, seed uint64) {
		c, tr := killedWithState(t, seed, 8)
		check(t, c, tr)
		t.Logf("%d writes, %d states stored, %d live", c.writes, len(c.states), c.live())
	})
}

// TestStoppedWithState stops a stateful pipeline in good order again and again. Without its state back it must give other
// totals: that is the control of these tests.
func TestStoppedWithState(t *testing.T) {
	for _, amnesia := range []bool{false, true} {
		t.Run(fmt.Sprintf("amnesia %v", amnesia), func(t *testing.T) {
			t.Parallel()
			brokers, cl := broker(t)
			rng := rand.New(rand.NewPCG(1, 4))
			tr, c := &truth{sums: map[string]int64{}}, newCentre()
			for range 5 {
				produce(t, cl, rng, tr, 600)
				e, _ := start(t, setup{brokers: brokers, group: "g", centre: c, steps: totalSteps(amnesia), rows: 50, atEnd: true})
				if err := e.Run(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if !amnesia {
				check(t, c, tr)
				return
			}
			for k, want := range tr.groups {
				if c.answer()[k] != want {
					return
				}
			}
			t.Error("no total is wrong: the test does not test")
		})
	}
}

// TestSwapWithState moves a stateful pipeline to a generation of the same revision while records arrive: the state moves too.
func TestSwapWithState(t *testing.T) {
	brokers, cl := broker(t)
	rng := rand.New(rand.NewPCG(2, 4))
	tr, c := &truth{sums: map[string]int64{}}, newCentre()
	s := setup{brokers: brokers, group: "g", centre: c, steps: totalSteps(false), rows: 50}
	e, _ := start(t, s)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	for range 4 {
		produce(t, cl, rng, tr, 300)
		time.Sleep(time.Duration(rng.IntN(100)) * time.Millisecond)
		gen := generation(t, s.revision, 1+rng.IntN(100))
		gen.Steps = totalSteps(false)
		swap, err := e.Swap(t.Context(), gen)
		if err != nil {
			t.Fatal(err)
		}
		wait, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if _, err := swap.Wait(wait); err != nil {
			t.Fatal(err)
		}
		cancel()
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	s.atEnd = true
	last, _ := start(t, s)
	if err := last.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	check(t, c, tr)
}
