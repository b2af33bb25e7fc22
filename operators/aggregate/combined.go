package aggregate

import (
	"encoding/binary"
	"maps"
	"math/bits"
	"slices"

	"github.com/weir-stream/weir/ingest/batch"
)

// newUniqCombined counts different values exactly while they are few, and estimates them, as uniq does, with four times as many registers:
// an error of 0.8 % (one standard deviation), at most 12,499 bytes. The states are those of ClickHouse's uniqCombined64(14), of the value's
// 64 bits or of a text.
func newUniqCombined(s Spec) *Aggregate {
	const function = "uniqCombined64(14)"
	if hashed(s.Args[0].Type) {
		return wordAggregate[combinedTexts](s, function, batch.Type{Kind: batch.String})
	}
	return wordAggregate[combinedNumbers](s, function, batch.Type{Kind: batch.Uint64})
}

// combinedNumbers and combinedTexts differ in who hashes: words have texts hashed already.
type (
	combinedNumbers struct{ combined }
	combinedTexts   struct{ combined }
)

func (c *combinedNumbers) add(word uint64) int64 { return c.insert(mix64(word)) }

func (c *combinedNumbers) merge(from *combinedNumbers, _ cells, _ int) {
	c.combined.merge(&from.combined)
}

func (c *combinedTexts) add(word uint64) int64 { return c.insert(word) }

func (c *combinedTexts) merge(from *combinedTexts, _ cells, _ int) { c.combined.merge(&from.combined) }

// combined is a set of up to 512 hashes, and then a sketch.
type combined struct {
	set   map[uint64]struct{}
	ranks []byte // by register, or nil
}

const (
	combinedBits      = 14
	combinedRegisters = 1 << combinedBits
	combinedSet       = 1 << (combinedBits - 5)
	combinedMaxRank   = 64 - combinedBits + 1
	combinedRankBits  = 6
	// Kinds of states. ClickHouse keeps up to 16 in an array.
	combinedArray, combinedTable, combinedSketch = 1, 2, 3
	combinedArraySize                            = 16
)

var combinedLayout = registers{combinedRegisters, combinedRankBits, combinedMaxRank}

func (c *combined) seen() bool  { return len(c.set) > 0 || c.ranks != nil }
func (c *combined) size() int64 { return wordEntry*int64(len(c.set)) + int64(cap(c.ranks)) }

func (c *combined) insert(hash uint64) int64 {
	if c.ranks != nil {
		c.register(hash)
		return 0
	}
	if c.set == nil {
		c.set = map[uint64]struct{}{}
	}
	before := c.size()
	if c.set[hash] = struct{}{}; len(c.set) > combinedSet {
		c.sketch()
	}
	return c.size() - before
}

// sketch gives up the set.
func (c *combined) sketch() {
	c.ranks = make([]byte, combinedRegisters)
	for hash := range c.set {
		c.register(hash)
	}
	c.set = nil
}

// register counts a hash: its low bits are the register, and the zeroes that follow, and one, the rank.
func (c *combined) register(hash uint64) {
	rank := byte(min(bits.TrailingZeros64(hash>>combinedBits)+1, combinedMaxRank))
	if r := &c.ranks[hash%combinedRegisters]; rank > *r {
		*r = rank
	}
}

func (c *combined) merge(from *combined) {
	if from.ranks == nil {
		for hash := range from.set {
			c.insert(hash)
		}
		return
	}
	if c.ranks == nil {
		c.sketch()
	}
	for i, rank := range from.ranks {
		c.ranks[i] = max(c.ranks[i], rank)
	}
}

// append writes, of a set: a byte 1 where there are at most 16 hashes and 2 where there are more, varint n, the hashes, in order, so that a
// set is the same bytes whoever writes it; of a sketch: a byte 3, the ranks in 6 bits each, uint32 how many have each rank, uint16 how many have
// none.
func (c *combined) append(dst []byte, _ cells) []byte {
	if c.ranks == nil {
		kind := byte(combinedArray)
		if len(c.set) > combinedArraySize {
			kind = combinedTable
		}
		dst = binary.AppendUvarint(append(dst, kind), uint64(len(c.set)))
		for _, hash := range slices.Sorted(maps.Keys(c.set)) {
			dst = binary.LittleEndian.AppendUint64(dst, hash)
		}
		return dst
	}
	return combinedLayout.append(append(dst, combinedSketch), c.ranks)
}

func (c *combined) load(src []byte, _ cells) error {
	r := reader{src: src}
	switch kind := r.byte(); kind {
	case combinedArray, combinedTable:
		n := r.count(8)
		if n > combinedSet || kind == combinedArray && n > combinedArraySize {
			return errState
		}
		c.set = make(map[uint64]struct{}, n)
		for range n {
			c.set[r.uint64()] = struct{}{}
		}
	case combinedSketch:
		var err error
		if c.ranks, err = combinedLayout.read(&r); err != nil {
			return err
		}
	default:
		return errState
	}
	return r.end()
}

// mix64 is ClickHouse's hash of a number in 64 bits: the finalizer of MurmurHash3.
func mix64(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
