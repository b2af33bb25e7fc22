package cli

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// heapFree is how much memory of Go a node may have before garbage is collected earlier than Go does by itself, which is when the heap
// has doubled. With the pages of the binary, about 40 MiB, a node with 10,000 keys stays below 256 MB. A local store has memory of its
// own, and what is read from the disk to be shipped.
const (
	heapFree      = 168 << 20
	heapFreeStore = heapFree + 64<<20
)

// heapLimit is the memory limit for a heap of which so much was alive when it was last collected, beside what Go has otherwise. What is
// alive may be more than what is free, where limits.state allows for it: there must be room for garbage beside it, or the node would
// do little but collect.
func heapLimit(free int64, live, beside uint64) int64 { return max(free, int64(live+live/2+beside)) }

// boundHeap keeps the memory limit of Go at heapLimit, from one collection to the next, until stop is called. Where GOMEMLIMIT or GOGC
// say what is wanted, it does nothing.
func boundHeap(free int64) (stop func()) {
	if os.Getenv("GOMEMLIMIT") != "" || os.Getenv("GOGC") != "" {
		return func() {}
	}
	h := &heapBound{free: free, at: free}
	debug.SetMemoryLimit(h.at)
	h.watch()
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if !h.ended {
			h.ended = true
			debug.SetMemoryLimit(math.MaxInt64) // what Go has without GOMEMLIMIT
		}
	}
}

type heapBound struct {
	free  int64
	mu    sync.Mutex // guards what follows
	at    int64      // the limit
	ended bool
}

// collected is what nobody holds: so its finalizer runs after every collection.
type collected struct{ _ *byte }

func (h *heapBound) watch() {
	runtime.SetFinalizer(&collected{}, func(*collected) {
		if h.adjust() {
			h.watch()
		}
	})
}

// adjust sets the limit anew. It tells whether to go on.
func (h *heapBound) adjust() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return false
	}
	live, beside := heapNow()
	// Setting it stops the world for a moment: it is not done for little.
	if limit := heapLimit(h.free, live, beside); limit > h.at || limit < h.at-h.at/8 {
		if limit > h.free {
			limit += limit / 16
		}
		h.at = limit
		debug.SetMemoryLimit(limit)
	}
	return true
}

// heapNow is what was alive at the last collection, and what Go has of the system beside its heap.
func heapNow() (live, beside uint64) {
	s := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
	}
	metrics.Read(s)
	beside = s[1].Value.Uint64()
	for _, of := range s[2:] {
		beside -= min(beside, of.Value.Uint64())
	}
	return s[0].Value.Uint64(), beside
}
