package batch

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"
)

// Align is the alignment of every buffer in a slot, in bytes: Arrow's recommendation, and a cache line.
const Align = 64

// PageAlign is the alignment of every range and slot, in bytes: the size of a Wasm page, and a multiple of the page
// size of every system weir runs on, so that a range can be mapped by itself.
const PageAlign = 64 << 10

// ErrNoSlot says that every slot of a range is in use. It is back-pressure: release a batch, then try again.
var ErrNoSlot = errors.New("no free slot")

// RangeSpec sizes one range of a pool.
type RangeSpec struct {
	Slots    int // slots, at least 1
	SlotSize int // bytes of each slot; rounded up to PageAlign
}

// Pool is the memory the batches of one chain of operators live in: one block cut into ranges, one range per stage
// (range 0 is the decoder's), each range cut into slots.
//
//	0            PageAlign·a                PageAlign·b
//	| range 0: slot 0 | slot 1 | range 1: slot 0 | slot 1 | ...
//
// On Linux the block is a sealed memfd mapped shared; an operator's sandbox maps the same file and so sees every batch
// at its pool offset. Elsewhere, or where memfd is refused, it is plain memory and sandboxes are fed by copying.
type Pool struct {
	mem    []byte
	fd     int // -1 when there is no file to map
	unmap  func() error
	ranges []Range
}

// NewPool makes a pool with the given ranges. It prefers a memfd and falls back to plain memory; [Pool.FD] tells which.
func NewPool(specs []RangeSpec) (*Pool, error) { return newPool(specs, true) }

// NewPlainPool makes a pool of plain memory, the transport of systems without memfd.
func NewPlainPool(specs []RangeSpec) (*Pool, error) { return newPool(specs, false) }

func newPool(specs []RangeSpec, shared bool) (*Pool, error) {
	p := &Pool{fd: -1, ranges: make([]Range, len(specs))}
	total := 0
	for i, s := range specs {
		if s.Slots < 1 || s.SlotSize < 1 {
			return nil, fmt.Errorf("pool range %d: %d slots of %d bytes: both must be positive", i, s.Slots, s.SlotSize)
		}
		size := (s.SlotSize + PageAlign - 1) &^ (PageAlign - 1)
		if s.Slots > (1<<31-total)/size {
			return nil, fmt.Errorf("pool range %d: the pool would be over 2 GiB; use smaller batches or fewer steps", i)
		}
		p.ranges[i] = Range{pool: p, Off: total, Len: size * s.Slots, slots: make([]Slot, s.Slots)}
		total += size * s.Slots
	}
	if total == 0 {
		return nil, errors.New("a pool needs at least one range")
	}
	if shared {
		p.mem, p.fd, p.unmap = mapShared(total)
	}
	if p.mem == nil {
		// One more page than asked for, so that the block can start at a page boundary.
		raw := make([]byte, total+PageAlign)
		skip := int(-uintptr(unsafe.Pointer(&raw[0])) & (PageAlign - 1))
		p.mem, p.fd = raw[skip:skip+total:skip+total], -1
	}
	for i := range p.ranges {
		r := &p.ranges[i]
		size := r.Len / len(r.slots)
		for j := range r.slots {
			off := r.Off + j*size
			r.slots[j].mem = p.mem[off : off+size : off+size]
		}
	}
	return p, nil
}

// Close unmaps the pool. No batch, slot or slice of it may be used afterwards, and every sandbox that maps it must be
// closed before or keep its own mapping. Closing twice is fine.
func (p *Pool) Close() error {
	unmap := p.unmap
	p.mem, p.ranges, p.unmap, p.fd = nil, nil, nil, -1
	if unmap == nil {
		return nil
	}
	return unmap()
}

// FD is the memfd behind the pool, and whether there is one. The pool keeps owning it.
func (p *Pool) FD() (fd int, ok bool) { return p.fd, p.fd >= 0 }

// Bytes is the whole pool. It is shared with every slot: meant for transports, not for stages.
func (p *Pool) Bytes() []byte { return p.mem }

// Size is the length of the pool in bytes.
func (p *Pool) Size() int { return len(p.mem) }

// Offset is where in the pool a buffer starts, and whether it lies in the pool at all.
func (p *Pool) Offset(b []byte) (off int, ok bool) {
	if cap(b) == 0 || len(p.mem) == 0 {
		return 0, false
	}
	d := uintptr(unsafe.Pointer(unsafe.SliceData(b))) - uintptr(unsafe.Pointer(unsafe.SliceData(p.mem)))
	if d > uintptr(len(p.mem)) || uintptr(len(b)) > uintptr(len(p.mem))-d {
		return 0, false
	}
	return int(d), true
}

// Ranges is the number of ranges.
func (p *Pool) Ranges() int { return len(p.ranges) }

// Range is the i-th range. It lives as long as the pool.
func (p *Pool) Range(i int) *Range { return &p.ranges[i] }

// Range is the part of a pool that one stage writes.
type Range struct {
	Off, Len int // where in the pool, in bytes
	pool     *Pool
	slots    []Slot
}

// Acquire takes a free slot with one reference, or fails with [ErrNoSlot]. Its content is undefined.
func (r *Range) Acquire() (*Slot, error) {
	for i := range r.slots {
		if r.slots[i].refs.CompareAndSwap(0, 1) {
			return &r.slots[i], nil
		}
	}
	return nil, ErrNoSlot
}

// SlotSize is the bytes of each slot.
func (r *Range) SlotSize() int { return r.Len / len(r.slots) }

// Slot is a reference counted piece of a range: the memory of one batch's new columns at one stage.
type Slot struct {
	mem  []byte
	refs atomic.Int32
}

// Mem is the whole slot. Only the stage that acquired it writes to it.
func (s *Slot) Mem() []byte { return s.mem }

// Retain adds a reference.
func (s *Slot) Retain() { s.refs.Add(1) }

// Release gives one reference back; the last one frees the slot.
func (s *Slot) Release() {
	// Poisoned while still held: once the count is 0 another stage may own the memory.
	if invariants && s.refs.Load() == 1 {
		for i := range s.mem {
			s.mem[i] = 0xdb
		}
	}
	if s.refs.Add(-1) < 0 {
		panic("batch: slot released more often than retained")
	}
}

// Arena hands out buffers from a slot, front to back. The zero value is an arena of nothing.
type Arena struct {
	mem  []byte
	used int
}

// NewArena starts an arena over memory that is aligned to [Align].
func NewArena(mem []byte) Arena { return Arena{mem: mem} }

// Alloc takes n bytes aligned to [Align], not cleared, or nil when they do not fit.
func (a *Arena) Alloc(n int) []byte {
	if n < 0 || n > len(a.mem)-a.used {
		return nil
	}
	b := a.mem[a.used : a.used+n : a.used+n]
	a.used += (n + Align - 1) &^ (Align - 1)
	if a.used > len(a.mem) {
		a.used = len(a.mem)
	}
	return b
}

// AllocOrHeap is Alloc that takes Go heap memory when the arena is full. Such a buffer has no pool offset; a transport
// copies it where a sandbox needs it.
func (a *Arena) AllocOrHeap(n int) []byte {
	if b := a.Alloc(n); b != nil {
		return b
	}
	return Bytes(make([]uint64, (n+7)/8))[:n:n]
}

// Free is the number of bytes left.
func (a *Arena) Free() int { return len(a.mem) - a.used }
