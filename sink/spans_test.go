package sink

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestSpans sets spans at random and compares with an array that has a cell per window.
func TestSpans(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		const none = -1
		var cells [60]int64
		for i := range cells {
			cells[i] = none
		}
		var s Spans
		for range 1 + rng.IntN(12) {
			from := rng.Int64N(59)
			n := Span{From: from, To: from + 1 + rng.Int64N(60-from), Width: rng.Int64N(3)}
			before := slices.Clone(s)
			next := s.With(n)
			if !slices.Equal(before, s) {
				t.Fatalf("With changed its receiver: %v, was %v", s, before)
			}
			s = next
			for i := n.From; i < min(n.To, 60); i++ {
				cells[i] = n.Width
			}
			for i, want := range cells {
				got := int64(none)
				if in, ok := s.Find(int64(i)); ok {
					got = in.Width
				}
				if got != want {
					t.Fatalf("after %v: cell %d is %d, want %d in %v", n, i, got, want, s)
				}
			}
			for i := 1; i < len(s); i++ {
				if s[i-1].To > s[i].From || s[i-1].To == s[i].From && s[i-1].Width == s[i].Width {
					t.Fatalf("not in order, or not joined: %v", s)
				}
			}
			back, err := FlatSpans(s.Flat())
			if err != nil || !slices.Equal(back, s) {
				t.Fatalf("%v came back as %v, %v", s, back, err)
			}
		}
	}
	for _, bad := range [][]int64{{1}, {1, 1, 0}, {5, 3, 0}, {0, 5, -1}, {0, 5, 1, 4, 9, 1}} {
		if s, err := FlatSpans(bad); err == nil {
			t.Errorf("%v was taken for %v", bad, s)
		}
	}
}
