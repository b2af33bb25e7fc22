package spool

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestLivesThatEndEarly kills one process after another. A good store is read as a whole now and then, and stays; one that no other
// check finds damaged is set aside.
func TestLivesThatEndEarly(t *testing.T) {
	for _, damaged := range []bool{false, true} {
		t.Run(fmt.Sprint(damaged), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := vfs.NewCrashableMem()
				var log strings.Builder
				cfg := small(t, disk)
				cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
				s := mustOpen(t, cfg)
				set(t, s, "ga", "1")
				if damaged { // a value that is not what its key says, in a table that is whole
					if err := errors.Join(s.db.Set([]byte("gb"), []byte("12345"), nil), s.db.Flush()); err != nil {
						t.Fatal(err)
					}
				}
				for life := 1; life <= 2*firstVerify; life++ {
					next := killed(cfg.FS.(*vfs.MemFS))
					if err := s.Close(); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Minute)
					cfg.FS = next
					s = mustOpen(t, cfg)
					_, damage := s.SetAside()
					if want := damaged && life == firstVerify; (damage != nil) != want {
						t.Fatalf("after %d lives that ended early: set aside %v", life, damage)
					}
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				if n := strings.Count(log.String(), "read as a whole"); n != 2 && !damaged {
					t.Errorf("read as a whole %d times:\n%s", n, log.String())
				}
				if _, err := cfg.FS.Stat("store/" + runningFile); err == nil {
					t.Error("a store that was closed is running")
				}
			})
		})
	}
}

// TestCrashesOfTheDatabase has a process find what Go wrote when the one before panicked.
func TestCrashesOfTheDatabase(t *testing.T) {
	const (
		background = "panic: pebble: invariant violation: f#10,SET and f#10,SET out of order\n\ngoroutine 31 [running]:\n" +
			"github.com/cockroachdb/pebble/v2/internal/compact.(*Iter).nextInStripeHelper(0x1)\n\titerator.go:786 +0x1\n\ngoroutine 1 [select]:\ngithub.com/weir-stream/weir/edge-node/cli.Main()\n"
		called = "panic: pebble: closed\n\ngoroutine 31 [running]:\ngithub.com/cockroachdb/pebble/v2.(*DB).Get(0x1)\n\tdb.go:1 +0x1\n" +
			"github.com/weir-stream/weir/sink/spool.(*Store).Get(0x1)\n\tstore.go:1 +0x1\n\n"
		memory = "fatal error: runtime: out of memory\n\ngoroutine 31 [running]:\ngithub.com/cockroachdb/pebble/v2/internal/manual.New(0x1)\n\n"
	)
	for _, c := range []struct {
		name, crash string
		again       time.Duration // until it happens once more
		aside       bool
	}{
		{"once", background, 0, false},
		{"twice", background, time.Minute, true},
		{"and a day later", background, 24 * time.Hour, false},
		{"of ours", called, time.Minute, false},
		{"without memory", memory, time.Minute, false},
		{"killed", "", time.Minute, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := small(t, vfs.NewMem())
				crashes := 1
				if c.again > 0 {
					crashes = 2
				}
				s := mustOpen(t, cfg)
				for range crashes {
					if err := errors.Join(s.Close(), writeFile(cfg.FS, "store/"+crashFile, []byte(c.crash))); err != nil {
						t.Fatal(err)
					}
					time.Sleep(c.again)
					s = mustOpen(t, cfg)
				}
				if _, damage := s.SetAside(); (damage != nil) != c.aside {
					t.Errorf("set aside: %v", damage)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// badSectors is a disk on which tables cannot be read any more.
type badSectors struct {
	vfs.FS
	bad *atomic.Bool
}

func (d badSectors) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := d.FS.Open(name, opts...)
	if isTable(name) && err == nil {
		f = badFile{f, d.bad}
	}
	return f, err
}

type badFile struct {
	vfs.File
	bad *atomic.Bool
}

func (f badFile) ReadAt(p []byte, at int64) (int, error) {
	if f.bad.Load() {
		return 0, syscall.EIO
	}
	return f.File.ReadAt(p, at)
}

// TestGivenUpIsSetAside has tables become unreadable under a store that runs: work on them is not tried forever, and the next
// process begins anew.
func TestGivenUpIsSetAside(t *testing.T) {
	for _, c := range []struct {
		name     string
		harm     func(t *testing.T, disk badSectors)
		failures int32 // of background work, at least
	}{
		{"rotten", rotTables, 0},
		{"unreadable", func(_ *testing.T, disk badSectors) { disk.bad.Store(true) }, failuresAtMost},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { givenUp(t, c.harm, c.failures) })
		})
	}
}

