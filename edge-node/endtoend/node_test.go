package endtoend

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/pipeline"
)

// nodeSpec is a node that runs one pipeline of a case: in this process, or in one of its own that can be killed.
type nodeSpec struct {
	YAML       string
	Brokers    []string
	ClickHouse string // DSN
	Prefix     string // of topics and groups

	Rows        int64  // per batch, where not the file's
	Instance    string // of the group
	Protocol    config.Protocol
	Copy        bool // transport
	Interpreter bool
	StopAtEnd   bool
}

// pipelineFile is where a case's pipeline would be: its modules are beside the examples.
const pipelineFile = "testdata/pipeline.yaml"

func (s nodeSpec) plan(ctx context.Context) (*pipeline.Plan, error) {
	env := config.Env{Lookup: func(name string) (string, bool) { return s.Prefix, name == "PREFIX" }}
	spec, err := config.ParseEnv(pipelineFile, []byte(s.YAML), env)
	if err != nil {
		return nil, err
	}
	node := config.DefaultNode()
	node.Node = "n1"
	if err := errors.Join(node.SetKafka(strings.Join(s.Brokers, ",")), node.SetClickHouse(s.ClickHouse)); err != nil {
		return nil, err
	}
	if err := spec.Use(node); err != nil {
		return nil, err
	}
	spec.Source.Kafka.Group = s.Prefix + "group"
	spec.Sink.ClickHouse.Schema = config.SchemaApply
	spec.Sink.ClickHouse.FlushEvery = 100 * time.Millisecond
	if s.Protocol != "" {
		spec.Source.Kafka.Protocol = s.Protocol
	}
	if s.Instance != "" {
		// A killed member of a classic group is replaced at once by one of the same name.
		spec.Source.Kafka.InstanceID, spec.Source.Kafka.Protocol = s.Instance, config.ProtocolClassic
	}
	return pipeline.New(ctx, spec, node, pipeline.Options{CopyTransport: s.Copy, Interpreter: s.Interpreter, MaxBatch: int(s.Rows)})
}

// run runs the node until ctx ends, or the end of the topic. It gives what the node did and its revision.
func (s nodeSpec) run(ctx context.Context) (st pipeline.Status, err error) {
	plan, err := s.plan(ctx)
	if err != nil {
		return st, err
	}
	defer func() { err = errors.Join(err, plan.Close()) }()
	runner, err := plan.Open(ctx, pipeline.RunOptions{StopAtEnd: s.StopAtEnd, Log: testLog()})
	if err != nil {
		return st, err
	}
	defer func() { err = errors.Join(err, runner.Close()) }()
	err = runner.Run(ctx)
	return runner.Status(), err
}

// testLog is silent unless WEIR_TEST_LOG is set.
func testLog() *slog.Logger {
	if os.Getenv("WEIR_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// process is a child of this test. It ends with the test at the latest.
type process struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	stdout lockedBuffer
	stderr lockedBuffer
	done   chan struct{}
}

// start starts this binary as something else.
func start(t *testing.T, dir string, env []string, args ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.Command(self, args...), done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env = dir, append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(p.kill)
	return p
}

// startNode starts a node of a case as a process.
func startNode(t *testing.T, s nodeSpec) *process {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return start(t, "", []string{envNode + "=" + string(text)})
}

// startWeir starts weir with a command line.
func startWeir(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	return start(t, dir, []string{envWeir + "=1", "WEIR_LOG_FORMAT=text"}, args...)
}

// kill is kill -9. It may be called after the end.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

func (p *process) signal(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		t.Fatalf("signal weir: %v", err)
	}
}

// wait waits for the end and gives the exit code.
func (p *process) wait(t *testing.T, atMost time.Duration) int {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(atMost):
		p.kill()
		t.Fatalf("still running after %v:\n%s", atMost, p.stderr.String())
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// lockedBuffer is read while a process writes.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// eventually waits for something that is about to be true. what says what was seen last.
func eventually(t *testing.T, atMost time.Duration, f func() (ok bool, what string)) {
	t.Helper()
	for deadline := time.Now().Add(atMost); ; time.Sleep(20 * time.Millisecond) {
		ok, what := f()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not after %v: %s", atMost, what)
		}
	}
}
