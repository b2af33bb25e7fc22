package wasm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/weir-stream/weir/operators/wasm/leb128"
)

// Section numbers of a Wasm binary. Source: https://webassembly.github.io/spec/core/binary/modules.html.
const (
	sectionCustom = 0
	sectionImport = 2
	sectionTable  = 4
	sectionMemory = 5
	sectionStart  = 8
)

const maxTables = 16

// admitted is a module that passed the checks of admit.
type admitted struct {
	module   []byte // what to compile: custom sections dropped, tables capped
	memPages uint32 // the pages it starts with
}

// admit checks the parts of a module that wazero leaves open, and closes them: one memory of its own, not shared, no
// start function, and tables that cannot grow (the memory limit does not count them). It keeps the names of
// functions, for traces, and drops every other custom section. The code itself is validated by the compiler.
//
// tableEntries is how many entries all tables together may have.
func admit(module []byte, tableEntries int) (admitted, error) {
	if len(module) < 8 || !bytes.Equal(module[:4], []byte("\x00asm")) {
		return admitted{}, fmt.Errorf("not a Wasm module (starts with %q)", module[:min(len(module), 8)])
	}
	switch v := binary.LittleEndian.Uint32(module[4:]); v {
	case 1:
	case 0x1000d:
		return admitted{}, errors.New("a Wasm component, not a core module: build for wasm32-unknown-unknown, or wasm32-wasip1")
	default:
		return admitted{}, fmt.Errorf("of Wasm version %d, not 1", v)
	}
	out := append(make([]byte, 0, len(module)+16), module[:8]...)
	a := admitted{}
	r := reader{b: module[8:]}
	memories := 0
	for len(r.b) > 0 {
		id := r.byte()
		body := r.take(uint64(r.u32()))
		if r.failed {
			return admitted{}, fmt.Errorf("damaged: section %d is cut short", id)
		}
		var err error
		s := reader{b: body}
		switch id {
		case sectionCustom:
			if string(s.take(uint64(s.u32()))) != "name" {
				continue
			}
		case sectionImport:
			err = checkImports(&s)
		case sectionTable:
			body, err = capTables(&s, tableEntries)
		case sectionMemory:
			var n uint32
			n, a.memPages, err = readMemories(&s)
			memories += int(n)
		case sectionStart:
			err = errors.New("with a start function, which would run before it can be limited: call it _initialize and export it")
		}
		if err != nil {
			return admitted{}, err
		}
		if s.failed {
			return admitted{}, fmt.Errorf("damaged: section %d is cut short", id)
		}
		out = append(out, id)
		out = binary.AppendUvarint(out, uint64(len(body)))
		out = append(out, body...)
	}
	if memories != 1 {
		return admitted{}, fmt.Errorf("with %d memories of its own: an operator has exactly one", memories)
	}
	a.module = out
	return a, nil
}

func checkImports(s *reader) error {
	for n := s.u32(); n > 0 && !s.failed; n-- {
		module, name := s.take(uint64(s.u32())), s.take(uint64(s.u32()))
		kind := s.byte()
		if kind != 0 {
			what := [...]string{"", "a table", "a memory", "a global", "a tag"}[min(kind, 4)]
			return fmt.Errorf("importing %s, %s.%s: only functions are offered", what, shorten(string(module), 64), shorten(string(name), 64))
		}
		s.u32() // type
	}
	return nil
}

// capTables rewrites the table section so that no table can grow past what it starts with; or its own maximum, as far as
// the limit on all tables goes.
func capTables(s *reader, limit int) ([]byte, error) {
	n := s.u32()
	if n > maxTables {
		return nil, fmt.Errorf("with %d tables: at most %d are allowed", n, maxTables)
	}
	type table struct {
		kind        byte
		least, most uint32
	}
	var tables []table
	spare := int64(limit)
	for range n {
		kind, flags := s.byte(), s.byte()
		if kind != 0x70 && kind != 0x6f || flags > 1 {
			return nil, errors.New("with a table of a kind that is not supported")
		}
		t := table{kind: kind, least: s.u32()}
		t.most = t.least
		if flags == 1 {
			t.most = max(t.least, s.u32())
		}
		spare -= int64(t.least)
		tables = append(tables, t)
	}
	if spare < 0 {
		return nil, fmt.Errorf("with tables of %d entries, over the limit of %d: raise limits.tables", int64(limit)-spare, limit)
	}
	out := binary.AppendUvarint(nil, uint64(n))
	for _, t := range tables {
		growth := min(int64(t.most-t.least), spare)
		spare -= growth
		out = append(out, t.kind, 1)
		out = binary.AppendUvarint(out, uint64(t.least))
		out = binary.AppendUvarint(out, uint64(t.least)+uint64(growth))
	}
	return out, nil
}

func readMemories(s *reader) (n, pages uint32, err error) {
	n = s.u32()
	if n != 1 {
		return n, 0, nil
	}
	flags := s.byte()
	if flags > 1 {
		return 0, 0, errors.New("with a shared or 64-bit memory: threads and memory64 are not supported")
	}
	return n, s.u32(), nil
}

// reader reads the primitive values of a Wasm binary. After a failure it only returns zeroes.
type reader struct {
	b      []byte
	failed bool
}

func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.b, r.failed = nil, true
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return slices.Clip(b)
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

// u32 reads an unsigned LEB128 number.
func (r *reader) u32() uint32 {
	v, n := leb128.Uint32(r.b)
	if n <= 0 {
		r.b, r.failed = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}
