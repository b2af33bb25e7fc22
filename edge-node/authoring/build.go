package authoring

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// MissingError is a tool that is not installed, and how to get it.
type MissingError struct{ Tool, Install string }

// Error is "there is no clang: install ...".
func (e *MissingError) Error() string { return "there is no " + e.Tool + ": " + e.Install }

// ModuleFile is where the module of the operator in a folder is: beside the sources, by the folder's name.
func ModuleFile(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, filepath.Base(abs)+".wasm"), nil
}

// Build compiles the operator in a folder to the file out. What the compiler says goes to log. Builds are reproducible: no
// path, time or debug information gets into the module.
func Build(ctx context.Context, dir, out string, log io.Writer) (Language, error) {
	l, err := detect(dir)
	if err != nil {
		return "", err
	}
	lang := l.id
	if out, err = filepath.Abs(out); err != nil {
		return lang, err
	}
	// The compiler writes beside the module, so that a failed build leaves the last one as it is.
	tmp, err := os.MkdirTemp(filepath.Dir(out), ".weir-build-")
	if err != nil {
		return lang, fmt.Errorf("make a folder for the build: %w", err)
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	made, err := l.build(ctx, dir, tmp, log)
	if err != nil {
		return lang, err
	}
	module, err := os.ReadFile(made)
	if err != nil {
		return lang, fmt.Errorf("read what was built: %w", err)
	}
	fresh := filepath.Join(tmp, "module")
	if err := os.WriteFile(fresh, module, 0o644); err != nil {
		return lang, err
	}
	return lang, os.Rename(fresh, out)
}

// run runs a tool of a compiler in a folder. The end of what it said comes back, for hints.
func run(ctx context.Context, dir string, env []string, log io.Writer, tool string, args ...string) (string, error) {
	said := &tail{}
	cmd := exec.CommandContext(ctx, tool, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	both := io.MultiWriter(log, said)
	cmd.Stdout, cmd.Stderr = both, both // one writer, so that it is written to by one goroutine
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = errors.New("it does not compile")
		}
		return string(said.b), fmt.Errorf("%s: %w", filepath.Base(tool), err)
	}
	return string(said.b), nil
}

// tail keeps the last bytes that are written to it.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	const most = 64 << 10
	t.b = append(t.b, p...)
	if len(t.b) > most {
		t.b = t.b[len(t.b)-most:]
	}
	return len(p), nil
}

// firstTool finds the first of some tools.
func firstTool(names ...string) string {
	for _, name := range names {
		if name == "" {
			continue
		}
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// sources lists the files of a folder with one of the extensions, by name.
func sources(dir string, extensions ...string) ([]string, error) {
	var files []string
	for _, ext := range extensions {
		found, err := filepath.Glob(filepath.Join(globSafe(dir), "*"+ext))
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			files = append(files, filepath.Base(f))
		}
	}
	return files, nil
}

// globSafe takes the meaning from characters that filepath.Glob reads as patterns.
func globSafe(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}
