package harness

import (
	"slices"
	"testing"

	"github.com/weir-stream/weir/bench/report"
)

// A machine that is half as fast for a round is so for all points of the round.
func TestBeside(t *testing.T) {
	first, last := []float64{1, 2, 1}, []float64{1.25, 2.5, 1.25}
	if got := beside(last, first); !slices.Equal(got, []float64{1.25, 1.25, 1.25}) {
		t.Errorf("%v, should be 1.25 in each round", got)
	}
	// Where the first was measured more often there are no pairs.
	if got := report.Median(beside([]float64{2, 4}, []float64{1, 2, 3})); got != 1.5 {
		t.Errorf("%v, should be 3 to a median of 2", got)
	}
	if got := beside([]float64{3}, nil); len(got) != 1 {
		t.Errorf("%v, should be one value", got)
	}
}
