//go:build unix

package kafka

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// lockDir keeps a second broker process off the folder. The kernel drops the lock when its holder dies.
func lockDir(dir string) (func(), error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock the broker's data folder: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock the broker's data folder %s: another embedded broker uses it: %w", dir, err)
	}
	return func() { _ = f.Close() }, nil
}
