package simulation

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// storeDir is the directory of the local store on a disk.
const storeDir = "store"

// rot turns bits in the files of the local store.
func (d *disk) rot(rng *rand.Rand, bits int) error {
	names, err := d.mem.List(storeDir)
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.damaged = true
	d.mu.Unlock()
	if d.w.plan.damage != nil {
		d.w.plan.damage()
	}
	for range bits {
		path := d.mem.PathJoin(storeDir, names[rng.IntN(len(names))])
		st, err := d.mem.Stat(path)
		if err != nil {
			return err
		}
		if st.Size() == 0 || st.IsDir() {
			continue
		}
		f, err := d.mem.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
		if err != nil {
			return err
		}
		at, b := rng.Int64N(st.Size()), make([]byte, 1)
		if _, err := f.ReadAt(b, at); err != nil {
			return err
		}
		b[0] ^= 1 << rng.IntN(8)
		if _, err := f.WriteAt(b, at); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// drawRot has a node die and its store rot before it starts again.
func (p *plan) drawRot(rng *rand.Rand, at time.Duration) {
	bits, from := 1+rng.IntN(4), rng.Uint64()
	p.onNode(rng, at, fmt.Sprintf("dies, and %d bits of its store turn", bits), func(w *world, n *node, pr *process) {
		pr.die(false)
		if err := n.getDisk().rot(rand.New(rand.NewPCG(from, 5)), bits); err != nil {
			w.note("the store could not be damaged: %v", err)
			return
		}
		w.hit(faultRot)
	})
}

// ballast is what the store holds back where its disk may be full: as much larger than what it writes at a time as it is
// outside of tests.
const ballast = 1 << 20

// drawFull has others fill a node's disk for a while.
func (p *plan) drawFull(rng *rand.Rand, at time.Duration) {
	left, d := rng.Int64N(64<<10), time.Duration(10+rng.IntN(100))*time.Second
	p.mayFill = true
	p.onNode(rng, at, fmt.Sprintf("its disk has only %d bytes left for %s", left, d), func(w *world, n *node, pr *process) {
		full := n.getDisk()
		full.limit(full.used() + left)
		w.hit(faultFull)
		w.after(d, func() { n.getDisk().limit(0) })
	})
}

// limit is how many bytes the store may take; 0 is no limit.
func (d *disk) limit(bytes int64) {
	d.mu.Lock()
	d.size = bytes
	d.mu.Unlock()
}

// used is how many bytes the store takes.
func (d *disk) used() (n int64) {
	names, err := d.mem.List(storeDir)
	if err != nil {
		return 0
	}
	for _, name := range names {
		if st, err := d.mem.Stat(d.mem.PathJoin(storeDir, name)); err == nil && !st.IsDir() {
			n += st.Size()
		}
	}
	return n
}

// left is how many bytes there is room for.
func (d *disk) left() int64 {
	d.mu.Lock()
	size := d.size
	d.mu.Unlock()
	if size == 0 {
		return 1 << 30
	}
	return max(0, size-d.used())
}

// spins is how many writes a store may try to make to a full disk. One that only asks now and then whether there is room
// again stays far below.
const spins = 5000

// limited is a file system that may be full.
type limited struct {
	vfs.FS
	d *disk
}

func (l limited) GetDiskUsage(string) (vfs.DiskUsage, error) {
	left := uint64(l.d.left())
	return vfs.DiskUsage{AvailBytes: left, TotalBytes: 1 << 30, UsedBytes: 1<<30 - left}, nil
}

func (l limited) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := l.FS.Create(name, c)
	return limitedFile{f, l.d}, err
}

func (l limited) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := l.FS.ReuseForWrite(old, name, c)
	return limitedFile{f, l.d}, err
}

type limitedFile struct {
	vfs.File
	d *disk
}

func (f limitedFile) Write(p []byte) (int, error) {
	if left := f.d.left(); left < int64(len(p)) {
		if n := f.d.refused.Add(1); n == spins {
			names, _ := f.d.mem.List(storeDir)
			f.d.w.wrong("the store spins: %d writes to a full disk were refused; %d of %d bytes are used, the last write is of %d, files %v", n, f.d.used(), f.d.used()+left, len(p), names)
		} else if n > spins {
			f.d.limit(0) // or no time would pass any more
		}
		return 0, fmt.Errorf("write: %w", syscall.ENOSPC)
	}
	return f.File.Write(p)
}
