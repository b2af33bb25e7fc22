package expr

import (
	"math"
	"strconv"

	"github.com/expr-lang/expr/ast"

	"github.com/weir-stream/weir/ingest/batch"
)

// Decimals meet decimals, integers and literals in a decimal that holds either side exactly, and never a float: that would be a guess at what is
// meant. They are compared, added, subtracted, multiplied, divided and rounded; for anything else they are cast.

const decimalHint = "they are compared, added, subtracted, multiplied, divided and rounded; for all else convert: float(x), or int(x) of what is whole"

// decs is the register's buffer of decimals for the current chunk.
func (e *Evaluator) decs(d int) []batch.Int128 {
	r := e.reg(d)
	if r.dec == nil {
		r.dec = make([]batch.Int128, chunk)
	}
	return r.dec[:e.n]
}

func newDecimal(v batch.Int128, t batch.Type) *constNode {
	return &constNode{shape: shape{t: t}, v: vec{dec: []batch.Int128{v}, scalar: true}}
}

// digits are how many a node's values have before the point and behind it; ok is false where they are no decimals, nor what is as exact.
func digits(x node) (before, behind int, ok bool) {
	t := x.info().t
	switch k := asConst(x); {
	case t.Kind == batch.Decimal:
		return int(t.Precision - t.Scale), int(t.Scale), true
	case k != nil && (t.Kind == batch.Int64 || t.Float()):
		text := literalText(k)
		if text == nil {
			return 0, 0, false
		}
		for behind = 0; behind <= batch.MaxPrecision; behind++ {
			v, problem := batch.ParseDecimal(text, batch.DecimalOf(batch.MaxPrecision, behind))
			if problem == batch.DecimalOK {
				for before = 0; !v.Fits(before + behind); before++ {
				}
				return before, behind, true
			}
		}
		return 0, 0, false
	case t.Kind == batch.Uint64:
		return 20, 0, true
	case t.Integer():
		return 19, 0, true
	}
	return 0, 0, false
}

// literalText is a number as it was written, but for zeros: a float of up to 15 digits has one shortest text, which is that.
func literalText(k *constNode) []byte {
	if k.t.Kind == batch.Int64 {
		return strconv.AppendInt(nil, k.int(), 10)
	}
	v := k.float()
	text := strconv.AppendFloat(nil, v, 'e', -1, 64)
	n := 0
	for _, c := range text {
		if c == 'e' {
			break
		}
		if c >= '0' && c <= '9' {
			n++
		}
	}
	if math.IsNaN(v) || math.IsInf(v, 0) || n > 15 {
		return nil
	}
	return text
}

// commonDecimal is the decimal in which two values meet.
func commonDecimal(l, r node) (batch.Type, bool) {
	b1, s1, ok1 := digits(l)
	b2, s2, ok2 := digits(r)
	before, scale := max(b1, b2), max(s1, s2)
	if !ok1 || !ok2 || before+scale > batch.MaxPrecision {
		return batch.Type{}, false
	}
	return batch.DecimalOf(max(before+scale, 1), scale), true
}

func isDecimal(n node) bool { return n.info().t.Kind == batch.Decimal }

// decimalMix says how two types that do not go together could.
func decimalMix(l, r node) string {
	_, _, ok1 := digits(l)
	_, _, ok2 := digits(r)
	switch {
	case ok1 && ok2:
		return "together they need more than 38 digits: cast one to fewer in a step before"
	case asConst(l) != nil && l.info().t.Float() || asConst(r) != nil && r.info().t.Float():
		return "the number has more than 15 digits, of which some are lost: keep it in a column, or compare float(x)"
	}
	return "convert one side: float(x) of the decimal, or cast the other to a decimal in a step before"
}

// toDecimal gives a node the decimal that commonDecimal found.
func (c *checker) toDecimal(at ast.Node, x node, to batch.Type) node {
	from := x.info().t
	if k := asConst(x); k != nil && from.Kind != batch.Decimal && (from.Kind == batch.Int64 || from.Float()) {
		v, _ := batch.ParseDecimal(literalText(k), to)
		return newDecimal(v, to)
	}
	return c.fold(at, &decimalScale{
		shape: shape{t: to, null: x.info().null}, x: x, up: int(to.Scale) - int(from.Scale), unsigned: from.Kind == batch.Uint64,
	}, x)
}

