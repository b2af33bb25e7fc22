package kafka

import (
	"time"

	"golang.org/x/sys/unix"
)

// bootTime is a clock that never stops: not while the process is stopped, as no clock does, and not while the host is
// suspended, as Go's own does on Linux.
func bootTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return time.Since(processStart)
	}
	return time.Duration(ts.Nano())
}
