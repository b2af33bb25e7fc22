package wasm

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// The limits of TestRejectsAreOfTheRow, small so that rows can be around all of them. A row by itself has fuelPerCall, and
// fuelToSpare more in a fresh guest.
const (
	cutSlot      = 64 << 10
	cutExpansion = 40
	cutOutput    = 50_000
)

// cutRow is one row for testdata/thresholds.
type cutRow struct {
	rounds, copies, size int
	own                  bool // the output is in the guest's memory, not in the slot
	pad                  int
	heap                 bool // its batch does not lie in the pool
	rejected             bool // whatever the cut
}

// cutRows are rows below, at and above every limit.
func cutRows(rnd *rand.Rand, rounds func(fuel int64) int, n int) []cutRow {
	const rowMax = 2 * cutSlot
	kinds := []func() cutRow{
		func() cutRow { return cutRow{rounds: rounds(fuelPerCall / 8), copies: 1, size: 10} },
		func() cutRow { return cutRow{rounds: rounds(fuelPerCall - 20_000), copies: 1} },
		func() cutRow { return cutRow{rounds: rounds(fuelPerCall + 20_000), copies: 1} }, // passes by itself only
		func() cutRow { return cutRow{rounds: rounds(fuelPerCall + fuelToSpare - 5_020_000), copies: 1} },
		func() cutRow { return cutRow{rounds: rounds(fuelPerCall + fuelToSpare), copies: 1, rejected: true} },
		func() cutRow { return cutRow{copies: cutExpansion, size: 3} },
		func() cutRow { return cutRow{copies: cutExpansion + 1, size: 3, rejected: true} },
		func() cutRow { return cutRow{copies: 1, size: cutOutput - 8} },
		func() cutRow { return cutRow{copies: 1, size: cutOutput - 7, rejected: true} },
		func() cutRow { return cutRow{copies: 10, size: cutOutput/10 - 8, own: true} },
		func() cutRow { return cutRow{copies: 10, size: cutOutput/10 - 7, own: true, rejected: true} },
		func() cutRow { return cutRow{copies: 1, size: cutSlot + 1, rejected: true} },
		func() cutRow { return cutRow{copies: 1, pad: rowMax} },
		func() cutRow { return cutRow{copies: 1, pad: rowMax + 1, rejected: true} },
		func() cutRow { return cutRow{copies: 0} },
	}
	rows := make([]cutRow, n)
	for i := range rows {
		if rnd.IntN(3) > 0 {
			rows[i] = cutRow{rounds: rnd.IntN(2000), copies: rnd.IntN(4), size: rnd.IntN(3000), own: rnd.IntN(2) == 0, pad: rnd.IntN(4000)}
		} else {
			rows[i] = kinds[rnd.IntN(len(kinds))]()
		}
		rows[i].heap = rnd.IntN(2) == 0
	}
	return rows
}

// TestRejectsAreOfTheRow: which rows are rejected, and what the others become, does not depend on how rows are cut into
// batches, on whether these lie in the pool, on what the guest has run before, or on the engine.
func TestRejectsAreOfTheRow(t *testing.T) {
	schema := schemaOf(t, "id: int64", "cost: int64", "copies: int64", "size: int64", "own: int64", "pad: string")
	cfg := Config{
		Module: guestFile(t, "testdata/thresholds/thresholds.wasm"), Config: []byte(`{"first": 400000, "later": 300000, "tired": 5}`),
		BatchRows: 16, FuelPerRow: 300_000, MaxExpansion: cutExpansion, OutputLimit: cutOutput,
	}
	values := func(i int, r cutRow) []any {
		own := 0
		if r.own {
			own = 1
		}
		return []any{i, r.rounds, r.copies, r.size, own, strings.Repeat("x", r.pad)}
	}
	probe := newChain(t, schema, cutSlot, Config{Module: cfg.Module})
	cost := func(n int) int64 {
		before := probe.ops[0].Usage().Fuel
		if err := probe.ops[0].Process(context.Background(), probe.decode(t, schema, [][]any{values(0, cutRow{rounds: n})})); err != nil {
			t.Fatal(err)
		}
		return probe.ops[0].Usage().Fuel - before
	}
	one := cost(100_000)
	per := float64(cost(200_000)-one) / 100_000
	rounds := func(fuel int64) int { return int(float64(fuel) / per) }

	run := func(t *testing.T, rows []cutRow, w Config, cut func(left int) int) []string {
		ch := newChain(t, schema, cutSlot, w)
		var out []string
		for at := 0; at < len(rows); {
			n := cut(len(rows) - at)
			part := make([][]any, n)
			heap := false
			for i := range part {
				part[i] = values(at+i, rows[at+i])
				heap = heap || rows[at+i].heap
			}
			b := ch.decode(t, schema, part)
			if heap {
				for i := range b.Cols {
					c := &b.Cols[i]
					c.Validity, c.Offsets, c.Values = slices.Clone(c.Validity), slices.Clone(c.Offsets), slices.Clone(c.Values)
				}
			}
			if err := ch.ops[0].Process(context.Background(), b); err != nil {
				t.Fatal(err)
			}
			balance(t, b)
			for i := range b.Rows {
				out = append(out, fmt.Sprintf("%d %s", at+int(b.Origin[i]), b.RowJSON(i)))
			}
			for _, r := range b.Rejects {
				out = append(out, fmt.Sprintf("%d rejected %s", at+int(r.Record), r.Detail))
			}
			at += n
		}
		slices.Sort(out) // rejects are beside the rows
		return out
	}
	check := func(t *testing.T, rows []cutRow, got []string) {
		for i, r := range rows {
			rejected := slices.ContainsFunc(got, func(l string) bool { return strings.HasPrefix(l, fmt.Sprintf("%d rejected", i)) })
			if rejected != r.rejected {
				t.Fatalf("row %d, %+v: rejected is %v", i, r, rejected)
			}
		}
	}
	copied, interpreted := cfg, cfg
	copied.Transport, interpreted.Interpreter = Copy, true
	n, seeds := 60, uint64(3)
	if testing.Short() || raceEnabled {
		n, seeds = 20, 1
	}
	for seed := range seeds {
		rnd := rand.New(rand.NewPCG(seed, 7))
		rows := cutRows(rnd, rounds, n)
		var want []string
		for _, c := range []struct {
			name string
			cut  func(left int) int
			to   int // rows
			cfg  Config
		}{
			{"one by one", func(int) int { return 1 }, n, cfg},
			{"whole", func(left int) int { return min(left, 16) }, n, cfg},
			{"more than a batch", func(left int) int { return left }, n, cfg},
			{"random", func(left int) int { return 1 + rnd.IntN(min(left, 16)) }, n, cfg},
			{"random again", func(left int) int { return 1 + rnd.IntN(min(left, 5)) }, n, cfg},
			{"random copied", func(left int) int { return 1 + rnd.IntN(min(left, 16)) }, n, copied},
			{"interpreter", func(left int) int { return 1 + rnd.IntN(min(left, 8)) }, min(n, 20), interpreted},
		} {
			got := run(t, rows[:c.to], c.cfg, c.cut)
			check(t, rows[:c.to], got)
			if want == nil {
				want = got
				continue
			}
			for _, l := range got {
				if !slices.Contains(want, l) {
					t.Fatalf("%s: not as one by one: %.200s", c.name, l)
				}
			}
			if c.to == n && len(got) != len(want) {
				t.Fatalf("%s: %d rows and rejects, one by one %d", c.name, len(got), len(want))
			}
		}
	}
}
