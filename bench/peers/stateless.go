package peers

import (
	"context"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/weir-stream/weir/bench/contender"
)

// stateless is an engine that filters and projects, and has no windows for what W1 and W2 ask. Its binary is named by a variable, or is
// on PATH under its own name. It leaves rows.jsonl, which [fold] sums up.
func stateless(name, about, variable, windows string, files embed.FS, parts []string, args func(file string) []string) contender.Contender {
	return contender.Contender{
		Name: name, About: about,
		Command: func(_ context.Context, t contender.Task) (contender.Command, error) {
			switch t.Case.Name {
			case "project":
			case "sensors":
				return contender.Command{}, contender.Cannot("%s", windows)
			default:
				return contender.Command{}, contender.Cannot("written for project alone")
			}
			binary := os.Getenv(variable)
			if binary == "" {
				binary = name
			}
			path, err := exec.LookPath(binary)
			if err != nil {
				return contender.Command{}, contender.Cannot("it is not installed, and %s names no other place: %v", variable, err)
			}
			text, err := render(files, t, parts...)
			if err != nil {
				return contender.Command{}, err
			}
			file := filepath.Join(t.Dir, "config.yaml")
			if err := os.WriteFile(file, text, 0o600); err != nil {
				return contender.Command{}, fmt.Errorf("write the configuration: %w", err)
			}
			answer := filepath.Join(t.Dir, "answer.jsonl")
			return contender.Command{
				Path: path, Args: args(file),
				Finish: func() error { return fold(filepath.Join(t.Dir, "rows.jsonl"), answer) },
				Answer: contender.Answer{File: answer},
			}, nil
		},
	}
}
