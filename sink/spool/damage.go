package spool

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// damagedFile is in the directory of a store that is to be set aside when it is opened next. It says why.
const damagedFile = "damaged"

// condemn has the store set aside when it is opened next. What is found first counts.
func (g *guard) condemn(why error) {
	path := g.cfg.FS.PathJoin(g.cfg.Dir, damagedFile)
	if _, err := g.cfg.FS.Stat(path); err == nil {
		return
	}
	if err := writeFile(g.cfg.FS, path, []byte(why.Error())); err != nil {
		g.cfg.Log.Error("cannot note that the local store is damaged", "file", path, "error", err)
	}
}

// checkCondemned tells what was found by the process before.
func checkCondemned(cfg *Config) error {
	why, err := readFile(cfg.FS, cfg.FS.PathJoin(cfg.Dir, damagedFile), 4<<10)
	if err != nil {
		return nil // it is not there, or what follows finds out
	}
	return fmt.Errorf("%w: found by the process before: %s", ErrDamaged, strings.TrimPrefix(string(why), ErrDamaged.Error()+": "))
}

// setAsideDir moves a damaged store out of the way.
func setAsideDir(cfg *Config) (aside string, err error) {
	aside = asideName(cfg.Dir)
	if err := cfg.FS.Rename(cfg.Dir, aside); err != nil {
		return "", fmt.Errorf("set it aside: %w", err)
	}
	// Or after a loss of power it would be found damaged again.
	if err := syncDir(cfg.FS, cfg.FS.PathDir(aside)); err != nil {
		return "", fmt.Errorf("set it aside: sync its directory: %w", err)
	}
	forgetOld(cfg)
	return aside, nil
}

// asideAtMost is how many damaged stores and copies of them are kept: a disk that rots makes one after another, and each is as large
// as the store was.
const asideAtMost = 2

// forgetOld removes all but the newest of what was set aside. What it cannot remove it leaves.
func forgetOld(cfg *Config) {
	parent := cfg.FS.PathDir(filepath.Clean(cfg.Dir))
	names, err := cfg.FS.List(parent)
	if err != nil {
		cfg.Log.Warn("cannot look for damaged stores that were set aside before", "directory", parent, "error", err)
		return
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		at, ours := strings.CutPrefix(name, cfg.FS.PathBase(filepath.Clean(cfg.Dir))+asideInfix)
		_, err := time.Parse(asideTime, at)
		return !ours || err != nil
	})
	slices.Sort(names) // by time
	for _, name := range names[:max(0, len(names)-asideAtMost)] {
		old := cfg.FS.PathJoin(parent, name)
		if err := cfg.FS.RemoveAll(old); err != nil {
			cfg.Log.Warn("cannot remove a damaged store that was set aside before", "directory", old, "error", err)
			continue
		}
		cfg.Log.Warn("removed an old damaged store: the newest are kept", "directory", old, "kept", asideAtMost)
	}
}

// What is set aside is named like the store, and by the time.
const (
	asideInfix = ".damaged-"
	asideTime  = "20060102T150405.000"
)

func asideName(dir string) string {
	return filepath.Clean(dir) + asideInfix + time.Now().UTC().Format(asideTime)
}

// setAside copies the store beside it, by links to its files.
func (s *Store) setAside() error {
	to := asideName(s.cfg.Dir)
	if err := s.db.Checkpoint(to, pebble.WithFlushedWAL()); err != nil {
		return fmt.Errorf("set the local store aside: %w", err)
	}
	s.cfg.Log.Error("a copy of the damaged local store is kept", "directory", to)
	forgetOld(&s.cfg)
	return nil
}

// SetAside is where a damaged store was moved when this one was opened, and what was wrong with it; empty if none was.
func (s *Store) SetAside() (path string, damage error) { return s.events.setAside, s.events.damage }

// Verify reads all that is stored: keys are in order on all levels, and values have their checksums. It takes a second or so for
// 100 MiB. Errors wrap ErrDamaged.
func (s *Store) Verify() (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, r)
		}
	}()
	if err := s.db.CheckLevels(nil); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return s.Scan(nil, nil, func(_, _ []byte) bool { return true })
}

// verifyFirst reads all of a store that ended processes, before it is opened to be written: the database begins to merge tables as soon
// as it is, and damage may end this process, too, before it is found.
func verifyFirst(cfg *Config, lock *pebble.Lock, why string) error {
	began := time.Now()
	cache := pebble.NewCache(cfg.CacheSize)
	defer cache.Unref()
	opts := &pebble.Options{FS: cfg.FS, Lock: lock, Cache: cache, FormatMajorVersion: pebbleFormat, MaxOpenFiles: 256, ReadOnly: true, Logger: &logger{cfg: cfg}}
	db, err := openPebble(cfg.Dir, opts)
	if errors.Is(err, pebble.ErrDBDoesNotExist) {
		return nil
	}
	if err == nil {
		err = verifyAndClose(&Store{cfg: *cfg, db: db})
	}
	cfg.Log.Warn("the local store was read as a whole", "directory", cfg.Dir, "why", why, "took", time.Since(began), "error", err)
	return err
}

// verifyAndClose is Verify for a store that is only open for it. Closing a database that panicked may panic as well.
func verifyAndClose(s *Store) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.Join(err, fmt.Errorf("%w: %v", ErrDamaged, r))
		}
	}()
	err = s.Verify()
	return errors.Join(err, s.db.Close())
}

// checkNumbers finds a store whose database counts its changes from an earlier one on than its tables have: the change to its list of
// files that says how far it had counted was not readable, and was taken for one that was never made. What is in the tables would be
// hidden until the same numbers were given to other changes, and be there again, in place of later ones, after that.
func checkNumbers(db *pebble.DB) error {
	tables, err := db.SSTables()
	if err != nil {
		return readError(err)
	}
	snap := db.NewSnapshot()
	next := db.Metrics().Snapshots.EarliestSeqNum
	if err := snap.Close(); err != nil {
		return readError(err)
	}
	for level := range tables {
		for i := range tables[level] {
			if t := &tables[level][i]; t.LargestSeqNum >= next {
				return fmt.Errorf("%w: table %s has changes up to %d, and the list of files knows of those before %d", ErrDamaged, t.FileNum, t.LargestSeqNum, next)
			}
		}
	}
	return nil
}

// checkFiles finds damage before the database is opened, and returns the number of the current manifest.
func checkFiles(cfg *Config) (manifest uint64, err error) {
	if err := checkCondemned(cfg); err != nil {
		return 0, err
	}
	return checkManifest(cfg)
}

// openFS is the file system that the database of a store works on.
func (s *Store) openFS(manifest uint64) vfs.FS {
	var checked vfs.FS
	checked, s.health = vfs.WithDiskHealthChecks(vfs.OnDiskFull(s.cfg.FS, s.space.release), s.cfg.SlowDisk, nil, s.events.slow)
	s.seal = openSeal(&s.cfg, manifest)
	return guardedFS{checked, &s.guard, s.seal}
}
