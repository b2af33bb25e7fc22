package authoring

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"text/template"

	"github.com/weir-stream/weir/operators/sdk"
)

//go:embed templates
var templates embed.FS

// Languages lists the languages that New has a first operator for.
func Languages() []string { return []string{string(C), string(Go), string(Rust)} }

// nameRule is what an operator may be called: it becomes a folder, a file, a Go module.
var nameRule = regexp.MustCompile(`^[a-z][a-z0-9]*([-_][a-z0-9]+)*$`)

// first is what the templates know.
type first struct {
	Name, Language, Version         string
	GoVersion                       string
	Refusal, Needs, Source, Library string
}

// New writes the folder of a first operator: its source, the library, golden files and a README. The last element of the
// path is the operator's name. version is that of this program. The folder must not exist, or be empty. The files that
// were written come back, sorted.
func New(lang Language, dir, version string) ([]string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	f := first{Name: filepath.Base(abs), Version: version, GoVersion: "1.24"}
	if !nameRule.MatchString(f.Name) || len(f.Name) > 64 {
		return nil, fmt.Errorf("the name %q: use lower case letters and digits, with - or _ between", f.Name)
	}
	content := map[string]string{} // file: template
	library := map[string][]byte{}
	switch lang {
	case C:
		f.Language, f.Needs = "C", "needs clang and lld"
		f.Refusal = "refused the input schema or its configuration: needs a float64 column value"
		f.Source = fmt.Sprintf("[`%s.c`](%s.c): the operator", f.Name, f.Name)
		f.Library = "[`weir.h`](weir.h): the library, all of it, as weir " + version + " has it. Its first hundred lines are its manual."
		content[f.Name+".c"] = "c/op.c.tmpl"
		library["weir.h"] = sdk.HeaderC()
	case Go:
		f.Language, f.Needs = "Go", "needs Go 1.24 or newer"
		f.Refusal = "refused the input schema or its configuration: needs a column value of type float64"
		f.Source = "[`main.go`](main.go): the operator"
		f.Library = "`sdk/`: the library, a copy of that of weir " + version + ", so that it builds without a network; `go.mod` says how to follow releases instead. " +
			"`GOOS=wasip1 GOARCH=wasm go doc -all github.com/weir-stream/weir/operators/sdk/go/weir` is its manual."
		content["main.go"], content["go.mod"], content["sdk/go.mod"] = "go/main.go.tmpl", "go/go.mod.tmpl", "go/sdk.mod.tmpl"
		for name, b := range sdk.GoPackage() {
			library["sdk/operators/sdk/go/weir/"+name] = b
		}
	case Rust:
		f.Language, f.Needs = "Rust", "needs Rust with the target wasm32-unknown-unknown"
		f.Refusal = "refused the input schema or its configuration: needs a column value of type float64"
		f.Source = "[`src/lib.rs`](src/lib.rs): the operator"
		f.Library = "`sdk/`: the library, a copy of the crate of weir " + version + ", so that it builds without a network. `cargo doc --open` shows its manual."
		content["src/lib.rs"], content["Cargo.toml"] = "rust/lib.rs.tmpl", "rust/Cargo.toml.tmpl"
		library[".gitignore"] = []byte("/target/\n")
		for name, b := range sdk.RustCrate() {
			library["sdk/"+name] = b
		}
	default:
		return nil, fmt.Errorf("no first operator in %q: use one of %v", lang, Languages())
	}
	content["README.md"] = "README.md.tmpl"
	content["testdata/"+f.Name+".txtar"] = "works.txtar.tmpl"
	content["testdata/refuses.txtar"] = "refuses.txtar.tmpl"
	for name, tmpl := range content {
		if library[name], err = f.fill(tmpl); err != nil {
			return nil, err
		}
	}
	if err := emptyFolder(dir); err != nil {
		return nil, err
	}
	names := slices.Sorted(maps.Keys(library))
	for _, name := range names {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(file, library[name], 0o644); err != nil {
			return nil, err
		}
	}
	return names, nil
}

func (f *first) fill(name string) ([]byte, error) {
	t, err := template.New(filepath.Base(name)).Option("missingkey=error").ParseFS(templates, "templates/"+name)
	if err != nil {
		return nil, fmt.Errorf("template %s: %w", name, err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, f); err != nil {
		return nil, fmt.Errorf("template %s: %w", name, err)
	}
	return b.Bytes(), nil
}

// emptyFolder makes a folder, or takes one that is there and empty.
func emptyFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return os.MkdirAll(dir, 0o755)
	case err != nil:
		return err
	case len(entries) > 0:
		return fmt.Errorf("%s is there and not empty: nothing was written", dir)
	}
	return nil
}
