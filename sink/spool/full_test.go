package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/weir-stream/weir/sink"
)

// limitedFS is a disk of a certain size, part of which others take.
type limitedFS struct {
	vfs.FS
	size           int64
	used           *atomic.Int64 // by files written here
	others         *atomic.Int64
	failed, synced *atomic.Int64
	syncError      *atomic.Bool
	syncTakes      *atomic.Int64 // nanoseconds
}

func newLimitedFS(size int64) *limitedFS {
	return &limitedFS{FS: vfs.NewMem(), size: size, used: new(atomic.Int64), others: new(atomic.Int64), failed: new(atomic.Int64), synced: new(atomic.Int64), syncError: new(atomic.Bool), syncTakes: new(atomic.Int64)}
}

func (l *limitedFS) GetDiskUsage(string) (vfs.DiskUsage, error) {
	used := l.used.Load() + l.others.Load()
	return vfs.DiskUsage{TotalBytes: uint64(l.size), UsedBytes: uint64(used), AvailBytes: uint64(max(0, l.size-used))}, nil
}

func (l *limitedFS) wrap(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &limitedFile{File: f, fs: l}, nil
}

func (l *limitedFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return l.wrap(l.FS.Create(name, c))
}

func (l *limitedFS) ReuseForWrite(o, n string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return l.wrap(l.FS.ReuseForWrite(o, n, c))
}

func (l *limitedFS) Remove(name string) error {
	if st, err := l.Stat(name); err == nil {
		l.used.Add(-st.Size())
	}
	return l.FS.Remove(name)
}

type limitedFile struct {
	vfs.File
	fs *limitedFS
}

func (f *limitedFile) Write(p []byte) (int, error) {
	if f.fs.used.Load()+f.fs.others.Load()+int64(len(p)) > f.fs.size {
		f.fs.failed.Add(1)
		return 0, fmt.Errorf("write: %w", syscall.ENOSPC)
	}
	f.fs.used.Add(int64(len(p)))
	return f.File.Write(p)
}

func (f *limitedFile) sync(err error) error {
	f.fs.synced.Add(1)
	time.Sleep(time.Duration(f.fs.syncTakes.Load()))
	if f.fs.syncError.Load() {
		return syscall.EIO
	}
	return err
}

func (f *limitedFile) Sync() error     { return f.sync(f.File.Sync()) }
func (f *limitedFile) SyncData() error { return f.sync(f.File.SyncData()) }

