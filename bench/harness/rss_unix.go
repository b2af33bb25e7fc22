//go:build unix

package harness

import (
	"os"
	"runtime"
	"syscall"
)

// maxRSS is the most memory a process had resident, in bytes.
func maxRSS(s *os.ProcessState) int64 {
	u, ok := s.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	if runtime.GOOS == "darwin" {
		return u.Maxrss
	}
	return u.Maxrss * 1024
}