// rotTables turns bits in the first block of every table.
func rotTables(t *testing.T, disk badSectors) {
	names, err := disk.List("store")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !isTable(name) {
			continue
		}
		f, err := disk.OpenReadWrite("store/"+name, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte{0xa5, 0x5a}, 8); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
	}
}

func givenUp(t *testing.T, harm func(*testing.T, badSectors), failures int32) {
	disk := badSectors{vfs.NewMem(), new(atomic.Bool)}
	cfg := small(t, disk)
	fatal := make(chan error, 1)
	cfg.Fatal = func(err error) { fatal <- err }
	s := mustOpen(t, cfg)
	set(t, s, "ga", "1")
	if err := s.db.Flush(); err != nil {
		t.Fatal(err)
	}
	harm(t, disk)
	began := time.Now()
	for i := 0; len(fatal) == 0; i++ { // it is tidied when there are some tables
		if i == 100 {
			t.Fatal("nobody found out")
		}
		set(t, s, "ga", fmt.Sprint(i))
		if err := s.db.Flush(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
	}
	if n := s.guard.inRow.Load(); n < failures || n > failuresAtMost+1 {
		t.Errorf("given up after %d failures", n)
	}
	t.Logf("given up after %s: %v", time.Since(began), <-fatal)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	disk.bad.Store(false)
	if _, err := OpenReadOnly(cfg); !errors.Is(err, ErrDamaged) {
		t.Errorf("opened to be read: %v", err)
	}
	s = mustOpen(t, cfg)
	defer s.Close()
	if _, damage := s.SetAside(); damage == nil {
		t.Error("it was not set aside")
	} else if v, err := s.Get([]byte("ga")); v != nil || err != nil {
		t.Errorf("a new store has %q, %v", v, err)
	}
}

// TestReportCrashes has a process panic, and reads what it left.
func TestReportCrashes(t *testing.T) {
	if dir := os.Getenv("WEIR_TEST_CRASH"); dir != "" {
		mustOpen(t, Config{Dir: dir, Reserve: 1 << 20, ReportCrashes: true})
		go panic("on purpose")
		select {}
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestReportCrashes$")
	cmd.Env = append(os.Environ(), "WEIR_TEST_CRASH="+dir)
	if out, err := cmd.CombinedOutput(); err == nil {
		t.Fatalf("it did not panic:\n%s", out)
	}
	text, err := os.ReadFile(filepath.Join(dir, crashFile))
	if err != nil || !strings.HasPrefix(string(text), "panic: on purpose") || panickedAlone(string(text)) {
		t.Fatalf("%v:\n%s", err, text)
	}
	s := mustOpen(t, Config{Dir: dir, Reserve: 1 << 20})
	defer s.Close()
	if _, damage := s.SetAside(); damage != nil {
		t.Errorf("set aside: %v", damage)
	}
}

// TestAsideAtMost damages one store after another: the newest two are kept, and nothing else of the directory goes.
func TestAsideAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		cfg := small(t, disk)
		cfg.Dir = "state/store"
		if err := disk.MkdirAll("state/store.damaged-by-hand", 0o755); err != nil {
			t.Fatal(err)
		}
		var aside []string
		for range 4 {
			s := mustOpen(t, cfg)
			s.guard.condemn(ErrDamaged)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			s = mustOpen(t, cfg)
			moved, _ := s.SetAside()
			aside = append(aside, disk.PathBase(moved))
			time.Sleep(time.Second)
			if err := s.setAside(); err != nil { // a copy, for the sake of one lane
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		names, err := disk.List("state")
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(names)
		if len(names) != 4 || names[0] != "store" || names[1] != aside[3] || names[3] != "store.damaged-by-hand" {
			t.Errorf("there are %q; set aside were %q", names, aside)
		}
	})
}
