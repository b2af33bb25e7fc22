package aggregate

import (
	"math/bits"

	"github.com/weir-stream/weir/ingest/batch"
)

// digests are the t-digests of an accumulator. Their memory comes in a few sizes, and what a digest has grown out of, or a group that was
// closed has left, is for the next that needs as much.
type digests struct {
	ofFloat[tDigest, *tDigest]
	spare  [digestSizes][][]uint32
	spared int64 // bytes of spare
}

const (
	digestFirst = 8
	digestSizes = 10 // 8, 16, … 1,024, then 1,536 and 2,048
	// maxSpared is how many bytes are kept for digests to come.
	maxSpared = 1 << 20
)

// sizeOf is how many words there are in memory of a size. Above 1,024 values, as many centroids as there mostly are need half as much
// again; twice as much is for those that were read.
func sizeOf(size int) int {
	if size > digestSizes-3 {
		return digestEntries + (size-(digestSizes-3))*(digestEntries/2)
	}
	return digestFirst << size
}

// digestSize is the least of the sizes that words fit in.
func digestSize(words int) int {
	if words > digestEntries {
		return digestSizes - 3 + (words-digestEntries+digestEntries/2-1)/(digestEntries/2)
	}
	return bits.Len(uint(max(words, digestFirst)-1) / digestFirst)
}

// Add implements Accumulator.
func (a *digests) Add(groups []uint32, args []*batch.Column) {
	c, of := args[0], a.of
	for i, v := range a.values.read(c, len(groups)) {
		g, mean := groups[i], float32(v)
		if g == Skip || c.Validity != nil && !c.Valid(i) || mean-mean != 0 {
			continue
		}
		d := &of[g]
		if len(d.words) == int(d.limit) {
			a.makeRoom(d)
		}
		d.words = append(d.words, keyOf(mean))
	}
}

// makeRoom makes room for one more value in a digest that has none.
func (a *digests) makeRoom(d *tDigest) {
	if d.full() {
		d.compress()
		if len(d.words) < int(d.limit) {
			return
		}
	}
	to := a.take(digestSize(len(d.words) + 1))
	a.extra += 4 * int64(cap(to)-cap(d.words))
	a.keep(d.move(to))
}

// take gives empty memory of a size.
func (a *digests) take(size int) []uint32 {
	spare := &a.spare[size]
	last := len(*spare) - 1
	if last < 0 {
		return make([]uint32, 0, sizeOf(size))
	}
	c := (*spare)[last]
	(*spare)[last] = nil
	*spare = (*spare)[:last]
	a.spared -= 4 * int64(cap(c))
	return c
}

// keep takes memory that no digest has any more.
func (a *digests) keep(c []uint32) {
	n := cap(c)
	if size := digestSize(n); n == sizeOf(size) && a.spared+4*int64(n) <= maxSpared {
		a.spare[size] = append(a.spare[size], c[:0])
		a.spared += 4 * int64(n)
	}
}

// Reset implements Accumulator.
func (a *digests) Reset(g uint32) {
	words := a.of[g].words
	a.ofFloat.Reset(g)
	a.keep(words)
}

// MemorySize implements Sized.
func (a *digests) MemorySize() int64 { return a.ofFloat.MemorySize() + a.spared }

// Take implements Accumulator.
func (a *digests) Take(from Accumulator, src, dst uint32) {
	a.move(&from.(*digests).states, src, dst)
}
