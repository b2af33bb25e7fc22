package clickhouse

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

// stampedCut has a row per window start; _rows tells the rows apart.
func stampedCut(starts []int64, first uint64) *sink.Cut {
	b := &batch.Batch{Rows: len(starts), Schema: &batch.Schema{Fields: []batch.Field{
		{Name: "window_start", Type: batch.TimestampOf(batch.Millisecond)},
		{Name: "_rows", Type: batch.Type{Kind: batch.Uint64}},
	}}}
	b.SetWidth(2)
	ids := make([]uint64, len(starts))
	for i := range ids {
		ids[i] = first + uint64(i)
	}
	b.Cols[0].Values, b.Cols[1].Values = batch.Bytes(starts), batch.Bytes(ids)
	return &sink.Cut{Rows: b}
}

func TestPlanKeepsEveryRowOnceWithinBounds(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 500 {
		maxRows, maxDays := 1+r.IntN(20), 1+r.IntN(5)
		var cuts []*sink.Cut
		want := map[uint64]int64{}
		skip := map[int]bool{}
		id := uint64(0)
		for c := range 1 + r.IntN(4) {
			starts := make([]int64, r.IntN(40))
			for i := range starts {
				starts[i] = (r.Int64N(30)-15)*86_400_000 + r.Int64N(86_400_000)
			}
			cut := stampedCut(starts, id)
			if skip[c] = r.IntN(5) == 0; !skip[c] {
				for i, s := range starts {
					want[id+uint64(i)] = s
				}
			}
			id += uint64(len(starts))
			cuts = append(cuts, cut)
		}
		cuts = append(cuts, &sink.Cut{})
		got := map[uint64]int64{}
		for _, ch := range plan(cuts, skip, maxRows, maxDays) {
			days := map[int64]bool{}
			for _, p := range ch {
				if p.cut != cuts[p.index] {
					t.Fatal("a part has another cut than its index says")
				}
				starts, ids := windowStarts(p.rows), batch.As[uint64](p.rows.Cols[1].Values)
				for i := range p.rows.Rows {
					if _, twice := got[ids[i]]; twice {
						t.Fatalf("round %d: row %d is there twice", round, ids[i])
					}
					got[ids[i]] = starts[i]
					days[day(starts[i])] = true
				}
			}
			if ch.rows() > maxRows || len(days) > maxDays || ch.rows() == 0 {
				t.Fatalf("round %d: an insert of %d rows and %d days; at most %d and %d", round, ch.rows(), len(days), maxRows, maxDays)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("round %d: rows %v, want %v", round, got, want)
		}
	}
}

func TestPlanMovesNothingWhereAllFits(t *testing.T) {
	a, b := stampedCut([]int64{1, 2}, 0), stampedCut([]int64{3}, 2)
	chunks := plan([]*sink.Cut{a, b}, nil, 3, 1)
	if len(chunks) != 1 || len(chunks[0]) != 2 || chunks[0][0].rows != a.Rows || chunks[0][1].rows != b.Rows {
		t.Errorf("%+v", chunks)
	}
}

func TestSplit(t *testing.T) {
	for n := 2; n < 12; n++ {
		starts := make([]int64, n)
		c := chunk{
			{rows: stampedCut(starts[:n/3], 0).Rows}, {rows: stampedCut(starts[:n-n/3], uint64(n/3)).Rows},
		}
		c = slices.DeleteFunc(c, func(p part) bool { return p.rows.Rows == 0 })
		a, b := c.split()
		if a.rows() != n/2 || b.rows() != n-n/2 {
			t.Errorf("%d rows are halved into %d and %d", n, a.rows(), b.rows())
		}
		next := uint64(0)
		for _, p := range append(a, b...) {
			for _, id := range batch.As[uint64](p.rows.Cols[1].Values)[:p.rows.Rows] {
				if id != next {
					t.Errorf("row %d, want %d", id, next)
				}
				next++
			}
		}
	}
}

func TestDay(t *testing.T) {
	for ms, want := range map[int64]int64{0: 0, 86_399_999: 0, 86_400_000: 1, -1: -1, -86_400_000: -1, -86_400_001: -2} {
		if got := day(ms); got != want {
			t.Errorf("day of %d is %d, want %d", ms, got, want)
		}
	}
}
