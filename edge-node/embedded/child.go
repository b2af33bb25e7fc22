// Package embedded runs the broker and the ClickHouse engine that come with weir as processes of their own, for the
// demo, for tests and for single-box installs.
//
// It owns those processes: StartClickHouse and StartKafka start one and wait until it accepts clients, Process stops it.
// The programs themselves are in clickhouse/ and kafka/. A child never outlives its parent, however that one ends, and a
// data folder this package made is removed with it. edge-node/cli and embeddedtest call it.
//
// The child is the same binary, or another one, started again: its main (or TestMain) must call Child first.
package embedded

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/weir-stream/weir/edge-node/embedded/clickhouse"
	"github.com/weir-stream/weir/edge-node/embedded/kafka"
)

// envChild tells a process that it is a child of this package, and what to run.
const envChild = "WEIR_EMBEDDED_CHILD"

// childSpec is what envChild holds, as JSON.
type childSpec struct {
	ClickHouse *clickhouse.Config `json:",omitempty"`
	Kafka      *kafka.Config      `json:",omitempty"`
	RemoveDir  string             `json:",omitempty"` // removed when the child ends
}

// childGrace is how long a child may take to stop before it ends itself the hard way.
const childGrace = 20 * time.Second

// Child runs an embedded service when this process was started to be one, and then returns its exit code and true. Any
// main whose binary is given to StartClickHouse or StartKafka calls it before anything else:
//
//	if code, ok := embedded.Child(); ok {
//		os.Exit(code)
//	}
func Child() (code int, ok bool) {
	text := os.Getenv(envChild)
	if text == "" {
		return 0, false
	}
	if err := os.Unsetenv(envChild); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1, true
	}
	var spec childSpec
	err := json.Unmarshal([]byte(text), &spec)
	if err == nil {
		err = runChild(spec)
	}
	if spec.RemoveDir != "" {
		_ = os.RemoveAll(spec.RemoveDir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1, true
	}
	return 0, true
}

func runChild(spec childSpec) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		// The parent holds the other end and writes nothing: its end is the parent's end.
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	ended := make(chan struct{})
	defer close(ended)
	context.AfterFunc(ctx, func() {
		select {
		case <-ended:
		case <-time.After(childGrace):
			if spec.RemoveDir != "" {
				_ = os.RemoveAll(spec.RemoveDir)
			}
			fmt.Fprintf(os.Stderr, "did not stop within %v\n", childGrace)
			os.Exit(1)
		}
	})
	switch {
	case spec.ClickHouse != nil:
		s, err := clickhouse.New(*spec.ClickHouse)
		if err != nil {
			return err
		}
		return s.Run(ctx)
	case spec.Kafka != nil:
		b, err := kafka.New(*spec.Kafka)
		if err != nil {
			return err
		}
		return b.Run(ctx)
	}
	return fmt.Errorf("%s names no service", envChild)
}
