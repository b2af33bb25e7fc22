//go:build !linux

package kafka

import "time"

// bootTime is a clock that runs while the process is stopped. Where the system has none that also runs while the host is
// suspended, the wall clock tells that time has passed.
func bootTime() time.Duration {
	return max(time.Since(processStart), time.Since(processStart.Round(0)))
}
