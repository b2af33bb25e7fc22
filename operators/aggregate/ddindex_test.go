package aggregate

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestIndex compares the quick index with the one that ClickHouse computes: of values of every size, and beside every bound.
func TestIndex(t *testing.T) {
	check := func(v float64) {
		if got, want := ddIndex(v), ddIndexExact(v); got != want {
			t.Fatalf("%v (%x) is in bucket %d, and not %d", v, math.Float64bits(v), got, want)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 1_000_000 {
		check(math.Float64frombits(rng.Uint64N(0x7ff << 52)))
		check(math.Exp(rng.NormFloat64() * 10))
	}
	for i := -36_000; i < 36_000; i++ {
		if v := math.Exp(float64(i) / ddMultiplier); v > 0 && v < math.MaxFloat64 {
			for range 3 {
				check(v)
				check(math.Nextafter(v, 0))
				v = math.Nextafter(v, math.MaxFloat64)
			}
		}
	}
	for i := range 100_000 {
		check(float64(i + 1))
	}
	for _, v := range []float64{math.SmallestNonzeroFloat64, ddLeast, math.MaxFloat64, 1} {
		check(v)
	}
	for _, v := range []float64{0, math.Inf(1), math.NaN(), -1} { // these have no bucket, and no harm
		ddIndex(v)
	}
}
