package spool

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/weir-stream/weir/sink"
)

// format is the layout described in the package comment. A store of a later one is refused, one of an earlier one is brought to it:
// 2 differs from 1 in what the sum of a lane is made of, and each lane says which it has.
const format = 3

// pebbleFormat is pinned: an older weir must be able to open the store after a downgrade. Raising it is a step of its own.
const pebbleFormat = pebble.FormatWALSyncChunks

// Config says where a store is and what it may use.
type Config struct {
	// Dir is made if need be, readable by its owner only.
	Dir string
	// MaxBytes is how much disk the store may take; Commit of more is ErrFull. Default 2 GiB.
	MaxBytes int64
	// Reserve is how many bytes of the file system stay free of the store, and are held by a file (the ballast) that is
	// given up when somebody else fills it, so that what was begun can be ended. Default 64 MiB.
	Reserve int64
	// CacheSize and MemTableSize are bytes of memory. Default 8 MiB and 4 MiB; there are two memtables at most. With less than 64 MiB of
	// disk a memtable has a sixteenth of that: the database keeps the logs of four to write them again, and an empty store must not be full of them.
	CacheSize, MemTableSize int64
	// SlowDisk is how long a write may take before the disk counts as slow. Default 5 s.
	SlowDisk time.Duration
	Log      *slog.Logger
	// ReportCrashes has Go write what it says of a panic into the store, too, where the next process finds it. It is for main alone: a
	// process has one such file. It needs the operating system's FS.
	ReportCrashes bool
	// Fatal is called when a write or a sync failed and the store must not be used any more. It must not return. Default:
	// it logs and ends the process with exit code 74 (EX_IOERR).
	Fatal func(err error)
	// FS is the file system, for tests that cut the power or fill the disk. Default: the operating system's.
	FS vfs.FS
}

// maxMemTables is how many memtables there are at a time.
const maxMemTables = 2

// stopWrites is how many tables may wait to be merged before writers wait for that. They would wait forever where merging fails,
// and before that the store is given up.
const stopWrites = 100

// blockBytes is about how many bytes of rows are compressed, checked and read together. What is read is mostly all of a lane, in order:
// blocks of the 4 KiB that are usual for look-ups cost twice the processor time.
const blockBytes = 32 << 10

// exitIO is EX_IOERR of sysexits.h.
const exitIO = 74

