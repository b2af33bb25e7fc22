package wasm

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
)

// rehearse runs a batch some times through a live operator with a candidate beside it. It gives what the live one made of the
// last batch, and how the candidate did.
func rehearse(t *testing.T, in *batch.Schema, rows [][]any, live, candidate Config, times int) (string, operators.ShadowStatus) {
	t.Helper()
	live.Cache, candidate.Cache, candidate.Transport = compiled, compiled, Copy
	step := func(cfg Config) *Step {
		s, err := New(t.Context(), cfg, in)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s, err := NewShadow(step(live), step(candidate), 1)
	if err != nil {
		t.Fatal(err)
	}
	ch := newChain(t, in, 256<<10, live)
	op, err := s.Open(t.Context(), operators.Env{Pool: ch.pool, Range: ch.pool.Range(1), Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	result := ""
	for i := range times {
		b := ch.decode(t, in, rows)
		if err := op.Process(context.Background(), b); err != nil {
			t.Fatal(err)
		}
		balance(t, b)
		result = render(b)
		for i := range b.Cols { // the next batch is written where this one was
			clear(b.Cols[i].Values)
		}
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
			st := s.Shadow()
			if st.Batches+st.Failed+st.Skipped == int64(i+1) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("after batch %d: %+v", i, st)
			}
		}
	}
	ch.batch.Release()
	if err := op.Close(); err != nil {
		t.Error(err)
	}
	st := s.Shadow()
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	return result, st
}

// TestShadow: what a candidate does differently is counted by kind and column, and the live result is what it is without one.
func TestShadow(t *testing.T) {
	numbers, many := hostileRows(t, 37)
	readings, sensor := sensors(t, 300)
	spin := Config{Module: spinning(4, loop...), FuelPerRow: MaxFuelPerRow, Deadline: 20 * time.Millisecond}
	for _, c := range []struct {
		name            string
		in              *batch.Schema
		rows            [][]any
		live, candidate Config
		want            operators.ShadowStatus
	}{
		{
			"the same", readings, sensor,
			Config{Module: example(t, "calibrate")},
			Config{Module: example(t, "calibrate-rust")},
			operators.ShadowStatus{Batches: 3, Rows: 900},
		},
		{
			"other values", numbers, many,
			Config{Module: hostile(t), Config: mode(0)},
			Config{Module: hostile(t), Config: mode(49)},
			operators.ShadowStatus{Batches: 3, Rows: 111, Changed: 111, Columns: map[string]int64{"id": 111}},
		},
		{
			"a row less", numbers, many,
			Config{Module: hostile(t), Config: mode(0)},
			Config{Module: hostile(t), Config: mode(43)},
			operators.ShadowStatus{Batches: 3, Rows: 111, OnlyLive: 3},
		},
		{
			"a row more", numbers, many,
			Config{Module: hostile(t), Config: mode(43)},
			Config{Module: hostile(t), Config: mode(0)},
			operators.ShadowStatus{Batches: 3, Rows: 108, OnlyCandidate: 3},
		},
		{
			"traps", numbers, many,
			Config{Module: hostile(t), Config: mode(0)},
			Config{Module: hostile(t), Config: mode(3)},
			operators.ShadowStatus{Batches: 3, Rows: 111, OnlyLive: 111, Rejects: 111},
		},
		{
			"never returns", numbers, many,
			Config{Module: hostile(t), Config: mode(0)},
			spin,
			operators.ShadowStatus{Failed: 1, Skipped: 2},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, st := rehearse(t, c.in, c.rows, c.live, c.candidate, 3)
			ch := newChain(t, c.in, 256<<10, c.live)
			b := ch.decode(t, c.in, c.rows)
			if err := ch.ops[0].Process(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			if alone := render(b); got != alone {
				t.Errorf("with a candidate the live operator gives\n%s\nand without\n%s", got, alone)
			}
			if st.Batches > 0 && (st.LiveFuel <= 0 || st.CandidateFuel <= 0 || st.LiveTime <= 0 || st.CandidateTime <= 0) {
				t.Errorf("not metered: %+v", st)
			}
			show := func(s operators.ShadowStatus) string {
				return fmt.Sprintf("%d batches, %d skipped, %d failed, %d rows: %d live only, %d candidate only, %d changed %v, %d rejects",
					s.Batches, s.Skipped, s.Failed, s.Rows, s.OnlyLive, s.OnlyCandidate, s.Changed, s.Columns, s.Rejects)
			}
			if g, w := show(st), show(c.want); g != w {
				t.Errorf("%s\nwant %s", g, w)
			}
		})
	}
}

// TestShadowColumns: a candidate with other columns is refused when it is planned.
func TestShadowColumns(t *testing.T) {
	in, _ := sensors(t, 1)
	live := newStep(t, Config{Module: example(t, "calibrate")}, in)
	candidate := newStep(t, Config{Module: example(t, "severity")}, in)
	if _, err := NewShadow(live, candidate, 1); err == nil || !strings.Contains(err.Error(), "they must be the same") {
		t.Fatal(err)
	}
}

// TestShadowOfState: what a stateful operator gives depends on all batches before, and a candidate does not get them all.
func TestShadowOfState(t *testing.T) {
	in := schemaOf(t, "device: string", "counter: int64")
	module := Config{Module: example(t, "delta")}
	if _, err := NewShadow(newStep(t, module, in), newStep(t, module, in), 1); err == nil || !strings.Contains(err.Error(), "keeps state") {
		t.Fatal(err)
	}
}

// TestShadowBusy: a candidate that is slow lets batches pass, and holds nobody up.
func TestShadowBusy(t *testing.T) {
	in, rows := hostileRows(t, 37)
	slow := Config{Module: spinning(4, loop...), FuelPerRow: MaxFuelPerRow, Deadline: 500 * time.Millisecond, Cache: compiled, Transport: Copy}
	live := Config{Module: hostile(t), Config: mode(0), Cache: compiled}
	candidate, err := New(t.Context(), slow, in)
	if err != nil {
		t.Fatal(err)
	}
	step, err := New(t.Context(), live, in)
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewShadow(step, candidate, 1)
	if err != nil {
		t.Fatal(err)
	}
	ch := newChain(t, in, 64<<10, live)
	op, err := s.Open(t.Context(), operators.Env{Pool: ch.pool, Range: ch.pool.Range(1), Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for range 100 {
		if err := op.Process(context.Background(), ch.decode(t, in, rows)); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(began); took > 400*time.Millisecond {
		t.Errorf("100 batches took %v: they waited for the candidate", took)
	}
	if st := s.Shadow(); st.Skipped != 100-exhibits {
		t.Errorf("%d batches passed the candidate by, want %d", st.Skipped, 100-exhibits)
	}
	ch.batch.Release()
	if err := op.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
