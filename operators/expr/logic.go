package expr

import "github.com/weir-stream/weir/ingest/batch"

var boolType = batch.Type{Kind: batch.Bool}

// notNode is SQL's NOT: null stays null.
type notNode struct {
	shape
	x node
}

func (x *notNode) eval(e *Evaluator, d int) vec {
	v := x.x.eval(e, d)
	out := &e.reg(d).bits
	for w := range out {
		out[w] = ^v.bits[w]
	}
	return vec{bits: out, valid: v.valid}
}

// andNode and orNode are SQL's AND and OR. The right side is evaluated where the left does not decide.
type andNode struct {
	shape
	l, r node
}

func (x *andNode) eval(e *Evaluator, d int) vec {
	l := x.l.eval(e, d)
	saved := e.active
	for w := range saved {
		undecided := l.bits[w]
		if l.valid != nil {
			undecided |= ^l.valid[w]
		}
		e.active[w] = saved[w] & undecided
	}
	if !e.active.any() {
		e.active = saved
		return l
	}
	r := x.r.eval(e, d+1)
	e.active = saved
	out := &e.reg(d).bits
	var valid *mask
	if l.valid != nil || r.valid != nil {
		valid = &e.reg(d).valid
		for w := range valid {
			lv, rv := ^uint64(0), ^uint64(0)
			if l.valid != nil {
				lv = l.valid[w]
			}
			if r.valid != nil {
				rv = r.valid[w]
			}
			valid[w] = lv&rv | lv&^l.bits[w] | rv&^r.bits[w]
		}
	}
	for w := range out {
		out[w] = l.bits[w] & r.bits[w]
	}
	return vec{bits: out, valid: valid}
}

type orNode struct {
	shape
	l, r node
}

func (x *orNode) eval(e *Evaluator, d int) vec {
	l := x.l.eval(e, d)
	saved := e.active
	for w := range saved {
		undecided := ^l.bits[w]
		if l.valid != nil {
			undecided |= ^l.valid[w]
		}
		e.active[w] = saved[w] & undecided
	}
	if !e.active.any() {
		e.active = saved
		return l
	}
	r := x.r.eval(e, d+1)
	e.active = saved
	out := &e.reg(d).bits
	var valid *mask
	if l.valid != nil || r.valid != nil {
		valid = &e.reg(d).valid
		for w := range valid {
			lv, rv := ^uint64(0), ^uint64(0)
			if l.valid != nil {
				lv = l.valid[w]
			}
			if r.valid != nil {
				rv = r.valid[w]
			}
			valid[w] = lv&rv | lv&l.bits[w] | rv&r.bits[w]
		}
	}
	for w := range out {
		out[w] = l.bits[w] | r.bits[w]
	}
	return vec{bits: out, valid: valid}
}

// isNullNode is x == nil, or with not set x != nil. It is never null.
type isNullNode struct {
	shape
	x   node
	not bool
}

func (x *isNullNode) eval(e *Evaluator, d int) vec {
	v := x.x.eval(e, d)
	out := &e.reg(d).bits
	for w := range out {
		null := uint64(0)
		if v.valid != nil {
			null = ^v.valid[w]
		}
		if x.not {
			null = ^null
		}
		out[w] = null
	}
	return vec{bits: out}
}

// condNode is cond ? yes : no. A null condition takes the second branch. A branch is evaluated where it is taken.
type condNode struct {
	shape
	cond, yes, no node
}

func (x *condNode) eval(e *Evaluator, d int) vec {
	c := x.cond.eval(e, d)
	take := *c.bits
	if c.valid != nil {
		for w := range take {
			take[w] &= c.valid[w]
		}
	}
	saved := e.active
	var yes, no mask
	for w := range take {
		yes[w], no[w] = saved[w]&take[w], saved[w]&^take[w]
	}
	if !no.any() {
		return e.dense(x.yes.eval(e, d), d)
	}
	if !yes.any() {
		return e.dense(x.no.eval(e, d), d)
	}
	e.active = yes
	a := e.dense(x.yes.eval(e, d+1), d+1)
	e.active = no
	b := e.dense(x.no.eval(e, d+2), d+2)
	e.active = saved
	return e.choose(x.repr(), d, &take, a, b)
}

// coalesceNode is the first of two that is not null. The second is evaluated where the first is null.
type coalesceNode struct {
	shape
	l, r node
}

func (x *coalesceNode) eval(e *Evaluator, d int) vec {
	// Evaluated one register up, because strings are copied to register d from both sides.
	l := x.l.eval(e, d+1)
	saved := e.active
	if l.valid != nil {
		for w := range saved {
			e.active[w] = saved[w] &^ l.valid[w]
		}
	}
	if l.valid == nil || !e.active.any() {
		e.active = saved
		e.reg(d + 1)
		e.regs[d], e.regs[d+1] = e.regs[d+1], e.regs[d] // the result must lie in register d
		return l
	}
	take := *l.valid
	l.valid = nil
	l = e.dense(l, d+1)
	r := e.dense(x.r.eval(e, d+2), d+2)
	e.active = saved
	return e.choose(x.repr(), d, &take, l, r)
}

// choose takes a where the mask is set and b elsewhere, into register d. It reads registers above d only.
func (e *Evaluator) choose(rep repr, d int, take *mask, a, b vec) vec {
	var out vec
	if a.valid != nil || b.valid != nil {
		out.valid = &e.reg(d).valid
		for w := range out.valid {
			av, bv := ^uint64(0), ^uint64(0)
			if a.valid != nil {
				av = a.valid[w]
			}
			if b.valid != nil {
				bv = b.valid[w]
			}
			out.valid[w] = av&take[w] | bv&^take[w]
		}
	}
	switch rep {
	case reprBits:
		out.bits = &e.reg(d).bits
		for w := range out.bits {
			out.bits[w] = a.bits[w]&take[w] | b.bits[w]&^take[w]
		}
	case reprText:
		off, data := e.text(d)
		for i := range e.n {
			if take.get(i) {
				data = append(data, a.bytes(i)...)
			} else {
				data = append(data, b.bytes(i)...)
			}
			off[i+1] = int32(len(data))
		}
		return e.keep(d, off, data, out.valid)
	case reprDecimal:
		out.dec = e.decs(d)
		for i := range out.dec {
			if take.get(i) {
				out.dec[i] = a.dec[i]
			} else {
				out.dec[i] = b.dec[i]
			}
		}
	default:
		num := e.nums(d)
		av, bv := a.num[:len(num)], b.num[:len(num)]
		for i := range num {
			x := av[i]
			if !take.get(i) {
				x = bv[i]
			}
			num[i] = x
		}
		out.num = num
	}
	return out
}
