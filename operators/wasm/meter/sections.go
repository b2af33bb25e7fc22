package meter

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// Section numbers.
const (
	sectionCustom = iota
	sectionType
	sectionImport
	sectionFunction
	sectionTable
	sectionMemory
	sectionGlobal
	sectionExport
	sectionStart
	sectionElement
	sectionCode
	sectionData
	sectionDataCount
)

// section is a section of the module. Its list begins at items.
type section struct {
	id    byte
	body  []byte
	n     uint32
	items []byte
}

// order is the place of a section among the others.
func order(id byte) int {
	return slices.Index([]byte{
		sectionType, sectionImport, sectionFunction, sectionTable, sectionMemory, sectionGlobal, sectionExport,
		sectionStart, sectionElement, sectionDataCount, sectionCode, sectionData,
	}, id)
}

// split finds the sections and holds them to their order.
func (w *rewriter) split(module []byte) error {
	r := reader{b: module}
	last := -1
	for r.more() {
		id := r.byte()
		body := r.take(uint64(r.u32()))
		if r.err != nil {
			return fmt.Errorf("damaged: section %d is cut short", id)
		}
		if id != sectionCustom {
			at := order(id)
			if at < 0 {
				return fmt.Errorf("with a section of kind %d, which is not supported", id)
			}
			if at <= last {
				return fmt.Errorf("damaged: section %d is out of order", id)
			}
			last = at
		}
		w.sections = append(w.sections, section{id: id, body: body})
	}
	return nil
}

// insertMissing adds the sections that get something appended.
func (w *rewriter) insertMissing() {
	for _, id := range []byte{sectionType, sectionFunction, sectionGlobal, sectionExport, sectionCode} {
		at := len(w.sections)
		found := false
		for i, s := range w.sections {
			if s.id == sectionCustom {
				continue
			}
			found = found || s.id == id
			if order(s.id) > order(id) {
				at = i
				break
			}
		}
		if !found {
			w.sections = slices.Insert(w.sections, at, section{id: id})
		}
	}
}

// count walks the sections that define the index spaces. What names an index is looked at when all are known.
func (w *rewriter) count(s *section) error {
	r := reader{b: s.body}
	if s.id != sectionCustom && s.id != sectionStart && s.id != sectionDataCount {
		s.n = r.count(1)
		s.items = s.body[r.at:]
	}
	switch s.id {
	case sectionType:
		w.types = s.n
		if s.n > MaxTypes {
			return fmt.Errorf("with %d types: at most %d are allowed", s.n, MaxTypes)
		}
		for range s.n {
			if form := r.byte(); form != 0x60 {
				r.fail("a type of form %#x is not supported", form)
			}
			for i := range 2 {
				n := r.count(1)
				if n > MaxArity {
					r.fail("a type of %d parameters or results: at most %d are allowed", n, MaxArity)
					break
				}
				if i == 0 {
					w.params = append(w.params, n)
					w.arity = append(w.arity, n)
				} else {
					w.arity[len(w.arity)-1] += n
				}
				for ; n > 0; n-- {
					r.valueType()
				}
			}
			if r.err != nil {
				break
			}
		}
		for _, n := range w.arity {
			w.typeEffort += int64(n) + 10
		}
		return s.ended(&r)
	case sectionImport:
		for n := s.n; n > 0 && r.err == nil; n-- {
			r.take(uint64(r.u32()))
			r.take(uint64(r.u32()))
			switch kind := r.byte(); kind {
			case 0:
				w.typeOf = append(w.typeOf, r.below(w.types, "type"))
				w.imported++
			case 1:
				r.valueType()
				r.limits()
				w.tables++
			case 2:
				r.limits()
				w.memories++
			case 3:
				r.valueType()
				r.byte()
				w.globals++
			default:
				r.fail("an import of kind %d is not supported", kind)
			}
		}
		w.functions = w.imported
		return s.ended(&r)
	case sectionFunction:
		w.defined = s.n
		w.functions += s.n
		for n := s.n; n > 0 && r.err == nil; n-- {
			w.typeOf = append(w.typeOf, r.below(w.types, "type"))
		}
		return s.ended(&r)
	case sectionTable:
		w.tables += s.n
		for n := s.n; n > 0 && r.err == nil; n-- {
			r.valueType()
			r.limits()
		}
		return s.ended(&r)
	case sectionMemory:
		w.memories += s.n
		for n := s.n; n > 0 && r.err == nil; n-- {
			r.limits()
		}
		return s.ended(&r)
	case sectionGlobal:
		w.globals += s.n
	case sectionElement:
		w.elements = s.n
	case sectionDataCount:
		w.data = r.u32()
		return s.ended(&r)
	case sectionCode:
		w.bodies = s.n
	}
	if r.err != nil {
		return s.damaged(&r)
	}
	return nil
}

func (s *section) damaged(r *reader) error {
	return fmt.Errorf("damaged: section %d, %w", s.id, r.err)
}

