package expr

import (
	"bytes"
	"slices"
)

// inNum is x in [numbers] of one representation.
type inNum[T number] struct {
	shape
	x   node
	few []T // short lists are searched one after the other
	set map[T]struct{}
}

// fewValues is how long a list may be to be compared value by value.
const fewValues = 8

func newInNum[T number](s shape, x node, values []T) *inNum[T] {
	n := &inNum[T]{shape: s, x: x}
	if len(values) <= fewValues {
		n.few = values
		return n
	}
	n.set = make(map[T]struct{}, len(values))
	for _, v := range values {
		n.set[v] = struct{}{}
	}
	return n
}

func (x *inNum[T]) eval(e *Evaluator, d int) vec {
	v := e.dense(x.x.eval(e, d), d)
	out := &e.reg(d).bits
	*out = mask{}
	num := view[T](v.num)
	if x.set == nil {
		var m mask
		for _, c := range x.few {
			eqConst(&m, num, c)
			for w := range out {
				out[w] |= m[w]
			}
		}
		return vec{bits: out, valid: v.valid}
	}
	for i, n := range num {
		if _, ok := x.set[n]; ok {
			out.set(i)
		}
	}
	return vec{bits: out, valid: v.valid}
}

// inText is x in [strings].
type inText struct {
	shape
	x   node
	few [][]byte
	set map[string]struct{}
}

func newInText(s shape, x node, values [][]byte) *inText {
	n := &inText{shape: s, x: x}
	if len(values) <= fewValues {
		n.few = values
		return n
	}
	n.set = make(map[string]struct{}, len(values))
	for _, v := range values {
		n.set[string(v)] = struct{}{}
	}
	return n
}

func (x *inText) eval(e *Evaluator, d int) vec {
	v := x.x.eval(e, d)
	out := &e.reg(d).bits
	*out = mask{}
	if x.set == nil && v.scalar {
		if slices.ContainsFunc(x.few, func(c []byte) bool { return bytes.Equal(c, v.data) }) {
			out.ones(e.n)
		}
		return vec{bits: out, valid: v.valid}
	}
	if x.set == nil {
		var m mask
		for _, c := range x.few {
			eqText(&m, v.off, v.data, c)
			for w := range out {
				out[w] |= m[w]
			}
		}
		return vec{bits: out, valid: v.valid}
	}
	for i := range e.n {
		if _, ok := x.set[string(v.bytes(i))]; ok {
			out.set(i)
		}
	}
	return vec{bits: out, valid: v.valid}
}
