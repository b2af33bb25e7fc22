package aggregate

import "math"

// Which bucket of a sketch a value is in is decided by the logarithm that ClickHouse takes, to the last bit. That of the library costs
// more than all else, so a coarser one comes first, and the library's where a bound between buckets is near.

const (
	// ddTableBits is how many bits of a mantissa choose an entry of ddTable.
	ddTableBits = 7
	// ddUnsure is how near to a bound, in buckets, the coarse index may be wrong. It errs by less than a thousandth of that.
	ddUnsure = 1e-6
)

// ddTable has, of the middle of each stretch of mantissas from 1 to 2, the reciprocal, and the logarithm in buckets.
var ddTable = func() (t [1 << ddTableBits]struct{ reciprocal, buckets float64 }) {
	for i := range t {
		middle := 1 + (float64(i)+0.5)/float64(len(t))
		t[i].reciprocal, t[i].buckets = 1/middle, math.Log(middle)*ddMultiplier
	}
	return t
}()

var ddDoubling = math.Ln2 * ddMultiplier // buckets

// ddIndex is the bucket of a value above zero. Of others it is anything.
func ddIndex(v float64) int32 {
	bits := math.Float64bits(v)
	exponent := int(bits>>52) - 1023
	entry := &ddTable[bits>>(52-ddTableBits)&(1<<ddTableBits-1)]
	// The mantissa is the middle of its stretch times 1+r, with r below 1/256 in size.
	r := math.Float64frombits(bits&(1<<52-1)|1023<<52)*entry.reciprocal - 1
	log := r * (1 - r*(1.0/2-r*(1.0/3-r*(1.0/4))))
	index := float64(exponent)*ddDoubling + entry.buckets + log*ddMultiplier
	whole := math.Floor(index)
	if part := index - whole; part < ddUnsure || part > 1-ddUnsure || exponent <= -1023 {
		return ddIndexExact(v)
	}
	return int32(whole)
}

func ddIndexExact(v float64) int32 {
	index := math.Log(v) * ddMultiplier
	if index >= 0 {
		return int32(index)
	}
	return int32(index) - 1
}
