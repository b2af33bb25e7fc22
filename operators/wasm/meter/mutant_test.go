package meter_test

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/tetratelabs/wazero"

	"github.com/weir-stream/weir/operators/wasm/meter"
)

// mutant runs a program that was changed as long as its fuel and its stack last, in both engines, and then, since it ends, without
// either. All that can be seen is the same, and the engines count the same fuel. It tells whether the program was valid, and
// whether it ended.
func mutant(t *testing.T, program []byte) (valid, ended bool) {
	t.Helper()
	ctx := context.Background()
	rewritten, err := meter.Rewrite(program, limits)
	if err != nil {
		return false, false
	}
	const fuel = 1 << 22
	var outcomes [2]string
	var used [2]int64
	ended = true
	for i, engine := range []string{"interpreter", "compiler"} {
		rt := newRuntime(t, engine)
		defer rt.Close(ctx)
		plain, err := rt.CompileModule(ctx, program)
		if err != nil {
			return false, false
		}
		instance, err := rt.InstantiateModule(ctx, plain, wazero.NewModuleConfig().WithName(""))
		if err != nil {
			return false, false // a segment outside the memory, say
		}
		m := connect(t, rt, rewritten)
		m.budget.Set(fuel)
		outcomes[i] = outcome(m.Module, m.stopped)
		used[i] = fuel - int64(m.budget.Get()) - int64(m.fuel.Get())
		if m.stopped() {
			ended = false
			continue
		}
		if want := outcome(instance, func() bool { return false }); want != outcomes[i] {
			t.Fatalf("%s:\n%s\nwant\n%s\n%x", engine, outcomes[i], want, program)
		}
	}
	if outcomes[0] != outcomes[1] || used[0] != used[1] {
		t.Fatalf("interpreter: %d fuel, %s\ncompiler: %d fuel, %s\n%x", used[0], outcomes[0], used[1], outcomes[1], program)
	}
	return true, ended
}

// TestMutants changes bytes of the code of generated programs.
func TestMutants(t *testing.T) {
	n := 8000
	if testing.Short() {
		n = 800
	}
	rnd := rand.New(rand.NewPCG(9, 3))
	var valid, ended int
	var m []byte
	for i := range n {
		if i%20 == 0 {
			p := program{pick: rnd.IntN}
			m = p.module()
		}
		c := append([]byte(nil), m...)
		for range 1 + rnd.IntN(2) {
			at := len(c)/4 + rnd.IntN(len(c)-len(c)/4)
			if rnd.IntN(2) == 0 {
				c[at] = byte(rnd.IntN(0xc5))
			} else {
				c[at] ^= 1 << rnd.IntN(5)
			}
		}
		v, e := mutant(t, c)
		if v {
			valid++
		}
		if e {
			ended++
		}
	}
	t.Logf("%d of %d are valid, %d of these end", valid, n, ended)
	if valid < n/20 || ended < valid/4 {
		t.Fatal("too few to mean something")
	}
}

// FuzzMutants is the same with the changes from the fuzzer.
func FuzzMutants(f *testing.F) {
	rnd := rand.New(rand.NewPCG(5, 1))
	for range 8 {
		p := program{pick: rnd.IntN}
		f.Add(p.module())
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		mod, err := meter.Rewrite(program, limits)
		if err != nil || len(mod) > 1<<16 || !exportsProgram(t, program) {
			return
		}
		mutant(t, program)
	})
}

// exportsProgram tells whether a module has what outcome looks at.
func exportsProgram(t *testing.T, module []byte) bool {
	rt := newRuntime(t, "interpreter")
	defer rt.Close(context.Background())
	c, err := rt.CompileModule(context.Background(), module)
	if err != nil || len(c.ImportedFunctions()) > 0 {
		return false
	}
	for _, name := range []string{"f", "g", "h"} {
		d := c.ExportedFunctions()[name]
		if d == nil || len(d.ParamTypes()) != 2 {
			return false
		}
	}
	return c.ExportedMemories()["memory"] != nil
}
