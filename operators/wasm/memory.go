package wasm

import "github.com/tetratelabs/wazero/experimental"

// linear is the memory of one guest. It is made before the guest, so that running out of address space is an error
// rather than a panic inside the runtime, and it enforces the guest's limit: past it, memory.grow fails.
type linear interface {
	experimental.LinearMemory
	// bytes is the memory as large as it is now. It is invalid after the guest ran, or grew, again.
	bytes() []byte
}

// allocate hands the prepared memory to the runtime.
func allocate(m linear) experimental.MemoryAllocator {
	return experimental.MemoryAllocatorFunc(func(_, _ uint64) experimental.LinearMemory { return m })
}

// heapMemory is a guest's memory on the Go heap. It moves when it grows and nothing can be mapped into it: it goes with
// the copying transport.
type heapMemory struct {
	buf   []byte
	limit int
}

func newHeapMemory(limit, least int) *heapMemory {
	return &heapMemory{buf: make([]byte, 0, least), limit: limit}
}

// Reallocate is called by the runtime to grow the memory to size bytes; nil refuses.
func (m *heapMemory) Reallocate(size uint64) []byte {
	if size > uint64(m.limit) {
		return nil
	}
	if n := int(size); n > cap(m.buf) {
		grown := make([]byte, n, min(m.limit, max(n, 2*cap(m.buf))))
		copy(grown, m.buf)
		m.buf = grown
	} else {
		m.buf = m.buf[:n]
	}
	return m.buf
}

// Free is called by the runtime when the guest is closed.
func (m *heapMemory) Free() { m.buf = nil }

func (m *heapMemory) bytes() []byte { return m.buf }
