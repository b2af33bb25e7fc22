package window

import (
	"hash/maphash"
	"math/bits"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators/aggregate"
)

// groups are all groups of a lane, whichever window they are in: row g of the slab, and entry g of every array, belong to group g.
// Numbers of closed groups are used again, and so is the memory of their keys.
//
// A row of the slab has, side by side: how many rows the group has, and isDirty; its keys; its states, but for those that are no few words.
//
// A key that is a decimal of more than 64 bits is two keys here, one behind the other: its low half, and its high one. All that is per key
// column below is per such key, so that none of the loops over rows has to know of it.
type groups struct {
	seed  maphash.Seed
	types []batch.Type
	cols  []int
	high  []bool     // per key column: it is the high half of the key before
	hashN []uint64   // hash of the keys of each row of the batch at hand
	bitsN [][]uint64 // per fixed width key column: its values in the batch at hand
	slotN []uint64   // see lookup
	candN []uint32
	seen  uint64 // keeps the compiler from leaving a look out

	slab  *aggregate.Slab
	keyAt []int    // per key column: words of a row of the slab before the value's bits, or its text
	texts []texts  // per key column, for strings
	null  [][]bool // per key column, where it may be null
	over  []bool   // whether it has the rows of all keys beyond maxKeys; nil where there is no limit
	shown []uint64 // hash of the group's row as it was cut last; 0 before
	acc   []aggregate.Accumulator
	sized []aggregate.Sized // those of acc that have memory of their own
	// Which of acc have their states in the slab, and which have not.
	placed, apart []int
	begin         []aggregate.Placed // those of acc that have to be told of a group that is new
	freed         []uint32
	total         int // groups ever numbered

	maxKeys int // of a window; 0 is no limit
}

func (gs *groups) init(cfg *Config) {
	gs.seed = maphash.MakeSeed()
	for _, c := range cfg.Keys {
		t := cfg.In.Fields[c].Type
		gs.types, gs.cols, gs.high = append(gs.types, t), append(gs.cols, c), append(gs.high, false)
		if wide(t) {
			gs.types, gs.cols, gs.high = append(gs.types, t), append(gs.cols, c), append(gs.high, true)
		}
	}
	gs.keyAt, gs.texts, gs.null = make([]int, len(gs.cols)), make([]texts, len(gs.cols)), make([][]bool, len(gs.cols))
	gs.bitsN = make([][]uint64, len(gs.cols))
	gs.slab = &aggregate.Slab{Stride: 1}
	for k, c := range gs.cols {
		t := gs.types[k]
		gs.keyAt[k] = gs.slab.Stride
		if t.Variable() {
			gs.texts[k] = texts{slab: gs.slab, at: gs.slab.Stride}
			gs.slab.Stride += textWords
		} else {
			gs.slab.Stride++
		}
		if cfg.In.Fields[c].Nullable {
			gs.null[k] = []bool{}
		}
	}
	if gs.maxKeys = cfg.MaxKeys; gs.maxKeys > 0 {
		gs.over = []bool{}
	}
	for i, a := range cfg.Aggregate {
		acc := a.Accumulator()
		gs.acc = append(gs.acc, acc)
		if s, ok := acc.(aggregate.Sized); ok {
			gs.sized = append(gs.sized, s)
		}
		if p, ok := acc.(aggregate.Placed); ok {
			p.Place(gs.slab, gs.slab.Stride)
			gs.slab.Stride += p.Words()
			gs.placed = append(gs.placed, i)
			if !p.Zero() {
				gs.begin = append(gs.begin, p)
			}
		} else {
			gs.apart = append(gs.apart, i)
		}
	}
}

// rows is how many rows a group has, and isDirty.
func (gs *groups) rows(g uint32) *uint64 { return &gs.slab.Words[int(g)*gs.slab.Stride] }

// fixed is the bits of key k of a group, which is no text.
func (gs *groups) fixed(k int, g uint32) *uint64 {
	return &gs.slab.Words[int(g)*gs.slab.Stride+gs.keyAt[k]]
}

// isDirty is the bit of rows that says that a group has changed since the last cut.
const isDirty = 1 << 63

// count is how many rows a group has.
func (gs *groups) count(g uint32) uint64 { return *gs.rows(g) &^ isDirty }

// clean says that a group was cut.
func (gs *groups) clean(g uint32) { *gs.rows(g) &^= isDirty }

// touch makes a group dirty, and tells whether it was not.
func (gs *groups) touch(g uint32) bool {
	rows := gs.rows(g)
	before := *rows
	*rows = before | isDirty
	return before < isDirty
}