// decimalScale is decimals with more digits behind the point, or integers as decimals. They fit: the type was chosen so.
type decimalScale struct {
	shape
	x        node
	up       int
	unsigned bool
}

func (x *decimalScale) eval(e *Evaluator, d int) vec {
	v := e.dense(x.x.eval(e, d), d)
	out := e.decs(d)
	for i := range out {
		n := v.integer(i, x.unsigned)
		out[i], _ = n.MulPow10(x.up)
	}
	return vec{dec: out, valid: v.valid}
}

// integer is value i of decimals, or of integers.
func (v *vec) integer(i int, unsigned bool) batch.Int128 {
	switch {
	case v.dec != nil:
		return v.dec[i]
	case unsigned:
		return batch.Int128{Lo: v.num[i]}
	}
	return batch.Int128Of(int64(v.num[i]))
}

// decimalPair are two operands, each a decimal of its own scale, and by how many digits they are made longer to meet.
type decimalPair struct {
	l, r     node
	lUp, rUp int
}

// decimalPair makes decimals of two operands; t is the one that holds either, if it has not more than 38 digits.
func (c *checker) decimalPair(n *ast.BinaryNode, l, r node) (p decimalPair, t batch.Type, ok bool) {
	b1, s1, ok1 := digits(l)
	b2, s2, ok2 := digits(r)
	if !ok1 || !ok2 {
		return p, t, false
	}
	scale := max(s1, s2)
	p = decimalPair{
		l: c.convert(n.Left, l, batch.DecimalOf(max(b1+s1, 1), s1)), r: c.convert(n.Right, r, batch.DecimalOf(max(b2+s2, 1), s2)),
		lUp: scale - s1, rUp: scale - s2,
	}
	return p, batch.DecimalOf(max(min(max(b1, b2)+scale, batch.MaxPrecision), 1), scale), c.err == nil
}

// cmpDecimal compares decimals.
type cmpDecimal struct {
	shape
	decimalPair
	op cmpOp
}

func (c *checker) cmpDecimal(n *ast.BinaryNode, op cmpOp, l, r node) node {
	p, _, ok := c.decimalPair(n, l, r)
	switch {
	case c.err != nil:
		return nil
	case !ok:
		return c.fail(n, decimalMix(l, r), "cannot compare %s with %s", c.typeName(l), c.typeName(r))
	}
	s := shape{t: boolType, null: l.info().null || r.info().null}
	return c.fold(n, &cmpDecimal{shape: s, decimalPair: p, op: op}, p.l, p.r)
}

func (x *cmpDecimal) eval(e *Evaluator, d int) vec {
	l, r := e.dense(x.l.eval(e, d), d), e.dense(x.r.eval(e, d+1), d+1)
	out := &e.reg(d).bits
	*out = mask{}
	for i, a := range l.dec {
		if x.op.holds(cmpScaled(a, r.dec[i], x.lUp, x.rUp)) {
			out.set(i)
		}
	}
	return vec{bits: out, valid: e.both(d, l.valid, r.valid)}
}

// cmpScaled compares a × 10^aUp with b × 10^bUp, one of which is b or a as it is. What has more than 38 digits then is farther from 0 than all that have not.
func cmpScaled(a, b batch.Int128, aUp, bUp int) int {
	signA, signB := a.Sign(), b.Sign()
	ok := true
	if a, ok = a.MulPow10(aUp); !ok {
		return signA
	}
	if b, ok = b.MulPow10(bUp); !ok {
		return -signB
	}
	return a.Cmp(b)
}

// decimalArith is + and - of decimals. What has more digits than the result fails the row.
type decimalArith struct {
	shape
	decimalPair
	minus bool
	text  string
}

func (c *checker) decimalArith(n *ast.BinaryNode, l, r node) node {
	op := n.Operator
	switch op {
	case "+", "-":
	case "*", "/":
		return c.decimalProduct(n, l, r)
	default:
		return c.fail(n, decimalHint, "decimals have no %s", op)
	}
	p, t, ok := c.decimalPair(n, l, r)
	switch {
	case c.err != nil:
		return nil
	case !ok:
		return c.fail(n, decimalMix(l, r), "cannot compute %s %s %s", c.typeName(l), op, c.typeName(r))
	}
	s := shape{t: batch.DecimalOf(min(int(t.Precision)+1, batch.MaxPrecision), int(t.Scale)), null: l.info().null || r.info().null}
	return c.fold(n, &decimalArith{shape: s, decimalPair: p, minus: op == "-", text: "decimal overflow in " + snippet(n)}, p.l, p.r)
}

