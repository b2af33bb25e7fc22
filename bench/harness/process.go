package harness

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/weir-stream/weir/bench/contender"
	"github.com/weir-stream/weir/bench/report"
)

// process is a measured child process.
type process struct {
	cmd    *exec.Cmd
	stdout bytes.Buffer
	stderr lineBuffer
	began  time.Time
	energy *meter
	watch  *sampler
}

// ran is what a child process used.
type ran struct {
	round  report.Round
	memory []report.Point
	stdout string
	stderr string
}

// start starts a command at a place, with as many Go processors as that has cores. Ending ctx asks the process to stop, and kills it
// when it does not.
func start(ctx context.Context, c contender.Command, at place) (*process, error) {
	name, args := c.Path, c.Args
	if path, err := exec.LookPath("taskset"); err == nil && runtime.NumCPU() > at.cores {
		// The last cores: the first one gets most of the interrupts.
		first := runtime.NumCPU() - at.cores
		name, args = path, append([]string{"-c", fmt.Sprintf("%d-%d", first, runtime.NumCPU()-1), name}, args...)
	}
	p := &process{cmd: exec.CommandContext(ctx, name, args...), energy: startMeter()}
	p.cmd.Env = append(append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(at.cores)), c.Env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(os.Interrupt) }
	p.cmd.WaitDelay = 20 * time.Second
	p.began = time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Path, err)
	}
	if at.slice != nil {
		if err := at.slice.add(p.cmd.Process.Pid); err != nil {
			return nil, errors.Join(err, p.cmd.Process.Kill(), p.cmd.Wait())
		}
	}
	p.watch = watch(p.cmd.Process.Pid, p.began, at)
	return p, nil
}

// wait waits for the end of the process.
func (p *process) wait() (ran, error) {
	err := p.cmd.Wait()
	r := ran{round: report.Round{Wall: time.Since(p.began).Seconds(), Joules: p.energy.joules()}}
	p.watch.stop()
	r.memory, r.round.Busy, r.round.PeakRSS = p.watch.points, p.watch.busy.Seconds(), p.watch.peak
	r.round.Cores = p.watch.cores
	r.stdout, r.stderr = p.stdout.String(), p.stderr.String()
	if s := p.cmd.ProcessState; s != nil {
		r.round.CPU = (s.UserTime() + s.SystemTime()).Seconds()
		if r.round.PeakRSS == 0 {
			r.round.PeakRSS = maxRSS(s)
		}
	}
	if err != nil {
		return r, fmt.Errorf("%s: %w\n%s", strings.Join(p.cmd.Args, " "), err, tail(r.stderr))
	}
	return r, nil
}

// interrupt asks the process to stop, and waits.
func (p *process) interrupt() (ran, error) {
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return ran{}, fmt.Errorf("stop %s: %w", p.cmd.Path, err)
	}
	return p.wait()
}

// run runs a command to its end.
func run(ctx context.Context, c contender.Command, at place) (ran, error) {
	p, err := start(ctx, c, at)
	if err != nil {
		return ran{}, err
	}
	if c.Done != nil {
		return p.until(ctx, c.Done)
	}
	r, err := p.wait()
	if err != nil && ctx.Err() != nil {
		return r, ctx.Err()
	}
	return r, err
}

// until asks the process to stop when done returns. One that ends before has failed.
func (p *process) until(ctx context.Context, done func(context.Context) error) (ran, error) {
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	type end struct {
		ran
		err error
	}
	ended := make(chan end, 1)
	go func() {
		r, err := p.wait()
		cancel()
		ended <- end{r, err}
	}()
	err := done(waiting)
	stopped := waiting.Err() != nil
	if !stopped {
		_ = p.cmd.Process.Signal(os.Interrupt) // it may have ended meanwhile, which is as good
		kill := time.AfterFunc(p.cmd.WaitDelay, func() { _ = p.cmd.Process.Kill() })
		defer kill.Stop()
	}
	e := <-ended
	switch {
	case ctx.Err() != nil:
		return e.ran, ctx.Err()
	case stopped:
		return e.ran, fmt.Errorf("%s ended before all was in its answer: %w\n%s", p.cmd.Path, cmp.Or(e.err, err), tail(e.stderr))
	}
	return e.ran, err
}

func tail(s string) string {
	if len(s) > 2000 {
		s = s[len(s)-2000:]
	}
	return s
}

// lineBuffer keeps what is written to it, up to maxStderr from the end, and can be read meanwhile.
type lineBuffer struct {
	mu   sync.Mutex // guards kept
	kept []byte
}

const maxStderr = 1 << 20

func (b *lineBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.kept = append(b.kept, p...); len(b.kept) > 2*maxStderr {
		b.kept = append(b.kept[:0], b.kept[len(b.kept)-maxStderr:]...)
	}
	return len(p), nil
}

func (b *lineBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.kept)
}
