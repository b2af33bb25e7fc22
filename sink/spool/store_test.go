package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/weir-stream/weir/edge-node/torture"
)

func small(_ testing.TB, fsys vfs.FS) Config {
	return Config{
		Dir: "store", Reserve: 4 << 10, MemTableSize: 64 << 10, CacheSize: 1 << 20, FS: fsys,
		Fatal: func(err error) { panic(fmt.Sprintf("fatal: %v", err)) },
	}
}

func mustOpen(t testing.TB, cfg Config) *Store {
	t.Helper()
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func set(t testing.TB, s *Store, pairs ...string) {
	t.Helper()
	b := s.Batch()
	for i := 0; i < len(pairs); i += 2 {
		b.Set([]byte(pairs[i]), []byte(pairs[i+1]))
	}
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
}

// A lock that cannot be opened is no lock that another process has.
func TestLockThatCannotBeOpened(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), Reserve: 1 << 20}
	if err := os.Mkdir(filepath.Join(cfg.Dir, "LOCK"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, open := range map[string]func(Config) (*Store, error){"Open": Open, "OpenReadOnly": OpenReadOnly} {
		if _, err := open(cfg); err == nil || errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "must be able to write there") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReadWhatWasWritten(t *testing.T) {
	cfg := Config{Dir: filepath.Join(t.TempDir(), "spool"), Reserve: 1 << 20}
	s := mustOpen(t, cfg)
	set(t, s, "ga", "1", "gb", "", "gb\xff", "3", "h", "4")
	var got []string
	collect := func(k, v []byte) bool { got = append(got, string(k)+"="+string(v)); return true }
	if err := s.Scan([]byte("g"), nil, collect); err != nil {
		t.Fatal(err)
	}
	if want := []string{"ga=1", "gb=", "gb\xff=3"}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("scan: %q, want %q", got, want)
	}
	got = nil
	if err := s.Scan([]byte("g"), []byte("gb"), func(k, v []byte) bool { collect(k, v); return false }); err != nil || fmt.Sprint(got) != "[gb=]" {
		t.Fatalf("scan from gb, one: %q, %v", got, err)
	}
	if _, err := Open(cfg); !errors.Is(err, ErrLocked) {
		t.Fatalf("a second store in the same directory: %v", err)
	}
	b := s.Batch()
	b.DeleteAll([]byte("gb"))
	b.Set([]byte("ga"), []byte("2"))
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, cfg)
	defer s.Close()
	for key, want := range map[string]string{"ga": "2", "h": "4"} {
		if v, err := s.Get([]byte(key)); err != nil || string(v) != want {
			t.Errorf("%s: %q, %v; want %q", key, v, err, want)
		}
	}
	if v, err := s.Get([]byte("gb")); v != nil || err != nil {
		t.Errorf("gb was deleted: %q, %v", v, err)
	}
	st, err := os.Stat(cfg.Dir)
	if err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("mode of the directory: %v, %v", st.Mode(), err)
	}
}

// cuts runs a store over a disk that loses what was not synced, cuts the power at random moments, and returns how many cuts
// lost something that was committed, or kept half of a batch. commit writes a batch: two keys that must agree.
func cuts(t *testing.T, n int, commit func(s *Store, i uint64) error) (lost, torn, acked int) {
	rng := rand.New(rand.NewPCG(7, 11))
	disk := vfs.NewCrashableMem()
	i := uint64(0)
	for range n {
		s := mustOpen(t, small(t, disk))
		a, err := s.Get([]byte("g-a"))
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.Get([]byte("g-b"))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			torn++
		}
		have := uint64(0)
		if len(a) >= 8 {
			have = binary.BigEndian.Uint64(a)
		}
		if have < i {
			lost++
		}
		i = max(i, have) // what was not acknowledged may be there all the same
		for range rng.IntN(20) {
			i++
			if err := commit(s, i); err != nil {
				t.Fatal(err)
			}
			acked++
		}
		next := disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rand.New(rand.NewPCG(rng.Uint64(), 3))})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		disk = next
	}
	return lost, torn, acked
}

func pair(i uint64) []byte {
	v := binary.BigEndian.AppendUint64(nil, i)
	return append(v, bytes.Repeat([]byte{byte(i)}, int(i%900))...)
}

// trials is how often a test at random tries: more under make torture.
func trials(usual, torture int) int {
	if os.Getenv("WEIR_TORTURE") != "" {
		return torture
	}
	return usual
}

func TestPowerCuts(t *testing.T) {
	n := trials(200, 2000)
	lost, torn, acked := cuts(t, n, func(s *Store, i uint64) error {
		b := s.Batch()
		b.Set([]byte("g-a"), pair(i))
		b.Set([]byte("g-b"), pair(i))
		return b.Commit()
	})
	torture.Record(t, "power cuts of the store: acknowledged commits lost", float64(lost), fmt.Sprintf("of %d, in %d cuts", acked, n), 0)
	torture.Record(t, "power cuts of the store: commits torn", float64(torn), fmt.Sprintf("of %d, in %d cuts", acked, n), 0)
	if lost+torn != 0 || acked < 5*n {
		t.Errorf("%d cuts, %d acknowledged commits: %d lost, %d torn", n, acked, lost, torn)
	}
}

// What the test above would see of a store that does it wrong.
func TestPowerCutsFindMutants(t *testing.T) {
	const n = 100
	lost, _, _ := cuts(t, n, func(s *Store, i uint64) error {
		b := s.db.NewBatch()
		for _, k := range []string{"g-a", "g-b"} {
			v := pair(i)
			_ = b.Set([]byte(k), binary.BigEndian.AppendUint32(v, checksum([]byte(k), v)), nil)
		}
		return b.Commit(pebble.NoSync)
	})
	if lost == 0 {
		t.Error("commits that do not wait for the disk were not found")
	}
	_, torn, _ := cuts(t, n, func(s *Store, i uint64) error {
		for _, k := range []string{"g-a", "g-b"} {
			b := s.db.NewBatch()
			v := pair(i)
			_ = b.Set([]byte(k), binary.BigEndian.AppendUint32(v, checksum([]byte(k), v)), nil)
			// The second half waits in memory, as it does between two commits.
			if err := b.Commit(&pebble.WriteOptions{Sync: k == "g-a"}); err != nil {
				return err
			}
		}
		return nil
	})
	if torn == 0 {
		t.Error("a commit in two parts was not found")
	}
}
