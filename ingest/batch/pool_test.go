package batch

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"
	"unsafe"
)

// eachPool runs a test on a pool over a memfd and on one of plain memory.
func eachPool(t *testing.T, specs []RangeSpec, test func(t *testing.T, p *Pool)) {
	for name, open := range map[string]func([]RangeSpec) (*Pool, error){"memfd": NewPool, "plain": NewPlainPool} {
		t.Run(name, func(t *testing.T) {
			p, err := open(specs)
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := p.FD(); ok != (name == "memfd") {
				if name == "memfd" {
					t.Skip("the system refuses memfd")
				}
				t.Fatal("a plain pool has a file")
			}
			test(t, p)
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			if err := p.Close(); err != nil {
				t.Error("second close:", err)
			}
		})
	}
}

func TestPoolLayout(t *testing.T) {
	specs := []RangeSpec{{Slots: 3, SlotSize: 100_000}, {Slots: 1, SlotSize: 1}, {Slots: 2, SlotSize: PageAlign}}
	eachPool(t, specs, func(t *testing.T, p *Pool) {
		if p.Ranges() != len(specs) || p.Size() != len(p.Bytes()) {
			t.Fatalf("%d ranges, %d bytes of %d", p.Ranges(), len(p.Bytes()), p.Size())
		}
		next := 0
		for i, spec := range specs {
			r := p.Range(i)
			size := r.SlotSize()
			if r.Off != next || size < spec.SlotSize || size%PageAlign != 0 || size-spec.SlotSize >= PageAlign || r.Len != size*spec.Slots {
				t.Errorf("range %d: %d bytes at %d, slots of %d", i, r.Len, r.Off, size)
			}
			next += r.Len
			seen := map[int]bool{}
			for range spec.Slots {
				s, err := r.Acquire()
				if err != nil {
					t.Fatal(err)
				}
				off, ok := p.Offset(s.Mem())
				if !ok || off < r.Off || off+size > r.Off+r.Len || (off-r.Off)%size != 0 || seen[off] || len(s.Mem()) != size || cap(s.Mem()) != size {
					t.Errorf("range %d: slot of %d (%d) bytes at %d", i, len(s.Mem()), cap(s.Mem()), off)
				}
				if uintptr(unsafe.Pointer(&s.Mem()[0]))%4096 != 0 {
					t.Errorf("range %d: slot at %p", i, &s.Mem()[0])
				}
				seen[off] = true
				s.Mem()[0], s.Mem()[size-1] = byte(i), byte(i)
			}
			if _, err := r.Acquire(); !errors.Is(err, ErrNoSlot) {
				t.Errorf("range %d: one slot more: %v", i, err)
			}
		}
		if next != p.Size() {
			t.Errorf("ranges take %d of %d bytes", next, p.Size())
		}
	})
}

func TestPoolOffset(t *testing.T) {
	eachPool(t, []RangeSpec{{Slots: 2, SlotSize: PageAlign}}, func(t *testing.T, p *Pool) {
		mem := p.Bytes()
		for _, c := range []struct{ from, to int }{{0, 1}, {5, 100}, {0, p.Size()}, {p.Size() - 1, p.Size()}, {64, 64}} {
			if off, ok := p.Offset(mem[c.from:c.to]); !ok || off != c.from {
				t.Errorf("%v: %d %t", c, off, ok)
			}
		}
		if _, ok := p.Offset(make([]byte, 10)); ok {
			t.Error("a slice of the heap has an offset")
		}
		if _, ok := p.Offset(nil); ok {
			t.Error("nil has an offset")
		}
	})
}

func TestPoolErrors(t *testing.T) {
	for want, specs := range map[string][]RangeSpec{
		"at least one range": nil,
		"range 1: 0 slots of 5 bytes: both must be positive": {{Slots: 1, SlotSize: 1}, {Slots: 0, SlotSize: 5}},
		"range 0: 1 slots of -1 bytes":                       {{Slots: 1, SlotSize: -1}},
		"range 1: the pool would be over 2 GiB":              {{Slots: 1, SlotSize: 1}, {Slots: 1 << 20, SlotSize: 1 << 20}},
		"range 0: the pool would be over 2 GiB":              {{Slots: 1, SlotSize: 1<<63 - 1}},
	} {
		if p, err := NewPool(specs); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %s", specs, err, want)
			if p != nil {
				_ = p.Close()
			}
		}
	}
}