func (c Config) withDefaults() Config {
	def := func(v *int64, d int64) {
		if *v == 0 {
			*v = d
		}
	}
	def(&c.MaxBytes, 2<<30)
	def(&c.Reserve, 64<<20)
	def(&c.CacheSize, 8<<20)
	def(&c.MemTableSize, min(4<<20, max(c.MaxBytes/16, 64<<10)))
	if c.SlowDisk == 0 {
		c.SlowDisk = 5 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Fatal == nil {
		log := c.Log
		c.Fatal = func(err error) {
			log.Error("the local store cannot go on; the process ends, and nothing acknowledged is lost", "error", err)
			os.Exit(exitIO)
		}
	}
	if c.FS == nil {
		c.FS = vfs.Default
	}
	return c
}

// Errors of a store.
var (
	// ErrFull: the budget or the disk is used up. Nothing was written.
	ErrFull = sink.ErrFull
	// ErrNewer: a later version of weir wrote the store.
	ErrNewer = errors.New("the local store was written by a later version of weir")
	// ErrLocked: another process uses the store.
	ErrLocked = errors.New("another process uses the local store")
	// ErrDamaged: what was read is not what was written.
	ErrDamaged = fmt.Errorf("the local store is %w", sink.ErrDamaged)
)

// Store is an open store. It is safe for concurrent use.
type Store struct {
	cfg    Config
	db     *pebble.DB
	lock   io.Closer
	health io.Closer
	space  space
	events events
	guard  guard
	seal   *seal

	reports bool // Go writes crashes into it

	logical    atomic.Int64    // bytes of keys and values committed
	life       context.Context // ends with the store: of what runs in the background
	end        context.CancelFunc
	background sync.WaitGroup
	mu         sync.Mutex
	closed     bool      // guarded by mu
	tidying    bool      // guarded by mu
	tidied     time.Time // guarded by mu

	closing sync.Once
	err     error // of closing
}

// Open opens or makes the store in cfg.Dir. One that is damaged is set aside beside it, and SetAside of the new one says
// where. Errors are ErrNewer, ErrLocked, ErrFull, or of the file system.
func Open(cfg Config) (*Store, error) {
	cfg = cfg.withDefaults()
	s, err := open(cfg)
	if err == nil || !errors.Is(err, ErrDamaged) {
		return s, err
	}
	aside, moved := setAsideDir(&cfg)
	if moved != nil {
		return nil, errors.Join(err, moved)
	}
	cfg.Log.Error("the local store is damaged: it was set aside, and what it had is read from Kafka again", "store", cfg.Dir, "aside", aside, "error", err)
	damage := err
	if s, err = open(cfg); err != nil {
		return nil, err
	}
	s.events.setAside, s.events.damage = aside, damage
	return s, nil
}

// OpenReadOnly opens a store to look at it: nothing is written, nothing set aside. Only the methods that read may be called. It
// excludes other processes as Open does. Errors are as of Open; one that is not there wraps fs.ErrNotExist.
func OpenReadOnly(cfg Config) (*Store, error) {
	cfg = cfg.withDefaults()
	s := &Store{cfg: cfg, health: io.NopCloser(nil)}
	s.life, s.end = context.WithCancel(context.Background())
	if _, err := cfg.FS.Stat(cfg.Dir); err != nil {
		return nil, fmt.Errorf("look for the local store: %w", err)
	}
	lock, err := pebble.LockDirectory(cfg.Dir, cfg.FS)
	if err != nil {
		return nil, lockError(cfg.Dir, err)
	}
	if _, err := checkFiles(&cfg); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	cache := pebble.NewCache(cfg.CacheSize)
	defer cache.Unref()
	opts := &pebble.Options{FS: cfg.FS, Lock: lock, Cache: cache, FormatMajorVersion: pebbleFormat, MaxOpenFiles: 256, ReadOnly: true, Logger: &logger{cfg: &s.cfg}}
	if s.db, err = openPebble(cfg.Dir, opts); err != nil {
		if errors.Is(err, pebble.ErrDBDoesNotExist) {
			err = fmt.Errorf("look for the local store in %s: %w", cfg.Dir, fs.ErrNotExist)
		}
		return nil, errors.Join(err, lock.Close())
	}
	s.lock = lock
	if err := checkNumbers(s.db); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if v, err := s.Get([]byte{keyFormat}); err != nil || v == nil {
		if err == nil {
			err = fmt.Errorf("look for the local store in %s: it was never used: %w", cfg.Dir, fs.ErrNotExist)
		}
		return nil, errors.Join(err, s.Close())
	}
	if err := s.checkFormat(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// lockError says why a store could not be locked: another process has it, or its file cannot be opened.
func lockError(dir string, err error) error {
	var file *fs.PathError
	if errors.As(err, &file) {
		return fmt.Errorf("lock the local store: %w; the user weir runs as must be able to write there", err)
	}
	return fmt.Errorf("%w: %s: %w; a store belongs to one node: stop the other process, or give this one a folder of its own", ErrLocked, dir, err)
}

func open(cfg Config) (*Store, error) {
	s := &Store{cfg: cfg}
	s.events.log, s.guard.cfg = cfg.Log, &s.cfg
	s.life, s.end = context.WithCancel(context.Background())
	if err := cfg.FS.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the local store: %w; it must be a folder that the user weir runs as may write", err)
	}
	if err := s.space.init(&s.cfg); err != nil {
		return nil, err
	}
	// Named by hand: what fails here otherwise cannot be told from damage.
	lock, err := pebble.LockDirectory(cfg.Dir, cfg.FS)
	if err != nil {
		return nil, lockError(cfg.Dir, err)
	}
	s.lock = lock
	manifest, err := checkFiles(&s.cfg)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	verify, hopeless := s.begin()
	if hopeless != nil {
		return nil, errors.Join(hopeless, lock.Close())
	}
	if verify != "" {
		if err := verifyFirst(&s.cfg, lock, verify); err != nil {
			return nil, errors.Join(err, lock.Close())
		}
	}
	if cfg.ReportCrashes { // before the database is opened: it may panic as soon as it is
		if err := s.reportCrashes(); err != nil {
			cfg.Log.Warn("what ends this process will not be known to the next", "error", err)
		}
	}
	fs := s.openFS(manifest)
	// Pebble takes the memtables out of the cache's size: without room for them nothing would be cached.
	cache := pebble.NewCache(cfg.CacheSize + maxMemTables*cfg.MemTableSize)
	defer cache.Unref()
	opts := &pebble.Options{
		FS: fs, Lock: lock, Cache: cache, MemTableSize: uint64(cfg.MemTableSize), MemTableStopWritesThreshold: maxMemTables,
		FormatMajorVersion: pebbleFormat, MaxOpenFiles: 256, FlushDelayDeleteRange: time.Second, MaxManifestFileSize: 4 << 20, L0StopWritesThreshold: stopWrites,
		Logger:        &logger{cfg: &s.cfg},
		EventListener: s.events.listener(&s.guard),
	}
	for i := range opts.Levels {
		opts.Levels[i].BlockSize, opts.Levels[i].IndexBlockSize = blockBytes, blockBytes
	}
	if s.db, err = openPebble(cfg.Dir, opts); err != nil {
		s.stopReporting()
		return nil, errors.Join(err, s.seal.close(), s.health.Close(), lock.Close())
	}
	if err := checkNumbers(s.db); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := s.checkFormat(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// openPebble opens the database, and tells damage from other failures. Pebble panics on some damage.
func openPebble(dir string, opts *pebble.Options) (db *pebble.DB, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, r)
		}
	}()
	db, err = pebble.Open(dir, opts)
	switch {
	case err == nil:
		return db, nil
	case vfs.IsNoSpaceError(err):
		return nil, fmt.Errorf("%w: open it: %w", ErrFull, err)
	case os.IsPermission(err):
		return nil, fmt.Errorf("open the local store: %w", err)
	case isFutureFormat(err):
		return nil, fmt.Errorf("%w: %w", ErrNewer, err)
	default:
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
}

func (s *Store) checkFormat() error {
	v, err := s.Get([]byte{keyFormat})
	if err != nil {
		return err
	}
	have := uint32(0)
	if v != nil {
		if len(v) != 4 {
			return fmt.Errorf("%w: its format has %d bytes", ErrDamaged, len(v))
		}
		have = binary.BigEndian.Uint32(v)
	}
	if have > format {
		return fmt.Errorf("%w: it has format %d, and this weir knows %d", ErrNewer, have, format)
	}
	if have == format || s.seal == nil { // nothing is written to one that is open to be read
		return nil
	}
	b := s.Batch()
	b.Set([]byte{keyFormat}, binary.BigEndian.AppendUint32(nil, format))
	return b.Commit()
}

// Close closes the store. Closing twice is fine.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		s.end()
		s.background.Wait()
		s.err = s.db.Close()
		if s.seal != nil { // it is open to be written
			s.err = errors.Join(s.err, s.seal.close(), s.farewell())
		}
		s.err = errors.Join(s.err, s.health.Close(), s.lock.Close())
	})
	return s.err
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(key, value []byte) uint32 {
	return crc32.Update(crc32.Update(0, castagnoli, key), castagnoli, value)
}

