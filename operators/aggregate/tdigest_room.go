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
	var room [2][digestEntries]uint64
	for i, k := range sorted(c, valuesOf(c), &room) {
		c[i] = centroidOf(k)
	}
}

// sorted gives the keys of centroids in order, in memory that is given. They are put in order of 20 bits: those from the highest one in
// which any two means differ. That takes two rounds, of ten bits each, of which the lower ones come first; each time those whose bits are
// the same stay in the order they had. Few means differ only below, so those are put right afterwards. To go on to the last bit would be four
// rounds, and more of keys that have the same bits and wait for each other: values seldom have all digits.
//
// Those from values on are values. They go in front of the others: where a mean is that of both, they are in order.
func sorted(c []centroid, values int, room *[2][digestEntries]uint64) []uint64 {
	from, to := room[0][:len(c)], room[1][:len(c)]
	first, differ := c[0].key(), uint64(0)
	n := 0
	for _, part := range [2][]centroid{c[values:], c[:values]} {
		for _, x := range part {
			k := x.key()
			from[n] = k
			differ |= k ^ first
			n++
		}
	}
	const digit = 10
	shift := uint(32+max(0, bits.Len32(uint32(differ>>32))-2*digit)) % 64
	var lows, highs [1 << digit]uint16
	for _, k := range from {
		k >>= shift
		lows[k%(1<<digit)]++
		highs[k>>digit%(1<<digit)]++
	}
	low, high := uint16(0), uint16(0)
	for i := range lows {
		lows[i], low = low, low+lows[i]
		highs[i], high = high, high+highs[i]
	}
	for _, k := range from {
		d := &lows[k>>shift%(1<<digit)]
		to[*d] = k
		*d++
	}
	for _, k := range to {
		d := &highs[k>>shift>>digit%(1<<digit)]
		from[*d] = k
		*d++
	}
	for i := 1; i < len(from); i++ {
		if from[i] >= from[i-1] {
			continue
		}
		if k := from[i]; i > 1 && k < from[i-2] { // it is no neighbour that it changes places with: there may be many of them
			same, begin := k>>shift, i-2
			for begin > 0 && from[begin-1]>>shift == same {
				begin--
			}
			for i++; i < len(from) && from[i]>>shift == same; i++ {
			}
			slices.Sort(from[begin:i])
			i--
			continue
		}
		from[i-1], from[i] = from[i], from[i-1]
	}
	return from
}

// valuesOf is from which centroid on there are values alone: those that came since centroids were put together.
func valuesOf(c []centroid) int {
	values := len(c)
	for values > 0 && c[values-1].count == 1 {
		values--
	}
	return values
}

// key is a number that is the greater the greater the mean is, or, of one mean, the count. Neither is a NaN, and counts are at least one.
func (c centroid) key() uint64 {
	mean := math.Float32bits(c.mean)
	return uint64(mean^(uint32(int32(mean)>>31)|1<<31))<<32 | uint64(math.Float32bits(c.count))
}

// centroidOf is that of a key.
func centroidOf(key uint64) centroid {
	mean := uint32(key >> 32)
	return centroid{math.Float32frombits(mean ^ (^uint32(int32(mean)>>31) | 1<<31)), math.Float32frombits(uint32(key))}
}
