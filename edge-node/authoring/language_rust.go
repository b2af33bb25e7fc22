package authoring

import (
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

const (
	rustTriple  = "wasm32-unknown-unknown"
	installRust = "install Rust from https://rustup.rs"
)

func langRust() *language {
	return &language{
		id: Rust, files: []string{"Cargo.toml"}, build: buildRust,
		title: "Rust", needs: "needs Rust with the target wasm32-unknown-unknown", source: "src/lib.rs",
		library: "`sdk/`: the library, a copy of the crate of weir %s, so that it builds without a network. `cargo doc --open` shows its manual.",
		copied: func() map[string][]byte {
			files := below("sdk", sdk.RustCrate())
			files[".gitignore"] = []byte("/target/\n")
			return files
		},
	}
}

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
