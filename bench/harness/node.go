package harness

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/weir-stream/weir/bench/contender"
	"github.com/weir-stream/weir/bench/workload"
)

// node is a weir that runs until it is told to stop.
type node struct {
	*process
	task contender.Task
	web  string // host:port of metrics and health
}

// startNode starts weir on a topic. At addr is ClickHouse, or a link to it; args go to weir run.
func (b *bench) startNode(ctx context.Context, c workload.Case, s *stream, who, addr string, cores int, args ...string) (*node, error) {
	task, err := b.task(c, s.size, s.topic, who, cores)
	if err != nil {
		return nil, err
	}
	task.ClickHouse = b.clickhouse(addr)
	if err := os.WriteFile(pipelineOf(task), []byte(c.Pipeline), 0o600); err != nil {
		return nil, fmt.Errorf("write the pipeline: %w", err)
	}
	return b.startTask(ctx, task, args...)
}

func pipelineOf(task contender.Task) string { return filepath.Join(task.Dir, "pipeline.yaml") }

// startTask starts weir on a task that startNode has made: once more.
func (b *bench) startTask(ctx context.Context, task contender.Task, args ...string) (*node, error) {
	p, err := start(ctx, contender.Command{
		Path: b.opts.Weir, Args: append(append([]string{"run", "--listen", "127.0.0.1:0", "--log-format", "json"}, args...), pipelineOf(task)),
		Env: contender.WeirEnv(task, b.operators()),
	}, b.place(task.Cores))
	if err != nil {
		return nil, err
	}
	return &node{process: p, task: task}, nil
}

// view is the name of the finished view.
func (n *node) view() string { return strings.ReplaceAll(n.task.Name, "-", "_") }

// until asks again and again until something is true or ctx ends.
func until(ctx context.Context, every time.Duration, what string, done func() bool) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: %w", what, ctx.Err())
		case <-timer.C:
		}
		if done() {
			return nil
		}
		timer.Reset(every)
	}
}

// address waits for a line of the log and gives the address in it.
func (n *node) address(ctx context.Context, msg string) (string, error) {
	var addr string
	err := until(ctx, time.Millisecond, "weir says "+strconv.Quote(msg), func() bool {
		for line := range strings.Lines(n.stderr.String()) {
			var l struct{ Msg, Address string }
			if json.Unmarshal([]byte(line), &l) == nil && l.Msg == msg {
				addr = strings.TrimPrefix(l.Address, "http://")
				return true
			}
		}
		return false
	})
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, tail(n.stderr.String()))
	}
	return addr, nil
}

// serving waits until the node answers on its address.
func (n *node) serving(ctx context.Context) (err error) {
	n.web, err = n.address(ctx, "serving metrics and health")
	return err
}

// ready waits until the node does its work.
func (n *node) ready(ctx context.Context) error {
	return until(ctx, 20*time.Millisecond, "the node is ready", func() bool {
		resp, err := http.Get("http://" + n.web + "/readyz")
		if err != nil {
			return false
		}
		defer func() { _ = resp.Body.Close() }()
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode == http.StatusOK
	})
}

// metric adds up the series of a metric.
func (n *node) metric(ctx context.Context, name string) (float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.web+"/metrics", http.NoBody)
	if err != nil {
		return 0, fmt.Errorf("ask for metrics: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, fmt.Errorf("ask for metrics: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	sum := 0.0
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		rest, ok := strings.CutPrefix(lines.Text(), name)
		if !ok || rest == "" || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		if v, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64); err == nil {
			sum += v
		}
	}
	return sum, lines.Err()
}
