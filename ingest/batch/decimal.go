package batch

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
)

// MaxPrecision is the most digits a decimal can have: what fits 128 bits, in Arrow as in ClickHouse.
const MaxPrecision = 38

// WordPrecision is the most digits of decimals that fit 64 bits, each of them.
const WordPrecision = 18

// DecimalOf is the type of decimals of so many digits, of which scale are behind the point.
func DecimalOf(precision, scale int) Type {
	return Type{Kind: Decimal, Precision: uint8(precision), Scale: uint8(scale)}
}

// Int128 is the value of a decimal column: a number in units of its last digit, in two's complement. Its layout is that of Arrow's
// Decimal128 on a little-endian machine.
type Int128 struct {
	Lo uint64
	Hi int64
}

// Int128Of is v in 128 bits.
func Int128Of(v int64) Int128 { return Int128{uint64(v), v >> 63} }

// Decimals views the values of a decimal column. The result shares memory with the column.
func (c *Column) Decimals() []Int128 { return as[Int128](c.Values) }

// DecimalBytes views values as the bytes they are made of. The result shares memory with v.
func DecimalBytes(v []Int128) []byte { return bytesOf(v) }

// Sign is -1, 0 or 1.
func (a Int128) Sign() int {
	switch {
	case a.Hi < 0:
		return -1
	case a.Hi == 0 && a.Lo == 0:
		return 0
	}
	return 1
}

// Cmp is -1 where a is less than b, 0 where they are equal, and 1 otherwise.
func (a Int128) Cmp(b Int128) int {
	switch {
	case a == b:
		return 0
	case a.Less(b):
		return -1
	}
	return 1
}

// Less tells whether a is less than b.
func (a Int128) Less(b Int128) bool { return a.Hi < b.Hi || a.Hi == b.Hi && a.Lo < b.Lo }

// Add is a + b, modulo 2^128.
func (a Int128) Add(b Int128) Int128 {
	lo, carry := bits.Add64(a.Lo, b.Lo, 0)
	return Int128{lo, a.Hi + b.Hi + int64(carry)}
}

// Sub is a - b, modulo 2^128.
func (a Int128) Sub(b Int128) Int128 {
	lo, borrow := bits.Sub64(a.Lo, b.Lo, 0)
	return Int128{lo, a.Hi - b.Hi - int64(borrow)}
}

// Neg is -a, modulo 2^128.
func (a Int128) Neg() Int128 { return Int128{}.Sub(a) }

// abs is the magnitude of a; that of the least value is 2^127.
func (a Int128) abs() uint128 {
	if a.Hi < 0 {
		a = a.Neg()
	}
	return uint128{uint64(a.Hi), a.Lo}
}

// MulPow10 is a × 10^n, and whether it has at most 38 digits; n is from 0 on.
func (a Int128) MulPow10(n int) (Int128, bool) {
	if n > MaxPrecision {
		return Int128{}, a == Int128{}
	}
	m, ok := a.abs().mulPow10(n)
	return m.signed(a.Hi < 0), ok && m.digitsWithin(MaxPrecision)
}

// DivPow10 is a / 10^n, rounded towards zero, and whether nothing was left over; n is from 0 to 38.
func (a Int128) DivPow10(n int) (Int128, bool) {
	q, rest := a.abs().div(pow10of128[n])
	return q.signed(a.Hi < 0), rest == uint128{}
}

// Fits tells whether a has at most so many digits, which are 38 at most.
func (a Int128) Fits(precision int) bool { return a.abs().digitsWithin(precision) }

// Int64 is a as an int64, and whether it fits.
func (a Int128) Int64() (int64, bool) { return int64(a.Lo), a.Hi == int64(a.Lo)>>63 }

// Float64 is a / 10^scale, rounded once in the conversion and once in the division.
func (a Int128) Float64(scale int) float64 {
	m := a.abs()
	f := float64(m.lo)
	if m.hi != 0 { // 128 bits are rounded once: what is behind 64 of them is told by the last
		n := bits.LeadingZeros64(m.hi)
		top := m.hi<<n | m.lo>>(64-n)
		if m.lo<<n != 0 {
			top |= 1
		}
		f = math.Ldexp(float64(top), 64-n)
	}
	f /= floatPow10[scale]
	if a.Hi < 0 {
		return -f
	}
	return f
}

