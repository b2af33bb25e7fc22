package weir_test

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// architecture is a set of rules that a tree of Go files can be checked against.
type architecture struct {
	module         string
	folders, built []string
	imports        map[string][]string
	guests         []string
	wiring         []string
	testSupport    []string
	testImports    []string
	gates          map[string][]string
}

// badNames say nothing about a package's job, or hide one of the standard library.
var badNames = []string{
	"util", "utils", "common", "helper", "helpers", "types", "base", "misc", "shared", "core",
	"bytes", "context", "errors", "http", "io", "json", "log", "net", "os", "plugin", "runtime", "sort", "strings", "sync", "testing", "time",
}

// check returns what is wrong, a line each. All files are read, whatever system they are for.
func (a *architecture) check(tree fs.FS) ([]string, error) {
	var problems []string
	dirs := map[string][]sourceFile{}
	err := fs.WalkDir(tree, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return a.enter(tree, p, &problems)
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		src, err := fs.ReadFile(tree, p)
		if err != nil {
			return err
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, p, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dirs[path.Dir(p)] = append(dirs[path.Dir(p)], sourceFile{p, fset, f})
		return nil
	})
	for _, dir := range slices.Sorted(maps.Keys(dirs)) {
		problems = append(problems, a.checkPackage(dir, dirs[dir])...)
	}
	return problems, err
}

// enter decides about a folder on the way.
func (a *architecture) enter(tree fs.FS, p string, problems *[]string) error {
	name := path.Base(p)
	switch {
	case p == ".":
		return nil
	case name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || slices.Contains(a.built, p):
		return fs.SkipDir
	case !strings.Contains(p, "/") && !slices.Contains(a.folders, p):
		*problems = append(*problems, fmt.Sprintf("%s/: no such folder belongs at the top; it has %s", p, strings.Join(a.folders, " ")))
	}
	if _, err := fs.Stat(tree, path.Join(p, "go.mod")); err == nil {
		return fs.SkipDir // a module of its own
	}
	return nil
}

type sourceFile struct {
	path string
	fset *token.FileSet
	ast  *ast.File
}

func (f sourceFile) isTest() bool { return strings.HasSuffix(f.path, "_test.go") }

func (f sourceFile) at(pos token.Pos) string {
	p := f.fset.Position(pos)
	return fmt.Sprintf("%s:%d", p.Filename, p.Line)
}

func (a *architecture) checkPackage(dir string, files []sourceFile) []string {
	var problems []string
	may, known := lookup(a.imports, dir)
	if !known && dir != "." {
		problems = append(problems, dir+": no rule for this package: say in arch_test.go what it may import")
	}
	onlyTests := !slices.ContainsFunc(files, func(f sourceFile) bool { return !f.isTest() })
	commented := false
	for _, f := range files {
		name := f.ast.Name.Name
		if !f.isTest() || onlyTests {
			text := f.ast.Doc.Text()
			commented = commented || strings.HasPrefix(text, "Package "+name+" ") || name == "main" && text != ""
		}
		if !f.isTest() && slices.Contains(badNames, name) {
			problems = append(problems, fmt.Sprintf("%s: a package must not be called %s: name it for its job", f.at(f.ast.Name.Pos()), name))
		}
		for _, spec := range f.ast.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				problems = append(problems, fmt.Sprintf("%s: %v", f.at(spec.Pos()), err))
				continue
			}
			if why := a.judge(dir, may, known, imported, f.isTest()); why != "" {
				problems = append(problems, fmt.Sprintf("%s: %s must not import %s: %s", f.at(spec.Pos()), dir, imported, why))
			}
			if spec.Name != nil && spec.Name.Name == "_" && !f.isTest() && imported != "embed" && imported != "unsafe" {
				problems = append(problems, fmt.Sprintf("%s: %s is imported for its side effects; call what is needed", f.at(spec.Pos()), imported))
			}
		}
		if !f.isTest() && !covers(a.guests, dir) {
			problems = append(problems, inits(f)...)
		}
	}
	if !commented {
		problems = append(problems, dir+": no package comment that says what the package owns, who calls it, and what it promises")
	}
	return problems
}

// inits finds functions that run by themselves.
func inits(f sourceFile) []string {
	var problems []string
	for _, d := range f.ast.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			problems = append(problems, f.at(fn.Pos())+": init() registers nothing here: use an explicit list")
		}
	}
	return problems
}

// judge says why a package must not import another, or nothing.
func (a *architecture) judge(dir string, may []string, known bool, imported string, test bool) string {
	inside, ours := strings.CutPrefix(imported, a.module+"/")
	switch {
	case ours && dir != ".":
		if inside == dir { // the external test package
			return ""
		}
		allowed := may
		if test {
			stage, _, _ := strings.Cut(dir, "/")
			if slices.Contains(a.wiring, stage) {
				return ""
			}
			allowed = slices.Concat(may, a.testImports, []string{stage, stage + "/..."})
		} else if slices.Contains(a.testSupport, inside) {
			return "it is for tests"
		}
		if known && !covers(allowed, inside) {
			return fmt.Sprintf("it may import %v", allowed)
		}
	case ours || test:
		// The root has tests alone, and tests may use every dependency.
	case imported == "testing" && !slices.Contains(a.testSupport, dir):
		return "it belongs in test files"
	case imported == "log":
		return "use log/slog, through a logger that is handed over"
	case strings.Contains(strings.SplitN(imported, "/", 2)[0], "."):
		gate := ""
		for g := range a.gates {
			if (imported == g || strings.HasPrefix(imported, g+"/")) && len(g) > len(gate) {
				gate = g
			}
		}
		switch {
		case gate == "":
			return "no rule for this dependency: say in arch_test.go which package brings it in"
		case !covers(a.gates[gate], dir):
			return fmt.Sprintf("%s comes in through %v", gate, a.gates[gate])
		}
	}
	return ""
}

