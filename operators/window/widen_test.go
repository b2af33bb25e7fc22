package window

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/operators/aggregate"
	"github.com/weir-stream/weir/operators/calendar"
)

// TestWiden merges windows in steps, each of two or more into one, and compares with the specification of windows that were as
// wide from the beginning.
func TestWiden(t *testing.T) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 4))
		cfg := wideLine(testConfig(t), seed)
		if seed%2 == 1 {
			cfg.Offset = 3333 * time.Millisecond
		}
		rows := stream(rng, 1500)
		slices.SortFunc(rows, func(a, b row) int { return int(a.ts - b.ts) }) // none is late, in whatever windows
		coarsest := 8 * cfg.Size.Milliseconds()
		widening, err := NewWidening(cfg, time.Duration(coarsest)*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		w := New(cfg)
		add(t, w, makeBatch(cfg.In, rows, 0), 0)
		b := w.Cut(int64(len(rows))).Rows
		for width := 2 * widening.Size(); width <= coarsest; width *= 2 {
			if rng.IntN(3) == 0 && width < coarsest {
				continue // one step less
			}
			if b, err = widening.Merge(inParts(rng, b), width); err != nil {
				t.Fatal(err)
			}
			for i, start := range batch.As[int64](b.Cols[0].Values) {
				if end := batch.As[int64](b.Cols[1].Values)[i]; end-start != width || start != widening.Start(start, width) {
					t.Fatalf("a window from %d to %d, and it should be %d wide", start, end, width)
				}
			}
			wide := *cfg
			wide.Size = time.Duration(width) * time.Millisecond
			truth, got := &naive{cfg: &wide, groups: map[string]*naiveGroup{}}, map[string]stored{}
			for _, r := range rows {
				truth.add(r)
			}
			store(got, b, 0)
			compare(t, got, truth.groups)
		}
	}
}

// TestWidenBySteps merges floats, which do not add up exactly, at once and in steps: the bits must be the same.
func TestWidenBySteps(t *testing.T) {
	for seed := range uint64(10) {
		rng := rand.New(rand.NewPCG(seed, 5))
		cfg := wideLine(testConfig(t), seed)
		rows := stream(rng, 2000)
		slices.SortFunc(rows, func(a, b row) int { return int(a.ts - b.ts) })
		for i := range rows {
			rows[i].temp = rng.NormFloat64()
		}
		widening, err := NewWidening(cfg, MaxWidth)
		if err != nil {
			t.Fatal(err)
		}
		w := New(cfg)
		add(t, w, makeBatch(cfg.In, rows, 0), 0)
		fine := w.Cut(int64(len(rows))).Rows
		merge := func(b *batch.Batch, width int64) *batch.Batch {
			b, err := widening.Merge(inParts(rng, b), width*widening.Size())
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		sum := func(b *batch.Batch) (sum uint64) {
			hashes := make([]uint64, b.Rows)
			batch.HashRows(hashes, b, nil)
			for _, h := range hashes {
				sum += h
			}
			return sum
		}
		want := sum(merge(fine, 16))
		for _, way := range [][]int64{{2, 16}, {4, 16}, {2, 4, 8, 16}, {8, 16}} {
			b := fine
			for _, width := range way {
				b = merge(b, width)
			}
			if sum(b) != want {
				t.Errorf("seed %d: merged to %v windows, rows are not those that are merged at once", seed, way)
			}
		}
	}
}

// inParts cuts rows anywhere, in the order of their windows.
func inParts(rng *rand.Rand, b *batch.Batch) []*batch.Batch {
	starts := batch.As[int64](b.Cols[0].Values)
	order := make([]int32, b.Rows)
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(x, y int32) int { return int(starts[x] - starts[y]) })
	var parts []*batch.Batch
	for len(order) > 0 {
		n := 1 + rng.IntN(len(order))
		part := &batch.Batch{Schema: b.Schema, Rows: b.Rows, Cols: slices.Clone(b.Cols)}
		part.Gather(order[:n], &batch.Arena{})
		parts, order = append(parts, part), order[n:]
	}
	return parts
}

// TestWidenRefuses is what cannot be merged.
func TestWidenRefuses(t *testing.T) {
	refuses := func(cfg *Config, coarsest time.Duration, want string) {
		t.Helper()
		if _, err := NewWidening(cfg, coarsest); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	cfg := testConfig(t)
	refuses(cfg, cfg.Size, "at least twice as wide")
	refuses(cfg, 32*24*time.Hour, "at most 744h0m0s")
	hopping := testConfig(t)
	hopping.Every = 5 * time.Second
	refuses(hopping, time.Minute, "windows that overlap cannot be merged")
	limited := testConfig(t)
	limited.MaxKeys = 5
	refuses(limited, time.Minute, "windows with max_keys cannot be merged")
	days := testConfig(t)
	days.Size, days.Calendar = 0, &calendar.Calendar{Unit: calendar.Day}
	refuses(days, 24*time.Hour, "windows of the calendar cannot be merged")
	users := testConfig(t)
	users.Aggregate = append(users.Aggregate, Aggregate{Aggregate: aggregate.NewExternal(counter{}, batch.Field{Type: intType}), Name: "mine"})
	refuses(users, time.Minute, "aggregate mine is a module's")

	widening, err := NewWidening(cfg, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := widening.Merge(nil, 20_000); b != nil || err != nil {
		t.Errorf("nothing merges to %v, %v", b, err)
	}
	w := New(cfg)
	add(t, w, makeBatch(cfg.In, []row{{ts: 0, device: "a"}, {ts: 60_000, device: "a"}}, 0), 0)
	rows := w.Cut(2).Rows
	for want, parts := range map[string][]*batch.Batch{
		"are not in order": {rows, rows.Head(1)},
		"has":              {{Schema: testSchema(), Rows: 1}},
	} {
		if _, err := widening.Merge(parts, 20_000); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := widening.Merge([]*batch.Batch{rows}, 30_000); err == nil || !strings.Contains(err.Error(), "by doubling them") {
		t.Errorf("three windows were merged: %v", err)
	}
	merged, err := widening.Merge([]*batch.Batch{rows}, 40_000)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := widening.Merge([]*batch.Batch{merged}, 20_000); err == nil || !strings.Contains(err.Error(), "is not part of one") {
		t.Errorf("wide windows were made narrow: %v", err)
	}
	var _ operators.Widening = widening
}
