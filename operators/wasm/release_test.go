package wasm

import (
	"bytes"
	"context"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/weir-stream/weir/operators"
)

// TestRelease: an operator that gave up its guest goes on with the next batch, and a lazy one starts with its first.
func TestRelease(t *testing.T) {
	schema, rows := sensors(t, 10)
	c := newChain(t, schema, 64<<10, Config{Module: example(t, "calibrate"), Config: []byte(`{"offset": 1}`)})
	o := c.ops[0]
	run := func() string {
		t.Helper()
		b := c.decode(t, schema, rows)
		if err := o.Process(context.Background(), b); err != nil {
			t.Fatal(err)
		}
		defer b.Release()
		return render(b)
	}
	live := func(want int64) {
		t.Helper()
		if u := o.Usage(); u.Instances-u.Ended != want {
			t.Errorf("%d guests live, want %d: %+v", u.Instances-u.Ended, want, u)
		}
	}
	first := run()
	live(1)
	if !o.Release() || o.Release() {
		t.Error("the guest is given up once")
	}
	live(0)
	if again := run(); again != first {
		t.Errorf("%s\nbefore: %s", again, first)
	}
	live(1)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	lazy, err := c.steps[0].Open(context.Background(), operators.Env{Pool: c.pool, Range: c.pool.Range(1), Lazy: true})
	if err != nil {
		t.Fatal(err)
	}
	o = lazy.(*operator)
	live(0)
	if got := run(); got != first {
		t.Error(got)
	}
	live(1)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	live(0)
}

// TestReleaseMemory: what eight guests in Go take, before and after they are given up.
func TestReleaseMemory(t *testing.T) {
	if runtime.GOOS != "linux" || testing.Short() {
		t.Skip("reads /proc, and compiles a large module")
	}
	schema, rows := sensors(t, 1000)
	cfg := Config{Module: example(t, "calibrate-go")}
	c := newChain(t, schema, 256<<10, cfg, cfg, cfg, cfg, cfg, cfg, cfg, cfg)
	run := func() time.Duration {
		t.Helper()
		b := c.decode(t, schema, rows)
		start := time.Now()
		for _, o := range c.ops {
			if err := o.Process(context.Background(), b); err != nil {
				t.Fatal(err)
			}
		}
		took := time.Since(start)
		b.Release()
		return took
	}
	run()
	warm, before := run(), proportional(t)
	for _, o := range c.ops {
		o.Release()
	}
	after := proportional(t)
	cold := run()
	t.Logf("8 guests in Go: PSS %d KiB running, %d KiB after release; a batch of 1000 rows takes %v warm, %v after release", before, after, warm, cold)
	if before-after < 8<<10 {
		t.Errorf("released %d KiB of 8 guests", before-after)
	}
}

// proportional is the PSS of this process in KiB: of a shared page, its share.
func proportional(t *testing.T) int {
	t.Helper()
	runtime.GC()
	b, err := os.ReadFile("/proc/self/smaps_rollup")
	if err != nil {
		t.Skip(err)
	}
	_, rest, _ := bytes.Cut(b, []byte("\nPss:"))
	n, err := strconv.Atoi(string(bytes.Fields(rest)[0]))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
