package aggregate

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
)

// quantile is the value that a share of a digest is at or below, between the middles of centroids.
func (d *tDigest) quantile(level float64) float64 {
	total := 0.0
	for _, c := range d.centroids {
		total += float64(c.count)
	}
	at, sum := level*total, 0.0
	before, mean := 0.0, float64(d.centroids[0].mean)
	for _, c := range d.centroids {
		middle := sum + float64(c.count)/2
		if middle >= at {
			if middle == before {
				return float64(c.mean)
			}
			return mean + (float64(c.mean)-mean)*(at-before)/(middle-before)
		}
		sum, before, mean = sum+float64(c.count), middle, float64(c.mean)
	}
	return mean
}

// TestTDigest holds estimates to the places they are for: whole, and of digests that were merged, of values in order and not.
func TestTDigest(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 22))
	a, err := plan("quantile_tdigest", []float64{0.5}, "f")
	if err != nil {
		t.Fatal(err)
	}
	const n = 100_000
	for name, draw := range map[string]func(i int) float64{
		"uniform": func(int) float64 { return rng.Float64() }, "rising": func(i int) float64 { return float64(i) }, "falling": func(i int) float64 { return float64(-i) },
		"lognormal": func(int) float64 { return math.Exp(rng.NormFloat64() * 3) }, "few": func(int) float64 { return float64(rng.IntN(5)) },
	} {
		values := make([]float64, n)
		for i := range values {
			values[i] = draw(i)
		}
		fill := func(values []float64) Accumulator {
			acc := a.Accumulator()
			acc.Grow(1)
			acc.Add(make([]uint32, len(values)), []*batch.Column{{Values: batch.Bytes(values)}})
			return acc
		}
		whole, merged := fill(values), fill(values[:10])
		for lo := 10; lo < n; lo += n / 9 {
			mergeInto(t, a, merged, fill(values[lo:min(n, lo+n/9)]))
		}
		sorted := slices.Sorted(slices.Values(values))
		for which, acc := range []Accumulator{whole, merged} {
			state := emitted(acc)
			if len(state) > 8*digestEntries+2 || acc.(Sized).MemorySize() > 4*8*digestEntries {
				t.Errorf("%s: a state of %d bytes in %d bytes of memory", name, len(state), acc.(Sized).MemorySize())
			}
			d := &acc.(*ofFloat[tDigest, *tDigest]).of[0]
			for level, most := range map[float64]float64{0.001: 0.002, 0.01: 0.002, 0.1: 0.005, 0.5: 0.01, 0.9: 0.005, 0.99: 0.002, 0.999: 0.002} {
				got := d.quantile(level)
				lo, _ := slices.BinarySearch(sorted, got)
				hi, _ := slices.BinarySearch(sorted, math.Nextafter(got, math.Inf(1)))
				if name == "few" { // a value between two of them is at the end of the lower, or at the begin of the upper
					lo, _ = slices.BinarySearch(sorted, math.Floor(got))
					hi, _ = slices.BinarySearch(sorted, math.Ceil(got)+1)
				}
				if float64(lo)/n > level+most || float64(hi)/n < level-most {
					t.Errorf("%s %d: %v is at %v to %v, and not at %v", name, which, got, float64(lo)/n, float64(hi)/n, level)
				}
			}
		}
	}
}

// TestTDigestHostile gives a digest counts that do not become one: it stays small.
func TestTDigestHostile(t *testing.T) {
	var d tDigest
	count := float32(1)
	for i := range 200_000 {
		d.put(centroid{float32(i % 9973), count})
		if count *= 1.7; count > 1e30 {
			count = 1
		}
		if len(d.centroids) > digestEntries {
			t.Fatalf("%d centroids", len(d.centroids))
		}
	}
	state := d.append(nil, cells{})
	var again tDigest
	if err := again.load(state, cells{}); err != nil {
		t.Fatal(err)
	}
}
