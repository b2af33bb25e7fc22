package batch

import (
	"math"
	"testing"
)

func TestFloorDiv(t *testing.T) {
	for _, c := range []struct{ a, b, want int64 }{
		{0, 7, 0},
		{6, 7, 0},
		{7, 7, 1},
		{-1, 7, -1},
		{-7, 7, -1},
		{-8, 7, -2},
		{math.MinInt64, 1, math.MinInt64},
		{math.MinInt64, math.MaxInt64, -2},
		{math.MaxInt64, 1000, math.MaxInt64 / 1000},
	} {
		if got := FloorDiv(c.a, c.b); got != c.want {
			t.Errorf("%d by %d is %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
