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
	rustTriple  = "wasm32-unknown-unknown"
	installRust = "install Rust from https://rustup.rs"
)

// buildRust builds a crate of type cdylib. Cargo says where the module is.
func buildRust(ctx context.Context, dir, tmp string, log io.Writer) (string, error) {
	cargo := firstTool("cargo")
	if cargo == "" {
		return "", &MissingError{"cargo", installRust}
	}
	args, err := rustTarget(ctx, dir)
	if err != nil {
		return "", err
	}
	list, err := os.Create(filepath.Join(tmp, "artifacts"))
	if err != nil {
		return "", err
	}
	defer func() { _ = list.Close() }()
	args = append(args, "build", "--release", "--quiet", "--target", rustTriple, "--message-format=json-render-diagnostics")
	c := exec.CommandContext(ctx, cargo, args...)
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

// rustTarget finds out whether the compiler has the target, and gives cargo's arguments for it.
func rustTarget(ctx context.Context, dir string) ([]string, error) {
	compiler := os.Getenv("RUSTC")
	if compiler == "" {
		compiler = "rustc"
	}
	cmd := exec.CommandContext(ctx, compiler, "--print", "sysroot")
	cmd.Dir = dir // a folder can name its own toolchain
	out, err := cmd.Output()
	if err != nil {
		return nil, &MissingError{compiler, installRust}
	}
	libraries := filepath.Join(strings.TrimSpace(string(out)), "lib", "rustlib")
	if _, err := os.Stat(filepath.Join(libraries, rustTriple)); err != nil {
		return nil, &MissingError{rustTriple + " in this Rust", "run 'rustup target add " + rustTriple + "' (Debian, Ubuntu: apt install libstd-rust-dev-wasm32)"}
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	flags := []string{
		"-Ctarget-feature=+bulk-memory,+nontrapping-fptoint", "-Clink-arg=-zstack-size=65536", "--remap-path-prefix=" + abs + "/=",
	}
	var args []string
	target := "target." + rustTriple
	// Rust has its linker with it, but that of Debian has not.
	if found, _ := filepath.Glob(filepath.Join(globSafe(libraries), "*", "bin", "rust-lld*")); found == nil {
		linker := firstTool("rust-lld", "wasm-ld", "wasm-ld-21", "wasm-ld-20", "wasm-ld-19", "wasm-ld-18", "wasm-ld-17", "wasm-ld-16")
		if linker == "" {
			return nil, &MissingError{"wasm-ld for this Rust", "install lld"}
		}
		// It warns of the metadata in the libraries of older Rusts, which ask it to fail on warnings.
		flags = append(flags, "-Clink-arg=--no-fatal-warnings")
		args = append(args, "--config", target+".linker="+tomlText(linker))
	}
	for i := range flags {
		flags[i] = tomlText(flags[i])
	}
	return append(args, "--config", target+".rustflags=["+strings.Join(flags, ",")+"]"), nil
}

// tomlText is a string as TOML writes it, which is as JSON does, but for what is not UTF-8.
func tomlText(s string) string {
	b, err := json.Marshal(strings.ToValidUTF8(s, "\ufffd"))
	if err != nil {
		panic("authoring: " + err.Error()) // a string can be written
	}
	return string(b)
}
