//go:build linux

package endtoend

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/weir-stream/weir/edge-node/torture"
	"github.com/weir-stream/weir/sink/spool"
)

// childStore writes pairs that must agree, and says so of each when it is on the disk, until its parent ends.
func childStore(dir string) int {
	withParent()
	dir, unsynced := strings.CutPrefix(dir, "+")
	commit, err := storeWriter(dir, unsynced)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for i := uint64(1); ; i++ {
		if err := commit(i); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println(i)
	}
}

// pairValue is what is written under both keys: its number, and bytes that follow from it.
func pairValue(i uint64) []byte {
	v := make([]byte, 3000)
	rng := rand.New(rand.NewPCG(i, 9))
	for k := 8; k+8 <= len(v); k += 8 {
		binary.BigEndian.PutUint64(v[k:], rng.Uint64())
	}
	binary.BigEndian.PutUint64(v, i)
	return v
}

// kept is how many of the latest commits have a key of their own.
const kept = 100

func storeWriter(dir string, unsynced bool) (func(i uint64) error, error) {
	own := func(i uint64) []byte { return fmt.Appendf(nil, "g-%06d", i%kept) }
	if unsynced {
		// The negative control: the same database, by hand, since the store cannot be told not to sync.
		db, err := pebble.Open(dir, &pebble.Options{Logger: quiet{}})
		if err != nil {
			return nil, err
		}
		return func(i uint64) error {
			b := db.NewBatch()
			for _, key := range [][]byte{[]byte("g-a"), []byte("g-b"), own(i)} {
				if err := b.Set(key, pairValue(i), nil); err != nil {
					return err
				}
			}
			return b.Commit(pebble.NoSync)
		}, nil
	}
	s, err := spool.Open(spool.Config{Dir: dir, Reserve: 1 << 20, MemTableSize: 1 << 20, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		return nil, err
	}
	return func(i uint64) error {
		b := s.Batch()
		for _, key := range [][]byte{[]byte("g-a"), []byte("g-b"), own(i)} {
			b.Set(key, pairValue(i))
		}
		return b.Commit()
	}, nil
}

type quiet struct{}

func (quiet) Infof(string, ...any)      {}
func (quiet) Errorf(string, ...any)     {}
func (quiet) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }

// storeReader gives what a store has under a key.
func storeReader(dir string, unsynced bool) (get func(key string) ([]byte, error), closing func() error, err error) {
	if unsynced {
		db, err := pebble.Open(dir, &pebble.Options{Logger: quiet{}})
		if err != nil {
			return nil, nil, err
		}
		return func(key string) ([]byte, error) {
			v, closer, err := db.Get([]byte(key))
			if err == pebble.ErrNotFound {
				return nil, nil
			}
			if err != nil {
				return nil, err
			}
			defer func() { _ = closer.Close() }()
			return bytes.Clone(v), nil
		}, db.Close, nil
	}
	s, err := spool.Open(spool.Config{Dir: dir, Reserve: 1 << 20})
	if err != nil {
		return nil, nil, err
	}
	if aside, damage := s.SetAside(); aside != "" {
		return nil, nil, fmt.Errorf("the store was set aside: %w", damage)
	}
	return func(key string) ([]byte, error) { return s.Get([]byte(key)) }, s.Close, nil
}

// mayNot skips a test for want of a right, or fails it where CI runs as root, which has it.
func mayNot(t *testing.T, what string, err error) {
	t.Helper()
	if os.Getenv("CI") != "" && os.Geteuid() == 0 {
		t.Fatalf("%s: %v; and CI, as root, is where it must be possible", what, err)
	}
	t.Skipf("SKIPPED, nothing was tested: %s: %v", what, err)
}

// image is a file with a file system in it, mounted through a loop device.
type image struct {
	file, dir string
}

