package decode

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// decimal is a number as it is written: (-1)^neg × mant × 10^exp, and a little more where rest is set.
type decimal struct {
	neg  bool
	mant uint64
	exp  int
	// rest tells that nonzero digits were dropped after mant, which then is so large that ten times of it does not fit an
	// int64; last is the power of ten of the last digit dropped that is not zero.
	rest bool
	last int
}

// maxExp bounds exponents; it is beyond what the digits of any record could make up for.
const maxExp = 1 << 27

// scanDecimal reads the JSON number at p and returns the index after it. Where it is no number, ok is false and end is
// where it stops being one.
func scanDecimal(data []byte, p int) (d decimal, end int, ok bool) {
	if p < len(data) && data[p] == '-' {
		d.neg = true
		p++
	}
	start := p
	m, p := digitRun(data, p, 0)
	digits := p - start
	if digits == 0 {
		return d, p, false
	}
	if data[start] == '0' {
		if digits > 1 {
			return d, start + 1, false
		}
		digits = 0 // a leading zero does not count
	}
	if p < len(data) && data[p] == '.' {
		point := p
		m, p = digitRun(data, p+1, m)
		n := p - point - 1
		if n == 0 {
			return d, p, false
		}
		digits += n // including zeros that lead, which only sends some to the slow way
		d.exp = -n
	}
	d.mant = m
	if digits > 19 {
		d.longMantissa(data[start:p])
	}
	if p < len(data) && data[p]|0x20 == 'e' {
		p++
		neg := false
		if p < len(data) && (data[p] == '-' || data[p] == '+') {
			neg = data[p] == '-'
			p++
		}
		start, exp := p, 0
		for ; p < len(data) && data[p]-'0' <= 9; p++ {
			if exp < maxExp {
				exp = exp*10 + int(data[p]-'0')
			}
		}
		if p == start {
			return d, p, false
		}
		if neg {
			exp = -exp
		}
		d.exp += exp
		d.last += exp
	}
	return d, p, true
}

// digitRun appends the digits at p to m, modulo 2^64, and returns the index after them.
func digitRun(data []byte, p int, m uint64) (uint64, int) {
	for p+8 <= len(data) {
		w := binary.LittleEndian.Uint64(data[p:]) ^ lows*'0'
		n := bits.TrailingZeros64(nonDigits(w)) >> 3
		if n < 8 {
			if n > 0 {
				m = m*pow10[n&7] + eightDigits(w<<(64-8*n))
			}
			return m, p + n
		}
		m, p = m*1e8+eightDigits(w), p+8
	}
	for p < len(data) && data[p]-'0' <= 9 {
		m, p = m*10+uint64(data[p]-'0'), p+1
	}
	return m, p
}

// longMantissa reads the digits of a number that may have more of them than 64 bits hold. Zeros at its end are taken
// for a larger exponent.
func (d *decimal) longMantissa(text []byte) {
	seen, whole, mantEnd, last := 0, -1, 0, 0 // counts of digits: so far, before the point, in mant, up to one not zero
	d.mant = 0
	for _, ch := range text {
		if ch == '.' {
			whole = seen
			continue
		}
		seen++
		c := uint64(ch - '0')
		if c == 0 {
			continue
		}
		last = seen
		if d.rest {
			continue
		}
		if m, ok := appendDigit(d.mant, seen-mantEnd, c); ok {
			d.mant, mantEnd = m, seen
			continue
		}
		for d.rest = true; mantEnd < seen-1 && d.mant <= math.MaxUint64/10; mantEnd++ {
			d.mant *= 10
		}
	}
	if whole < 0 {
		whole = seen
	}
	d.exp, d.last = whole-mantEnd, whole-last
}

// appendDigit is m × 10^n + c for n at least 1, and whether that fits.
func appendDigit(m uint64, n int, c uint64) (uint64, bool) {
	if m == 0 {
		return c, true
	}
	if n >= len(pow10) {
		return 0, false
	}
	hi, lo := bits.Mul64(m, pow10[n])
	sum, carry := bits.Add64(lo, c, 0)
	return sum, hi == 0 && carry == 0
}

// pow10 is the powers of ten that fit 64 bits.
var pow10 = [...]uint64{
	1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
}

// floatPow10 is the powers of ten that are exact in a float64.
var floatPow10 = [...]float64{
	1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
	1e21, 1e22,
}

