package window

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
)

// savedRow is a row of a cut on its own.
type savedRow struct {
	start int64
	row   *batch.Batch
}

// save keeps each row of a cut under its window and key, as a store does.
func save(into map[string]savedRow, b *batch.Batch) {
	if b == nil {
		return
	}
	for i := range b.Rows {
		one := &batch.Batch{Schema: b.Schema, Rows: b.Rows, Cols: slices.Clone(b.Cols)}
		var heap batch.Arena
		one.Gather([]int32{int32(i)}, &heap)
		start := batch.As[int64](one.Cols[0].Values)[0]
		over := b.Schema.Fields[5].Name == Overflow && one.Cols[5].Bit(0)
		into[fmt.Sprint(keyText(one, 0), over)] = savedRow{start, one}
	}
}

// TestLoad stops at random moments, and goes on in another window with what was saved of the first.
func TestLoad(t *testing.T) {
	loads := 0
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 3))
		cfg := kindOf(testConfig(t), seed)
		rows := stream(rng, 1500)
		w, truth, central := New(cfg), &naive{cfg: cfg, groups: map[string]*naiveGroup{}}, map[string]stored{}
		saved := map[string]savedRow{}
		for i := 0; i < len(rows); {
			n := min(1+rng.IntN(100), len(rows)-i)
			add(t, w, makeBatch(cfg.In, rows[i:i+n], int64(i)), int64(i))
			if i += n; rng.IntN(3) > 0 {
				continue
			}
			cut := w.Cut(int64(i))
			store(central, cut.Rows, int64(i))
			save(saved, cut.Rows)
			for _, c := range cut.Closed {
				for k, r := range saved {
					if r.start == c.Start && rng.IntN(2) == 0 { // some of what is closed is still there: it is left out
						delete(saved, k)
					}
				}
			}
			if rng.IntN(2) == 0 {
				continue
			}
			clock := w.Clock()
			next := New(cfg)
			next.Restore(clock, operators.Clock{Max: operators.Unset})
			for _, r := range saved {
				if err := next.Load(r.row, batch.Hashes(r.row), cut.Open); err != nil {
					t.Fatal(err)
				}
			}
			if next.Groups() != w.Groups() || next.Windows() != w.Windows() || next.Dirty() != 0 {
				t.Fatalf("seed %d: loaded %d groups in %d windows, %d dirty; were %d in %d", seed, next.Groups(), next.Windows(), next.Dirty(), w.Groups(), w.Windows())
			}
			if again := next.Cut(int64(i)); again.Rows != nil || again.ReplayFrom != cut.ReplayFrom || again.Replay != cut.Replay {
				t.Fatalf("seed %d: a cut after loading: %+v, was %+v", seed, again, cut)
			}
			w = next
			loads++
		}
		for _, r := range rows {
			truth.add(r)
		}
		store(central, w.Cut(int64(len(rows))).Rows, int64(len(rows)))
		compare(t, central, truth.groups)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if loads < 40 {
		t.Errorf("only %d loads", loads)
	}
}

func TestLoadRefuses(t *testing.T) {
	cfg := testConfig(t)
	w := New(cfg)
	add(t, w, makeBatch(cfg.In, []row{{ts: 1000, device: "a"}}, 0), 0)
	cut := w.Cut(1)
	for want, load := range map[string]func(w *Tumbling) error{
		"key twice": func(w *Tumbling) error {
			_ = w.Load(cut.Rows, cut.Hashes, cut.Open)
			return w.Load(cut.Rows, cut.Hashes, cut.Open)
		},
		"no window begins then": func(w *Tumbling) error { return w.Load(cut.Rows, cut.Hashes, []operators.OpenWindow{{Start: 1}}) },
		"columns": func(w *Tumbling) error {
			return w.Load(&batch.Batch{Schema: cfg.In}, nil, nil)
		},
	} {
		if err := load(New(cfg)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error about %q, got %v", want, err)
		}
	}
}
