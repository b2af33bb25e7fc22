package decode

import (
	"math"
	"math/bits"
)

// decimal is a number as it is written: (-1)^neg × mant × 10^exp, and a little more where rest is set. mant has no
// trailing zeros unless it is 0.
type decimal struct {
	neg  bool
	mant uint64
	exp  int
	// rest tells that nonzero digits were dropped after mant, which then holds at least 19 digits; last is the power
	// of ten of the last of them.
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
	if p >= len(data) || data[p]-'0' > 9 {
		return d, p, false
	}
	digits, lastDigit, mantDigit := 0, 0, 0 // numbers of digits: seen, up to the last nonzero one, up to the end of mant
	whole := p
	if data[p] == '0' {
		p++
		whole = p
		if p < len(data) && data[p]-'0' <= 9 {
			return d, p, false
		}
	}
	intDigits := -1
	for ; p < len(data); p++ {
		c := data[p] - '0'
		if c > 9 {
			if data[p] != '.' || intDigits >= 0 {
				break
			}
			intDigits = digits
			whole = p + 1
			continue
		}
		digits++
		if c == 0 {
			continue
		}
		lastDigit = digits
		if d.rest {
			continue
		}
		if m, fits := appendDigit(d.mant, digits-mantDigit, uint64(c)); fits {
			d.mant, mantDigit = m, digits
		} else {
			d.rest = true
		}
	}
	if intDigits < 0 {
		intDigits = digits
	} else if p == whole {
		return d, p, false // no digit after the point
	}
	if p < len(data) && data[p]|0x20 == 'e' {
		p++
		neg := false
		if p < len(data) && (data[p] == '-' || data[p] == '+') {
			neg = data[p] == '-'
			p++
		}
		if p >= len(data) || data[p]-'0' > 9 {
			return d, p, false
		}
		for ; p < len(data) && data[p]-'0' <= 9; p++ {
			if d.exp < maxExp {
				d.exp = d.exp*10 + int(data[p]-'0')
			}
		}
		if neg {
			d.exp = -d.exp
		}
	}
	d.last = d.exp + intDigits - lastDigit
	d.exp += intDigits - mantDigit
	if d.mant == 0 {
		d.exp, d.last = 0, 0
	}
	return d, p, true
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

// float64 is the nearest float where that takes one exact operation (W. D. Clinger, How to Read Floating Point Numbers
// Accurately, 1990): both operands are exact, so the one rounding is the right one.
func (d *decimal) float64() (v float64, ok bool) {
	if d.mant > 1<<53 || d.rest || d.exp < -22 || d.exp > 22 {
		return 0, false
	}
	v = float64(d.mant)
	if d.exp < 0 {
		v /= floatPow10[-d.exp]
	} else {
		v *= floatPow10[d.exp]
	}
	if d.neg {
		v = -v
	}
	return v, true
}

// float32 is the same for the smaller type: 24 bits of mantissa, powers up to 10^10.
func (d *decimal) float32() (v float32, ok bool) {
	if d.mant > 1<<24 || d.rest || d.exp < -10 || d.exp > 10 {
		return 0, false
	}
	v = float32(d.mant)
	if d.exp < 0 {
		v /= float32(floatPow10[-d.exp])
	} else {
		v *= float32(floatPow10[d.exp])
	}
	if d.neg {
		v = -v
	}
	return v, true
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
	switch {
	case d.rest && d.last < 0, !d.rest && d.exp < 0:
		return 0, notWhole
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
