//go:build linux && (amd64 || arm64) && !weir_static

package libchdb

import (
	"fmt"
	"runtime"
	"syscall"
	"unsafe"
)

// kernelSigset is the size of the kernel's signal mask: 64 signals.
const kernelSigset = 8

// sigaction is at least as large as struct kernel_sigaction on every 64-bit Linux (handler, flags, restorer, mask).
// Its fields are only copied, never read.
type sigaction [8]uint64

// keepSignals runs f and then puts back every signal handler f changed. The library resets the handlers of SIGSEGV and
// others, even when told to leave them alone; Go needs its own, or a recovered nil dereference hangs the process.
func keepSignals(f func()) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var saved [65]sigaction
	for sig := 1; sig <= 64; sig++ {
		if untouchable(sig) {
			continue
		}
		if errno := rtSigaction(sig, nil, &saved[sig]); errno != 0 {
			return fmt.Errorf("read the handler of signal %d: %w", sig, errno)
		}
	}
	f()
	for sig := 1; sig <= 64; sig++ {
		if untouchable(sig) {
			continue
		}
		var now sigaction
		if errno := rtSigaction(sig, nil, &now); errno != 0 {
			return fmt.Errorf("read the handler of signal %d: %w", sig, errno)
		}
		if now == saved[sig] {
			continue
		}
		if errno := rtSigaction(sig, &saved[sig], nil); errno != 0 {
			return fmt.Errorf("restore the handler of signal %d: %w", sig, errno)
		}
	}
	return nil
}

// untouchable reports the signals no handler can be set for, and the three the C library keeps for its threads: it
// installs their handlers when it first needs them, which may be inside f.
func untouchable(sig int) bool {
	return sig == int(syscall.SIGKILL) || sig == int(syscall.SIGSTOP) || (sig >= 32 && sig <= 34)
}

// rtSigaction asks the kernel itself: there is no C function to call without cgo.
func rtSigaction(sig int, set, old *sigaction) syscall.Errno {
	_, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(set)),
		uintptr(unsafe.Pointer(old)), kernelSigset, 0, 0)
	return errno
}
