package aggregate

import (
	"math"
	"math/bits"
	"slices"
)

// order sorts centroids that are in no order. Of a mean, the smaller ones come first.
func (d *tDigest) order() {
	if !d.loose {
		return
	}
	d.loose = false
	var room [digestEntries]uint64
	all, c := room[:0], d.words[:2*d.centroids]
	for i := 0; i < len(c); i += 2 {
		all = append(all, uint64(c[i])<<32|uint64(c[i+1]))
	}
	slices.Sort(all)
	for i, at := range all {
		c[2*i], c[2*i+1] = uint32(at>>32), uint32(at)
	}
}

const (
	// few keys are sorted by comparing them.
	few = 48
	// digit is how many bits are sorted by at a time.
	digit = 9
)

// sortKeys gives keys in order, of which there are at most digestEntries, with room for as many. They are put in order of 18 bits: those from the
// highest one in which any two differ. That takes two rounds, of nine bits each, of which the lower ones come first; each time those whose
// bits are the same stay in the order they had. Few keys differ only below, so those are put right afterwards. To go on to the last bit would
// be four rounds, and more of keys that have the same bits and wait for each other: values seldom have all digits.
func sortKeys(keys, room, sorted []uint32) []uint32 {
	room, sorted = room[:len(keys)], sorted[:len(keys)]
	if len(keys) <= few {
		copy(sorted, keys)
		slices.Sort(sorted)
		return sorted
	}
	first, differ := keys[0], uint32(0)
	for _, k := range keys {
		differ |= k ^ first
	}
	shift := uint(max(0, bits.Len32(differ)-2*digit)) % 32
	var lows, highs [1 << digit]uint16
	for _, k := range keys {
		k >>= shift
		lows[k%(1<<digit)]++
		highs[k>>digit%(1<<digit)]++
	}
	low, high := uint16(0), uint16(0)
	for i := range lows {
		lows[i], low = low, low+lows[i]
		highs[i], high = high, high+highs[i]
	}
	for _, k := range keys {
		at := &lows[k>>shift%(1<<digit)]
		room[*at] = k
		*at++
	}
	for _, k := range room {
		at := &highs[k>>shift>>digit%(1<<digit)]
		sorted[*at] = k
		*at++
	}
	putRight(sorted, shift)
	return sorted
}

// putRight sorts keys that are in order but for bits below one.
func putRight(keys []uint32, bit uint) {
	for i := 1; i < len(keys); i++ {
		if keys[i] >= keys[i-1] {
			continue
		}
		if i == 1 || keys[i] >= keys[i-2] {
			keys[i-1], keys[i] = keys[i], keys[i-1]
			continue
		}
		same, begin := keys[i]>>bit, i-2 // it is no neighbour that it changes places with: there may be many of them
		for begin > 0 && keys[begin-1]>>bit == same {
			begin--
		}
		for i++; i < len(keys) && keys[i]>>bit == same; i++ {
		}
		slices.Sort(keys[begin:i])
		i--
	}
}

// noKey is greater than all keys of numbers.
const noKey = 1<<32 - 1

// keyOf is a number that is the greater the greater a float is, which is no NaN. That of -0 is below that of 0.
func keyOf(v float32) uint32 {
	b := math.Float32bits(v)
	return b ^ (uint32(int32(b)>>31) | 1<<31)
}

// ofKey is the float of a key.
func ofKey(key uint32) float32 {
	return math.Float32frombits(key ^ (^uint32(int32(key)>>31) | 1<<31))
}
