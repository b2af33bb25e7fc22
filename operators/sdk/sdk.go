// Package sdk carries the guest libraries inside the weir binary, so that an author needs nothing but it and a compiler.
// "weir op new" and "weir op build" write them out. Nothing that runs in the sandbox imports this package.
package sdk

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

//go:embed c go/weir rust/Cargo.toml rust/src assemblyscript/weir
var files embed.FS

// HeaderC is weir.h, the library for C and C++.
func HeaderC() []byte { return HeadersC()["weir.h"] }

// HeadersC is weir.h, and weir_aggregate.h that stands on it, by name.
func HeadersC() map[string][]byte { return tree("c", ".h") }

// GoPackage is the package weir for Go: its files by name, tests left out.
func GoPackage() map[string][]byte { return tree("go/weir", ".go") }

// RustCrate is the crate weir for Rust: its files by path.
func RustCrate() map[string][]byte { return tree("rust", ".toml", ".rs") }

// AssemblyScriptLibrary is the library weir for AssemblyScript: its files by name.
func AssemblyScriptLibrary() map[string][]byte { return tree("assemblyscript/weir", ".ts") }

// tree has the files below a folder that end in one of the suffixes, by their path in it.
func tree(root string, suffixes ...string) map[string][]byte {
	out := map[string][]byte{}
	err := fs.WalkDir(files, root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(p, "_test.go") || strings.Contains(p, "/testdata/") {
			return err
		}
		for _, s := range suffixes {
			if strings.HasSuffix(p, s) {
				b, err := files.ReadFile(p)
				if err != nil {
					return err
				}
				out[strings.TrimPrefix(path.Clean(p), root+"/")] = b
			}
		}
		return nil
	})
	if err != nil {
		panic(fmt.Sprintf("sdk: read %s: %v", root, err)) // it is embedded
	}
	return out
}
