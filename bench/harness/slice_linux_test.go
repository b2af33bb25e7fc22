package harness

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/weir-stream/weir/bench/contender"
)

// TestSlice gives a process that would use a whole core a tenth of one.
func TestSlice(t *testing.T) {
	s, err := newSlice(0.1, 1)
	if err != nil {
		t.Skipf("SKIPPED, no share of the processor was given: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := run(ctx, contender.Command{Path: "/bin/sh", Args: []string{"-c", "i=0; while [ $i -lt 3000000 ]; do i=$((i+1)); done"}, Done: func(context.Context) error {
		time.Sleep(time.Second) // its clock is the processor's
		return nil
	}}, place{cores: 1, slice: s})
	if err != nil {
		t.Fatal(err)
	}
	if share := r.round.CPU / r.round.Wall; share > 0.3 {
		t.Errorf("a process with a tenth of a core used %.2f of it", share)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.dir); !os.IsNotExist(err) {
		t.Errorf("the control group is still there: %v", err)
	}
}
