package batch

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPoolSealed tries to change the size of the file behind a pool, which would kill every process that maps it.
func TestPoolSealed(t *testing.T) {
	p, err := NewPool([]RangeSpec{{Slots: 1, SlotSize: PageAlign}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	fd, ok := p.FD()
	if !ok {
		t.Skip("the system refuses memfd")
	}
	for _, size := range []int64{0, 4096, PageAlign + 4096} {
		if err := unix.Ftruncate(fd, size); !errors.Is(err, unix.EPERM) {
			t.Errorf("truncate to %d: %v", size, err)
		}
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE); !errors.Is(err, unix.EPERM) {
		t.Errorf("further seals: %v", err)
	}
	// Another mapping, as a sandbox has it, sees what is written, and keeps it when the pool is closed.
	other, err := unix.Mmap(fd, 0, p.Size(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	copy(p.Bytes()[100:], "shared")
	if string(other[100:106]) != "shared" {
		t.Errorf("another mapping sees %q", other[100:106])
	}
	copy(other[100:], "spoilt")
	if string(p.Bytes()[100:106]) != "shared" {
		t.Errorf("a private mapping changed the pool: %q", p.Bytes()[100:106])
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if string(other[100:106]) != "spoilt" {
		t.Errorf("after close another mapping sees %q", other[100:106])
	}
	if err := unix.Munmap(other); err != nil {
		t.Error(err)
	}
	if _, ok := p.FD(); ok {
		t.Error("a closed pool has a file")
	}
}
