package meter

import (
	"encoding/binary"
	"fmt"
)

// foldLimit is how much fuel of other pieces one charge may include: what a run of it pays at most for code that it then
// does not reach.
const foldLimit = 16

// entryCost is what a call costs the called function beside its instructions.
const entryCost = 2

// none is the piece of code that cannot be reached.
const none = -1

// piece is code that runs from its first instruction to its last, or leaves in between for good.
type piece struct {
	cost   int64 // of its instructions, and of the pieces it pays for
	folded int64 // of cost, what it pays for other pieces
	payer  int   // the piece that always runs before it in the same round of the same loop; then the one that pays
	check  bool  // an entry where f < 0 leads to slow
	again  bool  // f < 0 leads to the loop around this loop, which checks
}

// edit is something to insert into a body.
type edit struct {
	at    int // before the byte at this offset
	what  insertion
	piece int // of a charge
	// Of a branch: its bytes, which are replaced, end here, and its labels are these of coder.labels.
	end, from, to int
}

type insertion uint8

const (
	insertCharge insertion = iota // f -= cost, and the check
	insertFlush                   // fuel = f
	insertCall                    // fuel = f, stack = s
	insertLoad                    // f = fuel
	insertBulk                    // the charge of a bulk operation
	insertLoop                    // a loop with a check, around the loop that is here
	insertEnd                     // its end
	insertBranch                  // a branch with other labels
)

// frame is an open block, loop or if.
type frame struct {
	op     byte
	before int   // the piece that runs into it
	around bool  // a loop that has another around it
	loops  int   // of the frames up to this one, those that have
	sets   int64 // instructions inside that set a local
}

// coder rewrites function bodies. Its slices are reused.
type coder struct {
	pieces  []piece
	edits   []edit
	frames  []frame
	labels  []uint32
	around  int    // frames that have another loop around them
	here    int    // the current piece
	calls   bool   // the function calls others
	loops   int    // open loops
	entries uint32 // in the list of its locals
	local   uint32 // the index of f; s is behind it
	// What the compiler may have to keep in the frame at most: the values of instructions and of locals where control comes
	// together, and the arguments and results of the call that has most.
	values, arguments int64
	shape             shape
	out               []byte
}

