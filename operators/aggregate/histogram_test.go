package aggregate

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
)

// TestBucketOf compares with counting the bounds, at each and beside.
func TestBucketOf(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for n := 1; n < 40; n++ {
		bounds := make([]float64, n)
		for i := range bounds {
			bounds[i] = float64(i*10) + rng.Float64()
		}
		values := []float64{math.Inf(-1), math.Inf(1)}
		for _, b := range bounds {
			values = append(values, b, math.Nextafter(b, -1), math.Nextafter(b, 1e9))
		}
		for _, v := range values {
			want := 0
			for _, b := range bounds {
				if b <= v {
					want++
				}
			}
			if got := bucketOf(bounds, v); got != want {
				t.Fatalf("%v is in bucket %d of %v, and not %d", v, got, bounds, want)
			}
		}
	}
}

// TestHistogramOfOtherBounds: a state of other bounds is none of these.
func TestHistogramOfOtherBounds(t *testing.T) {
	three, err := plan("histogram", []float64{1, 2, 3}, "f")
	if err != nil {
		t.Fatal(err)
	}
	two, err := plan("histogram", []float64{1, 2}, "f")
	if err != nil {
		t.Fatal(err)
	}
	acc := three.Accumulator()
	acc.Grow(1)
	acc.Add([]uint32{0, 0}, []*batch.Column{{Values: batch.Bytes([]float64{math.NaN(), 2})}})
	state := emitted(acc)
	if load(two, state) != nil {
		t.Error("the state of three bounds is read as one of two")
	}
	if len(state) != 8+4*8 || state[8+2*8] != 1 {
		t.Errorf("the state is %x", state)
	}
}