// unseal checks a stored value and takes the checksum off.
func unseal(key, stored []byte) ([]byte, error) {
	value, _, err := unsealed(key, stored)
	return value, err
}

// unsealed is unseal, and gives the checksum as well.
func unsealed(key, stored []byte) ([]byte, uint32, error) {
	if len(stored) < 4 {
		return nil, 0, fmt.Errorf("%w: the value of key %x has %d bytes", ErrDamaged, key, len(stored))
	}
	value, sum := stored[:len(stored)-4], binary.BigEndian.Uint32(stored[len(stored)-4:])
	if sum != checksum(key, value) {
		return nil, 0, fmt.Errorf("%w: the value of key %x does not have its checksum", ErrDamaged, key)
	}
	return value, sum, nil
}

// Get returns a copy of a value, or nil.
func (s *Store) Get(key []byte) ([]byte, error) {
	stored, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, readError(err)
	}
	defer closer.Close()
	v, err := unseal(key, stored)
	return append([]byte{}, v...), err
}

// Scan calls each for every key that begins with prefix and is not below from, in order, until it returns false. Key and
// value are borrowed for the call.
func (s *Store) Scan(prefix, from []byte, each func(key, value []byte) bool) error {
	return s.scan(prefix, from, func(key, value []byte, _ uint32) bool { return each(key, value) })
}

// scan is Scan with the checksums of entries.
func (s *Store) scan(prefix, from []byte, each func(key, value []byte, checksum uint32) bool) (err error) {
	lower := prefix
	if string(from) > string(prefix) {
		lower = from
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: after(prefix)})
	if err != nil {
		return readError(err)
	}
	defer func() { err = errors.Join(err, readError(it.Close())) }()
	for ok := it.First(); ok; ok = it.Next() {
		stored, err := it.ValueAndErr()
		if err != nil {
			return readError(err)
		}
		v, sum, err := unsealed(it.Key(), stored)
		if err != nil {
			return err
		}
		if !each(it.Key(), v, sum) {
			return nil
		}
	}
	return readError(it.Error())
}

