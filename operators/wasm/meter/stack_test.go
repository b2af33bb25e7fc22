package meter_test

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"testing"

	"github.com/weir-stream/weir/operators/wasm/meter"
)

// deep are functions that call themselves for ever, each with a large frame of another kind in front of it.
func deep() map[string]source {
	get, set := func(i int) []byte { return binary.AppendUvarint([]byte{0x20}, uint64(i)) }, func(i int) []byte { return binary.AppendUvarint([]byte{0x21}, uint64(i)) }
	repeat := func(n int, f func(i int) []byte) []byte {
		var b []byte
		for i := range n {
			b = append(b, f(i)...)
		}
		return b
	}
	withLocals := func(n int, typ byte, code ...[]byte) source {
		s := function()
		s.code = [][]byte{sized(cat(binary.AppendUvarint([]byte{1}, uint64(n)), []byte{typ}, bytes.Join(code, nil), []byte{0x0b}))}
		return s
	}
	self := []byte{0x20, 0, 0x10, 0}
	many := func(n int) []byte { return bytes.Repeat([]byte{0x7e}, n) }
	wide := function(cat(repeat(900, get), []byte{0x10, 0})...) // 900 parameters and results, and they live across the call
	wide.types = [][]byte{cat([]byte{0x60}, binary.AppendUvarint(nil, 900), many(900), binary.AppendUvarint(nil, 900), many(900)), {0x60, 1, 0x7f, 1, 0x7f}}
	wide.funcs = [][]byte{{0}, {1}}
	wide.exports = [][]byte{cat(text("f"), []byte{0, 1})}
	wide.code = append(wide.code, body(cat(repeat(900, func(int) []byte { return []byte{0x42, 1} }), []byte{0x10, 0}, bytes.Repeat([]byte{0x1a}, 899), []byte{0xa7})...))
	mutual := recursion
	mutual.funcs = [][]byte{{0}, {0}}
	mutual.code = [][]byte{body(0x20, 0, 0x10, 1), body(0x20, 0, 0x41, 1, 0x6a, 0x10, 0)}
	leaf := mutual // the called function has a large frame, and calls nothing; it must not be free
	leaf.code = [][]byte{body(cat([]byte{0x20, 0, 0x10, 1, 0x1a}, self)...), body(cat(repeat(20_000, func(int) []byte { return []byte{0x20, 0, 0xad} }), bytes.Repeat([]byte{0x7c}, 19_999), []byte{0xa7})...)}
	return map[string]source{
		"plain":    function(self...),
		"mutual":   mutual,
		"by table": endless["recursion by a table"],
		"wide":     wide,
		"leaf":     leaf,
		"parameter loads across a call": function(cat(
			repeat(5000, func(i int) []byte {
				return cat([]byte{0x20, 0, 0x28, 2}, binary.AppendUvarint(nil, uint64(4*i)))
			}),
			self, bytes.Repeat([]byte{0x6a}, 5000))...),
		"vectors across a call": withLocals(3000, 0x7b,
			repeat(3000, func(i int) []byte { return cat([]byte{0x20, 0, 0xfd, 0x11}, set(i+1)) }), self,
			repeat(3000, func(i int) []byte { return cat(get(i+1), []byte{0xfd, 0x1b, 0, 0x6a}) })),
		"locals set in every loop": withLocals(80, 0x7f,
			repeat(80, func(int) []byte {
				return cat([]byte{0x03, 0x40}, repeat(80, func(i int) []byte { return cat(get(i+1), []byte{0x20, 0, 0x6a}, set(i+1)) }),
					self, []byte{0x21, 1}, repeat(80, func(i int) []byte { return cat(get(i+1), []byte{0x20, 0, 0x6c}, set(i+1)) }), []byte{0x20, 1, 0x0d, 0, 0x0b})
			}), []byte{0x20, 1}),
	}
}