func (gs *groups) used() int { return gs.total - len(gs.freed) }

func (gs *groups) memorySize() int64 {
	n := 8*int64(cap(gs.slab.Words)) + int64(cap(gs.shown))*int64(8+16*len(gs.apart)+len(gs.placed))
	for k := range gs.texts {
		n += gs.texts[k].memorySize()
	}
	for _, s := range gs.sized {
		n += s.MemorySize()
	}
	return n
}

// columnsFrom are the columns of the keys where these stand side by side from one column on, as they do in the rows of a cut.
func (gs *groups) columnsFrom(col int) []int {
	cols := make([]int, len(gs.cols))
	for k := range cols {
		if gs.high[k] {
			col--
		}
		cols[k] = col
		col++
	}
	return cols
}

// hash computes the hash of the keys of every row, column after column.
func (gs *groups) hash(b *batch.Batch) {
	gs.hashN = grow(gs.hashN, b.Rows)
	h := gs.hashN
	clear(h)
	for k, col := range gs.cols {
		c, t := &b.Cols[col], gs.types[k]
		var words []uint64
		if !t.Variable() {
			gs.bitsN[k] = grow(gs.bitsN[k], b.Rows)
			words = gs.bitsN[k]
			readBits(words, c, t, gs.high[k])
		}
		switch {
		case c.Validity != nil:
			for i := range h {
				// What lies under a null is anything; all nulls are one key.
				v := uint64(0x9e3779b97f4a7c15)
				if c.Valid(i) && t.Variable() {
					v = maphash.Bytes(gs.seed, c.Bytes(i))
				} else if c.Valid(i) {
					v = words[i]
				}
				h[i] = mix(h[i], v)
			}
		case t.Variable():
			off := batch.As[int32](c.Offsets)
			for i := range h {
				h[i] = mix(h[i], maphash.Bytes(gs.seed, c.Values[off[i]:off[i+1]]))
			}
		default:
			for i, v := range words {
				h[i] = mix(h[i], v)
			}
		}
	}
}

// readFixed reads the keys of fixed width of every row, for those who look groups up by themselves; hash does it as well.
func (gs *groups) readFixed(b *batch.Batch) {
	for k, col := range gs.cols {
		if t := gs.types[k]; !t.Variable() {
			gs.bitsN[k] = grow(gs.bitsN[k], b.Rows)
			readBits(gs.bitsN[k], &b.Cols[col], t, gs.high[k])
		}
	}
}

// mix folds a value into a hash: one 128 bit product, both halves.
func mix(h, v uint64) uint64 {
	hi, lo := bits.Mul64(h^0xa0761d6478bd642f, v^0xe7037ed1a0b428db)
	return hi ^ lo
}

// equal tells whether a group has the key of row i.
func (gs *groups) equal(g uint32, b *batch.Batch, i int) bool {
	for k, col := range gs.cols {
		c := &b.Cols[col]
		if null := gs.null[k]; null != nil {
			if valid := c.Valid(i); valid == null[g] {
				return false
			} else if !valid {
				continue
			}
		}
		if gs.types[k].Variable() {
			if !gs.texts[k].is(g, c.Bytes(i)) {
				return false
			}
		} else if gs.bitsN[k][i] != *gs.fixed(k, g) {
			return false
		}
	}
	return true
}

// setZero gives a group the key that is no text, zero, or null.
func (gs *groups) setZero(k int, g uint32) {
	if gs.null[k] != nil {
		gs.null[k][g] = true
	}
	if gs.types[k].Variable() {
		gs.texts[k].set(g, nil)
	} else {
		*gs.fixed(k, g) = 0
	}
}

// add numbers a new group with the keys of row i.
func (gs *groups) add(b *batch.Batch, i int) uint32 {
	g := gs.number()
	for k, col := range gs.cols {
		c := &b.Cols[col]
		if null := gs.null[k]; null != nil {
			if null[g] = !c.Valid(i); null[g] {
				continue
			}
		}
		if gs.types[k].Variable() {
			gs.texts[k].set(g, c.Bytes(i))
		} else {
			*gs.fixed(k, g) = gs.bitsN[k][i]
		}
	}
	return g
}

// number finds a number for a new group without keys. It is dirty from the start.
func (gs *groups) number() uint32 {
	var g uint32
	if n := len(gs.freed); n > 0 {
		g, gs.freed = gs.freed[n-1], gs.freed[:n-1]
		for _, a := range gs.acc {
			a.Reset(g)
		}
	} else {
		g = uint32(gs.total)
		gs.total++
		if room := gs.slab.Room(); gs.total > room {
			gs.extend(moreRoom(room))
		}
		for _, a := range gs.begin {
			a.Reset(g)
		}
	}
	*gs.rows(g), gs.shown[g] = isDirty, 0
	if gs.over != nil {
		gs.over[g] = false
	}
	return g
}