// ended says whether a section was read to its end.
func (s *section) ended(r *reader) error {
	if r.err == nil && r.more() {
		r.fail("%d bytes too many", r.left())
	}
	if r.err != nil {
		return s.damaged(r)
	}
	return nil
}

// rewrite checks every index of a section and returns its new body.
func (w *rewriter) rewrite(s *section) ([]byte, error) {
	r := reader{b: s.body}
	if s.items != nil {
		r.u32()
	}
	var add []byte
	switch s.id {
	case sectionType:
		return s.with([]byte{0x60, 0, 0, 0x60, 1, 0x7f, 1, 0x7f}, 2), nil
	case sectionFunction:
		add = binary.AppendUvarint(nil, uint64(w.types))
		add = binary.AppendUvarint(add, uint64(w.types)+1)
		return s.with(add, 2), nil
	case sectionGlobal:
		for n := s.n; n > 0 && r.err == nil; n-- {
			r.valueType()
			if r.byte() > 1 {
				r.fail("a global that is neither constant nor mutable")
			}
			w.constExpr(&r)
		}
		add = []byte{0x7e, 1, opI64Const, 0, opEnd, 0x7e, 1, opI64Const, 0, opEnd, 0x7f, 1, opI32Const, 0, opEnd, 0x7e, 1}
		add = append(appendI64(add, int64(w.limits.Stack)), opEnd)
		return s.with(add, 4), s.ended(&r)
	case sectionExport:
		w.exports(&r, s.n)
		for i, name := range []string{ExportFuel, ExportBudget, ExportStop, ExportStack} {
			add = binary.AppendUvarint(add, uint64(len(name)))
			add = append(append(add, name...), 3)
			add = binary.AppendUvarint(add, uint64(w.fuelGlobal())+uint64(i))
		}
		return s.with(add, 4), s.ended(&r)
	case sectionStart:
		r.below(w.functions, "function")
		return s.body, s.ended(&r)
	case sectionElement:
		for n := s.n; n > 0 && r.err == nil; n-- {
			w.segment(&r)
		}
		return s.body, s.ended(&r)
	case sectionData:
		for n := s.n; n > 0 && r.err == nil; n-- {
			switch kind := r.u32(); kind {
			case 2:
				r.below(w.memories, "memory")
				fallthrough
			case 0:
				w.constExpr(&r)
			case 1:
			default:
				r.fail("a data segment of kind %d is not supported", kind)
			}
			r.take(uint64(r.u32()))
		}
		return s.body, s.ended(&r)
	case sectionCode:
		return w.rewriteCode(s, &r)
	default:
		return s.body, nil
	}
}

// with is the list of a section with more items appended.
func (s *section) with(add []byte, more uint32) []byte {
	out := binary.AppendUvarint(make([]byte, 0, len(s.items)+len(add)+5), uint64(s.n)+uint64(more))
	return append(append(out, s.items...), add...)
}

func (w *rewriter) exports(r *reader, n uint32) {
	for ; n > 0 && r.err == nil; n-- {
		if name := string(r.take(uint64(r.u32()))); strings.HasPrefix(name, Prefix) {
			r.fail("an export named %q: names that begin with %s are reserved", name[:min(len(name), 64)], Prefix)
		}
		switch kind := r.byte(); kind {
		case 0:
			r.below(w.functions, "function")
		case 1:
			r.below(w.tables, "table")
		case 2:
			r.below(w.memories, "memory")
		case 3:
			r.below(w.globals, "global")
		default:
			r.fail("an export of kind %d is not supported", kind)
		}
	}
}

// segment checks an element segment. Bit 0 of its kind is passive or declarative, bit 1 an explicit table or
// declarative, bit 2 expressions in place of indices.
func (w *rewriter) segment(r *reader) {
	kind := r.u32()
	if kind > 7 {
		r.fail("an element segment of kind %d is not supported", kind)
		return
	}
	if kind&1 == 0 {
		if kind&2 != 0 {
			r.below(w.tables, "table")
		}
		w.constExpr(r)
	}
	if kind&3 != 0 {
		if kind&4 != 0 {
			r.valueType()
		} else {
			r.zero()
		}
	}
	for n := r.count(1); n > 0 && r.err == nil; n-- {
		if kind&4 != 0 {
			w.constExpr(r)
		} else {
			r.below(w.functions, "function")
		}
	}
}

// constExpr checks a constant expression.
func (w *rewriter) constExpr(r *reader) {
	for r.err == nil {
		switch in := w.instruction(r); {
		case in.op == opEnd:
			return
		case in.op >= opI32Const && in.op <= opF64Const, in.op == opGlobalGet, in.op == opRefNull, in.op == opRefFunc:
		case in.op == prefixVector && in.sub == vecConst:
		default:
			r.fail("opcode %#x in a constant expression is not supported", in.op)
		}
	}
}
