package batch

import "golang.org/x/sys/unix"

// mapShared makes a sealed memfd of n bytes and maps it. It returns nil where the system refuses.
//
// Sealed against shrinking: a file cut short under a mapping kills the process with SIGBUS. Not preallocated: the
// kernel accounts for the whole file when it is made, and pages that no batch has touched cost nothing.
func mapShared(n int) (mem []byte, fd int, unmap func() error) {
	fd, err := unix.MemfdCreate("weir-pool", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, -1, nil
	}
	if unix.Ftruncate(fd, int64(n)) != nil {
		_ = unix.Close(fd)
		return nil, -1, nil
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		_ = unix.Close(fd)
		return nil, -1, nil
	}
	mem, err = unix.Mmap(fd, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		_ = unix.Close(fd)
		return nil, -1, nil
	}
	return mem, fd, func() error {
		err := unix.Munmap(mem)
		if cerr := unix.Close(fd); err == nil {
			err = cerr
		}
		return err
	}
}
