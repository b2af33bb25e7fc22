// Package meter rewrites a WebAssembly module so that whatever its functions do is paid for with fuel, that a call ends when
// the fuel is spent, and that a running guest gives way to the host now and then. Package wasm is its only caller; it
// promises that a module it accepts compiles after the rewrite exactly if it did before, gives the same results while
// there is fuel, and traps at the same place in every run when there is not enough.
//
// # What is charged
//
// One unit is about one instruction. A function body is cut where control can go two ways or come together: these
// pieces are straight, and each begins with a charge for its instructions. A small piece is charged together with one that
// always runs before it in the same round of the same loop, so a short loop is charged once per round, and what is
// charged but not run is bounded (foldLimit). Bulk operations cost, besides, a sixteenth of what they move.
//
// # What is limited
//
// Calls are limited by a stack of our own, since those of the engines end at depths that depend on the engine, and take much memory until then. A function that calls others takes from it what its frame
// may take: 8 bytes for each parameter and local and 64 more, a part of the compiler's worst case if that is more, and always so much that not more than MaxDepth
// calls fit. A function that calls none is free, unless its frame may be large.
//
//	entry:        s = stack - frame; if s < 0 { stack = s; unreachable }
//	call:         stack = s; call
//
// Nothing is given back at the end of a function, since the caller sets the stack before its next call.
//
// Whether there is fuel left is checked at every loop head, at the entry of every function that calls another, and at
// bulk operations: there is no way to go on for ever without passing one. Between two checks there is less than the
// function is long.
//
// A function keeps the fuel in a local, f, since a register is faster than a global. It is in the global whenever another
// function runs:
//
//	entry:        f = fuel
//	charge:       f -= cost
//	check:        if f < 0 { fuel = f; slow(); f = fuel }
//	loop:         loop { check; loop { f -= cost; if f < 0 { continue outer }; ... } }
//	call, bulk:   fuel = f; call; f = fuel
//	return:       fuel = f
//
// The second loop around a loop keeps the call of slow out of it: a compiler that sees a call in a loop keeps the loop's
// variables in memory.
//
//	slow:    memory.grow 0                          // leaves the guest: Go can collect garbage and run others
//	         if stop != 0 { unreachable }
//	         if fuel + budget < 0 { fuel = MinInt64; unreachable }
//	         fuel, budget = at most slice, the rest
//
// # What is appended
//
//	types      () -> (), (i32) -> (i32)
//	functions  slow, bulk                           // bulk charges for n bytes or entries and returns n
//	locals     f i64, in every function; s i64, where a function takes of the stack
//	globals    fuel i64, budget i64, stop i32, stack i64   // exported for the host as ExportFuel, ...
//
// They are the last of their index spaces, and of each function's locals, so nothing else changes its index. A module that names an index beyond
// its own anywhere, or has an export with [Prefix], is refused, and so is every section and opcode this package
// does not know: a guest cannot reach what meters it.
//
// Format: https://webassembly.github.io/spec/core/binary/index.html, version 2.
package meter

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Exports of a rewritten module, all mutable globals.
const (
	// Prefix begins the names of these exports. A module that exports such a name is refused.
	Prefix = "__weir_"
	// ExportFuel (i64) is what is left of the slice the guest runs on. Spent after it ran out.
	ExportFuel = Prefix + "fuel"
	// ExportBudget (i64) is what is left beside the slice. Fuel and budget together are what the guest may use; both are 0 at the
	// start, so that a guest the host forgot about traps at once.
	ExportBudget = Prefix + "budget"
	// ExportStop (i32) ends the guest with a trap soon after it is set to another value than 0.
	ExportStop = Prefix + "stop"
	// ExportStack (i64) is what of Limits.Stack is left, in bytes. It must be set before each call. It is below 0 after a trap because the
	// stack was full, and not otherwise.
	ExportStack = Prefix + "stack"
)

// Spent is the value of ExportFuel, as i64, after a trap because the fuel ran out.
const Spent = -1 << 63

// Slice is about how much fuel a guest runs on before it gives way to the host: about a tenth of a millisecond.
const Slice = 200_000

// Rewrite returns the module with every path metered, and its stack limited. The module must have a memory. The error says what is wrong with the module, as the end of a sentence that begins with its name.
func Rewrite(module []byte, limits Limits) ([]byte, error) {
	if len(module) < 8 || string(module[:8]) != "\x00asm\x01\x00\x00\x00" {
		return nil, errors.New("not a Wasm module of version 1")
	}
	limits = limits.withDefaults()
	if err := limits.validate(); err != nil {
		return nil, err
	}
	w := rewriter{limits: limits}
	if err := w.split(module[8:]); err != nil {
		return nil, err
	}
	for i := range w.sections {
		if err := w.count(&w.sections[i]); err != nil {
			return nil, err
		}
	}
	if w.memories == 0 {
		return nil, errors.New("without a memory")
	}
	if w.defined > uint32(limits.Functions) {
		return nil, fmt.Errorf("with %d functions: at most %d are allowed (limits.functions)", w.defined, limits.Functions)
	}
	if w.bodies != w.defined {
		return nil, fmt.Errorf("damaged: %d functions but %d bodies", w.defined, w.bodies)
	}
	w.insertMissing()
	out := append(make([]byte, 0, len(module)+len(module)/2), module[:8]...)
	for i := range w.sections {
		s := &w.sections[i]
		body, err := w.rewrite(s)
		if err != nil {
			return nil, err
		}
		if len(out)+len(body) > limits.Size {
			return nil, w.tooLarge()
		}
		out = append(out, s.id)
		out = binary.AppendUvarint(out, uint64(len(body)))
		out = append(out, body...)
	}
	return out, nil
}

// rewriter is one run of Rewrite.
type rewriter struct {
	limits   Limits
	sections []section

	// Sizes of the index spaces of the module as it was given.
	types, functions, globals, tables, memories uint32
	imported, defined, bodies                   uint32 // functions
	elements, data                              uint32
	params, arity                               []uint32 // by type: parameters, and these and results together
	typeOf                                      []uint32 // by function
	typeEffort                                  int64    // see shape.effort
	code                                        coder
}

func (w *rewriter) tooLarge() error {
	return fmt.Errorf("over %d bytes with its fuel checks: it has unusually many loops and branches", w.limits.Size)
}

// Indices of what is appended.
func (w *rewriter) slowFunc() uint32     { return w.functions }
func (w *rewriter) bulkFunc() uint32     { return w.functions + 1 }
func (w *rewriter) fuelGlobal() uint32   { return w.globals }
func (w *rewriter) budgetGlobal() uint32 { return w.globals + 1 }
func (w *rewriter) stopGlobal() uint32   { return w.globals + 2 }
func (w *rewriter) stackGlobal() uint32  { return w.globals + 3 }
