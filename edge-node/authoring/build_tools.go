package authoring

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/weir-stream/weir/operators/sdk"
)

const installClang = "install clang and lld, version 16 or newer (Debian, Ubuntu: apt install clang lld; Fedora: dnf install clang lld; " +
	"macOS: brew install llvm lld), or name the compiler in CLANG"

// buildC compiles all sources of a folder. The header is that of the folder, or else this program's.
func buildC(ctx context.Context, lang Language, dir, tmp, out string, log io.Writer) error {
	clang := firstTool(os.Getenv("CLANG"), "clang-19", "clang", "clang-21", "clang-20", "clang-18", "clang-17", "clang-16")
	if clang == "" {
		return &MissingError{"clang", installClang}
	}
	targets, err := exec.CommandContext(ctx, clang, "--print-targets").Output()
	if err == nil && !bytes.Contains(targets, []byte("wasm32")) {
		return &MissingError{"wasm32 target in " + clang, installClang}
	}
	files, err := sources(dir, ".c", ".cc", ".cpp")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tmp, "weir.h"), sdk.HeaderC(), 0o644); err != nil {
		return err
	}
	std := []string{"-std=c11"}
	if lang == CPP {
		std = []string{"-std=c++17", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics"}
	}
	args := append([]string{"--target=wasm32"}, std...)
	// nontrapping-fptoint: a float that is too large for an integer becomes the largest, as on most machines, and no trap.
	args = append(args, "-O3", "-Wall", "-Wextra", "-nostdlib", "-fvisibility=hidden", "-mbulk-memory", "-mnontrapping-fptoint",
		"-I", ".", "-I", tmp, "-Wl,--no-entry,--strip-all,--gc-sections,-z,stack-size=16384", "-o", out)
	said, err := run(ctx, dir, nil, log, clang, append(args, files...)...)
	if err != nil && strings.Contains(said, "wasm-ld") && !strings.Contains(said, "wasm-ld: error") {
		return &MissingError{"wasm-ld, the linker of clang", installClang}
	}
	return err
}

const installGo = "install Go 1.24 or newer from https://go.dev/dl"

func buildGo(ctx context.Context, dir, out string, log io.Writer) error {
	tool := firstTool("go")
	if tool == "" {
		return &MissingError{"go", installGo}
	}
	env := []string{"GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off"}
	said, err := run(ctx, dir, env, log, tool, "build", "-trimpath", "-buildvcs=false", "-buildmode=c-shared", "-ldflags=-s -w -buildid=", "-o", out, ".")
	if err != nil && strings.Contains(said, "-buildmode=c-shared not supported") {
		return &MissingError{"Go that builds operators", installGo}
	}
	return err
}

const (
	rustTarget  = "wasm32-unknown-unknown"
	installRust = "install Rust from https://rustup.rs"
)

// buildRust builds a crate of type cdylib. Cargo says where the module is.
func buildRust(ctx context.Context, dir, tmp string, log io.Writer) (string, error) {
	cargo := firstTool("cargo")
	if cargo == "" {
		return "", &MissingError{"cargo", installRust}
	}
	cmd := exec.CommandContext(ctx, "rustc", "--print", "sysroot")
	cmd.Dir = dir // a folder can name its own toolchain
	if root, err := cmd.Output(); err == nil {
		if _, err := os.Stat(filepath.Join(strings.TrimSpace(string(root)), "lib", "rustlib", rustTarget)); err != nil {
			return "", &MissingError{rustTarget + " in this Rust", "run 'rustup target add " + rustTarget + "'"}
		}
	}
	list, err := os.Create(filepath.Join(tmp, "artifacts"))
	if err != nil {
		return "", err
	}
	defer func() { _ = list.Close() }()
	c := exec.CommandContext(ctx, cargo, "build", "--release", "--target", rustTarget, "--message-format=json-render-diagnostics")
	c.Dir, c.Stdout, c.Stderr = dir, list, log
	if err := c.Run(); err != nil {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		return "", fmt.Errorf("cargo: it does not compile")
	}
	if _, err := list.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	made := ""
	for d := json.NewDecoder(list); ; {
		var artifact struct{ Filenames []string }
		if err := d.Decode(&artifact); err != nil {
			break
		}
		for _, f := range artifact.Filenames {
			if strings.HasSuffix(f, ".wasm") {
				made = f
			}
		}
	}
	if made == "" {
		return "", fmt.Errorf("cargo built no .wasm: Cargo.toml needs [lib] crate-type = [\"cdylib\"]")
	}
	return made, nil
}