// TestFullDisk fills the disk from outside while the store writes. Nothing that was acknowledged is lost, nothing spins, and it
// goes on when there is room.
func TestFullDisk(t *testing.T) {
	disk := newLimitedFS(8 << 20)
	cfg := small(t, disk)
	cfg.Reserve = 1 << 20
	s := mustOpen(t, cfg)
	value := make([]byte, 8<<10)
	acked, refused := 0, 0
	commit := func() error {
		b := s.Batch()
		b.Set(fmt.Appendf(nil, "g%06d", acked), value)
		err := b.Commit()
		if err == nil {
			acked++
		} else if refused++; !errors.Is(err, ErrFull) {
			t.Fatal(err)
		}
		return err
	}
	for range 100 {
		if err := commit(); err != nil {
			t.Fatal(err)
		}
	}
	disk.others.Store(disk.size - disk.used.Load() - 64<<10)
	s.space.checked = time.Now() // as if it had just been looked: the write itself must find out
	for commit() == nil {
	}
	for range 10 {
		if commit() == nil {
			t.Fatal("a full disk took a commit")
		}
	}
	if st := s.Stats(); !st.Full || st.Fills != 1 {
		t.Errorf("stats of a full disk: %+v", st)
	}
	before := disk.failed.Load()
	time.Sleep(500 * time.Millisecond)
	if n := disk.failed.Load() - before; n > 20 {
		t.Errorf("%d writes were tried on a full disk in half a second: it spins", n)
	}
	disk.others.Store(0)
	began := time.Now()
	for commit() != nil {
		if time.Since(began) > 5*time.Second {
			t.Fatal("it did not go on within 5 s of space")
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Logf("%d commits refused; it went on %v after there was room", refused, time.Since(began))
	if st := s.Stats(); st.Full {
		t.Errorf("still full: %+v", st)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, cfg)
	defer s.Close()
	n := 0
	if err := s.Scan([]byte("g"), nil, func(_, _ []byte) bool { n++; return true }); err != nil || n != acked {
		t.Errorf("%d keys are there, %v; %d were acknowledged", n, err, acked)
	}
}

// TestRoomHolds has the disk fill between the question whether there is room and the commit of what was then let go of.
func TestRoomHolds(t *testing.T) {
	disk := newLimitedFS(8 << 20)
	cfg := small(t, disk)
	cfg.Reserve = 1 << 20
	s := mustOpen(t, cfg)
	defer s.Close()
	lane := s.Lane(ID{Pipeline: "p"}, &table)
	commit := func() error {
		ch := lane.Change()
		ch.PutLetters([]sink.DeadLetter{{Detail: "d", Payload: make([]byte, 64<<10)}})
		return ch.Commit([]byte("meta"))
	}
	if err := lane.Room(); err != nil {
		t.Fatal(err)
	}
	disk.others.Store(disk.size - disk.used.Load() - 4<<10)
	s.space.checked = time.Time{} // whoever looks sees it
	if err := commit(); err != nil {
		t.Errorf("there was room: %v", err)
	}
	if err := lane.Room(); !errors.Is(err, ErrFull) {
		t.Errorf("now there is none: %v", err)
	}
	if err := commit(); !errors.Is(err, ErrFull) {
		t.Errorf("and nobody has promised any: %v", err)
	}
}

func TestBudget(t *testing.T) {
	cfg := small(t, vfs.NewMem())
	cfg.MaxBytes = 1 << 20
	s := mustOpen(t, cfg)
	defer s.Close()
	value := make([]byte, 8<<10)
	for i := range value {
		value[i] = byte(rand.Uint32()) // it does not compress
	}
	var err error
	n := 0
	for ; err == nil && n < 1000; n++ {
		b := s.Batch()
		b.Set(fmt.Appendf(nil, "g%06d", n), value)
		err = b.Commit()
	}
	if !errors.Is(err, ErrFull) || n < 64 {
		t.Fatalf("after %d values of 8 KiB in a store of 1 MiB: %v", n, err)
	}
	b := s.Batch()
	b.DeleteAll([]byte("g"))
	if err := b.Commit(); err != nil {
		t.Fatalf("deleting from a store that is full: %v", err)
	}
	deadline := time.Now().Add(time.Minute)
	for {
		b := s.Batch()
		b.Set([]byte("g"), make([]byte, 8<<10))
		if err = b.Commit(); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("deleted space did not come back: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// A sync that fails leaves it open what is on the disk: the process must end, and never try again.
func TestFailedSyncIsFatal(t *testing.T) {
	disk := newLimitedFS(1 << 30)
	cfg := small(t, disk)
	fatal := make(chan error, 8)
	cfg.Fatal = func(err error) {
		fatal <- err
		select {} // it does not return
	}
	s := mustOpen(t, cfg)
	set(t, s, "ga", "1")
	disk.syncError.Store(true)
	returned := make(chan error, 1)
	go func() {
		b := s.Batch()
		b.Set([]byte("gb"), []byte("2"))
		returned <- b.Commit()
	}()
	select {
	case err := <-fatal:
		if !errors.Is(err, syscall.EIO) && err.Error() == "" {
			t.Error(err)
		}
	case err := <-returned:
		t.Fatalf("the commit returned: %v", err)
	case <-time.After(10 * time.Second):
		t.Fatal("nothing happened")
	}
	select {
	case err := <-returned:
		t.Fatalf("the commit returned after the disk failed: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
}

// TestSlowDisk has syncs take long: that is counted, logged, and told for a while.
func TestSlowDisk(t *testing.T) {
	disk := newLimitedFS(1 << 30)
	cfg := small(t, disk)
	var log strings.Builder
	cfg.SlowDisk, cfg.Log = 50*time.Millisecond, slog.New(slog.NewTextHandler(&log, nil))
	s := mustOpen(t, cfg)
	set(t, s, "ga", "1")
	if st := s.Stats(); st.Slow != 0 || st.SlowNow != "" {
		t.Errorf("a disk that is not slow: %+v", st)
	}
	disk.syncTakes.Store(int64(2500 * time.Millisecond)) // Pebble looks every 2 s
	set(t, s, "gb", "2")
	disk.syncTakes.Store(0)
	if st := s.Stats(); st.Slow == 0 || !strings.Contains(st.SlowNow, ".log takes") {
		t.Errorf("a slow disk: %+v", st)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(log.String(), "is slow"); n != 1 {
		t.Errorf("logged %d times:\n%s", n, log.String())
	}
}

// TestNewerFormat gives a store of a later version to this one, which must leave it alone and say so.
func TestNewerFormat(t *testing.T) {
	disk := newLimitedFS(1 << 30)
	cfg := small(t, disk)
	s := mustOpen(t, cfg)
	b := s.Batch()
	b.Set([]byte{keyFormat}, binary.BigEndian.AppendUint32(nil, format+1))
	if err := errors.Join(b.Commit(), s.Close()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := Open(cfg); !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), "format 4, and this weir knows 3") {
			t.Fatalf("opened: %v", err)
		}
	}
}
