package embedded

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/weir-stream/weir/edge-node/embedded/clickhouse"
	"github.com/weir-stream/weir/edge-node/embedded/kafka"
)

// Options say how to start a child process. The zero value is usable.
type Options struct {
	// Binary is the program to start; default this process's own. Its main must call Child.
	Binary string
	// Stderr receives what the child writes to stderr; default nowhere. The last lines are kept for error messages.
	Stderr io.Writer
	// ReadyTimeout is how long the child may take until it accepts clients; default 60 s (a cold disk has to read 566 MB).
	ReadyTimeout time.Duration
	// StopTimeout is how long the child may take to stop before it is killed; default 15 s.
	StopTimeout time.Duration
}

// Process is a child process of this package. Its methods are safe for concurrent use.
type Process struct {
	name        string
	cmd         *exec.Cmd
	stdin       io.Closer
	stopTimeout time.Duration
	tempDir     string // removed by Stop and Kill
	tail        *tail

	done chan struct{} // closed when the child has ended
	err  error         // how it ended; read after done

	stopping sync.Once
}

// ClickHouse is a running embedded ClickHouse.
type ClickHouse struct {
	*Process
	Native string // host:port of the native protocol
	HTTP   string // host:port of HTTP
	Dir    string
}

// DSN is what clickhouse-go opens for the native protocol, for the database named.
func (c *ClickHouse) DSN(database string) string {
	return "clickhouse://" + c.Native + "/" + database
}

// Kafka is a running embedded broker.
type Kafka struct {
	*Process
	Brokers []string // host:port of each
	Dir     string
}

// StartClickHouse starts an embedded ClickHouse and returns when it accepts clients. With an empty cfg.Dir the data is in
// a temporary folder that goes away with the process. Ending ctx does not stop the process; Stop does.
func StartClickHouse(ctx context.Context, opts Options, cfg clickhouse.Config) (*ClickHouse, error) {
	spec := childSpec{ClickHouse: &cfg}
	p, line, err := start(ctx, "clickhouse", opts, &cfg.Dir, &spec)
	if err != nil {
		return nil, err
	}
	var ready clickhouse.ReadyLine
	if err := json.Unmarshal(line, &ready); err != nil || ready.Service != "clickhouse" {
		return nil, p.abandon(fmt.Errorf("embedded clickhouse wrote %q instead of its addresses", clip(line)))
	}
	return &ClickHouse{Process: p, Native: ready.Native, HTTP: ready.HTTP, Dir: cfg.Dir}, nil
}

// StartKafka starts an embedded broker and returns when it accepts clients. With an empty cfg.Dir the data is in a
// temporary folder that goes away with the process. Ending ctx does not stop the process; Stop does.
func StartKafka(ctx context.Context, opts Options, cfg kafka.Config) (*Kafka, error) {
	spec := childSpec{Kafka: &cfg}
	p, line, err := start(ctx, "kafka", opts, &cfg.Dir, &spec)
	if err != nil {
		return nil, err
	}
	var ready kafka.ReadyLine
	if err := json.Unmarshal(line, &ready); err != nil || ready.Service != "kafka" || len(ready.Brokers) == 0 {
		return nil, p.abandon(fmt.Errorf("embedded kafka wrote %q instead of its addresses", clip(line)))
	}
	return &Kafka{Process: p, Brokers: ready.Brokers, Dir: cfg.Dir}, nil
}

// start runs the child and waits for its ready line. dir is a field of the configuration spec points to.
func start(ctx context.Context, name string, opts Options, dir *string, spec *childSpec) (*Process, []byte, error) {
	if opts.Binary == "" {
		self, err := os.Executable()
		if err != nil {
			return nil, nil, fmt.Errorf("start embedded %s: find this program: %w", name, err)
		}
		opts.Binary = self
	}
	if opts.ReadyTimeout == 0 {
		opts.ReadyTimeout = time.Minute
	}
	if opts.StopTimeout == 0 {
		opts.StopTimeout = 15 * time.Second
	}
	p := &Process{name: name, stopTimeout: opts.StopTimeout, tail: &tail{next: opts.Stderr}, done: make(chan struct{})}
	if *dir == "" {
		made, err := os.MkdirTemp("", "weir-"+name+"-")
		if err != nil {
			return nil, nil, fmt.Errorf("start embedded %s: make a data folder: %w", name, err)
		}
		*dir, p.tempDir, spec.RemoveDir = made, made, made
	}
	stdout, err := p.launch(opts.Binary, *spec)
	if err != nil {
		p.removeTemp()
		return nil, nil, fmt.Errorf("start embedded %s: %w", name, err)
	}
	line, err := p.awaitReady(ctx, stdout, opts.ReadyTimeout)
	if err != nil {
		return nil, nil, p.abandon(err)
	}
	return p, line, nil
}

