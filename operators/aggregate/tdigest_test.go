package aggregate

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"syscall"
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
			d := &acc.(*digests).of[0]
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

// TestTDigestOrder sorts centroids as comparing them would, and however few or many have one mean.
func TestTDigestOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(23, 24))
	for trial := range 500 {
		c := make([]centroid, 1+rng.IntN(digestEntries))
		spread := []int{1, 2, 50, 1 << 24}[trial%4]
		for i := range c {
			c[i] = centroid{float32(rng.IntN(spread)-spread/2) * []float32{1, 1e-30, 1e30}[trial%3], float32(1 + rng.IntN(trial%7+1))}
		}
		want := slices.Clone(c)
		slices.SortFunc(want, func(a, b centroid) int { return cmp.Or(cmp.Compare(a.mean, b.mean), cmp.Compare(a.count, b.count)) })
		if inOrder(c); !slices.Equal(c, want) {
			t.Fatalf("trial %d, %d centroids: not in order", trial, len(c))
		}
	}
}

// TestTDigestMemory adds rows to digests that are full, and to groups that come and go as windows do: neither allocates. What is kept
// for those to come is bounded, and counted.
func TestTDigestMemory(t *testing.T) {
	a, err := plan("quantile_tdigest", []float64{0.5}, "f")
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(25, 26))
	const n, of = 8192, 64
	values, groups := make([]float64, n), make([]uint32, n)
	for i := range values {
		values[i], groups[i] = rng.NormFloat64(), uint32(i%of)
	}
	args := []*batch.Column{{Values: batch.Bytes(values)}}
	acc := a.Accumulator().(*digests)
	acc.Grow(of)
	for range digestEntries / (n / of) {
		acc.Add(groups, args)
	}
	if got := testing.AllocsPerRun(50, func() { acc.Add(groups, args) }); got > 0 {
		t.Errorf("%v allocations for %d rows of digests that are full", got, n)
	}
	turn := func() {
		for range 3 {
			acc.Add(groups, args)
		}
		for g := range uint32(of) {
			acc.Reset(g)
		}
	}
	turn()
	if got := testing.AllocsPerRun(20, turn); got > 0 {
		t.Errorf("%v allocations for %d rows of groups that come and go", got, 3*n)
	}
	empty := acc.MemorySize() - acc.spared - int64(cap(acc.of))*24
	if acc.spared == 0 || empty != 0 {
		t.Errorf("%d bytes are spared, and %d are of no group", acc.spared, empty)
	}

	const many = 2 * maxSpared / (8 * digestEntries)
	acc.Grow(many)
	for i := range groups {
		groups[i] = uint32(i % many)
	}
	for range digestEntries / (n / many) {
		acc.Add(groups, args)
	}
	for g := range uint32(many) {
		acc.Reset(g)
	}
	if acc.spared > maxSpared || acc.spared < maxSpared/2 || acc.extra != 0 {
		t.Errorf("%d bytes are spared, of at most %d, and groups that are empty have %d", acc.spared, maxSpared, acc.extra)
	}
}

// BenchmarkTDigest is what a row costs in 1,000 groups, of values that do not come again as those of BenchmarkAdd do, and of sensors that
// have a few.
func BenchmarkTDigest(b *testing.B) {
	const n = 1 << 20
	rng := rand.New(rand.NewPCG(31, 32))
	groups := make([]uint32, n)
	for i := range groups {
		groups[i] = uint32(rng.IntN(1000))
	}
	for _, c := range []struct {
		name string
		draw func() float64
	}{
		{"exponential", rng.ExpFloat64},
		{"normal", rng.NormFloat64},
		{"tenths", func() float64 { return math.Round(200+30*rng.NormFloat64()) / 10 }},
	} {
		b.Run(c.name, func(b *testing.B) {
			a, err := plan("quantile_tdigest", []float64{0.5}, "f")
			if err != nil {
				b.Fatal(err)
			}
			values := make([]float64, n)
			for i := range values {
				values[i] = c.draw()
			}
			acc := a.Accumulator()
			acc.Grow(1000)
			const rows = 8192
			add := func(from int) {
				acc.Add(groups[from:from+rows], []*batch.Column{{Values: batch.Bytes(values[from : from+rows])}})
			}
			for from := 0; from < n; from += rows {
				add(from) // memory grows first
			}
			var before, after syscall.Rusage
			if err := syscall.Getrusage(syscall.RUSAGE_SELF, &before); err != nil {
				b.Fatal(err)
			}
			for i := 0; b.Loop(); i++ {
				add(i * rows % n)
			}
			if err := syscall.Getrusage(syscall.RUSAGE_SELF, &after); err != nil {
				b.Fatal(err)
			}
			used := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
			b.ReportMetric(float64(used)/float64(b.N)/rows, "cpu-ns/row")
		})
	}
}
