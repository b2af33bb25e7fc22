package simulation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/weir-stream/weir/sink/spool"
)

// disk is what a node writes to, from one death of its processes to the next. It knows what was acknowledged to be on it.
type disk struct {
	w       *world
	mem     *vfs.MemFS
	refused atomic.Int64 // writes that there was no room for

	mu      sync.Mutex
	ledger  map[spool.ID]*kept // guarded by mu
	damaged bool               // guarded by mu: somebody turned bits on it
	size    int64              // guarded by mu: bytes the store may take; 0: no limit
	power   bool               // guarded by mu: the process before ended with the power
}

// kept is what should be found of a lane: what was acknowledged last, or something that was being written since.
type kept struct {
	acked  []byte
	trying [][]byte
}

func newDisk(w *world) *disk {
	return &disk{w: w, mem: vfs.NewCrashableMem(), ledger: map[spool.ID]*kept{}}
}

// after is the disk as the next process finds it.
func (d *disk) after(power bool, w *world) *disk {
	percent := 100
	if power {
		percent = w.rand(101)
	}
	rng := rand.New(rand.NewPCG(uint64(w.rand(1<<30)), 3))
	d.mu.Lock()
	defer d.mu.Unlock()
	next := &disk{w: w, ledger: map[spool.ID]*kept{}, damaged: d.damaged, size: d.size, power: power}
	for id, k := range d.ledger {
		next.ledger[id] = &kept{k.acked, slices.Clone(k.trying)}
	}
	next.mem = d.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})
	return next
}

func (d *disk) open(p *process, log *slog.Logger) (*spool.Store, error) {
	var fs vfs.FS = d.mem
	reserve := int64(16 << 10)
	if p.w.plan.mayFill {
		fs, reserve = limited{fs, d}, ballast
	}
	if p.w.plan.mutant == mutantNoSync {
		fs = noSync{fs}
	}
	return spool.Open(spool.Config{
		Dir: storeDir, Reserve: reserve, MemTableSize: 64 << 10, CacheSize: 256 << 10, FS: fs, Log: log,
		Fatal: func(err error) {
			if d.isDamaged() {
				p.w.note("%s gives its local store up, and ends: %v", p.n.name, err)
				p.w.background.Go(func() { p.die(false) }) // the database is locked
				return
			}
			panic(fmt.Sprintf("seed %d: the local store of %s gave up: %v", p.w.plan.seed, p.n.name, err))
		},
	})
}

func (d *disk) isDamaged() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.damaged
}

func (d *disk) lane(id spool.ID) *kept {
	k := d.ledger[id]
	if k == nil {
		k = &kept{}
		d.ledger[id] = k
	}
	return k
}

// begin notes that something is being written, and done that it was acknowledged.
func (d *disk) begin(id spool.ID, meta []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := d.lane(id)
	k.trying = append(k.trying, slices.Clone(meta))
}

func (d *disk) done(id spool.ID, meta []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := d.lane(id)
	k.acked, k.trying = slices.Clone(meta), nil
}

// forgetOthers notes that other revisions of a lane are being removed: nothing is expected of them.
func (d *disk) forgetOthers(id spool.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.DeleteFunc(d.ledger, func(other spool.ID, _ *kept) bool {
		same := other
		same.Revision = id.Revision
		return same == id && other != id
	})
}

// loaded compares what a process finds with what was acknowledged to the one before.
func (d *disk) loaded(w *world, id spool.ID, meta []byte, err error) {
	if errors.Is(err, context.Canceled) { // the partition was taken back meanwhile
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.damaged {
		delete(d.ledger, id)
		return
	}
	k := d.ledger[id]
	if k == nil {
		return
	}
	if d.power {
		w.count(&w.tally.checkedLanes)
	}
	switch {
	case err != nil:
		w.count(&w.tally.tornLanes)
		w.wrong("the local store of partition %d, revision %d, is damaged, and nobody damaged it: %v", id.Partition, id.Revision, err)
	case string(meta) == string(k.acked), slices.ContainsFunc(k.trying, func(t []byte) bool { return string(t) == string(meta) }):
	default:
		w.count(&w.tally.lostLanes)
		w.wrong("the local store of partition %d, revision %d, lost what it had acknowledged:\n\thas  %s\n\tacked %s", id.Partition, id.Revision, meta, k.acked)
	}
}
