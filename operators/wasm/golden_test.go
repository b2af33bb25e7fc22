package wasm

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden holds every example operator, in both engines, to what it gave when somebody looked.
func TestGolden(t *testing.T) {
	schema, rows := sensors(t, 36)
	for _, c := range []struct{ file, module, config string }{
		{"calibrate", "calibrate", `{"offset": 0.5, "scale": 2, "classes": {"oven": -4}}`},
		{"calibrate", "calibrate-go", `{"offset": 0.5, "scale": 2, "classes": {"oven": -4}}`},
		{"severity", "severity", `{"warning": 40, "critical": 75}`},
		{"severity", "severity-go", `{"warning": 40, "critical": 75}`},
	} {
		for _, interpreter := range []bool{false, true} {
			ch := newChain(t, schema, 64<<10, Config{Module: example(t, c.module), Config: []byte(c.config), Interpreter: interpreter})
			b := ch.decode(t, schema, rows)
			if err := ch.ops[0].Process(context.Background(), b); err != nil {
				t.Fatal(err)
			}
			got, file := render(b), filepath.Join("testdata", "golden", c.file+".txt")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want := string(guestFile(t, file)); got != want {
				t.Errorf("%s, interpreter %v:\n%s\nwant\n%s", c.module, interpreter, got, want)
			}
		}
	}
}

// TestEveryExampleIsHeld: an example that is added has golden files, its own or those of the same operator in C. TestOpExamples of
// edge-node/cli runs them in both engines. Aggregates have no golden files, and tests of their own.
func TestEveryExampleIsHeld(t *testing.T) {
	folder := filepath.Join("..", "..", "examples", "operators")
	files, err := filepath.Glob(filepath.Join(folder, "*", "*.wasm"))
	if err != nil || len(files) == 0 {
		t.Fatal("no examples", err)
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".wasm")
		base, _, _ := strings.Cut(name, "-")
		held := name == "weighted-mean"
		for _, of := range []string{name, base} {
			goldens, err := filepath.Glob(filepath.Join(folder, of, "testdata", "*.txtar"))
			if err != nil {
				t.Fatal(err)
			}
			held = held || len(goldens) > 0
		}
		if !held {
			t.Errorf("%s: nothing holds it to golden rows in both engines", name)
		}
	}
}
