package expr

import (
	"github.com/expr-lang/expr/ast"

	"github.com/weir-stream/weir/ingest/batch"
)

// decimalMul is * of decimals: all digits behind the point are kept. What has more than 38 digits fails the row.
type decimalMul struct {
	shape
	l, r node
	text string
}

// decimalDiv is / of decimals: l × 10^up / r, rounded towards zero. What has more than 38 digits, or is divided by zero, fails the row.
type decimalDiv struct {
	shape
	l, r       node
	up         int
	text, zero string
}

const fewerHint = "give one of them fewer digits behind the point: decimal(x, digits, behind), or round(x, behind)"

// decimalProduct is * or /, as ClickHouse has them: a product has the digits behind the point of both, and a quotient those of the dividend. Where the
// divisor has more, ClickHouse has no quotient, and here it has as many as that.
func (c *checker) decimalProduct(n *ast.BinaryNode, l, r node) node {
	b1, s1, ok1 := digits(l)
	b2, s2, ok2 := digits(r)
	s := shape{null: l.info().null || r.info().null}
	divide := n.Operator == "/"
	scale := max(s1, s2)
	up := scale - s1 + s2
	switch {
	case !ok1 || !ok2:
		return c.fail(n, decimalMix(l, r), "cannot compute %s %s %s", c.typeName(l), n.Operator, c.typeName(r))
	case divide && up > batch.MaxPrecision:
		return c.fail(n, fewerHint, "cannot compute %s / %s: the divisor has %d digits behind the point", c.typeName(l), c.typeName(r), s2)
	case !divide && s1+s2 > batch.MaxPrecision:
		return c.fail(n, fewerHint, "cannot compute %s * %s: the product would have %d digits behind the point, and 38 are the most",
			c.typeName(l), c.typeName(r), s1+s2)
	}
	l = c.convert(n.Left, l, batch.DecimalOf(max(b1+s1, 1), s1))
	r = c.convert(n.Right, r, batch.DecimalOf(max(b2+s2, 1), s2))
	if c.err != nil {
		return nil
	}
	text := "decimal overflow in " + snippet(n)
	if !divide {
		s.t = batch.DecimalOf(min(max(b1+s1, 1)+max(b2+s2, 1), batch.MaxPrecision), s1+s2)
		return c.fold(n, &decimalMul{shape: s, l: l, r: r, text: text}, l, r)
	}
	zero := "division by zero in " + snippet(n)
	if k := asConst(r); k != nil && k.v.dec[0].Sign() == 0 {
		return c.fail(n.Right, "", "this fails on every row: %s", zero)
	}
	s.t = batch.DecimalOf(max(min(b1+s2+scale, batch.MaxPrecision), 1), scale)
	return c.fold(n, &decimalDiv{shape: s, l: l, r: r, up: up, text: text, zero: zero}, l, r)
}

func (x *decimalMul) eval(e *Evaluator, d int) vec {
	l, r := e.dense(x.l.eval(e, d), d), e.dense(x.r.eval(e, d+1), d+1)
	valid := e.both(d, l.valid, r.valid)
	out := e.decs(d)
	a, b := l.dec[:len(out)], r.dec[:len(out)]
	for i := range out {
		p, ok := a[i].Mul(b[i])
		if !ok {
			e.failText(i, valid, x.text)
			p = batch.Int128{}
		}
		out[i] = p
	}
	return vec{dec: out, valid: valid}
}

func (x *decimalDiv) eval(e *Evaluator, d int) vec {
	l, r := e.dense(x.l.eval(e, d), d), e.dense(x.r.eval(e, d+1), d+1)
	valid := e.both(d, l.valid, r.valid)
	out := e.decs(d)
	a, b := l.dec[:len(out)], r.dec[:len(out)]
	for i := range out {
		if b[i] == (batch.Int128{}) {
			e.failText(i, valid, x.zero)
			out[i] = batch.Int128{}
			continue
		}
		q, ok := a[i].Quo(b[i], x.up)
		if !ok {
			e.failText(i, valid, x.text)
			q = batch.Int128{}
		}
		out[i] = q
	}
	return vec{dec: out, valid: valid}
}

// decimalSign is -x and, with abs set, |x| of decimals. Every decimal has both.
type decimalSign struct {
	shape
	abs bool
	x   node
}

func (x *decimalSign) eval(e *Evaluator, d int) vec {
	v := e.dense(x.x.eval(e, d), d)
	out := e.decs(d)
	for i, n := range v.dec[:len(out)] {
		if !x.abs || n.Hi < 0 {
			n = n.Neg()
		}
		out[i] = n
	}
	return vec{dec: out, valid: v.valid}
}

// decimalRound is decimals with fewer digits behind the point. They have one more before it, as 9.9 is rounded to 10, and so none fails.
type decimalRound struct {
	shape
	x    node
	name string // of the function
	how  batch.Rounding
	off  int
}

func (x *decimalRound) eval(e *Evaluator, d int) vec {
	v := e.dense(x.x.eval(e, d), d)
	out := e.decs(d)
	for i, n := range v.dec[:len(out)] {
		out[i] = n.Round(x.off, x.how)
	}
	return vec{dec: out, valid: v.valid}
}

// roundDecimal rounds to digits behind the point, where there are more.
func (c *checker) roundDecimal(k call, how batch.Rounding, digits int) node {
	x := k.args[0]
	t := x.info().t
	off := int(t.Scale) - digits
	if off <= 0 {
		return x
	}
	to := batch.DecimalOf(int(t.Precision)-off+1, digits)
	return c.fold(k.at, &decimalRound{shape: shape{t: to, null: x.info().null}, x: x, name: k.name, how: how, off: off}, x)
}

// roundings are the functions that leave digits behind the point out, as of decimals.
var roundings = map[string]batch.Rounding{"round": batch.RoundHalf, "floor": batch.RoundDown, "ceil": batch.RoundUp}

// checkDecimal is decimal(x, digits, behind), the cast.
func checkDecimal(c *checker, k call) node {
	var size [2]int
	for i := range size {
		n := asConst(k.args[i+1])
		least, most := int64(1), int64(batch.MaxPrecision)
		if i == 1 {
			least, most = 0, int64(size[0])
		}
		if n == nil || n.t.Kind != batch.Int64 || n.int() < least || n.int() > most {
			return c.fail(k.where[i+1], "", "decimal needs a literal from %d to %d here", least, most)
		}
		size[i] = int(n.int())
	}
	return c.cast(k, batch.DecimalOf(size[0], size[1]))
}

// extremeDecimals are the smaller or the larger ones of decimals of one type.
func extremeDecimals(out, a, b []batch.Int128, larger bool) {
	a, b = a[:len(out)], b[:len(out)]
	for i := range out {
		v := a[i]
		if v.Less(b[i]) == larger {
			v = b[i]
		}
		out[i] = v
	}
}
