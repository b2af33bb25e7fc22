package workload

import (
	"math/bits"
	"math/rand/v2"
)

// dice draws the same numbers for the same seed, on every machine and in every version of Go: PCG-DXSM is a fixed
// algorithm, and what is made of its output is written here rather than taken from rand.Rand.
type dice struct {
	pcg *rand.PCG
}

func newDice(seed, stream uint64) dice { return dice{rand.NewPCG(seed, stream)} }

// below is a number from 0 to n-1. n must not be 0.
func (d dice) below(n uint64) uint64 {
	hi, _ := bits.Mul64(d.pcg.Uint64(), n)
	return hi
}

// between is a number from lo to hi, both included.
func (d dice) between(lo, hi int64) int64 { return lo + int64(d.below(uint64(hi-lo)+1)) }

// unit is a number from 0 up to but not 1.
func (d dice) unit() float64 { return float64(d.pcg.Uint64()>>11) / (1 << 53) }

// share is n·part/whole rounded down, without overflow. part must not exceed whole.
func share(n, part, whole int64) int64 {
	hi, lo := bits.Mul64(uint64(n), uint64(part))
	q, _ := bits.Div64(hi, lo, uint64(whole))
	return int64(q)
}
