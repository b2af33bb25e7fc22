package meter

import "slices"

// The opcodes that the rewriter tells apart.
const (
	opUnreachable  = 0x00
	opNop          = 0x01
	opBlock        = 0x02
	opLoop         = 0x03
	opIf           = 0x04
	opElse         = 0x05
	opEnd          = 0x0b
	opBr           = 0x0c
	opBrIf         = 0x0d
	opBrTable      = 0x0e
	opReturn       = 0x0f
	opCall         = 0x10
	opCallIndirect = 0x11
	opDrop         = 0x1a
	opSelect       = 0x1b
	opSelectType   = 0x1c
	opLocalGet     = 0x20
	opLocalSet     = 0x21
	opLocalTee     = 0x22
	opGlobalGet    = 0x23
	opGlobalSet    = 0x24
	opTableGet     = 0x25
	opTableSet     = 0x26
	opLoad         = 0x28 // the first of the loads and stores
	opStore        = 0x3e // the last
	opMemorySize   = 0x3f
	opMemoryGrow   = 0x40
	opI32Const     = 0x41
	opI64Const     = 0x42
	opF32Const     = 0x43
	opF64Const     = 0x44
	opNumeric      = 0x45 // the first without immediates
	opI64LtS       = 0x53
	opI32Div       = 0x6d // the first of the divisions
	opI32Rem       = 0x70 // the last
	opI64Div       = 0x7f
	opI64Rem       = 0x82
	opI64Add       = 0x7c
	opI64Sub       = 0x7d
	opI64ShrU      = 0x88
	opI64ExtendU   = 0xad
	opLastNumeric  = 0xc4
	opRefNull      = 0xd0
	opRefIsNull    = 0xd1
	opRefFunc      = 0xd2
	prefixMisc     = 0xfc
	prefixVector   = 0xfd
)

// Opcodes after prefixMisc.
const (
	miscMemoryInit = 8
	miscDataDrop   = 9
	miscMemoryCopy = 10
	miscMemoryFill = 11
	miscTableInit  = 12
	miscElemDrop   = 13
	miscTableCopy  = 14
	miscTableGrow  = 15
	miscTableSize  = 16
	miscTableFill  = 17
)

// vecConst is v128.const, after prefixVector.
const vecConst = 0x0c

// noVector are the numbers up to 0xff that are not vector instructions.
var noVector = []uint32{
	0x9a, 0xa2, 0xa5, 0xa6, 0xaf, 0xb0, 0xb2, 0xb3, 0xb4, 0xbb, 0xc2, 0xc5, 0xc6, 0xcf, 0xd0, 0xd2, 0xd3, 0xd4, 0xe2, 0xee,
}

// instruction is a decoded instruction; its immediates were checked.
type instruction struct {
	op      byte
	sub     uint32 // after a prefix
	label   uint32 // the outermost that it branches to
	index   uint32 // the type of the function that it calls
	targets uint32 // of a table of branches
}

// bulk says that the last operand is a number of bytes or table entries to work on.
func (in instruction) bulk() bool {
	if in.op != prefixMisc {
		return false
	}
	switch in.sub {
	case miscMemoryInit, miscMemoryCopy, miscMemoryFill, miscTableInit, miscTableCopy, miscTableGrow, miscTableFill:
		return true
	}
	return false
}

// cost is the fuel an instruction takes. What makes no machine code is free, and what leaves the guest costs what it takes
// to come back.
func (in instruction) cost() int64 {
	switch in.op {
	case opNop, opBlock, opElse, opEnd:
		return 0
	case opCall, opCallIndirect:
		return 4
	case opMemoryGrow:
		return 128
	case opRefFunc:
		return 64
	case prefixMisc:
		switch {
		case in.sub == miscTableGrow:
			return 128
		case in.bulk():
			return 8
		}
	}
	return 1
}

