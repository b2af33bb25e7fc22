package cli

import (
	"math"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestHeapLimit(t *testing.T) {
	const mib = 1 << 20
	for _, tt := range []struct{ live, beside, want uint64 }{
		{0, 0, heapFree},
		{100 * mib, 10 * mib, heapFree},
		{200 * mib, 10 * mib, 310 * mib}, // there is room for half of what is alive, always
		{1000 * mib, 20 * mib, 1520 * mib},
	} {
		if got := heapLimit(heapFree, tt.live, tt.beside); got != int64(tt.want) {
			t.Errorf("%d MiB alive, %d beside: the limit is %d MiB, want %d", tt.live/mib, tt.beside/mib, got/mib, tt.want/mib)
		}
	}
}

// The limit follows what is alive, up and down, and is none in the end.
func TestBoundHeap(t *testing.T) {
	t.Setenv("GOMEMLIMIT", "")
	t.Setenv("GOGC", "")
	stop := boundHeap(heapFree)
	defer stop()
	until := func(what string, ok func(int64) bool) {
		t.Helper()
		for began := time.Now(); !ok(debug.SetMemoryLimit(-1)); {
			if time.Since(began) > 20*time.Second {
				t.Fatalf("the limit is %d MiB: it is not %s", debug.SetMemoryLimit(-1)>>20, what)
			}
			runtime.GC()
			time.Sleep(time.Millisecond)
		}
	}
	until("as low as it gets", func(at int64) bool { return at == heapFree })
	held := make([]byte, 2*heapFree)
	until("half above what is held", func(at int64) bool { return at >= 3*heapFree })
	runtime.KeepAlive(held)
	held = nil
	until("low again", func(at int64) bool { return at == heapFree })
	stop()
	stop()
	if got := debug.SetMemoryLimit(-1); got != math.MaxInt64 {
		t.Errorf("the limit is %d in the end", got)
	}
	t.Setenv("GOMEMLIMIT", "1GiB")
	defer boundHeap(heapFree)()
	if got := debug.SetMemoryLimit(-1); got != math.MaxInt64 {
		t.Errorf("with GOMEMLIMIT the limit became %d", got)
	}
}
