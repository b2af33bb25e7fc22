package endtoend

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// built are the binaries that tests have built, one for each list of tags.
var built binaries

type binaries struct {
	mu    sync.Mutex
	dir   string            // guarded by mu
	paths map[string]string // guarded by mu: by tags
}

// weirBinary builds the program as users get it, with build tags. The embedded servers are left out: no node needs them.
func weirBinary(t *testing.T, tags ...string) string {
	t.Helper()
	built.mu.Lock()
	defer built.mu.Unlock()
	list := strings.Join(append(tags, "weir_static"), ",")
	if path := built.paths[list]; path != "" {
		return path
	}
	if built.dir == "" {
		dir, err := os.MkdirTemp("", "weir-built-")
		if err != nil {
			t.Fatal(err)
		}
		built.dir, built.paths = dir, map[string]string{}
	}
	path := filepath.Join(built.dir, strings.ReplaceAll(list, ",", "-"))
	cmd := exec.Command("go", "build", "-trimpath", "-tags", list, "-ldflags", "-s -w", "-o", path, "..")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build weir with tags %s: %v\n%s", list, err, out)
	}
	built.paths[list] = path
	return path
}

func (b *binaries) remove() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dir != "" {
		_ = os.RemoveAll(b.dir)
	}
}

// startBinary starts a program, which the kernel kills with this one where it can.
func startBinary(t *testing.T, binary, dir string, env []string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(binary, args...), done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env = dir, append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	p.cmd.SysProcAttr = diesWithUs()
	started := make(chan error, 1)
	go func() {
		// The kernel ties a child to the thread that started it: this one lives until the child ends.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	return p
}

// TestShippedBinary holds the binary that is shipped to having no failpoints in it.
func TestShippedBinary(t *testing.T) {
	t.Parallel()
	for tags, want := range map[string]bool{"": false, "failpoints": runtime.GOOS != "windows"} {
		data, err := os.ReadFile(weirBinary(t, strings.FieldsFunc(tags, func(r rune) bool { return r == ',' })...))
		if err != nil {
			t.Fatal(err)
		}
		if got := bytes.Contains(data, []byte("WEIR_FAILPOINTS")); got != want {
			t.Errorf("with tags %q the binary has failpoints: %v, want %v", tags, got, want)
		}
	}
}
