package config_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/weir-stream/weir/edge-node/config"
)

// FuzzParse feeds arbitrary bytes: the result is a spec that is valid, or errors with places, never a panic.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if n, err := config.ParseNode("n.yml", data, testEnv()); err != nil {
			checkErrors(t, data, err)
		} else if n.Site == "" {
			t.Error("a node without a site")
		}
		p, err := config.ParseEnv("f.yml", data, testEnv())
		if err != nil {
			checkErrors(t, data, err)
			return
		}
		if err := p.Validate(); err != nil {
			t.Errorf("parsed, and not valid: %v", err)
		}
		p.Canonical(nil, nil)
		for _, s := range p.Steps {
			if s.Filter == nil {
				continue
			}
			for i := range len(s.Filter.Value) + 2 {
				if pos := s.Filter.PosAt(i); pos.Line < 1 || pos.Col < 1 {
					t.Fatalf("byte %d of %q is at %v", i, s.Filter.Value, pos)
				}
			}
		}
	})
}
