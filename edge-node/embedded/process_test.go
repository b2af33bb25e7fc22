//go:build linux

package embedded_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-stream/weir/edge-node/embedded"
	"github.com/weir-stream/weir/edge-node/embedded/kafka"
)

const envParent = "WEIR_TEST_PARENT"

func TestMain(m *testing.M) {
	if code, ok := embedded.Child(); ok {
		os.Exit(code)
	}
	if os.Getenv(envParent) != "" {
		parent()
	}
	os.Exit(m.Run())
}

// parent starts a broker, says where it is, and waits to be killed.
func parent() {
	p, err := embedded.StartKafka(context.Background(), embedded.Options{}, kafka.Config{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(p.PID(), p.Dir)
	select {}
}

func start(t *testing.T, opts embedded.Options, cfg kafka.Config) (*embedded.Kafka, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	p, err := embedded.StartKafka(ctx, opts, cfg)
	if err == nil {
		t.Cleanup(p.Kill)
	}
	return p, err
}

func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

// eventually waits for something that is about to be true.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen", what)
		}
	}
}

func gone(dir string) bool {
	_, err := os.Stat(dir)
	return os.IsNotExist(err)
}

// TestNothingIsLeftBehind ends parents in every way and looks for the child and its folder.
func TestNothingIsLeftBehind(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGSEGV} {
		t.Run(sig.String(), func(t *testing.T) {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), envParent+"=1", "TMPDIR="+t.TempDir())
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			pidText, dir, _ := strings.Cut(strings.TrimSpace(line), " ")
			pid, err := strconv.Atoi(pidText)
			if err != nil || !alive(pid) || gone(dir) {
				t.Fatalf("the child is not there: %q", line)
			}
			_ = cmd.Process.Signal(sig)
			_ = cmd.Wait()
			eventually(t, "the child's end", func() bool { return !alive(pid) })
			eventually(t, "the removal of its folder", func() bool { return gone(dir) })
		})
	}
}

func TestStopAndKill(t *testing.T) {
	p, err := start(t, embedded.Options{}, kafka.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	}
	if alive(p.PID()) || !gone(p.Dir) {
		t.Error("something is left after Stop")
	}
	<-p.Done()

	dir := t.TempDir()
	if p, err = start(t, embedded.Options{}, kafka.Config{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	p.Kill()
	if alive(p.PID()) || gone(filepath.Join(dir, "data")) {
		t.Error("Kill left the process, or took the caller's folder")
	}
	if err := p.Stop(); err != nil {
		t.Errorf("Stop after Kill: %v", err)
	}
}

func TestFailedStarts(t *testing.T) {
	script := func(text string) string {
		path := filepath.Join(t.TempDir(), "child")
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Setenv("TMPDIR", t.TempDir())
	for _, c := range []struct {
		name string
		opts embedded.Options
		cfg  kafka.Config
		want string
	}{
		{"no binary", embedded.Options{Binary: "/nonexistent/weir"}, kafka.Config{}, "no such file"},
		{"dies", embedded.Options{Binary: script("echo broken >&2; exit 3")}, kafka.Config{}, "ended before it was ready: exit status 3; it wrote:\nbroken"},
		{"says nothing", embedded.Options{Binary: script("echo waiting >&2; exec sleep 60"), ReadyTimeout: 300 * time.Millisecond}, kafka.Config{}, "was not ready after 300ms; it wrote:\nwaiting"},
		{"says nonsense", embedded.Options{Binary: script("echo hello; exec sleep 60")}, kafka.Config{}, `wrote "hello" instead of its addresses`},
		{"bad configuration", embedded.Options{}, kafka.Config{Partitions: -1}, "partitions"},
		{"port taken", embedded.Options{}, kafka.Config{Ports: []int{1}}, "permission denied"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "port taken" && os.Geteuid() == 0 {
				t.Skip("root may use any port")
			}
			_, err := start(t, c.opts, c.cfg)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if left, _ := os.ReadDir(os.Getenv("TMPDIR")); len(left) != 0 {
				for _, e := range left {
					if strings.HasPrefix(e.Name(), "weir-") {
						t.Errorf("left behind: %s", e.Name())
					}
				}
			}
		})
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if _, err := embedded.StartKafka(ctx, embedded.Options{Binary: script("exec sleep 60")}, kafka.Config{}); err == nil || !strings.Contains(err.Error(), "deadline") {
		t.Errorf("got %v", err)
	}
}
