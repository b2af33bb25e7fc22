package authoring

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"unicode"
	"unicode/utf8"

	"github.com/weir-stream/weir/operators/wasm/leb128"
)

// maxListed bounds the imports, exports, tables and types that are kept of a module: an operator has some tens.
// maxFunctions bounds the functions, and maxSignature the parameters of a type that are shown.
const (
	maxListed    = 4096
	maxFunctions = 1 << 20
	maxSignature = 64
)

// binaryModule is what the sections of a module say. Source: https://webassembly.github.io/spec/core/binary/modules.html.
// The reader takes any bytes: it checks every length, and keeps a bounded part of everything.
type binaryModule struct {
	types                           []funcType
	imports                         []Import
	exports                         []Export
	tables                          []Limits
	memories                        []Limits
	functions                       []uint32 // types of the module's own functions
	start                           bool
	codeBytes, dataBytes, nameBytes int
	functionCount                   int
	imported                        int // functions among the imports
	seen                            [256]bool
}

type funcType struct{ params, results []byte }

// String is "(i32, i32) -> i32".
func (t funcType) String() string {
	list := func(types []byte) string {
		s := ""
		for i, v := range types {
			if i > 0 {
				s += ", "
			}
			if i == maxSignature {
				s += "…"
				break
			}
			name, ok := map[byte]string{
				0x7f: "i32", 0x7e: "i64", 0x7d: "f32", 0x7c: "f64", 0x7b: "v128", 0x70: "funcref", 0x6f: "externref",
			}[v]
			if !ok {
				name = fmt.Sprintf("%#x", v)
			}
			s += name
		}
		return "(" + s + ")"
	}
	return list(t.params) + " -> " + list(t.results)
}

// Limits are the size of a memory, in pages of 64 KiB, or of a table, in entries.
type Limits struct {
	Min uint32  `json:"min"`
	Max *uint32 `json:"max,omitempty"` // none when nil
}

var kinds = [...]string{"function", "table", "memory", "global", "tag"}

func kindName(k byte) string {
	if int(k) < len(kinds) {
		return kinds[k]
	}
	return fmt.Sprintf("kind %d", k)
}

// readSections reads a module as far as it makes sense; with an error, what came before the damage is there.
func readSections(module []byte) (*binaryModule, error) {
	m := &binaryModule{imports: []Import{}, exports: []Export{}, tables: []Limits{}} // lists, in JSON too
	if len(module) < 8 || !bytes.HasPrefix(module, []byte("\x00asm")) {
		return m, errors.New("not a Wasm module")
	}
	if v := binary.LittleEndian.Uint32(module[4:]); v != 1 {
		return m, fmt.Errorf("not a core Wasm module of version 1 (%#x)", v)
	}
	r := &byteReader{b: module[8:]}
	for len(r.b) > 0 {
		id := r.byte()
		s := &byteReader{b: r.take(uint64(r.u32()))}
		if r.failed {
			return m, fmt.Errorf("damaged: section %d is cut short", id)
		}
		if err := m.section(id, s); err != nil {
			return m, fmt.Errorf("damaged: section %d: %w", id, err)
		}
	}
	return m, nil
}

func (m *binaryModule) section(id byte, s *byteReader) error {
	size := len(s.b)
	switch id {
	case 0:
		if string(s.take(uint64(s.u32()))) == "name" {
			m.nameBytes += size
		}
		return nil
	case 10:
		m.codeBytes = size
		return nil
	case 11:
		m.dataBytes = size
		return nil
	case 8:
		m.start = true
		return nil
	}
	read := map[byte]func(*byteReader) error{
		1: m.readType, 2: m.readImport, 3: m.readFunction, 4: m.readTable, 5: m.readMemory, 7: m.readExport,
	}[id]
	if read == nil {
		return nil
	}
	// A section can be there again and again: a valid module has each once, but this one may be anything.
	if m.seen[id] {
		return errors.New("it is there twice")
	}
	m.seen[id] = true
	n, most := s.u32(), uint32(maxListed)
	if id == 3 {
		m.functionCount, most = int(n), maxFunctions
	}
	for i := uint32(0); i < min(n, most) && !s.failed; i++ {
		if err := read(s); err != nil {
			return err
		}
	}
	if s.failed {
		return errors.New("it is cut short")
	}
	return nil
}

