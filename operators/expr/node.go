package expr

import (
	"github.com/weir-stream/weir/ingest/batch"
)

// node is a checked expression. It is immutable; eval is called with the evaluator's current chunk.
//
// eval may write registers d and above and nothing else. What it returns lies in register d, in the batch, or in a
// constant: so a node evaluates its first operand in d, the next in d+1, and may write its result over the first where
// value i depends on value i alone. Scalar numbers come from constants only,
// scalar strings also from conditions.
type node interface {
	info() shape
	eval(e *Evaluator, d int) vec
}

// shape is what is known of a node's values before there are any.
type shape struct {
	t    batch.Type
	null bool // may be null
}

func (s shape) info() shape { return s }
func (s shape) repr() repr  { return reprOf(s.t) }

// colNode reads a column of the batch.
type colNode struct {
	shape
	index int
}

func (x *colNode) eval(e *Evaluator, d int) vec {
	c := &e.b.Cols[x.index]
	var v vec
	if c.Validity != nil {
		v.valid = &e.reg(d).valid
		v.valid.load(c.Validity, e.start, e.n)
	}
	switch {
	case x.t.Kind == batch.Bool:
		v.bits = &e.reg(d).bits
		v.bits.load(c.Values, e.start, e.n)
	case x.t.Kind == batch.List:
	case x.t.Variable():
		v.off = batch.As[int32](c.Offsets)[e.start : e.start+e.n+1]
		v.data = c.Values
	case x.t.Kind == batch.Decimal:
		v.dec = c.Decimals()[e.start : e.start+e.n]
	case x.t.Width() == 8:
		v.num = batch.As[uint64](c.Values)[e.start : e.start+e.n]
	default:
		v.num = widenNum(e.nums(d), x.t, c.Values, e.start)
	}
	return v
}

// constNode is a value known when the expression is compiled. A null constant has no value and, until it is given one by
// what it meets, no type.
type constNode struct {
	shape
	v      vec // scalar; unused for bool and null
	truth  bool
	isNull bool
}

func (x *constNode) eval(e *Evaluator, d int) vec {
	if x.isNull {
		return e.allNull(x.repr(), d)
	}
	if x.t.Kind == batch.Bool {
		m := &e.reg(d).bits
		*m = mask{}
		if x.truth {
			m.ones(e.n)
		}
		return vec{bits: m}
	}
	return x.v
}

// allNull is a column of nulls in register d.
func (e *Evaluator) allNull(r repr, d int) vec {
	v := vec{valid: &e.reg(d).valid}
	*v.valid = mask{}
	switch r {
	case reprBits:
		v.bits = &e.reg(d).bits
		*v.bits = mask{}
	case reprText:
		v.off, v.data = e.text(d)
		clear(v.off)
	case reprDecimal:
		v.dec = e.decs(d)
		clear(v.dec)
	default:
		v.num = e.nums(d)
		clear(v.num)
	}
	return v
}

func newInt(i int64) *constNode {
	return &constNode{shape: shape{t: batch.Type{Kind: batch.Int64}}, v: vec{num: []uint64{uint64(i)}, scalar: true}}
}

func newFloat(f float64) *constNode {
	v := vec{num: make([]uint64, 1), scalar: true}
	view[float64](v.num)[0] = f
	return &constNode{shape: shape{t: batch.Type{Kind: batch.Float64}}, v: v}
}

func newBool(b bool) *constNode {
	return &constNode{shape: shape{t: batch.Type{Kind: batch.Bool}}, truth: b}
}

func newText(k batch.Kind, s []byte) *constNode {
	return &constNode{shape: shape{t: batch.Type{Kind: k}}, v: vec{off: []int32{0, int32(len(s))}, data: s, scalar: true}}
}

func newNull(t batch.Type) *constNode {
	return &constNode{shape: shape{t: t, null: true}, isNull: true}
}

func (x *constNode) int() int64     { return int64(x.v.num[0]) }
func (x *constNode) float() float64 { return view[float64](x.v.num)[0] }
func (x *constNode) text() []byte   { return x.v.data }

// asConst is the node as a constant that is not null, or nil.
func asConst(n node) *constNode {
	if c, ok := n.(*constNode); ok && !c.isNull {
		return c
	}
	return nil
}

func isNullLiteral(n node) bool {
	c, ok := n.(*constNode)
	return ok && c.isNull && c.t.Kind == batch.Invalid
}

// toFloat turns integers into float64, rounding where they have more than 53 bits.
type toFloat struct {
	shape
	x        node
	unsigned bool
}

func (x *toFloat) eval(e *Evaluator, d int) vec {
	v := e.dense(x.x.eval(e, d), d)
	out := e.nums(d)
	f := view[float64](out)
	if x.unsigned {
		for i, n := range v.num[:len(f)] {
			f[i] = float64(n)
		}
	} else {
		for i, n := range v.num[:len(f)] {
			f[i] = float64(int64(n))
		}
	}
	return vec{num: out, valid: v.valid}
}

// toInt turns uint64 into int64; a value that does not fit fails the row.
type toInt struct {
	shape
	x    node
	text string
}

func (x *toInt) eval(e *Evaluator, d int) vec {
	v := e.dense(x.x.eval(e, d), d)
	for i, n := range v.num {
		if int64(n) < 0 {
			e.failText(i, v.valid, x.text)
		}
	}
	return v
}

// labelNode is a value under the name of a wider type of the same representation.
type labelNode struct {
	shape
	x node
}

func (x *labelNode) eval(e *Evaluator, d int) vec { return x.x.eval(e, d) }
