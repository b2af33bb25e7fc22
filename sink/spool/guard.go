package spool

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Background work of the database that fails is done again at once, forever. After so many failures in a row what it does to
// tables waits a little, longer each time; after so many more the store is given up.
const (
	failuresAtOnce = 3
	failuresAtMost = 12
	shortestPause  = 10 * time.Millisecond
	longestPause   = 200 * time.Millisecond
	afterwards     = 10 * time.Second
)

// guard watches the background work of a database.
type guard struct {
	cfg *Config

	inRow  atomic.Int32 // failures since something succeeded
	reads  atomic.Bool  // one of them was of what is on the disk, and not only of room on it
	gaveUp atomic.Bool
}

// merged notes that tables were merged.
func (g *guard) merged() {
	g.inRow.Store(0)
	g.reads.Store(false)
}

// flushed notes that a table was written. That says nothing of those that cannot be read.
func (g *guard) flushed() {
	if !g.reads.Load() {
		g.inRow.Store(0)
	}
}

// failed notes that background work failed. It is called with the database locked. A disk without room is waited for.
func (g *guard) failed(err error) {
	n := g.inRow.Add(1)
	if vfs.IsNoSpaceError(err) {
		return
	}
	g.reads.Store(true)
	g.cfg.Log.Error("the local store cannot tidy up", "error", err, "failures", n)
	if n >= failuresAtMost {
		g.giveUp(fmt.Errorf("tidy up the local store: failed %d times in a row: %w", n, err))
	}
}

// giveUp ends the process, and has the next one begin anew if the store is damaged: a table that cannot be read can neither be merged
// nor removed, and stands in the way of all whose keys are in it.
func (g *guard) giveUp(err error) {
	if !g.gaveUp.CompareAndSwap(false, true) {
		return
	}
	if isRot(err) {
		g.condemn(err)
	}
	g.cfg.Fatal(err)
}

// isRot tells whether an error is about what is on the disk: everything but what the operating system says of its own state.
func isRot(err error) bool {
	var errno syscall.Errno
	return pebble.IsCorruptionError(err) || !errors.As(err, &errno) || errno == syscall.EIO
}

// pause waits before work on a table, while such work fails.
func (g *guard) pause() {
	if g.gaveUp.Load() {
		time.Sleep(afterwards) // the process ends
	} else if n := g.inRow.Load(); n > failuresAtOnce {
		time.Sleep(min(longestPause, shortestPause<<min(n-failuresAtOnce, 20)))
	}
}

// guardedFS is a file system whose tables wait while work on them fails, and whose manifests are sealed.
type guardedFS struct {
	vfs.FS
	g    *guard
	seal *seal
}

// Unwrap implements vfs.FS.
func (f guardedFS) Unwrap() vfs.FS { return f.FS }

func isTable(name string) bool { return strings.HasSuffix(name, ".sst") }

// Create implements vfs.FS.
func (f guardedFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if isTable(name) {
		f.g.pause()
	}
	file, err := f.FS.Create(name, c)
	if number, ok := manifestNumber(f.FS.PathBase(name)); ok && err == nil {
		return &sealedFile{File: file, seal: f.seal, number: number}, nil
	}
	return file, err
}

// Open implements vfs.FS.
func (f guardedFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	file, err := f.FS.Open(name, opts...)
	if err == nil && isTable(name) {
		return guardedTable{file, f.g}, nil
	}
	return file, err
}

type guardedTable struct {
	vfs.File
	g *guard
}

// ReadAt implements vfs.File.
func (t guardedTable) ReadAt(p []byte, at int64) (int, error) {
	if t.g.reads.Load() {
		t.g.pause()
	}
	return t.File.ReadAt(p, at)
}
