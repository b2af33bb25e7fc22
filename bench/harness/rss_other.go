//go:build !unix

package harness

import (
	"os"
	"time"
)

// maxRSS is not known here.
func maxRSS(*os.ProcessState) int64 { return 0 }

// processTime is the time of the clock: that of the processor is not known here.
func processTime() time.Duration { return time.Duration(time.Now().UnixNano()) }
