package window

import (
	"encoding/binary"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators/aggregate"
)

// index is the hash table of one window, of its groups. Its n has that of the keys beyond the limit in it.
type index struct {
	places
	over uint32 // number + 1 of that group, which is in no slot
}

// full tells whether the window has as many keys as it may.
func (x *index) full(most int) bool {
	keys := x.n
	if x.over != 0 {
		keys--
	}
	return keys >= most
}

// find returns the group of row i's keys in the window, made if need be, and whether it has just become dirty.
func (gs *groups) find(x *index, b *batch.Batch, i int) (g uint32, dirtied bool) {
	x.room()
	tag := gs.hashN[i] >> 32
	mask := uint64(len(x.slots) - 1)
	for s := tag & mask; ; s = (s + 1) & mask {
		e := x.slots[s]
		if e == 0 {
			if gs.over != nil && x.full(gs.maxKeys) {
				return gs.overflow(x)
			}
			g = gs.add(b, i)
			x.slots[s] = tag<<32 | uint64(g+1)
			x.n++
			return g, true
		}
		if g = uint32(e) - 1; e>>32 == tag && gs.equal(g, b, i) {
			return g, gs.touch(g)
		}
	}
}

// overflow is the group of a window that has the rows of all keys beyond the limit; it may have just become dirty.
func (gs *groups) overflow(x *index) (g uint32, dirtied bool) {
	if x.over != 0 {
		return x.over - 1, gs.touch(x.over - 1)
	}
	g = gs.number()
	for k := range gs.cols {
		gs.setZero(k, g)
	}
	gs.over[g] = true
	x.over = g + 1
	x.n++
	return g, true
}

// lookAhead is how many rows are looked up together: each step is done for all of them before the next, so that the processor
// waits for the memory of many at a time. What they need stays in its first cache.
const lookAhead = 256

// lookup gives the rows from one to another their candidates: the group, plus one, that has their keys in the window, or 0 where find is to
// look. They are valid until the next call. There are at most lookAhead.
func (gs *groups) lookup(x *index, b *batch.Batch, from, to int) []uint32 {
	n := to - from
	gs.slotN, gs.candN = grow(gs.slotN, n), grow(gs.candN, n)
	candidates := gs.candN
	if len(x.slots) == 0 {
		clear(candidates)
		return candidates
	}
	slots, mask := x.slots, uint64(len(x.slots)-1)
	hashes, first := gs.hashN[from:to], gs.slotN[:n]
	for i, h := range hashes {
		first[i] = slots[h>>32&mask]
	}
	for i, h := range hashes {
		e, tag := first[i], h>>32
		for s := tag & mask; e != 0 && e>>32 != tag; {
			s = (s + 1) & mask
			e = slots[s]
		}
		candidates[i] = uint32(e)
	}
	gs.fetch(candidates)
	for k, col := range gs.cols {
		c := &b.Cols[col]
		switch {
		case gs.null[k] != nil:
			gs.sameNullable(k, c, from, candidates)
		case gs.types[k].Variable():
			gs.sameText(k, c, from, candidates)
		default:
			slab, stride, at := gs.slab.Words, gs.slab.Stride, gs.keyAt[k]
			words := gs.bitsN[k][from:to]
			for i, g := range candidates {
				if g != 0 && slab[int(g-1)*stride+at] != words[i] {
					candidates[i] = 0
				}
			}
		}
	}
	return candidates
}

// fetch looks at the rows of the slab, so that the processor gets them all: to compare one by one would be to wait for each.
func (gs *groups) fetch(candidates []uint32) {
	if !gs.far() {
		return
	}
	slab, stride := gs.slab.Words, gs.slab.Stride
	seen := uint64(0)
	for _, g := range candidates {
		if g != 0 {
			row := slab[int(g-1)*stride:][:stride]
			seen ^= row[0] ^ row[len(row)-1]
		}
	}
	gs.seen = seen
}

// far tells whether the slab is larger than what is mostly in a cache that is near enough.
func (gs *groups) far() bool { return len(gs.slab.Words) >= inCache }

const inCache = 4 << 20 / 8 // words

// sameText drops candidates whose text is another.
func (gs *groups) sameText(k int, c *batch.Column, from int, candidates []uint32) {
	offsets, t := batch.As[int32](c.Offsets)[from:], &gs.texts[k]
	slab, stride, at := gs.slab.Words, gs.slab.Stride, t.at
	lo := offsets[0]
	for i, g := range candidates {
		hi := offsets[i+1]
		if g != 0 {
			v, n := c.Values[lo:], uint(hi-lo)
			if n <= shortText && len(v) >= 8*textWords {
				m, have := &shortMasks[n], (*textOf)(slab[int(g-1)*stride+at:])
				v = v[:8*textWords]
				if (binary.LittleEndian.Uint64(v)^have[0])&m[0]|(binary.LittleEndian.Uint64(v[8:])^have[1])&m[1]|
					(binary.LittleEndian.Uint64(v[16:])&m[2]|uint64(n)<<32)^have[2] != 0 {
					candidates[i] = 0
				}
			} else if !t.is(g-1, v[:n]) {
				candidates[i] = 0
			}
		}
		lo = hi
	}
}

// sameNullable drops candidates whose value is another, or null where the row has one, or the other way round.
func (gs *groups) sameNullable(k int, c *batch.Column, from int, candidates []uint32) {
	null, text := gs.null[k], gs.types[k].Variable()
	for i, g := range candidates {
		if g == 0 {
			continue
		}
		valid := c.Valid(from + i)
		switch {
		case valid == null[g-1],
			valid && text && !gs.texts[k].is(g-1, c.Bytes(from+i)),
			valid && !text && gs.bitsN[k][from+i] != *gs.fixed(k, g-1):
			candidates[i] = 0
		}
	}
}

// fewRows are too few to look up together.
const fewRows = 8

// takeRows takes the rows from one to another that are not left out into the groups of a window.
func (w *Tumbling) takeRows(p *pane, b *batch.Batch, from, to int) {
	gs := &w.groups
	if to-from < fewRows {
		for i := from; i < to; i++ {
			if w.rowOf[i] != aggregate.Skip {
				w.rowOf[i] = w.take(p, b, i)
			}
		}
		return
	}
	for ; from < to; from += lookAhead {
		end := min(from+lookAhead, to)
		rowOf := w.rowOf[from:end]
		for i, g := range gs.lookup(&p.index, b, from, end) {
			switch {
			case rowOf[i] == aggregate.Skip:
			case g == 0:
				rowOf[i] = w.take(p, b, from+i)
			default:
				g--
				rows := gs.rows(g)
				if *rows < isDirty {
					*rows |= isDirty
					p.dirty = append(p.dirty, g)
				}
				*rows++
				rowOf[i] = g
			}
		}
	}
}