func readError(err error) error {
	if err == nil {
		return nil
	}
	if pebble.IsCorruptionError(err) {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return fmt.Errorf("read the local store: %w", err)
}

// after is the first key that does not begin with prefix, or nil where there is none.
func after(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

// Batch collects writes that happen together. One goroutine uses it, and it ends with Commit or Discard.
type Batch struct {
	s     *Store
	b     *pebble.Batch
	bytes int64 // of all
	put   int64 // of values that are set
	err   error

	granted bool // there was room when somebody asked, and that holds
}

// Batch begins a batch.
func (s *Store) Batch() *Batch { return &Batch{s: s, b: s.db.NewBatch()} }

// Set writes a value; key and value are copied.
func (b *Batch) Set(key, value []byte) {
	op := b.b.SetDeferred(len(key), len(value)+4)
	copy(op.Key, key)
	copy(op.Value, value)
	binary.BigEndian.PutUint32(op.Value[len(value):], checksum(key, value))
	b.fail(op.Finish())
	b.bytes += int64(len(key) + len(value) + 4)
	b.put += int64(len(key) + len(value) + 4)
}

// Delete removes a key, whether or not it is there.
func (b *Batch) Delete(key []byte) {
	b.fail(b.b.Delete(key, nil))
	b.bytes += int64(len(key))
}

// DeleteAll removes every key that begins with prefix.
func (b *Batch) DeleteAll(prefix []byte) {
	b.fail(b.b.DeleteRange(prefix, after(prefix), nil))
	b.bytes += int64(2 * len(prefix))
}

// DeleteRange removes every key from one on and before another.
func (b *Batch) DeleteRange(from, to []byte) {
	b.fail(b.b.DeleteRange(from, to, nil))
	b.bytes += int64(len(from) + len(to))
}

func (b *Batch) fail(err error) {
	if b.err == nil && err != nil {
		b.err = err
	}
}

// Discard ends a batch that is not wanted.
func (b *Batch) Discard() { _ = b.b.Close() }

// Commit writes the batch and waits until it is on the disk. ErrFull says that nothing was written and it may be tried
// again; every other failure of the disk ends the process, see Config.Fatal.
func (b *Batch) Commit() error {
	defer b.Discard()
	if b.err != nil {
		return fmt.Errorf("write the local store: %w", b.err)
	}
	if b.put > 0 && !b.granted { // what only deletes makes room
		if err := b.s.room(b.put); err != nil {
			return err
		}
	}
	if err := b.b.Commit(pebble.Sync); err != nil {
		b.s.cfg.Fatal(fmt.Errorf("commit to the local store: %w", err))
		return err
	}
	b.s.logical.Add(b.bytes)
	return nil
}

// room tells whether so many bytes more may be written.
func (s *Store) room(bytes int64) error {
	if used := int64(s.db.Metrics().DiskSpaceUsage()); used+bytes > s.cfg.MaxBytes {
		s.tidy()
		return fmt.Errorf("%w: it has %d MiB of the %d MiB that it may use", ErrFull, used>>20, s.cfg.MaxBytes>>20)
	}
	return s.space.room()
}

// tidyEvery is how often a store that is over its budget looks for deleted values that still take disk.
const tidyEvery = 10 * time.Second

// tidy rewrites the store without what was deleted. One runs at a time, beside everything else.
func (s *Store) tidy() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.tidied) >= tidyEvery {
		s.compact([]byte{0}, []byte{0xff})
	}
}

// reclaim is tidy for a part of the keys from which much was deleted, at once.
func (s *Store) reclaim(from, to []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.compact(from, to)
}

// settling tells whether something is being tidied.
func (s *Store) settling() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tidying
}

// compact begins to tidy up a part of the store. mu is held.
func (s *Store) compact(from, to []byte) {
	if s.tidying || s.closed {
		return
	}
	s.tidying = true
	s.background.Go(func() {
		// A failure is one of the disk, which others report.
		_ = s.db.Compact(s.life, from, to, false)
		s.mu.Lock()
		s.tidying, s.tidied = false, time.Now()
		s.mu.Unlock()
	})
}
