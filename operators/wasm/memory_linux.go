package wasm

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/weir-stream/weir/ingest/batch"
)

// mappedMemory is a guest's memory at a fixed address: its whole limit is reserved without access, and made accessible
// as the guest grows. So windows can be mapped into it for its life.
type mappedMemory struct {
	reserved []byte
	open     int // bytes that are accessible
	size     int // bytes the guest has
}

// newMappedMemory reserves limit bytes of address space and opens as many as the guest is about to ask for: one system call
// instead of one for each time it grows. What the guest has is still what Reallocate gave it.
func newMappedMemory(limit, expected int) (linear, error) {
	b, err := unix.Mmap(-1, 0, limit, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("reserve %d MiB of address space: %w", limit>>20, err)
	}
	m := &mappedMemory{reserved: b}
	expected = min((expected+batch.PageAlign-1)&^(batch.PageAlign-1), limit&^(batch.PageAlign-1))
	if err := m.grow(expected); err != nil {
		m.Free()
		return nil, fmt.Errorf("make %d bytes accessible: %w", expected, err)
	}
	return m, nil
}

func (m *mappedMemory) grow(size int) error {
	if size <= m.open {
		return nil
	}
	if err := unix.Mprotect(m.reserved[m.open:size], unix.PROT_READ|unix.PROT_WRITE); err != nil {
		return err
	}
	m.open = size
	return nil
}

// Reallocate is called by the runtime to grow the memory to size bytes; nil refuses. The memory never moves.
func (m *mappedMemory) Reallocate(size uint64) []byte {
	if size > uint64(len(m.reserved)) || m.grow(int(size)) != nil {
		return nil
	}
	m.size = int(size)
	return m.bytes()
}

// Free is called by the runtime when the guest is closed, and by the instance. The pool's own mapping is not affected.
func (m *mappedMemory) Free() {
	if m.reserved != nil {
		_ = unix.Munmap(m.reserved)
	}
	m.reserved, m.open, m.size = nil, 0, 0
}

func (m *mappedMemory) bytes() []byte { return m.reserved[:m.size:m.size] }

// mapWindows maps the pool copy-on-write at in, and one of its ranges shared at out. Both are page aligned and inside the
// memory.
//
// Not read-only: a guest's store into a read-only page is a fault that ends the whole process.
func mapWindows(mem linear, p *batch.Pool, r *batch.Range, in, out uint32) error {
	m, ok := mem.(*mappedMemory)
	fd, shared := p.FD()
	if !ok || !shared {
		return errors.New("the pool cannot be mapped")
	}
	at := func(addr uint32, n, off, kind int) error {
		if uint64(addr)+uint64(n) > uint64(m.size) {
			return fmt.Errorf("window of %d bytes at %#x is outside the memory of %d bytes", n, addr, m.size)
		}
		_, err := unix.MmapPtr(fd, int64(off), unsafe.Pointer(&m.reserved[addr]), uintptr(n),
			unix.PROT_READ|unix.PROT_WRITE, unix.MAP_FIXED|unix.MAP_NORESERVE|kind)
		return err
	}
	if err := at(in, p.Size(), 0, unix.MAP_PRIVATE); err != nil {
		return fmt.Errorf("map the pool: %w", err)
	}
	if err := at(out, r.Len, r.Off, unix.MAP_SHARED); err != nil {
		return fmt.Errorf("map the own range: %w", err)
	}
	return nil
}

// written counts the pages of a copy-on-write mapping that are the process's own, because something was stored there.
// Source: https://docs.kernel.org/admin-guide/mm/pagemap.html: of the 64 bits of a page, 63 is present, 62 swapped out, and 61
// tells that it is of a file.
func written(b []byte) (pages int, err error) {
	const own, ofFile = 1<<63 | 1<<62, 1 << 61
	fd, err := unix.Open("/proc/self/pagemap", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open pagemap: %w", err)
	}
	defer unix.Close(fd)
	size := os.Getpagesize()
	at := int64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) / int64(size) * 8
	var entries [512]uint64
	raw := unsafe.Slice((*byte)(unsafe.Pointer(&entries)), len(entries)*8)
	for left := len(b) / size; left > 0; {
		n, err := unix.Pread(fd, raw[:min(left, len(entries))*8], at)
		if err != nil || n < 8 {
			return 0, fmt.Errorf("read pagemap: %d bytes, %w", n, err)
		}
		for _, e := range entries[:n/8] {
			if e&own != 0 && e&ofFile == 0 {
				pages++
			}
		}
		left -= n / 8
		at += int64(n / 8 * 8)
	}
	return pages, nil
}

// forget drops what was stored into a copy-on-write mapping: its memory is given back, and the mapping is of the file again.
func forget(b []byte) error {
	if err := unix.Madvise(b, unix.MADV_DONTNEED); err != nil {
		return fmt.Errorf("drop pages: %w", err)
	}
	return nil
}
