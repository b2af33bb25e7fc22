package window

import "github.com/weir-stream/weir/ingest/batch"

// places is a hash table of numbers that something else has the keys of: open addressing, linear probing. A slot has the high half of a
// key's hash, its tag, which also says where in the table it belongs, above the number + 1; 0 is free. So neither a probe nor growth looks at
// keys that are not meant. It allocates when it grows, and has nothing for the garbage collector to look at.
type places struct {
	slots []uint64
	n     int
}

// probe gives the next number from a slot on whose key has a tag, and the slot behind it. The search begins at the slot that is the tag, and goes on
// until the key is the one that is meant.
func (p *places) probe(tag, slot uint64) (number uint32, next uint64, ok bool) {
	if p.n == 0 {
		return 0, 0, false
	}
	for mask := uint64(len(p.slots) - 1); ; slot++ {
		e := p.slots[slot&mask]
		if e == 0 {
			return 0, 0, false
		}
		if e>>32 == tag {
			return uint32(e) - 1, slot + 1, true
		}
	}
}

// put adds a number that is not there.
func (p *places) put(tag uint64, number uint32) {
	p.room()
	p.place(tag<<32 | uint64(number+1))
	p.n++
}

// room makes room for one more.
func (p *places) room() {
	if 4*(p.n+1) > 3*len(p.slots) {
		p.grow()
	}
}

func (p *places) grow() {
	old := p.slots
	p.slots = batch.Huge(make([]uint64, max(64, 2*len(old))))
	for _, e := range old {
		if e != 0 {
			p.place(e)
		}
	}
}

func (p *places) place(e uint64) {
	mask := uint64(len(p.slots) - 1)
	s := e >> 32 & mask
	for p.slots[s] != 0 {
		s = (s + 1) & mask
	}
	p.slots[s] = e
}

// remove takes out a number that is there. What came behind it moves up, unless it would be before where it belongs: so no slot is wasted
// on what was.
func (p *places) remove(tag uint64, number uint32) {
	mask := uint64(len(p.slots) - 1)
	free := tag & mask
	for e := tag<<32 | uint64(number+1); p.slots[free] != e; {
		free = (free + 1) & mask
	}
	for s := (free + 1) & mask; p.slots[s] != 0; s = (s + 1) & mask {
		if belongs := p.slots[s] >> 32 & mask; (s-belongs)&mask >= (s-free)&mask {
			p.slots[free] = p.slots[s]
			free = s
		}
	}
	p.slots[free] = 0
	p.n--
}

// memorySize is what the table takes.
func (p *places) memorySize() int64 { return 8 * int64(cap(p.slots)) }
