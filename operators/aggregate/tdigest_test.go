package aggregate

import (
	"cmp"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"unsafe"

	"github.com/weir-stream/weir/ingest/batch"
)

// centroid is what a state has of it.
type centroid struct{ mean, count float32 }

// inOrder is what a state has.
func (d *tDigest) inOrder() []centroid {
	state := d.append(nil, cells{})
	n, at := binary.Uvarint(state)
	all := make([]centroid, n)
	for i := range all {
		mean, count := binary.LittleEndian.Uint32(state[at+8*i:]), binary.LittleEndian.Uint32(state[at+8*i+4:])
		all[i] = centroid{math.Float32frombits(mean), math.Float32frombits(count)}
	}
	return all
}

// holding is a digest of centroids in any order.
func holding(c []centroid) *tDigest {
	d := &tDigest{}
	for _, c := range c {
		d.put(keyOf(c.mean), math.Float32bits(c.count))
	}
	return d
}

// quantile is the value that a share of a digest is at or below, between the middles of centroids.
func (d *tDigest) quantile(level float64) float64 {
	all := d.inOrder()
	total := 0.0
	for _, c := range all {
		total += float64(c.count)
	}
	at, sum := level*total, 0.0
	before, mean := 0.0, float64(all[0].mean)
	for _, c := range all {
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
		d.put(keyOf(float32(i%9973)), math.Float32bits(count))
		if count *= 1.7; count > 1e30 {
			count = 1
		}
		if n := len(d.words) - int(d.centroids); n > digestEntries || cap(d.words) > 2*digestEntries {
			t.Fatalf("%d centroids in %d words", n, cap(d.words))
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
		if got := holding(c).inOrder(); !slices.Equal(got, want) {
			t.Fatalf("trial %d, %d centroids: not in order", trial, len(c))
		}
	}
}

// TestTDigestRule puts centroids together as the rule is written, of sorts of values and counts that come in any order, again and again:
// all that makes it fast must not show. Counts are such that none is rounded.
func TestTDigestRule(t *testing.T) {
	rng := rand.New(rand.NewPCG(27, 28))
	draws := []func() centroid{
		func() centroid { return centroid{float32(rng.NormFloat64()), 1} },
		func() centroid { return centroid{float32(math.Exp(rng.NormFloat64() * 9)), 1} },
		func() centroid { return centroid{float32(rng.IntN(7) - 3), 1} },
		func() centroid {
			return centroid{float32(math.Round(200+30*rng.NormFloat64()) / 10), float32(1 + rng.IntN(2))}
		},
		func() centroid { return centroid{float32(rng.IntN(500)), float32(1 + rng.IntN(900))} },
		func() centroid { return centroid{float32(rng.ExpFloat64()), float32(1 + 1000*(rng.IntN(50)/49))} },
		func() centroid {
			return centroid{math.Float32frombits(uint32(rng.IntN(2))<<31 | 1<<uint(rng.IntN(3))), 1}
		},
	}
	for trial := range 280 {
		draw := draws[trial%len(draws)]
		d := &tDigest{}
		for round := range 8 {
			for !d.full() {
				c := draw()
				d.put(keyOf(c.mean), math.Float32bits(c.count))
			}
			if trial%2 == 1 { // what was written and read goes on the same
				again := &tDigest{}
				if err := again.load(d.append(nil, cells{}), cells{}); err != nil {
					t.Fatal(err)
				}
				d = again
			}
			all := d.inOrder()
			want := togetherByRule(all)
			slices.SortStableFunc(want, func(a, b centroid) int { return cmp.Or(cmp.Compare(a.mean, b.mean), cmp.Compare(a.count, b.count)) })
			d.compress()
			if got := d.inOrder(); !slices.Equal(got, want) {
				t.Fatalf("trial %d, round %d: %d centroids became\n%v\nand by the rule\n%v", trial, round, len(all), got, want)
			}
		}
	}
}

// togetherByRule is what becomes of centroids in order.
func togetherByRule(all []centroid) []centroid {
	total := 0.0
	for _, c := range all {
		total += float64(c.count)
	}
	var out []centroid
	before, count, sum := 0.0, float64(all[0].count), float64(all[0].count)*float64(all[0].mean)
	for _, c := range all[1:] {
		n := float64(c.count)
		left, right := before+count/2, before+count+n/2
		if count+n <= 4*digestEpsilon/total*min(left*(total-left), right*(total-right)) {
			count += n
			sum += n * float64(c.mean)
			continue
		}
		out = append(out, centroid{float32(sum / count), float32(count)})
		before += count
		count, sum = n, n*float64(c.mean)
	}
	return append(out, centroid{float32(sum / count), float32(count)})
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
	for range 2 * digestEntries / (n / of) { // they are full, put together, and grow for the last time
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
	empty := acc.MemorySize() - acc.spared - int64(cap(acc.of))*int64(unsafe.Sizeof(tDigest{}))
	if acc.spared == 0 || empty != 0 {
		t.Errorf("%d bytes are spared, and %d are of no group", acc.spared, empty)
	}

	const many = 2 * maxSpared / (4 * digestEntries)
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
