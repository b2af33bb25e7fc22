package meter_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// program writes small valid programs that end: three functions (i32, i32) -> i32 over one memory page, a table and two
// globals, the first of which counts down at every loop head and entry. Its choices come from pick.
type program struct {
	pick   func(n int) int
	code   []byte
	labels []bool // innermost last: it takes no value
	depth  int
	size   int
}

func (p *program) op(b ...byte) { p.code = append(p.code, b...); p.size++ }

// gas leaves the function when the countdown is over.
func (p *program) gas() {
	p.op(0x23, 0, 0x41, 1, 0x6b, 0x24, 0) // global 0 -= 1
	p.op(0x23, 0, 0x41, 0, 0x48, 0x04, 0x40, 0x41, 7, 0x0f, 0x0b)
}

func (p *program) i32() {
	if p.depth++; p.depth > 6 || p.size > 800 {
		p.op(0x20, byte(p.pick(4)))
		p.depth--
		return
	}
	switch p.pick(14) {
	case 0, 1, 2:
		p.op(0x20, byte(p.pick(4)))
	case 3:
		p.op(0x41, byte(p.pick(64)))
	case 4, 5:
		p.i32()
		p.i32()
		p.op([]byte{0x6a, 0x6b, 0x6c, 0x71, 0x73, 0x74, 0x48, 0x4e}[p.pick(8)])
	case 6:
		p.i32()
		p.i32()
		p.op([]byte{0x6d, 0x6e, 0x70}[p.pick(3)]) // may trap
	case 7:
		p.i32()
		p.op(0x41, 0xff, 0xff, 3, 0x71, 0x28, 0, byte(p.pick(8)))
	case 8: // a block with a value, left from inside
		p.op(0x02, 0x7f)
		p.labels = append(p.labels, false)
		p.i32()
		p.i32()
		p.op(0x0d, 0)
		p.labels = p.labels[:len(p.labels)-1]
		p.op(0x0b)
	case 9:
		p.i32()
		p.op(0x04, 0x7f)
		p.labels = append(p.labels, false)
		p.i32()
		p.op(0x05)
		p.i32()
		p.labels = p.labels[:len(p.labels)-1]
		p.op(0x0b)
	case 10:
		p.i32()
		p.i32()
		p.op(0x10, byte(p.pick(3)))
	case 11:
		p.i32()
		p.i32()
		p.i32()
		p.op(0x41, 3, 0x71, 0x11, 0, 0) // the table has three functions and a null
	case 12: // a loop that takes its operand
		p.i32()
		p.op(0x03, 1)
		p.labels = append(p.labels, false)
		p.gas()
		p.op(0x41, byte(1+p.pick(9)), 0x6b, 0x22, 2, 0x20, 2, 0x41, 0, 0x4a, 0x0d, 0)
		p.labels = p.labels[:len(p.labels)-1]
		p.op(0x0b)
	case 13:
		p.op([][]byte{{0x23, 1}, {0x3f, 0}, {0x20, 4, 0xa7}}[p.pick(3)]...)
	}
	p.depth--
}

func (p *program) statements() {
	for n := p.pick(4); n >= 0; n-- {
		p.statement()
	}
}

// label finds a label without a value, or returns the one of a block around all.
func (p *program) label() byte {
	for range 4 {
		if l := p.pick(len(p.labels)); p.labels[len(p.labels)-1-l] {
			return byte(l)
		}
	}
	return byte(len(p.labels) - 1)
}

func (p *program) statement() {
	if p.depth++; p.depth > 6 || p.size > 800 {
		p.op(0x01)
		p.depth--
		return
	}
	inside := func(void bool, body func()) {
		p.labels = append(p.labels, void)
		body()
		p.labels = p.labels[:len(p.labels)-1]
	}
	switch p.pick(13) {
	case 0, 1:
		p.i32()
		p.op(0x21, byte(p.pick(4)))
	case 2:
		p.i32()
		p.op(0x41, 0xff, 0xff, 3, 0x71)
		p.i32()
		p.op(0x36, 0, byte(p.pick(8)))
	case 3:
		p.i32()
		p.op(0x04, 0x40)
		inside(true, func() {
			p.statements()
			if p.pick(2) == 0 {
				p.op(0x05)
				p.statements()
			}
		})
		p.op(0x0b)
	case 4:
		p.op(0x02, 0x40)
		inside(true, p.statements)
		p.op(0x0b)
	case 5, 6:
		p.op(0x03, 0x40)
		inside(true, func() {
			p.gas()
			p.statements()
			p.i32()
			p.op(0x0d, 0)
		})
		p.op(0x0b)
	case 7:
		p.i32()
		p.op(0x0d, p.label())
	case 8:
		p.i32()
		p.op(0x0e, 2, p.label(), p.label(), p.label())
	case 9:
		p.op(0x0c, p.label())
	case 10:
		p.i32()
		p.op(0x0f)
	case 11:
		p.i32()
		p.i32()
		p.i32()
		p.op(0x41, 0xff, 1, 0x71, 0xfc, [...]byte{11, 10}[p.pick(2)], 0)
		if p.code[len(p.code)-2] == 10 {
			p.op(0)
		}
	case 12:
		p.i32()
		p.op(0x24, 1)
		p.op(0x20, 4, 0x42, 3, 0x7c, 0x21, 4)
	}
	p.depth--
}