func TestSlotReferences(t *testing.T) {
	eachPool(t, []RangeSpec{{Slots: 1, SlotSize: PageAlign}}, func(t *testing.T, p *Pool) {
		r := p.Range(0)
		s, err := r.Acquire()
		if err != nil {
			t.Fatal(err)
		}
		copy(s.Mem(), "held")
		s.Retain()
		s.Release()
		if _, err := r.Acquire(); !errors.Is(err, ErrNoSlot) {
			t.Error("a slot with a reference was handed out")
		}
		if !bytes.HasPrefix(s.Mem(), []byte("held")) {
			t.Error("a held slot was overwritten")
		}
		s.Release()
		if poisoned := s.Mem()[0] == 0xdb && s.Mem()[PageAlign-1] == 0xdb; poisoned != invariants {
			t.Errorf("after the last release the slot begins with %x", s.Mem()[:4])
		}
		again, err := r.Acquire()
		if err != nil || again != s {
			t.Errorf("the free slot was not handed out: %v", err)
		}
		again.Release()
		defer func() {
			if recover() == nil {
				t.Error("one release too many went unnoticed")
			}
		}()
		again.Release()
	})
}

// TestSlotConcurrent lets goroutines fight for slots; no two may have the same one.
func TestSlotConcurrent(t *testing.T) {
	p, err := NewPool([]RangeSpec{{Slots: 3, SlotSize: PageAlign}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for range 500 {
				s, err := p.Range(0).Acquire()
				if err != nil {
					continue
				}
				s.Mem()[0] = byte(g)
				s.Retain()
				s.Release()
				if s.Mem()[0] != byte(g) {
					t.Error("two owners of a slot")
				}
				s.Release()
			}
		})
	}
	wg.Wait()
}

func TestArena(t *testing.T) {
	mem := Bytes(make([]uint64, 1024/8))
	a := NewArena(mem)
	var last []byte
	for _, n := range []int{1, 64, 65, 0, 100} {
		b := a.Alloc(n)
		if b == nil || len(b) != n || cap(b) != n {
			t.Fatalf("%d bytes: got %d (%d)", n, len(b), cap(b))
		}
		if d := uintptr(unsafe.Pointer(unsafe.SliceData(b))) - uintptr(unsafe.Pointer(&mem[0])); d%Align != 0 {
			t.Errorf("%d bytes at %d", n, d)
		}
		if len(last) > 0 && n > 0 && uintptr(unsafe.Pointer(&b[0])) < uintptr(unsafe.Pointer(&last[len(last)-1])) {
			t.Error("buffers overlap")
		}
		last = b
	}
	if want := 1024 - 64 - 64 - 128 - 128; a.Free() != want {
		t.Errorf("%d bytes free, want %d", a.Free(), want)
	}
	if a.Alloc(a.Free()+1) != nil || a.Alloc(-1) != nil {
		t.Error("more than there is was handed out")
	}
	if b := a.Alloc(a.Free() - 1); b == nil || a.Free() != 0 {
		t.Errorf("the rest was not handed out, %d left", a.Free())
	}
	if a.Alloc(1) != nil || a.Alloc(0) == nil {
		t.Error("a full arena gives 0 bytes and no more")
	}
	b := a.AllocOrHeap(13)
	if len(b) != 13 || cap(b) != 13 || uintptr(unsafe.Pointer(&b[0]))%8 != 0 {
		t.Errorf("heap buffer of %d (%d) bytes at %p", len(b), cap(b), &b[0])
	}
	if b := a.AllocOrHeap(0); b == nil || len(b) != 0 {
		t.Errorf("heap buffer of none: %v", b)
	}
	var zero Arena
	if zero.Free() != 0 || zero.Alloc(1) != nil || len(zero.AllocOrHeap(5)) != 5 {
		t.Error("the zero arena is not an arena of nothing")
	}
}
