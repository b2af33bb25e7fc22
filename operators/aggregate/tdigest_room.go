package aggregate

import (
	"cmp"
	"math"
	"math/bits"
	"slices"

	"github.com/weir-stream/weir/ingest/batch"
)

// digests are the t-digests of an accumulator. Memory for centroids comes in sizes that double, from digestFirst to digestEntries, and what
// a digest has grown out of, or a group that was closed has left, is for the next that needs as much.
type digests struct {
	ofFloat[tDigest, *tDigest]
	spare  [digestSizes][][]centroid
	spared int64 // bytes of spare
}

const (
	digestFirst = 4
	digestSizes = 9 // 4, 8, … 1,024
	// maxSpared is how many bytes are kept for digests to come.
	maxSpared = 1 << 20
)

// digestRoom is for how many centroids there is to be room where there are n, and no room for more.
func digestRoom(n int) int { return digestFirst << digestSize(n+1) }

// digestSize is the least of the sizes that n centroids fit in.
func digestSize(n int) int { return bits.Len(uint(max(n, digestFirst)-1) / digestFirst) }

// Add implements Accumulator.
func (a *digests) Add(groups []uint32, args []*batch.Column) {
	c, of := args[0], a.of
	for i, v := range a.values.read(c, len(groups)) {
		g, mean := groups[i], float32(v)
		if g == Skip || c.Validity != nil && !c.Valid(i) || mean-mean != 0 {
			continue
		}
		d := &of[g]
		if len(d.centroids) == cap(d.centroids) {
			a.makeRoom(d)
		}
		d.centroids = append(d.centroids, centroid{mean, 1})
	}
}

// makeRoom makes room for one more centroid in a digest that has none.
func (a *digests) makeRoom(d *tDigest) {
	n := len(d.centroids)
	if n == digestEntries {
		d.compress()
		return
	}
	to := a.take(digestSize(n + 1))
	a.extra += 8 * int64(cap(to)-cap(d.centroids))
	a.keep(d.move(to))
}

// take gives empty memory of a size.
func (a *digests) take(size int) []centroid {
	spare := &a.spare[size]
	last := len(*spare) - 1
	if last < 0 {
		return make([]centroid, 0, digestFirst<<size)
	}
	c := (*spare)[last]
	(*spare)[last] = nil
	*spare = (*spare)[:last]
	a.spared -= 8 * int64(cap(c))
	return c
}

// keep takes memory that no digest has any more.
func (a *digests) keep(c []centroid) {
	n := cap(c)
	if size := digestSize(n); n == digestFirst<<size && a.spared+8*int64(n) <= maxSpared {
		a.spare[size] = append(a.spare[size], c[:0])
		a.spared += 8 * int64(n)
	}
}

// Reset implements Accumulator.
func (a *digests) Reset(g uint32) {
	c := a.of[g].centroids
	a.ofFloat.Reset(g)
	a.keep(c)
}

// MemorySize implements Sized.
func (a *digests) MemorySize() int64 { return a.ofFloat.MemorySize() + a.spared }

// Take implements Accumulator.
func (a *digests) Take(from Accumulator, src, dst uint32) {
	a.move(&from.(*digests).states, src, dst)
}

// few centroids are sorted by comparing them.
const few = 48

// inOrder sorts centroids, of which there are at most digestEntries. Of a mean, the smaller ones come first.
func inOrder(c []centroid) {
	if len(c) <= few {
		slices.SortFunc(c, func(a, b centroid) int { return cmp.Compare(a.key(), b.key()) })
		return
	}
	// By the digits of the mean's key, the low ones first; each time those that have one digit stay in the order they had.
	const digit = 11
	var keys, sorted [digestEntries]uint64
	var starts [3][1 << digit]uint16
	for i, x := range c {
		k := x.key()
		keys[i] = k
		for at := range starts {
			starts[at][k>>(32+digit*at)%(1<<digit)]++
		}
	}
	from, to := keys[:len(c)], sorted[:len(c)]
	for at := range starts {
		digits := &starts[at]
		shift := 32 + digit*at
		if int(digits[from[0]>>shift%(1<<digit)]) == len(c) {
			continue // all have one
		}
		sum := uint16(0)
		for i, n := range digits {
			digits[i] = sum
			sum += n
		}
		for _, k := range from {
			d := &digits[k>>shift%(1<<digit)]
			to[*d] = k
			*d++
		}
		from, to = to, from
	}
	for i := 0; i < len(from); {
		end := i + 1
		for end < len(from) && from[end]>>32 == from[i]>>32 {
			end++
		}
		if end-i > 1 {
			slices.Sort(from[i:end])
		}
		i = end
	}
	for i, k := range from {
		mean := uint32(k >> 32)
		c[i] = centroid{math.Float32frombits(mean ^ (^uint32(int32(mean)>>31) | 1<<31)), math.Float32frombits(uint32(k))}
	}
}

// key is a number that is the greater the greater the mean is, or, of one mean, the count. Neither is a NaN, and counts are above zero.
func (c centroid) key() uint64 {
	mean := math.Float32bits(c.mean)
	return uint64(mean^(uint32(int32(mean)>>31)|1<<31))<<32 | uint64(math.Float32bits(c.count))
}