// AppendDecimal appends a decimal of a scale: all digits behind the point are written.
func AppendDecimal(dst []byte, a Int128, scale int) []byte {
	if a.Hi < 0 {
		dst = append(dst, '-')
	}
	var buf [40]byte
	at := len(buf)
	m := a.abs()
	for digits := 0; digits <= scale || m != (uint128{}); digits++ {
		if digits == scale && scale > 0 {
			at--
			buf[at] = '.'
		}
		var d uint64
		m, d = m.div10()
		at--
		buf[at] = byte('0' + d)
	}
	return append(dst, buf[at:]...)
}

// DecimalProblem is why a text is no decimal of a type.
type DecimalProblem uint8

// The problems.
const (
	DecimalOK     DecimalProblem = iota
	DecimalNone                  // it is no number
	DecimalFine                  // it has digits behind the point that the scale has no place for
	DecimalTooBig                // it has more digits than the precision
)

// ParseDecimal reads a whole text as a decimal: digits with a point among them or at an end, a sign and an exponent. It is exact: digits that the
// scale has no place for must be zeros.
func ParseDecimal(s []byte, t Type) (Int128, DecimalProblem) {
	v, end, problem := ScanDecimal(s, t)
	if problem != DecimalNone && end != len(s) {
		return Int128{}, DecimalNone
	}
	return v, problem
}

// maxExponent bounds exponents; it is beyond what the digits of any text could make up for.
const maxExponent = 1 << 30

// ScanDecimal is ParseDecimal of the beginning of a text, as far as it is a number. It returns where that ends, or for DecimalNone where it stops
// being one.
func ScanDecimal(s []byte, t Type) (v Int128, end int, problem DecimalProblem) {
	p, neg := 0, false
	if p < len(s) && (s[p] == '-' || s[p] == '+') {
		neg = s[p] == '-'
		p++
	}
	start := p
	var m uint128
	var word uint64 // the first 18 digits are gathered in one word
	exp, seen, dot := 0, 0, -1
	zeros := 0 // zeros not in m yet: they may be all that follows
	over := false
	for ; p < len(s); p++ {
		c := s[p] - '0'
		if c > 9 {
			if s[p] != '.' || dot >= 0 {
				break
			}
			dot = p
			continue
		}
		switch {
		case c == 0:
			if seen > 0 {
				zeros++
			}
		case seen+zeros < WordPrecision:
			word = word*pow10[zeros+1] + uint64(c)
			seen, zeros = seen+zeros+1, 0
		case seen+zeros >= MaxPrecision:
			over = true
			seen, zeros = seen+zeros+1, 0
		default:
			if word != 0 {
				m, word = uint128{0, word}, 0
			}
			m, _ = m.mulPow10(zeros + 1)
			var carry uint64
			m.lo, carry = bits.Add64(m.lo, uint64(c), 0)
			m.hi += carry
			seen, zeros = seen+zeros+1, 0
		}
	}
	if digits := p - start; digits == 0 || digits == 1 && dot >= 0 {
		return Int128{}, p, DecimalNone
	}
	if word != 0 {
		m = uint128{0, word}
	}
	if dot >= 0 {
		exp = -(p - dot - 1)
	}
	if p < len(s) && s[p]|0x20 == 'e' {
		p++
		eneg := false
		if p < len(s) && (s[p] == '-' || s[p] == '+') {
			eneg = s[p] == '-'
			p++
		}
		from, e := p, 0
		for ; p < len(s) && s[p]-'0' <= 9; p++ {
			e = min(e*10+int(s[p]-'0'), maxExponent)
		}
		if p == from {
			return Int128{}, p, DecimalNone
		}
		if eneg {
			e = -e
		}
		exp += e
	}
	if seen == 0 {
		return Int128{}, p, DecimalOK
	}
	exp += zeros
	shift := exp + int(t.Scale)
	switch {
	case shift < 0:
		return Int128{}, p, DecimalFine // the last digit that is not zero is behind the scale
	case over || seen+shift > int(t.Precision):
		return Int128{}, p, DecimalTooBig
	case shift > 0:
		m, _ = m.mulPow10(shift)
	}
	return m.signed(neg), p, DecimalOK
}

