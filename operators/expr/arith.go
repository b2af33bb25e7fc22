package expr

import (
	"math"
	"math/bits"
)

// intArith is + - * % of int64. What overflows or divides by zero fails the row.
type intArith struct {
	shape
	op   byte
	l, r node
	text string
}

func (x *intArith) eval(e *Evaluator, d int) vec {
	l := e.dense(x.l.eval(e, d), d)
	r := x.r.eval(e, d+1)
	valid := e.both(d, l.valid, r.valid)
	num := e.nums(d)
	out, a, b := view[int64](num), view[int64](l.num), view[int64](r.num)
	a = a[:len(out)]
	if r.scalar {
		x.constant(e, out, a, b[0], valid)
		return vec{num: num, valid: valid}
	}
	b = b[:len(out)]
	switch x.op {
	case '+':
		for i, v := range a {
			s := v + b[i]
			if (v^s)&(b[i]^s) < 0 {
				e.failText(i, valid, x.text)
			}
			out[i] = s
		}
	case '-':
		for i, v := range a {
			s := v - b[i]
			if (v^b[i])&(v^s) < 0 {
				e.failText(i, valid, x.text)
			}
			out[i] = s
		}
	case '*':
		for i, v := range a {
			p, ok := mul(v, b[i])
			if !ok {
				e.failText(i, valid, x.text)
			}
			out[i] = p
		}
	case '%':
		for i, v := range a {
			switch b[i] {
			case 0:
				e.failText(i, valid, x.text)
				out[i] = 0
			case -1: // MinInt64 % -1 traps on some machines
				out[i] = 0
			default:
				out[i] = v % b[i]
			}
		}
	}
	return vec{num: num, valid: valid}
}

func (x *intArith) constant(e *Evaluator, out, a []int64, c int64, valid *mask) {
	switch x.op {
	case '+':
		for i, v := range a {
			s := v + c
			if (v^s)&(c^s) < 0 {
				e.failText(i, valid, x.text)
			}
			out[i] = s
		}
	case '-':
		for i, v := range a {
			s := v - c
			if (v^c)&(v^s) < 0 {
				e.failText(i, valid, x.text)
			}
			out[i] = s
		}
	case '*':
		lo, hi := factors(c)
		for i, v := range a {
			if v < lo || v > hi {
				e.failText(i, valid, x.text)
			}
			out[i] = v * c
		}
	case '%':
		for i, v := range a {
			switch c {
			case 0:
				e.failText(i, valid, x.text)
				out[i] = 0
			case -1:
				out[i] = 0
			default:
				out[i] = v % c
			}
		}
	}
}

// factors is the range of what can be multiplied by a constant without overflow.
func factors(c int64) (lo, hi int64) {
	switch {
	case c > 0:
		return math.MinInt64 / c, math.MaxInt64 / c
	case c == 0:
		return math.MinInt64, math.MaxInt64
	case c == -1:
		return -math.MaxInt64, math.MaxInt64
	default:
		return math.MaxInt64 / c, math.MinInt64 / c
	}
}

// mul multiplies and tells whether the product fits.
func mul(a, b int64) (p int64, ok bool) {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	if a < 0 {
		hi -= uint64(b)
	}
	if b < 0 {
		hi -= uint64(a)
	}
	return int64(lo), int64(hi) == int64(lo)>>63
}

// negInt is -x and, with abs set, |x| of int64. The lowest int64 has neither and fails the row.
type negInt struct {
	shape
	abs  bool
	x    node
	text string
}

func (x *negInt) eval(e *Evaluator, d int) vec {
	v := e.dense(x.x.eval(e, d), d)
	num := e.nums(d)
	out := view[int64](num)
	for i, n := range view[int64](v.num) {
		if n == math.MinInt64 {
			e.failText(i, v.valid, x.text)
		}
		if !x.abs || n < 0 {
			n = -n
		}
		out[i] = n
	}
	return vec{num: num, valid: v.valid}
}

// floatArith is + - * / ** of float64, by IEEE 754: it never fails.
type floatArith struct {
	shape
	op   byte // '^' for **
	l, r node
}

