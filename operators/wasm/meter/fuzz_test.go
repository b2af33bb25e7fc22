package meter_test

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/weir-stream/weir/operators/wasm/meter"
)

// modules are real modules, small ones first.
func modules(t testing.TB) [][]byte {
	var out [][]byte
	for _, pattern := range []string{"../testdata/*/*.wasm", "../../../examples/operators/*/*.wasm"} {
		files, err := filepath.Glob(pattern)
		if err != nil || files == nil {
			t.Fatalf("no modules in %s, error %v", pattern, err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if len(b) < 64<<10 {
				out = append(out, b)
			}
		}
	}
	return out
}

// FuzzRewrite gives the rewriter anything. What it accepts compiles afterwards exactly if it did before.
func FuzzRewrite(f *testing.F) {
	for _, m := range modules(f) {
		f.Add(m)
	}
	for _, src := range endless {
		if m := src.module(); len(m) < 4<<10 {
			f.Add(m)
		}
	}
	f.Fuzz(func(t *testing.T, module []byte) { sameVerdict(t, module) })
}

// sameVerdict tells whether the module was accepted.
func sameVerdict(t *testing.T, module []byte) bool {
	out, err := meter.Rewrite(module, limits)
	if err != nil {
		return false
	}
	ctx := context.Background()
	rt := newRuntime(t, "interpreter")
	defer rt.Close(ctx)
	_, before := rt.CompileModule(ctx, module)
	_, after := rt.CompileModule(ctx, out)
	if (before == nil) != (after == nil) {
		t.Fatalf("before: %v\nafter:  %v\n%x", before, after, module)
	}
	if _, err := meter.Rewrite(out, limits); err == nil {
		t.Fatal("a metered module is accepted again")
	}
	return before == nil
}

// TestMutations changes bytes of real and generated modules: no panic, and the same verdict of the compiler.
func TestMutations(t *testing.T) {
	n := 20_000
	if testing.Short() {
		n = 1000
	}
	rnd := rand.New(rand.NewPCG(1, 7))
	seeds := modules(t)
	for range 20 {
		p := program{pick: rnd.IntN}
		seeds = append(seeds, p.module())
	}
	for _, s := range endless {
		if m := s.module(); len(m) < 4<<10 {
			seeds = append(seeds, m)
		}
	}
	valid := 0
	for i := range n {
		m := append([]byte(nil), seeds[i%len(seeds)]...)
		for range 1 + rnd.IntN(3) {
			at := 8 + rnd.IntN(len(m)-8)
			switch rnd.IntN(3) {
			case 0:
				m[at] = byte(rnd.Uint32())
			case 1:
				m[at] ^= 1 << rnd.IntN(8)
			case 2:
				m[at] = m[8+rnd.IntN(len(m)-8)]
			}
		}
		if sameVerdict(t, m) {
			valid++
		}
	}
	t.Logf("%d of %d mutations compile", valid, n)
	if valid < n/20 {
		t.Fatal("too few to mean something")
	}
}
