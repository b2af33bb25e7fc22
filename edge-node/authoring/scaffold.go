package authoring

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"
)

// templates has a folder for each kind of operator, and one for what a language needs whatever the kind:
//
//	KIND/...             files in every language: the README, golden files
//	KIND/LANGUAGE/...    the operator in a language; without that folder there is none in it
//	languages/LANGUAGE/  what its build needs
//
// A file "x/NAME.c.tmpl" becomes x/scale.c of an operator called scale. The templates get a [first].
//
//go:embed templates
var templates embed.FS

// languageFiles is the folder of templates that is no kind.
const languageFiles = "languages"

// Kinds lists the kinds of operators that New can make, with a line about each. The first is the default.
func Kinds() []Kind {
	return []Kind{
		{"step", "changes batches: columns and rows come and go"},
		{"function", "a value for each row, called in the expressions of filter and map"},
		{"aggregate", "an answer for the rows of each window and key"},
	}
}

// Kind is a kind of operator: the name of a folder of templates.
type Kind struct{ Name, About string }

// nameRule is what an operator may be called: it becomes a folder, a file, a Go module.
var nameRule = regexp.MustCompile(`^[a-z][a-z0-9]*([-_][a-z0-9]+)*$`)

// first is what the templates know.
type first struct {
	Name      string
	Function  string   // what the README calls it in expressions: the name, with _ for -
	Lang      Language // c, go, ...
	Language  string   // for people: C, Go, ...
	Version   string   // of weir
	GoVersion string   // that go.mod asks for
	Needs     string   // what the author must have installed
	Source    string   // file of the operator
	Library   string   // about the library
}

// New writes the folder of a first operator of a kind: its source, the library, golden files and a README. The last element
// of the path is the operator's name. version is that of this program. The folder must not exist, or be empty. The files
// that were written come back, sorted.
func New(kind string, lang Language, dir, version string) ([]string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	name := filepath.Base(abs)
	if !nameRule.MatchString(name) || len(name) > 64 {
		return nil, fmt.Errorf("the name %q: use lower case letters and digits, with - or _ between", name)
	}
	if !slices.ContainsFunc(Kinds(), func(k Kind) bool { return k.Name == kind }) {
		return nil, fmt.Errorf("no first operator of kind %q", kind)
	}
	all := languages()
	at := slices.IndexFunc(all, func(l *language) bool { return l.id == lang && l.title != "" })
	if at < 0 {
		return nil, fmt.Errorf("no first operator in %q: use one of %v", lang, Languages())
	}
	l := all[at]
	if _, err := fs.Stat(templates, path.Join("templates", kind, string(lang))); err != nil {
		return nil, fmt.Errorf("no first operator of kind %s in %s: there is one in %s", kind, l.title, strings.Join(languagesOf(kind), ", "))
	}
	f := first{
		Name: name, Function: strings.ReplaceAll(name, "-", "_"), Lang: lang, Language: l.title, Version: version, GoVersion: "1.24", Needs: l.needs,
		Source: strings.ReplaceAll(l.source, "NAME", name), Library: fmt.Sprintf(l.library, version),
	}
	files := l.copied()
	for _, folder := range []string{path.Join(languageFiles, string(lang)), kind} {
		made, err := f.fill(folder)
		if err != nil {
			return nil, err
		}
		maps.Copy(files, made)
	}
	if err := emptyFolder(dir); err != nil {
		return nil, err
	}
	if err := writeFiles(dir, files); err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(files)), nil
}

// languagesOf lists the languages that a kind has templates in.
func languagesOf(kind string) []string {
	return slices.DeleteFunc(Languages(), func(lang string) bool {
		_, err := fs.Stat(templates, path.Join("templates", kind, lang))
		return err != nil
	})
}

// fill fills in the templates of a folder. Below the folder of a kind, those of other languages are left out.
func (f *first) fill(folder string) (map[string][]byte, error) {
	out := map[string][]byte{}
	root := path.Join("templates", folder)
	err := fs.WalkDir(templates, root, func(file string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && file == root {
			return nil // a language whose build needs nothing
		}
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(strings.TrimPrefix(file, root), "/")
		if d.IsDir() {
			if isLanguage(name) && name != string(f.Lang) {
				return fs.SkipDir
			}
			return nil
		}
		t, err := template.New(path.Base(file)).Option("missingkey=error").ParseFS(templates, file)
		if err != nil {
			return fmt.Errorf("template %s: %w", file, err)
		}
		var b bytes.Buffer
		if err := t.Execute(&b, f); err != nil {
			return fmt.Errorf("template %s: %w", file, err)
		}
		name = strings.TrimPrefix(name, string(f.Lang)+"/")
		name = strings.TrimSuffix(strings.ReplaceAll(name, "NAME", f.Name), ".tmpl")
		out[name] = b.Bytes()
		return nil
	})
	return out, err
}

func isLanguage(name string) bool {
	return slices.ContainsFunc(languages(), func(l *language) bool { return string(l.id) == name })
}

// writeFiles writes files, by their path with slashes, below a folder.
func writeFiles(dir string, files map[string][]byte) error {
	for name, b := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, b, 0o644); err != nil {
			return err
		}
	}
	return nil
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