// launch starts the child. Its stdin is a pipe that nothing is written to: it closes with this process, and the child
// stops then.
func (p *Process) launch(binary string, spec childSpec) (stdout io.Reader, err error) {
	text, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	p.cmd = exec.Command(binary, "embedded", p.name)
	p.cmd.Env = append(os.Environ(), envChild+"="+string(text))
	p.cmd.Stderr = p.tail
	p.cmd.WaitDelay = time.Second
	p.cmd.SysProcAttr = childAttributes()
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stdout = w
	started := make(chan error, 1)
	go func() {
		// The kernel ties a child to the thread that started it: this one lives until the child ends.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		_ = w.Close()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		_ = r.Close()
		_ = p.stdin.Close()
		return nil, err
	}
	return r, nil
}

// awaitReady returns the first line the child writes. Later output is read and dropped.
func (p *Process) awaitReady(ctx context.Context, stdout io.Reader, timeout time.Duration) ([]byte, error) {
	lines := make(chan []byte, 1)
	go func() {
		r := bufio.NewReader(stdout)
		line, err := r.ReadBytes('\n')
		if err == nil {
			lines <- line
		}
		close(lines)
		_, _ = io.Copy(io.Discard, r)
		_ = stdout.(io.Closer).Close()
	}()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case line, ok := <-lines:
		if ok {
			return bytes.TrimSpace(line), nil
		}
		<-p.done
		return nil, fmt.Errorf("embedded %s ended before it was ready: %w", p.name, exitError(p.err))
	case <-timer.C:
		return nil, fmt.Errorf("embedded %s was not ready after %v", p.name, timeout)
	case <-ctx.Done():
		return nil, fmt.Errorf("start embedded %s: %w", p.name, context.Cause(ctx))
	}
}

// abandon kills a child that did not start as it should, and adds what it wrote to the error.
func (p *Process) abandon(err error) error {
	p.Kill()
	if text := p.tail.String(); text != "" {
		return fmt.Errorf("%w; it wrote:\n%s", err, text)
	}
	return err
}

// PID is the child's process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the child has ended, for whatever reason.
func (p *Process) Done() <-chan struct{} { return p.done }

// Stderr returns the last lines the child wrote to stderr.
func (p *Process) Stderr() string { return p.tail.String() }

// Stop asks the child to stop, waits, and kills it when it takes too long. It may be called again, and after the child
// has ended. The error tells of a child that did not end well.
func (p *Process) Stop() error {
	asked := false
	p.stopping.Do(func() {
		asked = true
		_ = p.stdin.Close()
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
	})
	select {
	case <-p.done:
	case <-time.After(p.stopTimeout):
		_ = p.cmd.Process.Kill()
		<-p.done
		p.removeTemp()
		return fmt.Errorf("embedded %s did not stop within %v and was killed", p.name, p.stopTimeout)
	}
	p.removeTemp()
	if asked && p.err != nil {
		return fmt.Errorf("embedded %s: %w; it wrote:\n%s", p.name, exitError(p.err), p.tail.String())
	}
	return nil
}

// Kill ends the child at once, as a crash would, and waits. A data folder given by the caller stays.
func (p *Process) Kill() {
	p.stopping.Do(func() { _ = p.stdin.Close() })
	_ = p.cmd.Process.Kill()
	<-p.done
	p.removeTemp()
}

func (p *Process) removeTemp() {
	if p.tempDir != "" {
		_ = os.RemoveAll(p.tempDir)
	}
}

func exitError(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

func clip(b []byte) []byte { return b[:min(len(b), 200)] }

// tail keeps the end of what is written to it, and passes everything on.
type tail struct {
	mu   sync.Mutex
	kept []byte
	next io.Writer
}

const tailSize = 8 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, b...)
	if len(t.kept) > 2*tailSize {
		t.kept = append(t.kept[:0], t.kept[len(t.kept)-tailSize:]...)
	}
	if t.next != nil {
		_, _ = t.next.Write(b) // a reader that is gone must not stop the child
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.kept[max(0, len(t.kept)-tailSize):]))
}