// newImage makes one. The file is where memory is, so that a copy of it takes no time.
func newImage(t *testing.T, size int64) *image {
	t.Helper()
	where := "/dev/shm"
	if _, err := os.Stat(where); err != nil {
		where = os.TempDir()
	}
	dir, err := os.MkdirTemp(where, "weir-cut-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	i := &image{file: filepath.Join(dir, "image"), dir: filepath.Join(dir, "mounted")}
	f, err := os.Create(i.file)
	if err == nil {
		err = f.Truncate(size)
		_ = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", i.file).CombinedOutput(); err != nil {
		mayNot(t, "a disk whose power can be cut needs mkfs.ext4", fmt.Errorf("%w: %s", err, out))
	}
	if err := i.mount(); err != nil {
		mayNot(t, "a disk whose power can be cut needs the right to mount a loop device", err)
	}
	t.Cleanup(i.unmount)
	return i
}

func (i *image) mount() error {
	if err := os.MkdirAll(i.dir, 0o700); err != nil {
		return err
	}
	if out, err := exec.Command("mount", "-o", "loop", i.file, i.dir).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func (i *image) unmount() { _ = exec.Command("umount", "-l", i.dir).Run() }

// cutPower is what a disk has whose power is cut now: the blocks that were written to it so far, and nothing of what the
// kernel still holds. It is mounted, as after the next start.
func (i *image) cutPower(t *testing.T) *image {
	t.Helper()
	c := &image{file: i.file + ".cut", dir: i.dir + ".cut"}
	from, err := os.Open(i.file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = from.Close() }()
	to, err := os.Create(c.file)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(to, from)
	if closed := to.Close(); err == nil {
		err = closed
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := c.mount(); err != nil {
		t.Fatalf("mount what is left after a power cut: %v", err)
	}
	return c
}

// TestStorePowerCuts cuts the power of a disk to which a process writes a store, again and again, and looks whether what was
// acknowledged by then is there. A writer that does not sync must be caught losing it.
func TestStorePowerCuts(t *testing.T) {
	t.Parallel()
	n, control := 3, 4
	if big() {
		n, control = 50, 10
	}
	var lost, broken int
	t.Run("synced", func(t *testing.T) {
		lost, broken = powerCuts(t, n, false)
		torture.Record(t, "power cuts of a block device: acknowledged commits lost", float64(lost), fmt.Sprintf("of %d cuts", n), 0)
		torture.Record(t, "power cuts of a block device: stores torn or not readable", float64(broken), fmt.Sprintf("of %d cuts", n), 0)
	})
	t.Run("not synced", func(t *testing.T) {
		lost, broken = powerCuts(t, control, true)
		if lost+broken == 0 {
			t.Errorf("a store that does not sync lost nothing in %d cuts: the cuts cut nothing", control)
		}
		t.Logf("negative control: %d of %d cuts lost something, %d left nothing that can be read", lost, control, broken)
	})
}

// powerCuts tells how many cuts lost something that was acknowledged, and how many left something that cannot be.
func powerCuts(t *testing.T, n int, unsynced bool) (lost, broken int) {
	disk := newImage(t, 96<<20)
	dir := filepath.Join(disk.dir, "store")
	value := dir
	if unsynced {
		value = "+" + dir
	}
	child := start(t, "", []string{envStore + "=" + value})
	t.Cleanup(child.kill) // before the disk goes
	acked := func() uint64 {
		if !child.running() {
			t.Fatalf("the writer ended:\n%s", child.stderr.String())
		}
		text := child.stdout.String()
		if i := strings.LastIndexByte(text, '\n'); i >= 0 {
			text = text[:i]
		}
		last, _ := strconv.ParseUint(text[strings.LastIndexByte(text, '\n')+1:], 10, 64)
		return last
	}
	eventually(t, patience, func() (bool, string) { return acked() > kept, "nothing is written: " + child.stderr.String() })
	for i := range n {
		time.Sleep(time.Duration(rand.IntN(150)) * time.Millisecond)
		// The writer stands still while the image is copied: the cut is one moment.
		child.signal(t, syscall.SIGSTOP)
		eventually(t, patience, func() (bool, string) { return child.stopped(t), "the writer does not stop" })
		had := acked()
		cut := disk.cutPower(t)
		child.signal(t, syscall.SIGCONT)
		have, err := verify(filepath.Join(cut.dir, "store"), unsynced)
		cut.unmount()
		switch {
		case err != nil:
			broken++
			if !unsynced {
				t.Errorf("cut %d, after %d commits: %v", i, had, err)
			}
		case have < had:
			lost++
			if !unsynced {
				t.Errorf("cut %d: %d commits were acknowledged, and %d are there", i, had, have)
			}
		}
	}
	t.Logf("%d cuts, %d commits", n, acked())
	return lost, broken
}

// verify tells up to which commit a store has everything.
func verify(dir string, unsynced bool) (last uint64, err error) {
	get, closing, err := storeReader(dir, unsynced)
	if err != nil {
		return 0, err
	}
	defer func() { _ = closing() }()
	a, err := get("g-a")
	if err != nil {
		return 0, err
	}
	b, err := get("g-b")
	if err != nil {
		return 0, err
	}
	if !bytes.Equal(a, b) {
		return 0, fmt.Errorf("a torn commit: %.8x beside %.8x", a, b)
	}
	if len(a) < 8 {
		return 0, nil
	}
	last = binary.BigEndian.Uint64(a)
	for i := last; i > 0 && i+kept > last; i-- {
		v, err := get(fmt.Sprintf("g-%06d", i%kept))
		if err != nil {
			return 0, err
		}
		if !bytes.Equal(v, pairValue(i)) {
			return 0, fmt.Errorf("commit %d of %d is not what was written", i, last)
		}
	}
	return last, nil
}
