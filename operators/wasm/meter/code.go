package meter

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// foldLimit is how much fuel of other pieces one charge may include: what a run of it pays at most for code that it then
// does not reach.
const foldLimit = 64

// entryCost is what a call costs the called function beside its instructions.
const entryCost = 2

// piece is code that runs from its first instruction to its last, or leaves in between for good.
type piece struct {
	at     int   // offset in the body of the first instruction
	cost   int64 // of its instructions, and of the pieces it pays for
	payer  int   // the piece that always runs before it in the same round of the same loop; then the one that pays
	folded int64 // of cost, what it pays for other pieces
}

// none is the piece of code that cannot be reached.
const none = -1

// frame is an open block, loop or if.
type frame struct {
	op     byte
	before int // the piece that runs into it
}

// coder rewrites function bodies. Its slices are reused.
type coder struct {
	pieces []piece
	frames []frame
	bulks  []int // offsets of bulk operations
	here   int   // the current piece
	out    []byte
}

// rewriteCode rewrites the code section.
func (w *rewriter) rewriteCode(s *section, r *reader) ([]byte, error) {
	out := binary.AppendUvarint(make([]byte, 0, len(s.body)*3/2), uint64(s.n)+2)
	for i := range s.n {
		b := reader{b: r.take(uint64(r.u32()))}
		if r.err != nil {
			return nil, s.damaged(r)
		}
		w.scan(&b)
		if b.err != nil {
			return nil, fmt.Errorf("damaged: function %d, %w", w.imported+i, b.err)
		}
		body := w.charge(b.b)
		if len(out)+len(body) > w.maxSize {
			return nil, w.tooLarge()
		}
		out = binary.AppendUvarint(out, uint64(len(body)))
		out = append(out, body...)
	}
	for _, body := range [][]byte{w.slowBody(), w.bulkBody()} {
		out = binary.AppendUvarint(out, uint64(len(body)))
		out = append(out, body...)
	}
	return out, s.ended(r)
}

var errNotClosed = errors.New("the function does not end where its body does")

// scan checks a body and cuts it into pieces.
func (w *rewriter) scan(r *reader) {
	c := &w.code
	c.pieces, c.frames, c.bulks = c.pieces[:0], c.frames[:0], c.bulks[:0]
	locals := uint64(0)
	for n := r.count(2); n > 0 && r.err == nil; n-- {
		locals += uint64(r.u32())
		r.valueType()
	}
	if locals > maxLocals {
		r.fail("%d locals: at most %d are allowed", locals, maxLocals)
	}
	c.frames = append(c.frames, frame{opBlock, none})
	c.begin(r.at, none)
	c.pieces[0].cost = entryCost
	for r.err == nil && len(c.frames) > 0 {
		at := r.at
		in := w.instruction(r)
		if r.err != nil {
			return
		}
		if c.here != none {
			c.pieces[c.here].cost += in.cost()
			if in.bulk() {
				c.bulks = append(c.bulks, at)
			}
		}
		c.step(in, r)
	}
	if r.err == nil && r.more() {
		r.err = errNotClosed
	}
}

// begin starts a piece behind another one. The code is out of reach when that is.
func (c *coder) begin(at, before int) {
	c.pieces = append(c.pieces, piece{at: at, payer: before})
	c.here = len(c.pieces) - 1
}

// step follows an instruction that was just read.
func (c *coder) step(in instruction, r *reader) {
	join := func(before int) {
		if c.here = none; before != none {
			c.begin(r.at, before)
		}
	}
	switch in.op {
	case opBlock:
		c.frames = append(c.frames, frame{in.op, c.here})
	case opIf:
		c.frames = append(c.frames, frame{in.op, c.here})
		join(c.here)
	case opLoop:
		c.frames = append(c.frames, frame{in.op, c.here})
		if c.here != none {
			c.begin(r.at, none)
			c.pieces[c.here].cost = 1
		}
	case opElse:
		f := &c.frames[len(c.frames)-1]
		if f.op != opIf {
			r.fail("else without if")
			return
		}
		f.op = opElse
		join(f.before)
	case opEnd:
		f := c.frames[len(c.frames)-1]
		if c.frames = c.frames[:len(c.frames)-1]; len(c.frames) > 0 {
			join(f.before)
		}
	case opBrIf:
		join(c.here)
	case opBr, opBrTable, opReturn, opUnreachable:
		c.here = none
	}
}