func (x *decimalArith) eval(e *Evaluator, d int) vec {
	l, r := e.dense(x.l.eval(e, d), d), e.dense(x.r.eval(e, d+1), d+1)
	valid := e.both(d, l.valid, r.valid)
	out := e.decs(d)
	// Each side has 38 digits at most, and 2^127 is more than 1.7 times 10^38: what passes that shows in the sign.
	for i, a := range l.dec[:len(out)] {
		b, fits := r.dec[i], true
		switch {
		case x.lUp > 0:
			a, fits = a.MulPow10(x.lUp)
		case x.rUp > 0:
			b, fits = b.MulPow10(x.rUp)
		}
		if x.minus {
			b = b.Neg()
		}
		sum := a.Add(b)
		if !fits || (a.Hi^sum.Hi)&(b.Hi^sum.Hi) < 0 || !sum.Fits(int(x.t.Precision)) {
			e.failText(i, valid, x.text)
			sum = batch.Int128{}
		}
		out[i] = sum
	}
	return vec{dec: out, valid: valid}
}

// decimals is eval of a cast to or from a decimal, of which the other is a number, or a text that is one.
func (x *castNode) decimals(e *Evaluator, d int, from batch.Type, v vec, valid *mask) vec {
	out := vec{valid: valid}
	if x.t.Kind != batch.Decimal {
		out.num = e.nums(d)
		x.fromDecimal(e, out.num, from, v, valid)
		return out
	}
	out.dec = e.decs(d)
	for i := range out.dec {
		if !valid.get(i) || !e.active.get(i) {
			out.dec[i] = batch.Int128{}
			continue
		}
		var reason batch.Reason
		if out.dec[i], reason = decimalOf(x.t, from, &v, i); reason != "" {
			x.bad(e, i, valid, reason, from, v)
			out.dec[i] = batch.Int128{}
		}
	}
	return out
}

// decimalOf is value i as a decimal, or why there is none. Floats are rounded to the digits that there are.
func decimalOf(to, from batch.Type, v *vec, i int) (batch.Int128, batch.Reason) {
	if from.Float() {
		f := math.Float64frombits(v.num[i])
		if !(math.Abs(f) < 1e39) {
			return batch.Int128{}, batch.ReasonOutOfRange
		}
		var buf [96]byte
		out, problem := batch.ParseDecimal(strconv.AppendFloat(buf[:0], f, 'f', int(to.Scale), 64), to)
		if problem != batch.DecimalOK {
			return batch.Int128{}, batch.ReasonOutOfRange
		}
		return out, ""
	}
	if from.Kind == batch.String {
		switch out, problem := batch.ParseDecimal(v.bytes(i), to); problem {
		case batch.DecimalOK:
			return out, ""
		case batch.DecimalNone:
			return out, batch.ReasonWrongType
		default:
			return out, batch.ReasonOutOfRange
		}
	}
	n, ok := v.integer(i, from.Kind == batch.Uint64), true
	if up := int(to.Scale) - int(from.Scale); up >= 0 {
		n, ok = n.MulPow10(up)
	} else {
		n, ok = n.DivPow10(-up)
	}
	if !ok || !n.Fits(int(to.Precision)) {
		return batch.Int128{}, batch.ReasonOutOfRange
	}
	return n, ""
}

// fromDecimal makes floats, or integers by leaving out what is behind the point.
func (x *castNode) fromDecimal(e *Evaluator, out []uint64, from batch.Type, v vec, valid *mask) {
	lo, hi := bounds(x.t)
	for i, n := range v.dec {
		if x.t.Float() {
			out[i] = math.Float64bits(n.Float64(int(from.Scale)))
			continue
		}
		whole, _ := n.DivPow10(int(from.Scale))
		small, fits := whole.Int64()
		if x.t.Kind == batch.Uint64 {
			fits, small, lo, hi = whole.Hi == 0, int64(whole.Lo), math.MinInt64, math.MaxInt64
		}
		if !fits || small < lo || small > hi {
			x.bad(e, i, valid, batch.ReasonOutOfRange, from, v)
			small = 0
		}
		out[i] = uint64(small)
	}
}