// TestStack: calls without an end are ended by the stack, in both engines after the same work and before an engine's own limit.
func TestStack(t *testing.T) {
	for name, src := range deep() {
		t.Run(name, func(t *testing.T) {
			for _, stack := range []int{meter.MinStack, meter.DefaultStack, meter.MaxStack} {
				l := limits
				l.Stack = stack
				out, err := meter.Rewrite(src.module(), l)
				if err != nil {
					t.Fatal(err)
				}
				var used [2]int64
				for i, engine := range []string{"compiler", "interpreter"} {
					var before, after runtime.MemStats
					m := connect(t, newRuntime(t, engine), out)
					runtime.ReadMemStats(&before)
					m.stack.Set(uint64(stack))
					m.fuel.Set(0)
					m.budget.Set(1 << 40)
					_, err := m.ExportedFunction("f").Call(t.Context(), 1)
					runtime.ReadMemStats(&after)
					if err == nil || int64(m.stack.Get()) >= 0 || m.spent() {
						t.Fatalf("%s, %d bytes: error %v, stack %d", engine, stack, err, int64(m.stack.Get()))
					}
					used[i] = 1<<40 - int64(m.fuel.Get()) - int64(m.budget.Get())
					took := after.TotalAlloc - before.TotalAlloc
					t.Logf("%s, %d bytes: %d fuel, %d KiB allocated", engine, stack, used[i], took>>10)
					if engine == "compiler" && took > 4*uint64(worst(stack)) {
						t.Errorf("%d bytes of stack took %d", stack, took)
					}
				}
				if used[0] != used[1] {
					t.Errorf("%d bytes: %d fuel in the compiler, %d in the interpreter", stack, used[0], used[1])
				}
			}
		})
	}
}

// worst is what a stack may take at most.
func worst(stack int) int { return min(16*stack, 40<<20) + 1<<20 }

// TestDepth: what is nested less deep than the limit runs, with the stack set only once.
func TestDepth(t *testing.T) {
	s := function(0x20, 0, 0x45, 0x04, 0x40, 0x41, 7, 0x0f, 0x0b, 0x20, 0, 0x41, 1, 0x6b, 0x10, 0) // f(n) = n ? f(n-1) : 7
	for engine := range engines {
		m := instantiate(t, newRuntime(t, engine), s.module())
		for _, c := range []struct {
			n  uint64
			ok bool
		}{{0, true}, {1000, true}, {meter.MaxDepth - 2, true}, {meter.MaxDepth + 1, false}} {
			for range 3 {
				if r, _, err := m.call(1<<40, c.n); (err == nil) != c.ok || c.ok && r[0] != 7 {
					t.Fatalf("%s: depth %d: %v, error %v", engine, c.n, r, err)
				}
			}
		}
	}
}

// TestLargeFrames: a function takes of the stack for what the compiler may keep of it, even if it calls no other.
func TestLargeFrames(t *testing.T) {
	leaf := func(n int) []byte {
		return body(cat(bytes.Repeat([]byte{0x20, 0, 0xad}, n), bytes.Repeat([]byte{0x7c}, n-1), []byte{0xa7})...)
	}
	small, large := function(), function()
	small.code, large.code = [][]byte{leaf(100)}, [][]byte{leaf(20_000)}
	// 80 locals are set within 30 loops: each loop may keep each of them.
	set := []byte{}
	for i := range 80 {
		set = append(set, 0x20, 0, 0x21, byte(i+1))
	}
	loops := function()
	loops.code = [][]byte{sized(cat([]byte{1, 80, 0x7f}, bytes.Repeat([]byte{0x03, 0x40}, 30), set, bytes.Repeat([]byte{0x0b}, 30), []byte{0x20, 0, 0x41, 1, 0x6b, 0x22, 0, 0x04, 0x40, 0x20, 0, 0x10, 0, 0x1a, 0x0b, 0x20, 0, 0x0b}))}
	for _, c := range []struct {
		name string
		s    source
		n    uint64
		ok   bool
	}{{"small leaf", small, 1, true}, {"large leaf", large, 1, false}, {"4 in loops", loops, 4, true}, {"8 in loops", loops, 8, false}} {
		l := limits
		l.Stack = meter.MinStack
		out, err := meter.Rewrite(c.s.module(), l)
		if err != nil {
			t.Fatal(err)
		}
		m := connect(t, newRuntime(t, "interpreter"), out)
		m.budget.Set(1 << 40)
		if _, err := m.ExportedFunction("f").Call(t.Context(), c.n); (err == nil) != c.ok || m.stopped() == c.ok {
			t.Errorf("%s: error %v, stack %d", c.name, err, int64(m.stack.Get()))
		}
	}
}
