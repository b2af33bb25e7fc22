package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReadmePipeline validates the pipeline of the README, which is what a user tries first: as it stands there, from the top of the tree.
func TestReadmePipeline(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```yaml\n")
	pipeline, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("the README shows no pipeline")
	}
	file := filepath.Join(t.TempDir(), "line-temperature.yaml")
	pipeline = strings.ReplaceAll(pipeline, "examples/", root+"/examples/")
	if err := os.WriteFile(file, []byte(pipeline), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"validate", "explain"} {
		if out, errs, code := runCommand(t, []string{command, file}, nil); code != exitOK {
			t.Errorf("weir %s: exit %d\n%s%s", command, code, out, errs)
		}
	}
}
