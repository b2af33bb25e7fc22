package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// used is a store that one process wrote, and another opened: its list of files is a snapshot, and a change that says how far the
// database had counted.
func used(t *testing.T, cfg Config) {
	t.Helper()
	s := mustOpen(t, cfg)
	for i := range 20 {
		set(t, s, fmt.Sprint("g", i), fmt.Sprint(i))
	}
	if err := errors.Join(s.db.Flush(), s.Close(), mustOpen(t, cfg).Close()); err != nil {
		t.Fatal(err)
	}
}

// forgetLastChange rots the last change to the list of files, and the seal, which would say so.
func forgetLastChange(t *testing.T, cfg Config) {
	t.Helper()
	at, err := pebble.Peek(cfg.Dir, cfg.FS)
	if err != nil {
		t.Fatal(err)
	}
	text, err := readFile(cfg.FS, at.ManifestFilename, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	r := record.NewReader(strings.NewReader(string(text)), 0)
	last := int64(0)
	for {
		start := r.Offset()
		if _, err := r.Next(); err != nil {
			break
		}
		last = start
	}
	if last == 0 {
		t.Fatalf("%s has no change behind its snapshot", at.ManifestFilename)
	}
	text[last+chunkHead+1] ^= 4
	if err := errors.Join(writeFile(cfg.FS, at.ManifestFilename, text), remove(cfg.FS, cfg.FS.PathJoin(cfg.Dir, sealFile))); err != nil {
		t.Fatal(err)
	}
}

// TestNumbersOfTheLastChange loses how far the database had counted, and nothing else. Nothing of that can be seen when the database
// is opened: what was stored seems not to be there, and the first of the numbers are given again.
func TestNumbersOfTheLastChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := small(t, vfs.NewMem())
		used(t, cfg)
		forgetLastChange(t, cfg)
		if looked, err := OpenReadOnly(cfg); !errors.Is(err, ErrDamaged) {
			t.Errorf("opened to be read: %v", err)
			if err == nil {
				_ = looked.Close()
			}
		}
		s := mustOpen(t, cfg)
		if _, damage := s.SetAside(); damage == nil {
			v, err := s.Get([]byte("g1"))
			t.Errorf("not set aside, and it has %q, %v", v, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestDatabasePanics has a store whose database panics in the background whenever it merges tables, since a number was given twice:
// what weir made of the damage above before it looked for it. It must not end one process after another, whether or not what
// Go says of the panic could be kept.
func TestDatabasePanics(t *testing.T) {
	if dir := os.Getenv("WEIR_TEST_PANICS"); dir != "" {
		s := mustOpen(t, Config{Dir: dir, Reserve: 1 << 20, ReportCrashes: os.Getenv("WEIR_TEST_REPORTS") != ""})
		if _, damage := s.SetAside(); damage != nil {
			fmt.Println("set aside:", damage)
		}
		if err := errors.Join(s.db.Compact(context.Background(), []byte{0}, []byte{0xff}, false), s.Close()); err != nil {
			t.Fatal(err)
		}
		return
	}
	for _, c := range []struct {
		reports string
		panics  int // at most
	}{
		{"yes", 1},
		{"", firstVerify},
	} {
		t.Run("reports "+c.reports, func(t *testing.T) {
			cfg := Config{Dir: filepath.Join(t.TempDir(), "store"), Reserve: 1 << 20, FS: vfs.Default}
			used(t, cfg)
			forgetLastChange(t, cfg)
			giveNumbersAgain(t, cfg)
			for i := 0; ; i++ {
				cmd := exec.Command(os.Args[0], "-test.run=^TestDatabasePanics$", "-test.v")
				cmd.Env = append(os.Environ(), "WEIR_TEST_PANICS="+cfg.Dir, "WEIR_TEST_REPORTS="+c.reports)
				out, err := cmd.CombinedOutput()
				if err == nil {
					if i == 0 || !strings.Contains(string(out), "set aside: ") {
						t.Errorf("%d processes panicked, and then:\n%s", i, out)
					}
					return
				}
				if !strings.Contains(string(out), "panic: pebble: invariant violation") || i == c.panics {
					t.Fatalf("process %d: %v\n%s", i+1, err, out)
				}
			}
		})
	}
}

// giveNumbersAgain uses a store without the checks that weir makes, as if it were a new one.
func giveNumbersAgain(t *testing.T, cfg Config) {
	t.Helper()
	db, err := pebble.Open(cfg.Dir, &pebble.Options{FormatMajorVersion: pebbleFormat, Logger: &logger{cfg: &cfg}, DisableAutomaticCompactions: true})
	if err != nil {
		t.Fatal(err)
	}
	if v, _, err := db.Get([]byte{keyFormat}); !errors.Is(err, pebble.ErrNotFound) {
		t.Fatalf("the format is %x, %v", v, err)
	}
	for i := range 100 { // the first gets the number that the format has had before
		key := []byte{keyFormat}
		if i > 0 {
			key = fmt.Appendf(nil, "g%d", i%20)
		}
		if err := db.Set(key, fmt.Append(nil, i), pebble.Sync); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(db.Flush(), db.Close()); err != nil {
		t.Fatal(err)
	}
}