func (x *floatArith) eval(e *Evaluator, d int) vec {
	l, r := x.l.eval(e, d), x.r.eval(e, d+1)
	valid := e.both(d, l.valid, r.valid)
	num := e.nums(d)
	out, a, b := view[float64](num), view[float64](l.num), view[float64](r.num)
	switch {
	case r.scalar:
		floatConst(out, a[:len(out)], b[0], x.op)
	case l.scalar:
		floatConstLeft(out, a[0], b[:len(out)], x.op)
	default:
		floatCols(out, a[:len(out)], b[:len(out)], x.op)
	}
	return vec{num: num, valid: valid}
}

func floatCols(out, a, b []float64, op byte) {
	a, b = a[:len(out)], b[:len(out)]
	switch op {
	case '+':
		for i := range out {
			out[i] = a[i] + b[i]
		}
	case '-':
		for i := range out {
			out[i] = a[i] - b[i]
		}
	case '*':
		for i := range out {
			out[i] = a[i] * b[i]
		}
	case '/':
		for i := range out {
			out[i] = a[i] / b[i]
		}
	case '^':
		for i := range out {
			out[i] = math.Pow(a[i], b[i])
		}
	}
}

func floatConst(out, a []float64, c float64, op byte) {
	a = a[:len(out)]
	switch op {
	case '+':
		for i := range out {
			out[i] = a[i] + c
		}
	case '-':
		for i := range out {
			out[i] = a[i] - c
		}
	case '*':
		for i := range out {
			out[i] = a[i] * c
		}
	case '/':
		for i := range out {
			out[i] = a[i] / c
		}
	case '^':
		for i := range out {
			out[i] = math.Pow(a[i], c)
		}
	}
}

func floatConstLeft(out []float64, c float64, b []float64, op byte) {
	b = b[:len(out)]
	switch op {
	case '+':
		for i := range out {
			out[i] = c + b[i]
		}
	case '-':
		for i := range out {
			out[i] = c - b[i]
		}
	case '*':
		for i := range out {
			out[i] = c * b[i]
		}
	case '/':
		for i := range out {
			out[i] = c / b[i]
		}
	case '^':
		for i := range out {
			out[i] = math.Pow(c, b[i])
		}
	}
}

// mapFloat applies a function to every float64.
type mapFloat struct {
	shape
	f     func(float64) float64
	x     node
	name  string  // of the function, or - for a change of sign
	scale float64 // of round: 10 to the power of its digits
}

func (x *mapFloat) eval(e *Evaluator, d int) vec {
	v := e.dense(x.x.eval(e, d), d)
	num := e.nums(d)
	out := view[float64](num)
	for i, f := range view[float64](v.num) {
		out[i] = x.f(f)
	}
	return vec{num: num, valid: v.valid}
}

// testFloat tells of every float64 whether a predicate holds.
type testFloat struct {
	shape
	f    func(float64) bool
	x    node
	name string // of the function
}

func (x *testFloat) eval(e *Evaluator, d int) vec {
	v := e.dense(x.x.eval(e, d), d)
	out := &e.reg(d).bits
	*out = mask{}
	for i, f := range view[float64](v.num) {
		if x.f(f) {
			out.set(i)
		}
	}
	return vec{bits: out, valid: v.valid}
}

// extreme is the smaller, or with max set the larger, of two numbers or timestamps of one representation. NaN wins.
type extreme struct {
	shape
	max  bool
	l, r node
}

func (x *extreme) eval(e *Evaluator, d int) vec {
	l, r := e.dense(x.l.eval(e, d), d), e.dense(x.r.eval(e, d+1), d+1)
	valid := e.both(d, l.valid, r.valid)
	if x.repr() == reprDecimal {
		out := e.decs(d)
		extremeDecimals(out, l.dec, r.dec, x.max)
		return vec{dec: out, valid: valid}
	}
	num := e.nums(d)
	switch x.repr() {
	case reprInt:
		extremes(view[int64](num), view[int64](l.num), view[int64](r.num), x.max)
	case reprUint:
		extremes(num, l.num, r.num, x.max)
	default:
		extremes(view[float64](num), view[float64](l.num), view[float64](r.num), x.max)
	}
	return vec{num: num, valid: valid}
}

func extremes[T number](out, a, b []T, larger bool) {
	a, b = a[:len(out)], b[:len(out)]
	if larger {
		for i := range out {
			out[i] = max(a[i], b[i])
		}
		return
	}
	for i := range out {
		out[i] = min(a[i], b[i])
	}
}
