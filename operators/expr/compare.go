package expr

import (
	"bytes"
	"encoding/binary"
)

// cmpOp is a comparison. The right-hand ones are rewritten: a > b is b < a.
type cmpOp uint8

const (
	opEQ cmpOp = iota
	opNE
	opLT
	opLE
	opGT
	opGE
)

var cmpOps = map[string]cmpOp{"==": opEQ, "!=": opNE, "<": opLT, "<=": opLE, ">": opGT, ">=": opGE}

// mirror is the comparison with its sides exchanged.
func (o cmpOp) mirror() cmpOp { return [...]cmpOp{opEQ, opNE, opGT, opGE, opLT, opLE}[o] }

// holds tells whether the comparison holds for the sign of a three-way comparison.
func (o cmpOp) holds(c int) bool {
	switch o {
	case opEQ:
		return c == 0
	case opNE:
		return c != 0
	case opLT:
		return c < 0
	case opLE:
		return c <= 0
	case opGT:
		return c > 0
	default:
		return c >= 0
	}
}

// cmpNum compares numbers of one representation. At most one side is a constant, the right one.
type cmpNum struct {
	shape
	op   cmpOp
	l, r node
	rep  repr
}

func (x *cmpNum) eval(e *Evaluator, d int) vec {
	l, r := x.l.eval(e, d), x.r.eval(e, d+1)
	out := &e.reg(d).bits
	switch x.rep {
	case reprInt:
		compare(out, x.op, view[int64](l.num), view[int64](r.num), r.scalar)
	case reprUint:
		compare(out, x.op, l.num, r.num, r.scalar)
	default:
		compare(out, x.op, view[float64](l.num), view[float64](r.num), r.scalar)
	}
	return vec{bits: out, valid: e.both(d, l.valid, r.valid)}
}