func (m *binaryModule) readType(s *byteReader) error {
	if form := s.byte(); form != 0x60 && !s.failed {
		return fmt.Errorf("a type of form %#x", form)
	}
	params := s.take(uint64(s.u32()))
	m.types = append(m.types, funcType{params, s.take(uint64(s.u32()))})
	return nil
}

// typeOf is the n-th type; one that is not there is written so.
func (m *binaryModule) typeOf(n uint32) (funcType, string) {
	if uint64(n) >= uint64(len(m.types)) {
		return funcType{}, fmt.Sprintf("type %d, which is not there", n)
	}
	return m.types[n], m.types[n].String()
}

func (m *binaryModule) readImport(s *byteReader) error {
	i := Import{Module: s.name(), Name: s.name()}
	kind := s.byte()
	i.Kind = kindName(kind)
	switch kind {
	case 0:
		i.sig, i.Type = m.typeOf(s.u32())
		m.imported++
	case 1:
		s.byte()
		s.limits()
	case 2:
		s.limits()
	case 3:
		s.take(2)
	case 4:
		s.byte()
		s.u32()
	default:
		return fmt.Errorf("an import of kind %d", kind)
	}
	if !s.failed {
		m.imports = append(m.imports, i)
	}
	return nil
}

func (m *binaryModule) readFunction(s *byteReader) error {
	m.functions = append(m.functions, s.u32())
	return nil
}

func (m *binaryModule) readTable(s *byteReader) error {
	if kind := s.byte(); kind != 0x70 && kind != 0x6f {
		return fmt.Errorf("a table of kind %#x", kind)
	}
	m.tables = append(m.tables, s.limits())
	return nil
}

func (m *binaryModule) readMemory(s *byteReader) error {
	m.memories = append(m.memories, s.limits())
	return nil
}

func (m *binaryModule) readExport(s *byteReader) error {
	e := Export{Name: s.name()}
	kind, index := s.byte(), s.u32()
	e.Kind = kindName(kind)
	if kind == 0 {
		// Functions are numbered over imports and own ones.
		if own := int64(index) - int64(m.imported); own >= 0 && own < int64(len(m.functions)) {
			_, e.Type = m.typeOf(m.functions[own])
		}
	}
	if !s.failed {
		m.exports = append(m.exports, e)
	}
	return nil
}

// byteReader reads the primitive values of a binary. After a failure it only returns zeroes.
type byteReader struct {
	b      []byte
	failed bool
}

func (r *byteReader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.b, r.failed = nil, true
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *byteReader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

// u32 reads an unsigned LEB128 number of at most 32 bits.
func (r *byteReader) u32() uint32 {
	v, n := leb128.Uint32(r.b)
	if n <= 0 {
		r.b, r.failed = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}

// name is a name made fit to be shown: quoted if it has anything but printable characters, and cut if it is long.
func (r *byteReader) name() string {
	b := r.take(uint64(r.u32()))
	const most = 200
	cut := ""
	if len(b) > most {
		b, cut = b[:most], "…"
	}
	s := string(b)
	if !utf8.ValidString(s) {
		return strconv.Quote(s) + cut
	}
	for _, c := range s {
		if !unicode.IsGraphic(c) {
			return strconv.Quote(s) + cut
		}
	}
	return s + cut
}

func (r *byteReader) limits() Limits {
	flags := r.byte()
	l := Limits{Min: r.u32()}
	if flags&1 == 1 {
		most := r.u32()
		l.Max = &most
	}
	return l
}
