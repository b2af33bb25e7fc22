package batch

import "math/bits"

// Mul is a × b, and whether it has at most 38 digits.
func (a Int128) Mul(b Int128) (Int128, bool) {
	m, by := a.abs(), b.abs()
	if m.hi != 0 {
		m, by = by, m
	}
	if m.hi != 0 { // both are 2^64 or more
		return Int128{}, false
	}
	product, ok := by.mul(m.lo)
	return product.signed(a.Hi^b.Hi < 0), ok && product.digitsWithin(MaxPrecision)
}

// Quo is a × 10^n / b, rounded towards zero, and whether it has at most 38 digits; b is not zero, and n is from 0 to 38. What is between, of up
// to 256 bits, is exact.
func (a Int128) Quo(b Int128, n int) (Int128, bool) {
	m, by := a.abs(), b.abs()
	var q uint128
	if up, ok := m.mulPow10(n); ok {
		q, _ = up.div(by)
	} else if hi, lo := m.mulFull(pow10of128[n]); hi.less(by) {
		q = div256(hi, lo, by)
	} else {
		return Int128{}, false // 2^128 or more
	}
	return q.signed(a.Hi^b.Hi < 0), q.digitsWithin(MaxPrecision)
}

// Rounding is what becomes of digits that are left out.
type Rounding uint8

// The ways to round.
const (
	RoundHalf Rounding = iota // to the nearest, half away from zero
	RoundDown                 // towards minus infinity
	RoundUp                   // towards plus infinity
)

// Round is a / 10^n as a whole number; n is from 0 to 38.
func (a Int128) Round(n int, how Rounding) Int128 {
	by := pow10of128[n]
	q, rest := a.abs().div(by)
	neg, up := a.Hi < 0, false
	switch how {
	case RoundHalf:
		up = !rest.less(by.sub(rest))
	case RoundDown:
		up = neg && rest != uint128{}
	case RoundUp:
		up = !neg && rest != uint128{}
	}
	if up {
		var carry uint64
		q.lo, carry = bits.Add64(q.lo, 1, 0)
		q.hi += carry
	}
	return q.signed(neg)
}

// Abs is the magnitude of a, modulo 2^128.
func (a Int128) Abs() Int128 {
	if a.Hi < 0 {
		return a.Neg()
	}
	return a
}

func (m uint128) sub(o uint128) uint128 {
	lo, borrow := bits.Sub64(m.lo, o.lo, 0)
	hi, _ := bits.Sub64(m.hi, o.hi, borrow)
	return uint128{hi, lo}
}

// mulFull is m × o in 256 bits.
func (m uint128) mulFull(o uint128) (hi, lo uint128) {
	h0, l0 := bits.Mul64(m.lo, o.lo)
	h1, l1 := bits.Mul64(m.lo, o.hi)
	h2, l2 := bits.Mul64(m.hi, o.lo)
	h3, l3 := bits.Mul64(m.hi, o.hi)
	w1, c1 := bits.Add64(h0, l1, 0)
	w2, c2 := bits.Add64(h1, l3, c1)
	w3 := h3 + c2
	w1, c1 = bits.Add64(w1, l2, 0)
	w2, c2 = bits.Add64(w2, h2, c1)
	w3 += c2
	return uint128{w3, w2}, uint128{w1, l0}
}

// div256 is (hi × 2^128 + lo) / by, rounded down, where hi is less than by: long division by words of 64 bits, algorithm D of Knuth's The Art of
// Computer Programming, volume 2, 4.3.1.
func div256(hi, lo, by uint128) uint128 {
	if by.hi == 0 {
		q1, r := bits.Div64(hi.lo, lo.hi, by.lo)
		q0, _ := bits.Div64(r, lo.lo, by.lo)
		return uint128{q1, q0}
	}
	n := bits.LeadingZeros64(by.hi)
	by = by.shl(n)
	rest := hi.shl(n) // less than by, so that no bit is lost
	rest.lo |= lo.hi >> (64 - n)
	lo = lo.shl(n)
	var q uint128
	q.hi, rest = divWord(rest, lo.hi, by)
	q.lo, _ = divWord(rest, lo.lo, by)
	return q
}

// divWord is (rest × 2^64 + next) / by, and what is left over; rest is less than by, whose first bit is set.
func divWord(rest uint128, next uint64, by uint128) (uint64, uint128) {
	q, over := ^uint64(0), uint64(0)
	if rest.hi < by.hi {
		q, over = bits.Div64(rest.hi, rest.lo, by.hi)
	} else { // they are equal: the estimate is the largest digit
		var carry uint64
		if over, carry = bits.Add64(rest.lo, by.hi, 0); carry != 0 {
			return finishWord(rest, next, by, q)
		}
	}
	for {
		h, l := bits.Mul64(q, by.lo)
		if h < over || h == over && l <= next {
			break
		}
		q--
		var carry uint64
		if over, carry = bits.Add64(over, by.hi, 0); carry != 0 {
			break
		}
	}
	return finishWord(rest, next, by, q)
}

// finishWord subtracts q × by, for the digit q that fits.
func finishWord(rest uint128, next uint64, by uint128, q uint64) (uint64, uint128) {
	product, _ := by.mul(q) // modulo 2^128, as is what it is taken from: what is left is less than by
	return q, uint128{rest.lo, next}.sub(product)
}

func (m uint128) shl(n int) uint128 {
	return uint128{m.hi<<n | m.lo>>(64-n), m.lo << n}
}
