//go:build !linux

package harness

// freeDisk is not known here.
func freeDisk(string) (bytes uint64, known bool) { return 0, false }