// moreRoom is for how many groups there is to be room where there was for so many: twice as many while they are few, and half as many again
// then. It is to be copied more often, but a group takes at most 200 bytes (BenchmarkGroupsFromNothing), whatever share of the room is free.
func moreRoom(room int) int {
	const few = 1 << 12
	if room < few {
		return max(1024, 2*room)
	}
	return room + room/2
}

// take numbers a group that is moved here from another slab.
func (gs *groups) take(from *groups, g uint32) uint32 {
	to := uint32(gs.total)
	gs.total++
	*gs.rows(to), gs.shown[to] = *from.rows(g), from.shown[g]
	for k := range gs.cols {
		if gs.types[k].Variable() {
			gs.texts[k].set(to, from.texts[k].get(g))
		} else {
			*gs.fixed(k, to) = *from.fixed(k, g)
		}
		if gs.null[k] != nil {
			gs.null[k][to] = from.null[k][g]
		}
	}
	if gs.over != nil {
		gs.over[to] = from.over[g]
	}
	for i, a := range gs.acc {
		a.Take(from.acc[i], g, to)
	}
	return to
}

// release takes groups that end back, with the memory their states have of their own.
func (gs *groups) release(members []uint32) {
	gs.freed = append(gs.freed, members...)
	for _, s := range gs.sized {
		for _, g := range members {
			s.Reset(g)
		}
	}
}

func (gs *groups) extend(n int) {
	gs.slab.Grow(n)
	gs.shown = extend(gs.shown, n)
	for k := range gs.cols {
		if gs.null[k] != nil {
			gs.null[k] = extend(gs.null[k], n)
		}
	}
	if gs.over != nil {
		gs.over = extend(gs.over, n)
	}
	for _, a := range gs.acc {
		a.Grow(n)
	}
}

func extend[T any](s []T, n int) []T {
	t := batch.Huge(make([]T, n))
	copy(t, s)
	return t
}

// overColumn tells of the groups whether they are those of keys beyond the limit.
func (gs *groups) overColumn(ids []uint32) batch.Column {
	c := batch.Column{Values: make([]byte, batch.BitmapLen(len(ids)))}
	for i, g := range ids {
		if gs.over[g] {
			batch.SetBit(c.Values, i)
		}
	}
	return c
}

// keyColumn writes key k of the groups, which is no high half, as a column on the Go heap.
func (gs *groups) keyColumn(k int, ids []uint32) batch.Column {
	var c batch.Column
	if t := gs.types[k]; wide(t) {
		values := make([]batch.Int128, len(ids))
		for i, g := range ids {
			values[i] = batch.Int128{Lo: *gs.fixed(k, g), Hi: int64(*gs.fixed(k+1, g))}
		}
		c.Values = batch.DecimalBytes(values)
	} else if t.Variable() {
		offsets := make([]int32, len(ids)+1)
		total := 0
		for i, g := range ids {
			if gs.null[k] == nil || !gs.null[k][g] {
				total += gs.texts[k].length(g)
			}
			offsets[i+1] = int32(total)
		}
		data := make([]byte, total)
		for i, g := range ids {
			if offsets[i+1] > offsets[i] {
				copy(data[offsets[i]:], gs.texts[k].get(g))
			}
		}
		c = batch.Column{Offsets: batch.Bytes(offsets), Values: data}
	} else {
		c.Values = make([]byte, max(batch.BitmapLen(len(ids)), t.Width()*len(ids)))
		for i, g := range ids {
			switch v := *gs.fixed(k, g); t.Width() {
			case 0:
				if v != 0 {
					batch.SetBit(c.Values, i)
				}
			case 1:
				c.Values[i] = byte(v)
			case 2:
				batch.As[uint16](c.Values)[i] = uint16(v)
			case 4:
				batch.As[uint32](c.Values)[i] = uint32(v)
			case 16:
				c.Decimals()[i] = batch.Int128Of(int64(v))
			default:
				batch.As[uint64](c.Values)[i] = v
			}
		}
	}
	if null := gs.null[k]; null != nil {
		bm := make([]byte, batch.BitmapLen(len(ids)))
		for i, g := range ids {
			if null[g] {
				c.Nulls++
			} else {
				batch.SetBit(bm, i)
			}
		}
		if c.Nulls > 0 {
			c.Validity = bm
		}
	}
	return c
}
