package cli

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir/edge-node/config"
)

// TestHelpPipeline parses the pipeline that "weir help pipeline" shows.
func TestHelpPipeline(t *testing.T) {
	var file strings.Builder
	for line := range strings.Lines(pipelineLong) {
		if text, ok := strings.CutPrefix(line, "  "); ok {
			file.WriteString(text)
		} else if file.Len() > 0 {
			break
		}
	}
	p, err := config.ParseEnv("help", []byte(file.String()), config.Env{ReadFile: func(string) ([]byte, error) { return []byte("x"), nil }})
	if err != nil {
		t.Fatalf("%v\n%s", err, file.String())
	}
	if len(p.Steps) != 3 || len(p.Window.Aggregates) != 3 || len(p.Source.Columns) != 6 {
		t.Errorf("%d steps, %d aggregates, %d columns", len(p.Steps), len(p.Window.Aggregates), len(p.Source.Columns))
	}
}

// TestHelp holds for every command: it says what it does, how it is used, and its lines fit a terminal.
func TestHelp(t *testing.T) {
	a := &app{env: config.Env{}}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		path := c.CommandPath()
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: short text %q", path, c.Short)
		}
		if c.Runnable() && !c.HasSubCommands() && c.Example == "" && c.Long == "" {
			t.Errorf("%s has neither a long text nor an example", path)
		}
		for line := range strings.Lines(c.Long) {
			if n := len([]rune(strings.TrimRight(line, "\n"))); n > 86 {
				t.Errorf("%s: a line of %d characters: %s", path, n, line)
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(a.root())
}
