//go:build unix

package libchdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// lockDir takes an advisory lock on dir, waiting for another process that fetches. The kernel drops the lock when its
// holder dies, so a killed fetch never blocks the next one.
func lockDir(ctx context.Context, dir string, out *reporter) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the libchdb lock: %w", err)
	}
	for told := false; ; {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			_ = f.Close()
			return nil, fmt.Errorf("lock the libchdb cache: %w", err)
		}
		if !told {
			out.line("another process is fetching; waiting")
			told = true
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, fmt.Errorf("wait for another process that fetches libchdb: %w", context.Cause(ctx))
		case <-time.After(200 * time.Millisecond):
		}
	}
}
