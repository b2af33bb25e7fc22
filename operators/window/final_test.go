package window

import (
	"math/rand/v2"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
)

// TestEmitFinal cuts windows of every kind now and then. What is given when they close must be what the last update of each said, each
// once, and with the rows that are open it must be all that were aggregated.
func TestEmitFinal(t *testing.T) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 3))
		cfg := kindOf(testConfig(t), seed)
		cfg.EmitFinal = true
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		w := New(cfg)
		updates, final := map[string]stored{}, map[string]stored{}
		aggregated, given, offset, now := int64(0), int64(0), int64(0), int64(1_000_000)
		for range 60 {
			rows := make([]row, 1+rng.IntN(20))
			for i := range rows {
				now += rng.Int64N(900)
				rows[i] = row{ts: now - rng.Int64N(4000), device: string(rune('a' + rng.IntN(3))), line: rng.Int64N(2), temp: float64(rng.IntN(50))}
			}
			aggregated += add(t, w, makeBatch(cfg.In, rows, offset), offset).Aggregated
			offset += int64(len(rows))
			if rng.IntN(3) > 0 {
				continue
			}
			if rng.IntN(8) == 0 {
				w.Touch() // as where the disk was full
			}
			cut := w.Cut(offset)
			if cut.Rows != nil {
				store(updates, cut.Rows, offset)
			}
			if cut.Final != nil {
				before := len(final)
				store(final, cut.Final, offset)
				if len(final) != before+cut.Final.Rows {
					t.Fatalf("seed %d: a row was given twice", seed)
				}
				for _, n := range batch.As[uint64](cut.Final.Cols[2].Values)[:cut.Final.Rows] {
					given += int64(n)
				}
			}
			if given+cut.OpenRows != aggregated {
				t.Fatalf("seed %d: %d rows in what was given, %d open, %d aggregated", seed, given, cut.OpenRows, aggregated)
			}
			if len(cut.Open) == 0 != (cut.OpenRows == 0) {
				t.Fatalf("seed %d: %d windows are open, with %d rows", seed, len(cut.Open), cut.OpenRows)
			}
		}
		if len(final) < 10 {
			t.Fatalf("seed %d: %d rows were given", seed, len(final))
		}
		for key, f := range final {
			if u := updates[key]; u.text != f.text {
				t.Errorf("seed %d: %s: %s, and the last update was %s", seed, key, f.text, u.text)
			}
		}
	}
}
