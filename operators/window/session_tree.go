package window

import (
	"bytes"

	"github.com/weir-stream/weir/ingest/batch"
)

// The sessions of a key that are open at a time are a treap: a tree by start whose priorities, which are random, fall from the root
// down. So a key with thousands of them, as hostile data can make, costs the logarithm of that. Numbers are one more than those of
// groups; 0 is none.

// around finds the last session of a tree that begins at or before a time, and the first behind.
func (s *Sessions) around(root uint32, at int64) (before, after uint32) {
	for n := root; n != 0; {
		if o := &s.of[n-1]; o.start <= at {
			before, n = n, o.right
		} else {
			after, n = n, o.left
		}
	}
	return before, after
}

// insert adds a session to a tree, and gives its root.
func (s *Sessions) insert(root, g uint32) uint32 {
	n, o := g+1, &s.of[g]
	link := &root
	for *link != 0 && s.of[*link-1].priority >= o.priority {
		if above := &s.of[*link-1]; above.start <= o.start {
			link = &above.right
		} else {
			link = &above.left
		}
	}
	below := *link
	*link = n
	earlier, later := &o.left, &o.right
	for below != 0 {
		if c := &s.of[below-1]; c.start <= o.start {
			*earlier, earlier, below = below, &c.right, c.right
		} else {
			*later, later, below = below, &c.left, c.left
		}
	}
	*earlier, *later = 0, 0
	return root
}

// remove takes a session out of a tree, and gives its root.
func (s *Sessions) remove(root, g uint32) uint32 {
	o := &s.of[g]
	link := &root
	for *link != g+1 {
		if above := &s.of[*link-1]; above.start <= o.start {
			link = &above.right
		} else {
			link = &above.left
		}
	}
	left, right := o.left, o.right
	for left != 0 && right != 0 {
		if l, r := &s.of[left-1], &s.of[right-1]; l.priority >= r.priority {
			*link, link, left = left, &l.right, l.right
		} else {
			*link, link, right = right, &r.left, r.left
		}
	}
	*link = left | right
	o.left, o.right, o.root = 0, 0, false
	return root
}

// setRoot puts the root of a key's tree into its slot of the index, in place of the one before; 0 removes the key.
func (s *Sessions) setRoot(slot int, before, root uint32) {
	if before != 0 {
		s.of[before-1].root = false
	}
	if root == 0 {
		s.index.remove(slot)
		return
	}
	o := &s.of[root-1]
	o.root = true
	s.index.slots[slot] = uint64(o.tag)<<32 | uint64(root)
}

// locate finds the slot of the index for row i's key and the root there, or where it belongs and 0.
func (s *Sessions) locate(b *batch.Batch, i int) (slot int, root uint32) {
	x := &s.index
	x.room()
	tag := s.groups.hashN[i] >> 32
	mask := uint64(len(x.slots) - 1)
	for at := tag & mask; ; at = (at + 1) & mask {
		e := x.slots[at]
		if e == 0 || e>>32 == tag && s.groups.equal(uint32(e)-1, b, i) {
			return int(at), uint32(e)
		}
	}
}

// slotOf finds the slot of the index for the key of a session.
func (s *Sessions) slotOf(g uint32) int {
	x := &s.index
	tag := uint64(s.of[g].tag)
	mask := uint64(len(x.slots) - 1)
	for at := tag & mask; ; at = (at + 1) & mask {
		if e := x.slots[at]; e>>32 == tag && e != 0 && (uint32(e)-1 == g || s.groups.same(uint32(e)-1, g)) {
			return int(at)
		}
	}
}

// remove frees a slot: entries behind it that may not be found any more move up.
func (x *index) remove(slot int) {
	mask := uint64(len(x.slots) - 1)
	hole := uint64(slot)
	for at := (hole + 1) & mask; x.slots[at] != 0; at = (at + 1) & mask {
		home := x.slots[at] >> 32 & mask
		if (at-home)&mask >= (at-hole)&mask {
			x.slots[hole] = x.slots[at]
			hole = at
		}
	}
	x.slots[hole] = 0
	x.n--
}

// same tells whether two groups have one key.
func (gs *groups) same(a, b uint32) bool {
	for k := range gs.cols {
		if null := gs.null[k]; null != nil {
			if null[a] != null[b] {
				return false
			}
			if null[a] {
				continue
			}
		}
		if gs.types[k].Variable() {
			if !bytes.Equal(gs.texts[k].get(a), gs.texts[k].get(b)) {
				return false
			}
		} else if *gs.fixed(k, a) != *gs.fixed(k, b) {
			return false
		}
	}
	return true
}