// charge returns a scanned body with its charges.
func (w *rewriter) charge(body []byte) []byte {
	c := &w.code
	for i := range c.pieces {
		p := &c.pieces[i]
		if p.payer == none {
			p.payer = i
			continue
		}
		payer := c.pieces[p.payer].payer // it came before, so its own is final
		if to := &c.pieces[payer]; to.folded+p.cost <= foldLimit {
			to.folded += p.cost
			to.cost += p.cost
			p.payer = payer
		} else {
			p.payer = i
		}
	}
	c.out = c.out[:0]
	done, bulks := 0, c.bulks
	copyTo := func(at int) {
		for len(bulks) > 0 && bulks[0] < at {
			c.out = append(c.out, body[done:bulks[0]]...)
			done, bulks = bulks[0], bulks[1:]
			c.out = appendIndex(c.out, opCall, w.bulkFunc())
		}
		c.out = append(c.out, body[done:at]...)
		done = at
	}
	for i := range c.pieces {
		if p := &c.pieces[i]; p.payer == i {
			copyTo(p.at)
			c.out = w.appendCharge(c.out, p.cost)
		}
	}
	copyTo(len(body))
	return c.out
}

// appendCharge appends fuel -= cost; if fuel < 0 { slow() }.
func (w *rewriter) appendCharge(to []byte, cost int64) []byte {
	to = appendIndex(to, opGlobalGet, w.fuelGlobal())
	to = appendI64(to, cost)
	to = append(to, opI64Sub)
	to = appendIndex(to, opGlobalSet, w.fuelGlobal())
	return w.appendCheck(to)
}

// appendCheck appends if fuel < 0 { slow() }.
func (w *rewriter) appendCheck(to []byte) []byte {
	to = appendIndex(to, opGlobalGet, w.fuelGlobal())
	to = append(to, opI64Const, 0, opI64LtS, opIf, 0x40)
	to = appendIndex(to, opCall, w.slowFunc())
	return append(to, opEnd)
}

// slowBody is the function that a spent slice calls.
func (w *rewriter) slowBody() []byte {
	b := []byte{1, 1, 0x7e} // one local of i64: what is left in all
	b = append(b, opI32Const, 0, opMemoryGrow, 0, opDrop)
	b = appendIndex(b, opGlobalGet, w.stopGlobal())
	b = append(b, opIf, 0x40, opUnreachable, opEnd)
	b = appendIndex(b, opGlobalGet, w.fuelGlobal())
	b = appendIndex(b, opGlobalGet, w.budgetGlobal())
	b = append(b, opI64Add, opLocalTee, 0, opI64Const, 0, opI64LtS, opIf, 0x40)
	b = appendI64(b, Spent)
	b = appendIndex(b, opGlobalSet, w.fuelGlobal())
	b = append(b, opUnreachable, opEnd)
	// fuel = min(left, slice)
	b = append(b, opLocalGet, 0)
	b = appendI64(b, Slice)
	b = append(b, opLocalGet, 0)
	b = appendI64(b, Slice)
	b = append(b, opI64LtS, opSelect)
	b = appendIndex(b, opGlobalSet, w.fuelGlobal())
	// budget = left - fuel
	b = append(b, opLocalGet, 0)
	b = appendIndex(b, opGlobalGet, w.fuelGlobal())
	b = append(b, opI64Sub)
	b = appendIndex(b, opGlobalSet, w.budgetGlobal())
	return append(b, opEnd)
}

// bulkBody is the function that charges for n bytes or entries.
func (w *rewriter) bulkBody() []byte {
	b := []byte{0} // no locals beside the parameter
	b = appendIndex(b, opGlobalGet, w.fuelGlobal())
	b = append(b, opLocalGet, 0, opI64ExtendU, opI64Const, 4, opI64ShrU, opI64Sub)
	b = appendIndex(b, opGlobalSet, w.fuelGlobal())
	b = w.appendCheck(b)
	return append(b, opLocalGet, 0, opEnd)
}

func appendIndex(to []byte, op byte, index uint32) []byte {
	return binary.AppendUvarint(append(to, op), uint64(index))
}

// appendI64 appends i64.const.
func appendI64(to []byte, v int64) []byte {
	to = append(to, opI64Const)
	for {
		b := byte(v & 0x7f)
		if v >>= 7; v == 0 && b&0x40 == 0 || v == -1 && b&0x40 != 0 {
			return append(to, b)
		}
		to = append(to, b|0x80)
	}
}
