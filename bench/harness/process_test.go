package harness

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/bench/contender"
)

// TestUntil runs processes that do not end by themselves: one that has all in its answer is asked to stop, and it is no matter how it ends;
// one that ends before has failed.
func TestUntil(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	forever := contender.Command{Path: "/bin/sh", Args: []string{"-c", "exec sleep 1000"}, Done: func(context.Context) error { return nil }}
	if _, err := run(ctx, forever, place{cores: 1}); err != nil {
		t.Errorf("a process that was asked to stop: %v", err)
	}
	broken := errors.New("no such group")
	forever.Done = func(context.Context) error { return broken }
	if _, err := run(ctx, forever, place{cores: 1}); !errors.Is(err, broken) {
		t.Errorf("what could not be waited for: %v", err)
	}
	failed := contender.Command{Path: "/bin/sh", Args: []string{"-c", "echo broken >&2; exit 3"}, Done: func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}}
	if _, err := run(ctx, failed, place{cores: 1}); err == nil || !strings.Contains(err.Error(), "ended before") || !strings.Contains(err.Error(), "broken") {
		t.Errorf("a process that ended before: %v", err)
	}
}