// parseDecimalType reads "decimal(P, S)".
func parseDecimalType(name string) (t Type, is bool, err error) {
	inner, is := strings.CutPrefix(name, "decimal")
	if !is {
		return Type{}, false, nil
	}
	wrong := fmt.Errorf("%q is no decimal: write decimal(P, S), with P digits in all, from 1 to %d, of which S are behind the point, from 0 to P", name, MaxPrecision)
	if len(inner) < 2 || inner[0] != '(' || inner[len(inner)-1] != ')' {
		return Type{}, true, wrong
	}
	p, s, two := strings.Cut(inner[1:len(inner)-1], ",")
	precision, err1 := strconv.ParseUint(strings.TrimSpace(p), 10, 8)
	scale, err2 := strconv.ParseUint(strings.TrimSpace(s), 10, 8)
	if !two || err1 != nil || err2 != nil || precision < 1 || precision > MaxPrecision || scale > precision {
		return Type{}, true, wrong
	}
	return DecimalOf(int(precision), int(scale)), true, nil
}

// uint128 is a magnitude.
type uint128 struct{ hi, lo uint64 }

func (m uint128) signed(neg bool) Int128 {
	v := Int128{m.lo, int64(m.hi)}
	if neg {
		return v.Neg()
	}
	return v
}

func (m uint128) less(o uint128) bool { return m.hi < o.hi || m.hi == o.hi && m.lo < o.lo }

// digitsWithin tells whether m is less than 10^n.
func (m uint128) digitsWithin(n int) bool { return m.less(pow10of128[n]) }

// mulPow10 is m × 10^n modulo 2^128, for n up to 38, and whether nothing was lost.
func (m uint128) mulPow10(n int) (uint128, bool) {
	ok := true
	for ; n > 19; n -= 19 {
		var fits bool
		m, fits = m.mul(pow10[19])
		ok = ok && fits
	}
	out, fits := m.mul(pow10[n])
	return out, ok && fits
}

func (m uint128) mul(by uint64) (uint128, bool) {
	hi, lo := bits.Mul64(m.lo, by)
	over, up := bits.Mul64(m.hi, by)
	hi, carry := bits.Add64(hi, up, 0)
	return uint128{hi, lo}, over == 0 && carry == 0
}

func (m uint128) div10() (uint128, uint64) {
	hi, r := m.hi/10, m.hi%10
	lo, r := bits.Div64(r, m.lo, 10)
	return uint128{hi, lo}, r
}

// div divides by long division in binary, or by one word where that is enough.
func (m uint128) div(by uint128) (q, rest uint128) {
	if by.hi == 0 {
		hi, r := m.hi/by.lo, m.hi%by.lo
		lo, r := bits.Div64(r, m.lo, by.lo)
		return uint128{hi, lo}, uint128{0, r}
	}
	// The quotient is less than 2^64: estimate it by the high words, shifted so that the divisor's first bit is set.
	n := bits.LeadingZeros64(by.hi)
	d := by.hi<<n | by.lo>>(64-n)
	est, _ := bits.Div64(m.hi>>1, m.hi<<63|m.lo>>1, d)
	est >>= 63 - n
	if est > 0 {
		est--
	}
	product, _ := by.mul(est)
	lo, borrow := bits.Sub64(m.lo, product.lo, 0)
	hi, _ := bits.Sub64(m.hi, product.hi, borrow)
	rest = uint128{hi, lo}
	for !rest.less(by) {
		est++
		lo, borrow = bits.Sub64(rest.lo, by.lo, 0)
		hi, _ = bits.Sub64(rest.hi, by.hi, borrow)
		rest = uint128{hi, lo}
	}
	return uint128{0, est}, rest
}

// pow10 is the powers of ten that fit 64 bits.
var pow10 = [...]uint64{
	1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
}

// pow10of128 is the powers of ten up to 10^38, and floatPow10 the same as floats, each the nearest.
var (
	pow10of128 = powersOfTen()
	floatPow10 = [MaxPrecision + 1]float64{
		1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
		1e21, 1e22, 1e23, 1e24, 1e25, 1e26, 1e27, 1e28, 1e29, 1e30, 1e31, 1e32, 1e33, 1e34, 1e35, 1e36, 1e37, 1e38,
	}
)

func powersOfTen() (p [MaxPrecision + 1]uint128) {
	p[0] = uint128{0, 1}
	for i := 1; i < len(p); i++ {
		p[i], _ = p[i-1].mul(10)
	}
	return p
}

// appendInt128 appends the bytes of a value as HashRows has them.
func appendInt128(dst []byte, v Int128) []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(dst, v.Lo), uint64(v.Hi))
}
