package wasm

import (
	"context"
	"fmt"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/weir-stream/weir/operators/abi"
)

// guestKey finds the guest that calls a host function: its context, made once, carries it.
type guestKey struct{}

func guestOf(ctx context.Context) *guest { return ctx.Value(guestKey{}).(*guest) }

// hostFunc is a function offered to guests. Its parameters and result are written with the letters of signature.
type hostFunc struct {
	name, params, results string
	call                  func(g *guest, mem api.Memory, stack []uint64)
}

// signature reads i as i32, I as i64, f as f32 and F as f64.
func signature(s string) []api.ValueType {
	types := make([]api.ValueType, len(s))
	for i, c := range s {
		types[i] = map[rune]api.ValueType{
			'i': api.ValueTypeI32, 'I': api.ValueTypeI64, 'f': api.ValueTypeF32, 'F': api.ValueTypeF64,
		}[c]
	}
	return types
}

// weirFuncs are the imports of the contract.
func weirFuncs() []hostFunc {
	return []hostFunc{
		{abi.ImportLog, "iii", "", func(g *guest, mem api.Memory, stack []uint64) {
			if g.log.takes() {
				g.log.write(int32(stack[0]), message(mem, uint32(stack[1]), uint32(stack[2])))
			}
		}},
		{abi.ImportError, "ii", "", func(g *guest, mem api.Memory, stack []uint64) {
			g.message = message(mem, uint32(stack[0]), uint32(stack[1]))
		}},
	}
}

// message is text of a guest's memory, cut to a bounded length.
func message(mem api.Memory, addr, n uint32) string {
	b, ok := mem.Read(addr, min(n, abi.MaxMessageLen+1))
	if !ok {
		return fmt.Sprintf("(a message of %d bytes at %#x, which is outside the memory)", n, addr)
	}
	return shorten(string(b), abi.MaxMessageLen)
}

// offer makes the host modules in a runtime. Functions take the raw stack: no reflection.
func offer(ctx context.Context, rt wazero.Runtime) error {
	for module, funcs := range offered() {
		b := rt.NewHostModuleBuilder(module)
		for _, f := range funcs {
			b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(ctx context.Context, m api.Module, stack []uint64) {
				g := guestOf(ctx)
				g.tank.pay(fuelPerHostCall)
				f.call(g, m.Memory(), stack)
			}), signature(f.params), signature(f.results)).Export(f.name)
		}
		if _, err := b.Instantiate(ctx); err != nil {
			return fmt.Errorf("make host module %s: %w", module, err)
		}
	}
	return nil
}

func offered() map[string][]hostFunc {
	return map[string][]hostFunc{abi.ImportModule: weirFuncs(), abi.WASIModule: wasiFuncs()}
}