// float64 is the nearest float, where that is easy to tell; otherwise strconv knows.
//
// The first way is W. D. Clinger's (How to Read Floating Point Numbers Accurately, 1990): both operands are exact, so
// the one rounding is the right one. The second, for numbers of 17 digits such as programs print, divides integers with
// 62 bits and more of quotient, marks a remainder in the last of them, and lets the conversion round once.
func (d *decimal) float64() (v float64, ok bool) {
	switch {
	case d.rest:
		return 0, false
	case d.mant <= 1<<53 && d.exp >= -22 && d.exp <= 22:
		v = float64(d.mant)
		if d.exp < 0 {
			v /= floatPow10[-d.exp]
		} else {
			v *= floatPow10[d.exp]
		}
	case d.exp < 0 && d.exp > -len(pow10):
		q, exp := d.quotient()
		v = float64(q) * math.Float64frombits(uint64(1023+exp)<<52)
	default:
		return 0, false
	}
	if d.neg {
		v = -v
	}
	return v, true
}

// float32 is the same for the smaller type: 24 bits of mantissa, powers up to 10^10.
func (d *decimal) float32() (v float32, ok bool) {
	switch {
	case d.rest:
		return 0, false
	case d.mant <= 1<<24 && d.exp >= -10 && d.exp <= 10:
		v = float32(d.mant)
		if d.exp < 0 {
			v /= float32(floatPow10[-d.exp])
		} else {
			v *= float32(floatPow10[d.exp])
		}
	case d.mant != 0 && d.exp < 0 && d.exp > -len(pow10):
		q, exp := d.quotient()
		v = float32(float64(float32(q)) * math.Float64frombits(uint64(1023+exp)<<52))
	default:
		return 0, false
	}
	if d.neg {
		v = -v
	}
	return v, true
}

// quotient is mant / 10^-exp as q × 2^e, for a mant that is not 0 and an exp from -19 to -1. q has at least 62 bits; its
// last one is set where the division has a remainder, which makes any later rounding to fewer bits right.
func (d *decimal) quotient() (q uint64, e int) {
	by := pow10[-d.exp]
	up, byUp := bits.LeadingZeros64(d.mant), bits.LeadingZeros64(by)
	m := d.mant << up
	q, r := bits.Div64(m>>1, m<<63, by<<byUp)
	if r != 0 {
		q |= 1
	}
	return q, byUp - up - 63
}

// fit tells how a number relates to a type.
type fit uint8

const (
	fits fit = iota
	notWhole
	outOfRange
)

// integer is the magnitude of a number that is whole.
func (d *decimal) integer() (uint64, fit) {
	for d.exp < 0 && !d.rest && d.mant%10 == 0 { // 1.0
		if d.mant == 0 {
			return 0, fits
		}
		d.mant, d.exp = d.mant/10, d.exp+1
	}
	switch {
	case d.rest && d.last < 0, !d.rest && d.exp < 0:
		return 0, notWhole
	case d.mant == 0:
		return 0, fits
	case d.rest, d.exp >= len(pow10):
		return 0, outOfRange
	}
	hi, lo := bits.Mul64(d.mant, pow10[d.exp])
	if hi != 0 {
		return 0, outOfRange
	}
	return lo, fits
}

// int64 is the number where it is whole and fits.
func (d *decimal) int64() (int64, fit) {
	m, f := d.integer()
	if f != fits {
		return 0, f
	}
	return signed(m, d.neg)
}

// floor is the largest integer that is not above number × 10^shift.
func (d *decimal) floor(shift int) (int64, fit) {
	e := d.exp + shift
	rest := d.rest
	m := d.mant
	switch {
	case m == 0:
		return 0, fits
	case e >= len(pow10), e > 0 && rest:
		return 0, outOfRange
	case e >= 0:
		hi, lo := bits.Mul64(m, pow10[e])
		if hi != 0 {
			return 0, outOfRange
		}
		m = lo
	case -e < len(pow10):
		q := m / pow10[-e]
		rest = rest || q*pow10[-e] != m
		m = q
	default:
		m, rest = 0, true
	}
	if d.neg && rest {
		m++ // it is not 2^64 here: a rest means that m was divided or holds 19 digits and more
		if m == 0 {
			return 0, outOfRange
		}
	}
	return signed(m, d.neg)
}

// signed is a magnitude with its sign.
func signed(m uint64, neg bool) (int64, fit) {
	if neg {
		if m > 1<<63 {
			return 0, outOfRange
		}
		return -int64(m), fits
	}
	if m > math.MaxInt64 {
		return 0, outOfRange
	}
	return int64(m), fits
}
