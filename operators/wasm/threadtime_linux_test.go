package wasm

import (
	"time"

	"golang.org/x/sys/unix"
)

// threadTime is what this thread has used of the processors.
func threadTime() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t)
	return time.Duration(t.Nano())
}
