package spool

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// ballastFile is in the directory of the store. Pebble leaves files alone whose names it does not know.
const ballastFile = "ballast"

// checkSpace is how long an answer about free space is used.
const checkSpace = time.Second

// space guards the disk. A database that runs out of disk in the middle of something can neither go on nor give up, so
// some of the disk is held back by a file. When a write finds the disk full, the file is deleted, the write is done again and
// succeeds; from then on nothing new is begun until there is room for the file and as much again.
type space struct {
	cfg  *Config
	path string

	mu      sync.Mutex
	full    bool      // guarded by mu: the ballast was given up
	since   time.Time // guarded by mu: when
	checked time.Time // guarded by mu
	err     error     // guarded by mu: the last answer
	fills   int64     // guarded by mu: times it was given up
}

// init makes the ballast. A disk that has no room for it is full from the start, and the store can be opened and read.
func (s *space) init(cfg *Config) error {
	s.cfg, s.path = cfg, filepath.Join(cfg.Dir, ballastFile)
	err := s.make()
	switch {
	case err == nil:
		return nil
	case vfs.IsNoSpaceError(err):
		s.full, s.since = true, time.Now()
		return nil
	default:
		return fmt.Errorf("make the ballast of the local store: %w", err)
	}
}

// make writes the ballast, unless it is there. It is written and not only made long, so that it takes blocks.
func (s *space) make() (err error) {
	fs := s.cfg.FS
	if st, err := fs.Stat(s.path); err == nil && st.Size() >= s.cfg.Reserve {
		return nil
	}
	f, err := fs.Create(s.path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	defer func() {
		if closed := f.Close(); err == nil {
			err = closed
		}
		if err != nil {
			_ = fs.Remove(s.path)
		}
	}()
	if err := f.Preallocate(0, s.cfg.Reserve); err != nil {
		return err
	}
	zero := make([]byte, 1<<20)
	for left := s.cfg.Reserve; left > 0; {
		n := min(left, int64(len(zero)))
		if _, err := f.Write(zero[:n]); err != nil {
			return err
		}
		left -= n
	}
	return f.Sync()
}

// release gives the ballast up. Pebble calls it when the disk is full, while all its writes wait.
func (s *space) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full {
		return
	}
	s.full, s.since = true, time.Now()
	s.fills++
	s.checked = time.Time{}
	if err := s.cfg.FS.Remove(s.path); err != nil && !os.IsNotExist(err) {
		s.cfg.Log.Error("the disk is full, and the ballast could not be given up", "file", s.path, "error", err)
		return
	}
	s.cfg.Log.Error("the disk of the local store is full: nothing new is read until there is room", "directory", s.cfg.Dir, "needed", 2*s.cfg.Reserve)
}

// room tells whether the disk has room for more beside the ballast, which is far larger than a batch. It asks the file system once a second at most.
func (s *space) room() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); now.Sub(s.checked) > checkSpace {
		s.checked = now
		s.err = s.look()
	}
	return s.err
}

// look asks the file system, and makes the ballast again when there is room.
func (s *space) look() error {
	du, err := s.cfg.FS.GetDiskUsage(s.cfg.Dir)
	if err != nil {
		return nil // not every file system tells; then only a failed write does
	}
	free := int64(min(du.AvailBytes, 1<<62))
	if !s.full {
		if free < s.cfg.Reserve/4 {
			return fmt.Errorf("%w: the disk has %d MiB left: free some", ErrFull, free>>20)
		}
		return nil
	}
	if free < 2*s.cfg.Reserve {
		return fmt.Errorf("%w: the disk has %d MiB left, and %d are needed to go on: free some", ErrFull, free>>20, 2*s.cfg.Reserve>>20)
	}
	if err := s.make(); err != nil {
		return fmt.Errorf("%w: make the ballast again: %w", ErrFull, err)
	}
	s.cfg.Log.Info("the disk of the local store has room again", "directory", s.cfg.Dir, "after", time.Since(s.since).Round(time.Millisecond))
	s.full = false
	return nil
}