// instruction reads one instruction and checks the indices it names.
func (w *rewriter) instruction(r *reader) instruction {
	in := instruction{op: r.byte()}
	switch op := in.op; {
	case op == opBlock, op == opLoop, op == opIf:
		w.blockType(r)
	case op == opUnreachable, op == opNop, op == opElse, op == opEnd, op == opReturn, op == opDrop, op == opSelect, op == opRefIsNull:
	case op == opBr, op == opBrIf:
		in.label = r.u32()
	case op == opBrTable:
		in.targets = r.count(1)
		for n := in.targets; n > 0 && r.err == nil; n-- {
			in.label = max(in.label, r.u32())
		}
		in.label = max(in.label, r.u32())
	case op == opCall:
		if f := r.below(w.functions, "function"); r.err == nil {
			in.index = w.typeOf[f]
		}
	case op == opRefFunc:
		r.below(w.functions, "function")
	case op == opCallIndirect:
		in.index = r.below(w.types, "type")
		r.below(w.tables, "table")
	case op == opSelectType:
		if r.u32() != 1 {
			r.fail("select of other than one type")
		}
		r.valueType()
	case op >= opLocalGet && op <= opLocalTee:
		r.below(w.code.local, "local") // the next one is the fuel
	case op == opGlobalGet, op == opGlobalSet:
		r.below(w.globals, "global")
	case op == opTableGet, op == opTableSet:
		r.below(w.tables, "table")
	case op >= opLoad && op <= opStore:
		memArg(r)
	case op == opMemorySize, op == opMemoryGrow:
		r.zero()
	case op == opI32Const:
		r.signed(32)
	case op == opI64Const:
		r.signed(64)
	case op == opF32Const:
		r.take(4)
	case op == opF64Const:
		r.take(8)
	case op >= opNumeric && op <= opLastNumeric:
	case op == opRefNull:
		if t := r.byte(); t != 0x70 && t != 0x6f {
			r.fail("a null of type %#x is not supported", t)
		}
	case op == prefixMisc:
		in.sub = w.misc(r)
	case op == prefixVector:
		in.sub = vector(r)
	default:
		r.fail("opcode %#x is not supported%s", op, feature(op))
	}
	return in
}

// feature names what an opcode belongs to that is not part of Wasm 2.0.
func feature(op byte) string {
	switch {
	case op >= 0x06 && op <= 0x0a, op == 0x18, op == 0x19, op == 0x1f:
		return " (exceptions)"
	case op == 0x12, op == 0x13, op == 0x15:
		return " (tail calls)"
	case op == 0xfe:
		return " (threads)"
	case op == 0xfb, op == 0x14, op >= 0xd3 && op <= 0xd6:
		return " (garbage collection, typed references)"
	}
	return ""
}

func (w *rewriter) blockType(r *reader) {
	if r.more() && r.b[r.at]&0xc0 == 0x40 { // a negative number of one byte
		if t := r.byte(); t != 0x40 && !isValueType(t) {
			r.fail("block type %#x is not supported", t)
		}
		return
	}
	if t := r.signed(33); r.err == nil && (t < 0 || t >= int64(w.types)) {
		r.fail("type %d of %d", t, w.types)
	}
}

func memArg(r *reader) {
	if align := r.u32(); align >= 32 {
		r.fail("alignment 2^%d", align)
	}
	r.u32()
}

func (w *rewriter) misc(r *reader) uint32 {
	sub := uint32(r.byte())
	switch {
	case sub < miscMemoryInit:
	case sub == miscMemoryInit:
		r.below(w.data, "data segment")
		r.zero()
	case sub == miscDataDrop:
		r.below(w.data, "data segment")
	case sub == miscMemoryCopy:
		r.zero()
		r.zero()
	case sub == miscMemoryFill:
		r.zero()
	case sub == miscTableInit:
		r.below(w.elements, "element segment")
		r.below(w.tables, "table")
	case sub == miscElemDrop:
		r.below(w.elements, "element segment")
	case sub == miscTableCopy:
		r.below(w.tables, "table")
		r.below(w.tables, "table")
	case sub <= miscTableFill:
		r.below(w.tables, "table")
	default:
		r.fail("opcode 0xfc %#x is not supported", sub)
	}
	return sub
}

// vector reads the rest of a vector instruction. Its number is LEB128; the compiler takes it for a byte and a no-op,
// so no other encoding of the same number may pass.
func vector(r *reader) uint32 {
	sub := uint32(r.byte())
	if sub >= 0x80 && r.byte() != 1 || slices.Contains(noVector, sub) {
		r.fail("opcode 0xfd %#x is not supported", sub)
	}
	switch {
	case sub <= 0x0b, sub == 0x5c, sub == 0x5d: // loads and stores
		memArg(r)
	case sub == vecConst, sub == 0x0d: // the constant, the shuffle
		r.take(16)
	case sub >= 0x15 && sub <= 0x22: // a lane
		r.byte()
	case sub >= 0x54 && sub <= 0x5b: // loads and stores of a lane
		memArg(r)
		r.byte()
	}
	return sub
}