// rewriteCode rewrites the code section.
func (w *rewriter) rewriteCode(s *section, r *reader) ([]byte, error) {
	out := binary.AppendUvarint(make([]byte, 0, len(s.body)*3/2), uint64(s.n)+2)
	effort := w.typeEffort
	for i := range s.n {
		b := reader{b: r.take(uint64(r.u32()))}
		if r.err != nil {
			return nil, s.damaged(r)
		}
		first := w.scan(&b, w.params[w.typeOf[w.imported+i]])
		if b.err != nil {
			return nil, fmt.Errorf("damaged: function %d, %w", w.imported+i, b.err)
		}
		if err := w.code.shape.check(len(b.b)); err != nil {
			return nil, fmt.Errorf("with function %d that %w", w.imported+i, err)
		}
		effort += w.code.shape.effort()
		if effort > MaxEffort {
			return nil, fmt.Errorf("too much to compile: up to function %d of %d it takes %d steps, and at most %d are allowed; it is too large, or has too large functions", w.imported+i, w.functions, effort, MaxEffort)
		}
		body := w.charge(b.b, first)
		if len(out)+len(body) > w.limits.Size {
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

// scan checks a body and cuts it into pieces. It returns where the list of its locals begins.
func (w *rewriter) scan(r *reader, params uint32) (first int) {
	c := &w.code
	*c = coder{pieces: c.pieces[:0], edits: c.edits[:0], frames: c.frames[:0], labels: c.labels[:0], out: c.out[:0]}
	locals := uint64(params)
	c.entries = r.count(2)
	first = r.at
	for n := c.entries; n > 0 && r.err == nil; n-- {
		locals += uint64(r.u32())
		r.valueType()
	}
	c.shape.locals = int64(locals)
	if locals > MaxLocals || len(r.b) > MaxBody {
		return first // and is refused
	}
	c.local = uint32(locals)
	c.frames = append(c.frames, frame{op: opBlock, before: none})
	c.begin(r.at, none)
	c.pieces[0].cost = entryCost
	for r.err == nil && len(c.frames) > 0 {
		at := r.at
		in := w.instruction(r)
		if r.err == nil {
			w.step(in, at, r)
		}
	}
	if r.err == nil && r.more() {
		r.fail("code after the end of the function")
	}
	c.pieces[0].check = c.calls
	return first
}

// begin starts a piece behind another one.
func (c *coder) begin(at, before int) {
	c.here = len(c.pieces)
	c.pieces = append(c.pieces, piece{payer: before})
	c.insert(at, insertCharge)
}

func (c *coder) insert(at int, what insertion) {
	c.edits = append(c.edits, edit{at: at, what: what, piece: c.here})
}

// join goes on after an instruction that only a piece leads to, or none.
func (c *coder) join(at, before int) {
	if c.here = none; before != none {
		c.begin(at, before)
	}
}

// step follows an instruction that begins at offset at.
func (w *rewriter) step(in instruction, at int, r *reader) {
	c := &w.code
	if int(in.label) >= len(c.frames) {
		r.fail("label %d of %d", in.label, len(c.frames))
		return
	}
	c.values++
	c.shape.note(in, len(c.frames), c.loops)
	if in.op == opLocalSet || in.op == opLocalTee {
		c.frames[len(c.frames)-1].sets++
	}
	// What is out of reach needs no charge, and must not look as if it could be reached.
	if live := c.here != none; live {
		c.pieces[c.here].cost += in.cost()
		branch := in.op == opBr || in.op == opBrIf || in.op == opBrTable
		switch {
		case in.op == opReturn, in.op == opEnd && len(c.frames) == 1, branch && int(in.label) == len(c.frames)-1:
			c.insert(at, insertFlush)
		case in.op == opCall, in.op == opCallIndirect:
			c.calls = true
			c.arguments = max(c.arguments, int64(w.arity[in.index]))
			c.insert(at, insertCall)
			c.insert(r.at, insertLoad)
		case in.bulk():
			c.insert(at, insertBulk)
		}
	}
	switch in.op {
	case opBlock:
		c.frames = append(c.frames, frame{op: in.op, before: c.here, loops: c.around})
	case opIf:
		c.frames = append(c.frames, frame{op: in.op, before: c.here, loops: c.around})
		c.join(r.at, c.here)
	case opLoop:
		f := frame{op: in.op, before: c.here}
		if c.here != none {
			// Where the loop takes operands they are on the stack at the check, and at the charge that may begin again.
			f.around = true
			c.around++
			c.insert(at, insertLoop)
			c.begin(r.at, none)
			p := &c.pieces[c.here]
			p.cost, p.again = 1, true
		}
		f.loops = c.around
		c.loops++
		c.frames = append(c.frames, f)
	case opElse:
		f := &c.frames[len(c.frames)-1]
		if f.op != opIf {
			r.fail("else without if")
			return
		}
		f.op = opElse
		c.join(r.at, f.before)
	case opEnd:
		f := c.frames[len(c.frames)-1]
		c.frames = c.frames[:len(c.frames)-1]
		c.values += min(f.sets, int64(c.local))
		if len(c.frames) > 0 {
			c.frames[len(c.frames)-1].sets += f.sets
		}
		if f.op == opLoop {
			c.loops--
		}
		if f.around {
			c.around--
			c.insert(r.at, insertEnd)
		}
		if len(c.frames) > 0 {
			c.join(r.at, f.before)
		}
	case opBrIf:
		c.branch(at, r)
		c.join(r.at, c.here)
	case opBr, opBrTable:
		c.branch(at, r)
		c.here = none
	case opReturn, opUnreachable:
		c.here = none
	}
}

// branch gives the branch between at and r its labels, past the loops that are around others.
func (c *coder) branch(at int, r *reader) {
	if c.around == 0 {
		return
	}
	b := reader{b: r.b[:r.at], at: at + 1}
	n := uint32(1)
	if r.b[at] == opBrTable {
		n += b.u32()
	}
	from := len(c.labels)
	for range n {
		label := b.u32()
		target := c.frames[len(c.frames)-1-int(label)]
		c.labels = append(c.labels, label+uint32(c.around-target.loops))
	}
	c.edits = append(c.edits, edit{at: at, what: insertBranch, end: r.at, from: from, to: len(c.labels)})
}

// fold lets small pieces be paid for by those that always run before them.
func (c *coder) fold() {
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
}

// charge returns the scanned body with what is to be inserted.
func (w *rewriter) charge(body []byte, first int) []byte {
	c := &w.code
	c.fold()
	bytes, charged := w.frame()
	out := binary.AppendUvarint(c.out, uint64(c.entries)+1)
	from := first
	for i, e := range c.edits {
		if i == 0 { // the entry: before the first instruction
			out = append(out, body[from:e.at]...)
			if charged {
				out = w.appendEnter(append(out, 2, 0x7e), bytes)
			} else {
				out = append(out, 1, 0x7e)
			}
			out = w.appendLoad(out)
		} else {
			out = append(out, body[from:e.at]...)
		}
		from = e.at
		switch e.what {
		case insertCharge:
			if p := c.pieces[e.piece]; p.payer == e.piece {
				out = w.appendCharge(out, p)
			}
		case insertFlush:
			out = w.appendFlush(out)
		case insertCall:
			out = w.appendStack(w.appendFlush(out))
		case insertLoad:
			out = w.appendLoad(out)
		case insertBulk:
			out = w.appendFlush(out)
			out = appendIndex(out, opCall, w.bulkFunc())
			out = w.appendLoad(out)
		case insertLoop:
			t := reader{b: body, at: e.at + 1}
			w.blockType(&t)
			out = append(out, body[e.at:t.at]...)
			out = w.appendCheck(appendIndex(out, opLocalGet, c.local))
		case insertEnd:
			out = append(out, opEnd)
		case insertBranch:
			out = append(out, body[e.at])
			if body[e.at] == opBrTable {
				out = binary.AppendUvarint(out, uint64(e.to-e.from-1))
			}
			for _, l := range c.labels[e.from:e.to] {
				out = binary.AppendUvarint(out, uint64(l))
			}
			from = e.end
		}
	}
	c.out = append(out, body[from:]...)
	return c.out
}

// appendCharge appends f -= cost, and the check where there is one.
func (w *rewriter) appendCharge(to []byte, p piece) []byte {
	to = appendIndex(to, opLocalGet, w.code.local)
	to = appendI64(to, p.cost)
	to = append(to, opI64Sub)
	switch {
	case p.again && p.cost <= Slice/2: // else a slice might not suffice to begin the loop again
		to = appendIndex(to, opLocalTee, w.code.local)
		return append(to, opI64Const, 0, opI64LtS, opBrIf, 1)
	case p.again || p.check:
		return w.appendCheck(appendIndex(to, opLocalTee, w.code.local))
	default:
		return appendIndex(to, opLocalSet, w.code.local)
	}
}

// appendCheck appends if f < 0 { slow() }, where f is on the stack.
func (w *rewriter) appendCheck(to []byte) []byte {
	to = append(to, opI64Const, 0, opI64LtS, opIf, 0x40)
	to = w.appendFlush(to)
	to = appendIndex(to, opCall, w.slowFunc())
	to = w.appendLoad(to)
	return append(to, opEnd)
}

// appendFlush appends fuel = f.
func (w *rewriter) appendFlush(to []byte) []byte {
	to = appendIndex(to, opLocalGet, w.code.local)
	return appendIndex(to, opGlobalSet, w.fuelGlobal())
}

// appendLoad appends f = fuel.
func (w *rewriter) appendLoad(to []byte) []byte {
	to = appendIndex(to, opGlobalGet, w.fuelGlobal())
	return appendIndex(to, opLocalSet, w.code.local)
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

// bulkBody is the function that charges for n bytes or entries: fuel -= n/16; if fuel < 0 { slow() }; n.
func (w *rewriter) bulkBody() []byte {
	b := []byte{0} // no locals beside the parameter
	b = appendIndex(b, opGlobalGet, w.fuelGlobal())
	b = append(b, opLocalGet, 0, opI64ExtendU, opI64Const, 4, opI64ShrU, opI64Sub)
	b = appendIndex(b, opGlobalSet, w.fuelGlobal())
	b = appendIndex(b, opGlobalGet, w.fuelGlobal())
	b = append(b, opI64Const, 0, opI64LtS, opIf, 0x40)
	b = appendIndex(b, opCall, w.slowFunc())
	return append(b, opEnd, opLocalGet, 0, opEnd)
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