func compare[T number](out *mask, op cmpOp, a, b []T, scalar bool) {
	if scalar {
		c := b[0]
		switch op {
		case opEQ, opNE:
			eqConst(out, a, c)
		case opLT:
			ltConst(out, a, c)
		case opLE:
			leConst(out, a, c)
		case opGT:
			gtConst(out, a, c)
		case opGE:
			geConst(out, a, c)
		}
	} else {
		switch op {
		case opEQ, opNE:
			eqCols(out, a, b)
		case opLT:
			ltCols(out, a, b)
		case opLE:
			leCols(out, a, b)
		case opGT:
			ltCols(out, b, a)
		case opGE:
			leCols(out, b, a)
		}
	}
	if op == opNE {
		for w := range out {
			out[w] = ^out[w]
		}
	}
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// The kernels below are written out by eights: the compiler turns each comparison into a flag without a branch, and the
// eight are independent of each other. A function passed in would be called for every value.

func eqConst[T number](out *mask, a []T, c T) {
	var x uint64
	i := 0
	for ; i+8 <= len(a); i += 8 {
		p := (*[8]T)(a[i:])
		x |= (bit(p[0] == c) | bit(p[1] == c)<<1 | bit(p[2] == c)<<2 | bit(p[3] == c)<<3 |
			bit(p[4] == c)<<4 | bit(p[5] == c)<<5 | bit(p[6] == c)<<6 | bit(p[7] == c)<<7) << (i & 63)
		if i&63 == 56 {
			out[i>>6], x = x, 0
		}
	}
	for ; i < len(a); i++ {
		x |= bit(a[i] == c) << (i & 63)
	}
	if i&63 != 0 {
		out[i>>6] = x
	}
}

func ltConst[T number](out *mask, a []T, c T) {
	var x uint64
	i := 0
	for ; i+8 <= len(a); i += 8 {
		p := (*[8]T)(a[i:])
		x |= (bit(p[0] < c) | bit(p[1] < c)<<1 | bit(p[2] < c)<<2 | bit(p[3] < c)<<3 |
			bit(p[4] < c)<<4 | bit(p[5] < c)<<5 | bit(p[6] < c)<<6 | bit(p[7] < c)<<7) << (i & 63)
		if i&63 == 56 {
			out[i>>6], x = x, 0
		}
	}
	for ; i < len(a); i++ {
		x |= bit(a[i] < c) << (i & 63)
	}
	if i&63 != 0 {
		out[i>>6] = x
	}
}

func leConst[T number](out *mask, a []T, c T) {
	var x uint64
	i := 0
	for ; i+8 <= len(a); i += 8 {
		p := (*[8]T)(a[i:])
		x |= (bit(p[0] <= c) | bit(p[1] <= c)<<1 | bit(p[2] <= c)<<2 | bit(p[3] <= c)<<3 |
			bit(p[4] <= c)<<4 | bit(p[5] <= c)<<5 | bit(p[6] <= c)<<6 | bit(p[7] <= c)<<7) << (i & 63)
		if i&63 == 56 {
			out[i>>6], x = x, 0
		}
	}
	for ; i < len(a); i++ {
		x |= bit(a[i] <= c) << (i & 63)
	}
	if i&63 != 0 {
		out[i>>6] = x
	}
}

func gtConst[T number](out *mask, a []T, c T) {
	var x uint64
	i := 0
	for ; i+8 <= len(a); i += 8 {
		p := (*[8]T)(a[i:])
		x |= (bit(p[0] > c) | bit(p[1] > c)<<1 | bit(p[2] > c)<<2 | bit(p[3] > c)<<3 |
			bit(p[4] > c)<<4 | bit(p[5] > c)<<5 | bit(p[6] > c)<<6 | bit(p[7] > c)<<7) << (i & 63)
		if i&63 == 56 {
			out[i>>6], x = x, 0
		}
	}
	for ; i < len(a); i++ {
		x |= bit(a[i] > c) << (i & 63)
	}
	if i&63 != 0 {
		out[i>>6] = x
	}
}

func geConst[T number](out *mask, a []T, c T) {
	var x uint64
	i := 0
	for ; i+8 <= len(a); i += 8 {
		p := (*[8]T)(a[i:])
		x |= (bit(p[0] >= c) | bit(p[1] >= c)<<1 | bit(p[2] >= c)<<2 | bit(p[3] >= c)<<3 |
			bit(p[4] >= c)<<4 | bit(p[5] >= c)<<5 | bit(p[6] >= c)<<6 | bit(p[7] >= c)<<7) << (i & 63)
		if i&63 == 56 {
			out[i>>6], x = x, 0
		}
	}
	for ; i < len(a); i++ {
		x |= bit(a[i] >= c) << (i & 63)
	}
	if i&63 != 0 {
		out[i>>6] = x
	}
}

func eqCols[T number](out *mask, a, b []T) {
	b = b[:len(a)]
	var x uint64
	i := 0
	for ; i+8 <= len(a); i += 8 {
		p := (*[8]T)(a[i:])
		q := (*[8]T)(b[i:])
		x |= (bit(p[0] == q[0]) | bit(p[1] == q[1])<<1 | bit(p[2] == q[2])<<2 | bit(p[3] == q[3])<<3 |
			bit(p[4] == q[4])<<4 | bit(p[5] == q[5])<<5 | bit(p[6] == q[6])<<6 | bit(p[7] == q[7])<<7) << (i & 63)
		if i&63 == 56 {
			out[i>>6], x = x, 0
		}
	}
	for ; i < len(a); i++ {
		x |= bit(a[i] == b[i]) << (i & 63)
	}
	if i&63 != 0 {
		out[i>>6] = x
	}
}

func ltCols[T number](out *mask, a, b []T) {
	b = b[:len(a)]
	var x uint64
	i := 0
	for ; i+8 <= len(a); i += 8 {
		p := (*[8]T)(a[i:])
		q := (*[8]T)(b[i:])
		x |= (bit(p[0] < q[0]) | bit(p[1] < q[1])<<1 | bit(p[2] < q[2])<<2 | bit(p[3] < q[3])<<3 |
			bit(p[4] < q[4])<<4 | bit(p[5] < q[5])<<5 | bit(p[6] < q[6])<<6 | bit(p[7] < q[7])<<7) << (i & 63)
		if i&63 == 56 {
			out[i>>6], x = x, 0
		}
	}
	for ; i < len(a); i++ {
		x |= bit(a[i] < b[i]) << (i & 63)
	}
	if i&63 != 0 {
		out[i>>6] = x
	}
}

func leCols[T number](out *mask, a, b []T) {
	b = b[:len(a)]
	var x uint64
	i := 0
	for ; i+8 <= len(a); i += 8 {
		p := (*[8]T)(a[i:])
		q := (*[8]T)(b[i:])
		x |= (bit(p[0] <= q[0]) | bit(p[1] <= q[1])<<1 | bit(p[2] <= q[2])<<2 | bit(p[3] <= q[3])<<3 |
			bit(p[4] <= q[4])<<4 | bit(p[5] <= q[5])<<5 | bit(p[6] <= q[6])<<6 | bit(p[7] <= q[7])<<7) << (i & 63)
		if i&63 == 56 {
			out[i>>6], x = x, 0
		}
	}
	for ; i < len(a); i++ {
		x |= bit(a[i] <= b[i]) << (i & 63)
	}
	if i&63 != 0 {
		out[i>>6] = x
	}
}

// cmpMixed compares uint64 on the left with int64 on the right, exactly.
type cmpMixed struct {
	shape
	op   cmpOp
	l, r node
}

func (x *cmpMixed) eval(e *Evaluator, d int) vec {
	l, r := e.dense(x.l.eval(e, d), d), e.dense(x.r.eval(e, d+1), d+1)
	out := &e.reg(d).bits
	*out = mask{}
	signed := view[int64](r.num)
	for i, u := range l.num {
		c := 1
		if s := signed[i]; s >= 0 {
			switch {
			case u < uint64(s):
				c = -1
			case u == uint64(s):
				c = 0
			}
		}
		if x.op.holds(c) {
			out.set(i)
		}
	}
	return vec{bits: out, valid: e.both(d, l.valid, r.valid)}
}

// cmpBool is == or != of bools.
type cmpBool struct {
	shape
	op   cmpOp
	l, r node
}

func (x *cmpBool) eval(e *Evaluator, d int) vec {
	l, r := x.l.eval(e, d), x.r.eval(e, d+1)
	out := &e.reg(d).bits
	for w := range out {
		out[w] = l.bits[w] ^ r.bits[w]
		if x.op == opEQ {
			out[w] = ^out[w]
		}
	}
	return vec{bits: out, valid: e.both(d, l.valid, r.valid)}
}

// cmpText compares strings or binary values by their bytes. At most one side is a constant, the right one.
type cmpText struct {
	shape
	op   cmpOp
	l, r node
}

func (x *cmpText) eval(e *Evaluator, d int) vec {
	l, r := x.l.eval(e, d), x.r.eval(e, d+1)
	out := &e.reg(d).bits
	switch {
	case r.scalar && !l.scalar && (x.op == opEQ || x.op == opNE):
		eqText(out, l.off, l.data, r.data)
	default:
		*out = mask{}
		op := x.op
		if op == opNE {
			op = opEQ
		}
		for i := range e.n {
			a, b := l.bytes(i), r.bytes(i)
			if op == opEQ {
				if bytes.Equal(a, b) {
					out.set(i)
				}
			} else if op.holds(bytes.Compare(a, b)) {
				out.set(i)
			}
		}
	}
	if x.op == opNE {
		for w := range out {
			out[w] = ^out[w]
		}
	}
	return vec{bits: out, valid: e.both(d, l.valid, r.valid)}
}

// eqText finds the strings that equal a constant. Up to 8 bytes are compared as one word, without a branch on the
// length: that of a status or a unit is as good as random, and a mispredicted branch costs more than the comparison.
func eqText(out *mask, off []int32, data, c []byte) {
	rows := len(off) - 1
	*out = mask{}
	i := 0
	if n := len(c); n > 0 && n <= 8 {
		w := word{n: int32(n), keep: ^uint64(0) >> (64 - 8*uint(n))}
		for j, b := range c {
			w.want |= uint64(b) << (8 * j)
		}
		var x uint64
		for ; i+8 <= rows; i += 8 {
			o := (*[9]int32)(off[i:])
			// A word is read at the start of every string, so the last ones, less than a word before the end, are left over.
			if int(o[7])+8 > len(data) {
				break
			}
			x |= (w.is(data, o[0], o[1]) | w.is(data, o[1], o[2])<<1 | w.is(data, o[2], o[3])<<2 | w.is(data, o[3], o[4])<<3 |
				w.is(data, o[4], o[5])<<4 | w.is(data, o[5], o[6])<<5 | w.is(data, o[6], o[7])<<6 | w.is(data, o[7], o[8])<<7) << (i & 63)
			if i&63 == 56 {
				out[i>>6], x = x, 0
			}
		}
		if i&63 != 0 {
			out[i>>6] = x
		}
	}
	for ; i < rows; i++ {
		if s := data[off[i]:off[i+1]]; len(s) == len(c) && string(s) == string(c) {
			out.set(i)
		}
	}
}

// word is a string of 1 to 8 bytes.
type word struct {
	want, keep uint64
	n          int32
}

// is tells, as 0 or 1, whether the string from start to end is the word. 8 bytes can be read at start.
func (w *word) is(data []byte, start, end int32) uint64 {
	return bit((binary.LittleEndian.Uint64(data[start:])&w.keep^w.want)|uint64(uint32(end-start-w.n)) == 0)
}
