package harness

import "syscall"

// freeDisk is how many bytes this user may write to the file system of a folder.
func freeDisk(dir string) (bytes uint64, known bool) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, false
	}
	return s.Bavail * uint64(s.Bsize), true
}