// lookup finds the entry of a package.
func lookup(table map[string][]string, dir string) ([]string, bool) {
	if v, ok := table[dir]; ok {
		return v, true
	}
	for p := path.Dir(dir); p != "."; p = path.Dir(p) {
		if v, ok := table[p+"/..."]; ok {
			return v, true
		}
	}
	return nil, false
}

// covers tells whether one of the entries stands for a package.
func covers(entries []string, pkg string) bool {
	return slices.ContainsFunc(entries, func(e string) bool {
		above, tree := strings.CutSuffix(e, "/...")
		return e == pkg || tree && strings.HasPrefix(pkg, above+"/")
	})
}

// A checker that never complains would pass every tree.
func TestArchitectureCheckComplains(t *testing.T) {
	const doc = "// Package p does.\n"
	for name, c := range map[string]struct {
		file, src, want string // want is empty for a file without fault
	}{
		"right":                     {"ingest/decode/a.go", doc + "package p\nimport (\"fmt\"; \"" + module + "/ingest/batch\")", ""},
		"stage imports stage":       {"ingest/decode/a.go", doc + "package p\nimport \"" + module + "/operators\"", "must not import " + module + "/operators"},
		"contract imports concrete": {"sink/a.go", doc + "package p\nimport \"" + module + "/sink/clickhouse\"", "may import [ingest/batch]"},
		"engine imports concrete":   {"edge-node/engine/a.go", doc + "package p\nimport \"" + module + "/ingest/kafka\"", "must not import"},
		"truth imports product":     {"bench/workload/a.go", doc + "package p\nimport \"" + module + "/operators/window\"", "must not import"},
		"dependency elsewhere":      {"sink/clickhouse/a.go", doc + "package p\nimport \"github.com/twmb/franz-go/pkg/kgo\"", "comes in through [ingest/kafka"},
		"narrower gate counts":      {"ingest/kafka/a.go", doc + "package p\nimport \"github.com/twmb/franz-go/pkg/kfake\"", "comes in through [edge-node/embedded/kafka]"},
		"like a gate, but not it":   {"ingest/kafka/a.go", doc + "package p\nimport \"github.com/twmb/franz-gone\"", "no rule for this dependency"},
		"unknown dependency":        {"sink/a.go", doc + "package p\nimport \"example.com/x\"", "no rule for this dependency"},
		"unknown package":           {"sink/kafka/a.go", doc + "package p", "no rule for this package"},
		"unknown folder":            {"pkg/a.go", doc + "package p", "pkg/: no such folder belongs at the top"},
		"no comment":                {"sink/a.go", "package p", "no package comment"},
		"comment of another":        {"sink/a.go", "// Sends things.\npackage p", "no package comment"},
		"bad name":                  {"sink/a.go", "// Package util does.\npackage util", "must not be called util"},
		"init":                      {"sink/a.go", doc + "package p\nfunc init() {}", "a.go:3: init()"},
		"init of a guest":           {"examples/operators/x/a.go", "// X does.\npackage main\nfunc init() {}", ""},
		"method called init":        {"sink/a.go", doc + "package p\ntype t int\nfunc (t) init() {}", ""},
		"side effects":              {"sink/clickhouse/a.go", doc + "package p\nimport _ \"github.com/ClickHouse/clickhouse-go/v2\"", "side effects"},
		"testing in the product":    {"sink/a.go", doc + "package p\nimport \"testing\"", "belongs in test files"},
		"global logger":             {"sink/a.go", doc + "package p\nimport \"log\"", "log/slog"},
		"test support":              {"edge-node/cli/a.go", doc + "package p\nimport \"" + module + "/edge-node/embedded/embeddedtest\"", "it is for tests"},
		"other systems too":         {"sink/a_windows.go", doc + "package p\nimport \"example.com/x\"", "no rule"},
		"test of a stage":           {"sink/clickhouse/a_test.go", doc + "package p\nimport (\"testing\"; \"" + module + "/edge-node/embedded/embeddedtest\")", ""},
		"test reaches over":         {"sink/clickhouse/a_test.go", doc + "package p\nimport \"" + module + "/operators/window\"", "must not import"},
		"test data":                 {"sink/testdata/a.go", "package util", ""},
		"built":                     {"bin/a.go", "package util", ""},
	} {
		t.Run(name, func(t *testing.T) {
			problems, err := rules().check(fstest.MapFS{c.file: {Data: []byte(c.src)}})
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(problems, "\n")
			if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
				t.Errorf("the check says %s, should say %s", cmp.Or(got, "nothing"), cmp.Or(c.want, "nothing"))
			}
		})
	}
	t.Run("module of its own", func(t *testing.T) {
		problems, err := rules().check(fstest.MapFS{"examples/guest/a.go": {Data: []byte("package util")}, "examples/guest/go.mod": {}})
		if err != nil || len(problems) > 0 {
			t.Errorf("error %v, problems %v", err, problems)
		}
	})
}
