//go:build unix

package wasm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// checkPrivate refuses a folder that others can read or write, or whose place others can take. path is absolute and without
// symbolic links.
func checkPrivate(path string) error {
	st, err := os.Lstat(path)
	switch {
	case err != nil:
		return err
	case !st.IsDir():
		return errors.New("it is not a folder")
	case !ownedByUs(st):
		return fmt.Errorf("it belongs to another user: it must be user %d's alone", os.Geteuid())
	case st.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("others can get at it, with mode %04o: run chmod 700 %s", st.Mode().Perm(), path)
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		st, err := os.Lstat(dir)
		if err != nil {
			return err
		}
		owner := st.Sys().(*syscall.Stat_t).Uid
		if owner != 0 && int(owner) != os.Geteuid() {
			return fmt.Errorf("%s, which it is in, belongs to user %d, who could replace it", dir, owner)
		}
		if st.Mode().Perm()&0o022 != 0 && st.Mode()&fs.ModeSticky == 0 {
			return fmt.Errorf("%s, which it is in, can be written by others, who could replace it: mode %04o", dir, st.Mode().Perm())
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}

func ownedByUs(st fs.FileInfo) bool {
	return int(st.Sys().(*syscall.Stat_t).Uid) == os.Geteuid()
}

// lockFolder makes this process the only one that uses a folder, until it ends or closes the file.
func lockFolder(root *os.Root) (*os.File, error) {
	f, err := root.OpenFile("lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errors.New("another process uses it: give each node its own")
		}
		return nil, fmt.Errorf("lock it: %w", err)
	}
	return f, nil
}
