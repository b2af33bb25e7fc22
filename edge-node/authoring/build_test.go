package authoring

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// compiles skips a test where the compiler of a language is not installed.
func compiles(t *testing.T, lang Language, err error) {
	t.Helper()
	var missing *MissingError
	if errors.As(err, &missing) {
		t.Skipf("%s: %v", lang, err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestFirstOperator makes the first operator of each kind in each language, builds it twice, and runs its golden files.
func TestFirstOperator(t *testing.T) {
	for _, k := range Kinds() {
		t.Run(k.Name, func(t *testing.T) { firstOperators(t, k.Name) })
	}
}

func firstOperators(t *testing.T, kind string) {
	for _, l := range languagesOf(kind) {
		lang := Language(l)
		t.Run(string(lang), func(t *testing.T) {
			if lang == Go && testing.Short() {
				t.Skip("compiles the Go runtime")
			}
			dir := filepath.Join(t.TempDir(), "my-op2")
			files, err := New(kind, lang, dir, "v1.2.3")
			if err != nil {
				t.Fatal(err)
			}
			if readme, err := os.ReadFile(filepath.Join(dir, "README.md")); err != nil || !bytes.Contains(readme, []byte("of weir v1.2.3")) && !bytes.Contains(readme, []byte("weir v1.2.3 has it")) {
				t.Errorf("%v\n%s", err, readme)
			}
			out, err := ModuleFile(dir)
			if err != nil || filepath.Base(out) != "my-op2.wasm" {
				t.Fatal(out, err)
			}
			var log bytes.Buffer
			got, err := Build(t.Context(), dir, out, &log)
			compiles(t, lang, err)
			if got != lang || log.Len() > 0 {
				t.Errorf("%s, the compiler says %s", got, &log)
			}
			module, err := ReadModule(out)
			if err != nil {
				t.Fatal(err)
			}
			again := filepath.Join(t.TempDir(), "again.wasm")
			if _, err := Build(t.Context(), dir, again, &log); err != nil {
				t.Fatal(err)
			}
			if b, _ := os.ReadFile(again); !bytes.Equal(b, module) {
				t.Error("a second build differs")
			}
			s := newSuite(t, module)
			n := 0
			for _, f := range files {
				if filepath.Ext(f) != ".txtar" {
					continue
				}
				n++
				g, err := ReadGolden(filepath.Join(dir, f))
				if err != nil {
					t.Fatal(err)
				}
				got, err := s.Run(t.Context(), g)
				if err != nil {
					t.Fatal(err)
				}
				if d := g.Diff(got); d != "" {
					t.Errorf("%s:\n%s", f, d)
				}
			}
			if want := map[string]int{"step": 3}[kind]; n != max(want, 2) {
				t.Errorf("%d golden files of %v", n, files)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, ".weir-build-*")); left != nil {
				t.Errorf("left behind: %v", left)
			}
			if _, err := New(kind, lang, dir, ""); err == nil || !strings.Contains(err.Error(), "not empty") {
				t.Errorf("written over: %v", err)
			}
		})
	}
}

// TestBuildExamples builds what is committed, so that both ways of building agree.
func TestBuildExamples(t *testing.T) {
	if os.Getenv("CLANG") != "" {
		t.Skip("another clang builds other bytes")
	}
	if _, err := exec.LookPath("clang-19"); err != nil {
		t.Skip("the committed modules are built by clang-19")
	}
	for _, name := range []string{"calibrate", "severity", "explode"} {
		out := filepath.Join(t.TempDir(), "op.wasm")
		var log bytes.Buffer
		if _, err := Build(t.Context(), filepath.Join("..", "..", "examples", "operators", name), out, &log); err != nil {
			t.Fatalf("%v\n%s", err, &log)
		}
		if b, _ := os.ReadFile(out); !bytes.Equal(b, example(t, name)) {
			t.Errorf("%s is not what examples/operators/build.sh makes", name)
		}
	}
}

func TestBuildProblems(t *testing.T) {
	write := func(files map[string]string) string {
		dir := t.TempDir()
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	build := func(dir string) (string, error) {
		var log bytes.Buffer
		_, err := Build(t.Context(), dir, filepath.Join(dir, "op.wasm"), &log)
		return log.String(), err
	}
	if _, err := build(write(map[string]string{"notes.txt": ""})); err == nil || !strings.Contains(err.Error(), "no .c, .cc, .cpp, .go or .ts file") {
		t.Error(err)
	}
	if _, err := build(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	t.Run("source", func(t *testing.T) {
		dir := write(map[string]string{"a.c": "#include \"weir.h\"\nthis is not C\n", "op.wasm": "old"})
		log, err := build(dir)
		var missing *MissingError
		if errors.As(err, &missing) {
			t.Skip(err)
		}
		if err == nil || !strings.Contains(err.Error(), "it does not compile") || !strings.Contains(log, "a.c:2:1") {
			t.Errorf("%v\n%s", err, log)
		}
		if b, _ := os.ReadFile(filepath.Join(dir, "op.wasm")); string(b) != "old" {
			t.Error("the last module is gone")
		}
	})
	for name, c := range map[string]struct{ file, want string }{
		"c":    {"a.c", "there is no clang: install clang and lld"},
		"c++":  {"a.cc", "there is no clang: install clang and lld"},
		"go":   {"a.go", "there is no go: install Go 1.24 or newer"},
		"rust": {"Cargo.toml", "there is no cargo: install Rust"},

		"assemblyscript": {"a.ts", "there is no asc, the AssemblyScript compiler: install Node.js"},
	} {
		t.Run(name+" is missing", func(t *testing.T) {
			t.Setenv("PATH", t.TempDir())
			t.Setenv("CLANG", "")
			t.Setenv("ASC", "")
			if _, err := build(write(map[string]string{c.file: ""})); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Error(err)
			}
		})
	}
}

func TestNewProblems(t *testing.T) {
	for _, name := range []string{"Scale", "1st", "a b", "a--b", "-a", "a.b", "größe", strings.Repeat("a", 65)} {
		dir := filepath.Join(t.TempDir(), name)
		if _, err := New("step", C, dir, ""); err == nil || !strings.Contains(err.Error(), "lower case letters") {
			t.Errorf("%q: %v", name, err)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s was made", dir)
		}
	}
	if _, err := New("step", "cobol", filepath.Join(t.TempDir(), "a"), ""); err == nil || !strings.Contains(err.Error(), "use one of [assemblyscript c go") {
		t.Error(err)
	}
}