func (p *program) function() []byte {
	p.code, p.labels, p.depth, p.size = []byte{2, 2, 0x7f, 1, 0x7e}, []bool{true}, 0, 0
	p.gas()
	p.op(0x02, 0x40)
	p.statements()
	p.statements()
	p.op(0x0b)
	p.depth = 0
	p.labels = []bool{false}
	p.i32()
	p.op(0x0b)
	return sized(p.code)
}

func (p *program) module() []byte {
	return source{
		types:   [][]byte{{0x60, 2, 0x7f, 0x7f, 1, 0x7f}, {0x60, 1, 0x7f, 1, 0x7f}},
		funcs:   [][]byte{{0}, {0}, {0}},
		tables:  [][]byte{{0x70, 0, 4}},
		memory:  []byte{1, 1, 2},
		globals: [][]byte{{0x7f, 1, 0x41, 0xf4, 3, 0x0b}, {0x7f, 1, 0x41, 5, 0x0b}},
		exports: [][]byte{
			cat(text("f"), []byte{0, 0}), cat(text("g"), []byte{0, 1}), cat(text("h"), []byte{0, 2}),
			cat(text("gas"), []byte{3, 0}), cat(text("global"), []byte{3, 1}),
		},
		elements: [][]byte{{0, 0x41, 0, 0x0b, 3, 0, 1, 2}},
		code:     [][]byte{p.function(), p.function(), p.function()},
	}.module()
}

// outcome calls a program's functions, until stop, and tells all that can be seen.
func outcome(mod api.Module, stop func() bool) string {
	s := ""
	for _, f := range []string{"f", "g", "h"} {
		for _, args := range [][]uint64{{0, 0}, {3, 40}} {
			r, err := mod.ExportedFunction(f).Call(context.Background(), args...)
			s += fmt.Sprintf("%s%v = %v, failed %v; ", f, args, r, err != nil)
			if stop() {
				return s
			}
		}
	}
	h := fnv.New64()
	b, _ := mod.Memory().Read(0, mod.Memory().Size())
	_, _ = h.Write(b)
	return s + fmt.Sprintf("memory %x, globals %d %d", h.Sum64(), mod.ExportedGlobal("gas").Get(), mod.ExportedGlobal("global").Get())
}

// agree runs a program as it is and metered: the results, the memory and the globals are the same.
func agree(t *testing.T, engine string, program []byte) (fuel int64) {
	t.Helper()
	ctx := context.Background()
	rt := newRuntime(t, engine)
	defer rt.Close(ctx)
	plain, err := rt.InstantiateWithConfig(ctx, program, wazero.NewModuleConfig().WithName(""))
	if err != nil {
		t.Fatalf("the program is not valid: %v\n%x", err, program)
	}
	m := instantiate(t, rt, program)
	m.budget.Set(1 << 40)
	never := func() bool { return false }
	want, got := outcome(plain, never), outcome(m.Module, never)
	if want != got {
		t.Fatalf("%s:\n%s\nwant\n%s\n%x", engine, got, want, program)
	}
	return 1<<40 - int64(m.budget.Get()) - int64(m.fuel.Get())
}

// TestPrograms runs generated programs as they are and metered, in both engines, which must count the same fuel.
func TestPrograms(t *testing.T) {
	n := 1500
	if testing.Short() {
		n = 100
	}
	rnd := rand.New(rand.NewPCG(4, 2))
	for range n {
		p := program{pick: rnd.IntN}
		m := p.module()
		if a, b := agree(t, "interpreter", m), agree(t, "compiler", m); a != b {
			t.Fatalf("%d fuel in the interpreter, %d in the compiler:\n%x", a, b, m)
		}
	}
}

// FuzzPrograms is the same with the choices from the fuzzer.
func FuzzPrograms(f *testing.F) {
	for i := range 8 {
		f.Add(binary.LittleEndian.AppendUint64(nil, uint64(i)*0x9e3779b97f4a7c15))
	}
	f.Fuzz(func(t *testing.T, choices []byte) {
		at := 0
		p := program{pick: func(n int) int {
			if at >= len(choices) {
				return 0
			}
			at++
			return int(choices[at-1]) % n
		}}
		agree(t, "interpreter", p.module())
	})
}
