package deploy_test

import (
	"context"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestStatic looks at the binaries that "make dist" has built, which names their folder in WEIR_DIST: they need no loader
// and no library, so that they run in an empty container and with any C library.
func TestStatic(t *testing.T) {
	dir := os.Getenv("WEIR_DIST")
	if dir == "" {
		t.Skip("make dist runs this on what it built")
	}
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		t.Run(arch, func(t *testing.T) {
			path := filepath.Join(dir, "weir-linux-"+arch)
			f, err := elf.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = f.Close() }()
			if f.Machine != machine {
				t.Errorf("it is for %v", f.Machine)
			}
			for _, p := range f.Progs {
				if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
					t.Errorf("it has a %v segment: something it imports needs the C library", p.Type)
				}
			}
			if t.Failed() || runtime.GOOS != "linux" || runtime.GOARCH != arch {
				return
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if out, err := exec.CommandContext(ctx, path, "version").CombinedOutput(); err != nil || !strings.Contains(string(out), "weir") {
				t.Errorf("version: %v\n%s", err, out)
			}
			// What it lacks it says, with what to do; it fetches nothing.
			for _, args := range [][]string{{"demo"}, {"embedded", "clickhouse"}, {"embedded", "fetch"}} {
				out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
				if err == nil || !strings.Contains(string(out), "no embedded ClickHouse") || !strings.Contains(string(out), "make build") {
					t.Errorf("%v: %v\n%s", args, err, out)
				}
			}
		})
	}
}
