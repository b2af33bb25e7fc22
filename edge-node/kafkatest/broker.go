package kafkatest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// node is a broker, a controller, or both: one Java process at a time, on one folder.
type node struct {
	id     int
	listen string // host:port of a broker; empty for a controller
	dir    string
	start  func() (*jvm, error)

	mu  sync.Mutex
	jvm *jvm // guarded by mu; nil while the node is down
}

// jvm is a Java process.
type jvm struct {
	cmd  *exec.Cmd
	out  *tail
	done chan struct{}
}

// heap keeps a broker small: tests have some megabytes of records. The one compiler starts in half the time.
var heap = []string{
	"-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
}

// run starts Java on a class of the jars. The process does not outlive this one.
func run(java, jars, dir, class string, args ...string) (*jvm, error) {
	all := append(append([]string{}, heap...), "-cp", filepath.Join(jars, "*"), class)
	p := &jvm{cmd: exec.Command(java, append(all, args...)...), out: &tail{}, done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, p.out, p.out
	p.cmd.SysProcAttr = childAttributes()
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
		return nil, fmt.Errorf("start %s: %w", class, err)
	}
	return p, nil
}

func (p *jvm) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// up starts a node that is down.
func (n *node) up() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.jvm != nil {
		return nil
	}
	p, err := n.start()
	n.jvm = p
	return err
}

// down ends a node: at once, as a crash would, or in order, when it hands what it leads to others.
func (n *node) down(atOnce bool, patience time.Duration) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.jvm
	if p == nil {
		return nil
	}
	n.jvm = nil
	if atOnce {
		p.kill()
		return nil
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return nil
	case <-time.After(patience):
		p.kill()
		return fmt.Errorf("node %d did not stop within %v and was killed", n.id, patience)
	}
}

// alive tells whether the process runs, and what it wrote last.
func (n *node) alive() (bool, string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.jvm == nil {
		return false, "it is down"
	}
	select {
	case <-n.jvm.done:
		return false, n.jvm.out.String()
	default:
		return true, n.jvm.out.String()
	}
}

// format makes the storage of a node.
func format(java, jars, dir, id, file string) error {
	p, err := run(java, jars, dir, "kafka.tools.StorageTool", "format", "-t", id, "-c", file)
	if err != nil {
		return err
	}
	select {
	case <-p.done:
	case <-time.After(startTimeout):
		p.kill()
		return errors.New("format the storage: it takes too long")
	}
	if !p.cmd.ProcessState.Success() {
		return fmt.Errorf("format the storage: %s\n%s", p.cmd.ProcessState, p.out)
	}
	return nil
}

// writeProperties writes a file of settings.
func writeProperties(t testing.TB, file string, settings map[string]string) {
	t.Helper()
	var b strings.Builder
	for name, value := range settings {
		fmt.Fprintf(&b, "%s=%s\n", name, value)
	}
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	kept []byte // guarded by mu
}

const tailSize = 16 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, b...)
	if over := len(t.kept) - tailSize; over > tailSize {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.kept[max(0, len(t.kept)-tailSize):]))
}
