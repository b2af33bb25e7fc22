package authoring

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// Language is one that operators are written in.
type Language string

// The languages that Build knows how to compile.
const (
	C              Language = "c"
	CPP            Language = "c++"
	Go             Language = "go"
	Rust           Language = "rust"
	AssemblyScript Language = "assemblyscript"
)

// language is what there is to know of a language: how to tell it, how to build it, and what New writes for it beside the
// templates.
type language struct {
	id    Language
	files []string // patterns of files that tell it, "*.c" or a name
	// build compiles the folder dir, with room for files in tmp. It returns where the module is.
	build func(ctx context.Context, dir, tmp string, log io.Writer) (string, error)

	// The rest is for New; a language without a title has no first operator.
	title   string
	needs   string                   // what the author must have, for the README
	source  string                   // where the operator is in the folder; NAME stands for its name
	library string                   // what the README says of the library; %s is weir's version
	copied  func() map[string][]byte // the library, by file in the folder
}

// languages lists them all. Detect takes the first that has a file in the folder.
func languages() []*language {
	return []*language{langRust(), langGo(), langAssemblyScript(), langCPP(), langC()}
}

// Languages lists the languages that New has a first operator for.
func Languages() []string {
	var names []string
	for _, l := range languages() {
		if l.title != "" {
			names = append(names, string(l.id))
		}
	}
	slices.Sort(names)
	return names
}

// Detect finds the language of the operator in a folder, by the files in it.
func Detect(dir string) (Language, error) {
	l, err := detect(dir)
	if err != nil {
		return "", err
	}
	return l.id, nil
}

func detect(dir string) (*language, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	has := map[string]bool{}
	for _, e := range entries {
		if !e.IsDir() {
			has[e.Name()], has["*"+filepath.Ext(e.Name())] = true, true
		}
	}
	for _, l := range languages() {
		for _, f := range l.files {
			if has[f] {
				return l, nil
			}
		}
	}
	return nil, fmt.Errorf("%s has no operator: no .c, .cc, .cpp, .go or .ts file and no Cargo.toml; 'weir op new' makes one", dir)
}

// below puts files into a folder.
func below(folder string, files map[string][]byte) map[string][]byte {
	out := make(map[string][]byte, len(files))
	for name := range maps.Keys(files) {
		out[folder+"/"+name] = files[name]
	}
	return out
}
