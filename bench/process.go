package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// measured is what a child process used.
type measured struct {
	CPU    time.Duration // user and system time
	Wall   time.Duration
	MaxRSS int64 // bytes
	Stdout string
	Stderr string
}

// runPinned runs a command on one core of its own, where there are two, with one Go processor.
func runPinned(ctx context.Context, env []string, name string, args ...string) (measured, error) {
	if runtime.NumCPU() > 1 {
		if path, err := exec.LookPath("taskset"); err == nil {
			name, args = path, append([]string{"-c", "1", name}, args...)
		}
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(append(os.Environ(), "GOMAXPROCS=1"), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	began := time.Now()
	err := cmd.Run()
	m := measured{Wall: time.Since(began), Stdout: stdout.String(), Stderr: stderr.String()}
	if err != nil {
		return m, fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, tail(m.Stderr))
	}
	m.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	m.MaxRSS = maxRSS(cmd.ProcessState)
	return m, nil
}

func tail(s string) string {
	if len(s) > 2000 {
		s = s[len(s)-2000:]
	}
	return s
}
