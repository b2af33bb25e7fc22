package authoring

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/weir-stream/weir/operators/sdk"
)

const installClang = "install clang and lld, version 16 or newer (Debian, Ubuntu: apt install clang lld; Fedora: dnf install clang lld; " +
	"macOS: brew install llvm lld), or name the compiler in CLANG"

func langC() *language {
	return &language{
		id: C, files: []string{"*.c"},
		build: func(ctx context.Context, dir, tmp string, log io.Writer) (string, error) {
			return buildC(ctx, []string{"-std=c11"}, dir, tmp, log)
		},
		title: "C", needs: "needs clang and lld", source: "NAME.c",
		library: "[`weir.h`](weir.h): the library, all of it, as weir %s has it. Its first hundred lines are its manual. " +
			"[`weir_aggregate.h`](weir_aggregate.h) stands on it: for aggregates alone.",
		copied: sdk.HeadersC,
	}
}

func langCPP() *language {
	return &language{
		id: CPP, files: []string{"*.cc", "*.cpp"},
		build: func(ctx context.Context, dir, tmp string, log io.Writer) (string, error) {
			return buildC(ctx, []string{"-std=c++17", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics"}, dir, tmp, log)
		},
	}
}

// buildC compiles all sources of a folder. The header is that of the folder, or else this program's.
func buildC(ctx context.Context, std []string, dir, tmp string, log io.Writer) (string, error) {
	clang := firstTool(os.Getenv("CLANG"), "clang-19", "clang", "clang-21", "clang-20", "clang-18", "clang-17", "clang-16")
	if clang == "" {
		return "", &MissingError{"clang", installClang}
	}
	targets, err := exec.CommandContext(ctx, clang, "--print-targets").Output()
	if err == nil && !bytes.Contains(targets, []byte("wasm32")) {
		return "", &MissingError{"wasm32 target in " + clang, installClang}
	}
	files, err := sources(dir, ".c", ".cc", ".cpp")
	if err != nil {
		return "", err
	}
	if err := writeHeaders(tmp); err != nil {
		return "", err
	}
	out := filepath.Join(tmp, "op.wasm")
	args := append([]string{"--target=wasm32"}, std...)
	// nontrapping-fptoint: a float that is too large for an integer becomes the largest, as on most machines, and no trap.
	args = append(args, "-O3", "-Wall", "-Wextra", "-nostdlib", "-fvisibility=hidden", "-mbulk-memory", "-mnontrapping-fptoint",
		"-I", ".", "-I", tmp, "-Wl,--no-entry,--strip-all,--gc-sections,-z,stack-size=16384", "-o", out)
	said, err := run(ctx, dir, nil, log, clang, append(args, files...)...)
	if err != nil && strings.Contains(said, "wasm-ld") && !strings.Contains(said, "wasm-ld: error") {
		return "", &MissingError{"wasm-ld, the linker of clang", installClang}
	}
	return out, err
}

// writeHeaders puts the library into a folder.
func writeHeaders(dir string) error {
	for name, text := range sdk.HeadersC() {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
