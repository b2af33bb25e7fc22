//go:build wasip1

package weir

import "unsafe"

// Take gives every passed column just the rows of the selection, which must not fall. A row can come more than once.
//
// What it does for each row is written for how Go compiles to Wasm: every branch that is taken, the round of a loop included,
// goes by way of a table of all places of the function, and takes longer than the copy of some values. So the rows are
// checked once, before, and a round takes several. Pointers are used from the last value to the first, so that the runtime checks
// the bounds of its memory for the first alone.
func (b *Batch) Take(rows []int32) {
	b.check(rows)
	for o := range b.out {
		if c := &b.out[o]; c.from >= 0 && !c.made {
			b.take(o, rows)
		}
	}
	b.made = len(rows)
}

// check makes sure that the rows are there.
func (b *Batch) check(rows []int32) {
	bad, most := int32(0), int32(b.rows-1)
	for len(rows) >= 8 {
		r := (*[8]int32)(rows)
		bad |= r[0] | (most - r[0]) | r[1] | (most - r[1]) | r[2] | (most - r[2]) | r[3] | (most - r[3])
		bad |= r[4] | (most - r[4]) | r[5] | (most - r[5]) | r[6] | (most - r[6]) | r[7] | (most - r[7])
		rows = rows[8:]
	}
	for _, r := range rows {
		bad |= r | (most - r)
	}
	if bad < 0 {
		panic("weir: takes a row that is not in the batch")
	}
}

func (b *Batch) take(o int, rows []int32) {
	c := &b.out[o]
	if bits := buffer[uint8](b, c.from, 0, (b.rows+7)/8); bits != nil && b.cols[c.from].nulls != 0 {
		mem := b.alloc((len(rows) + 7) / 8)
		takeBits(mem, bits, rows)
		c.validity = addr(mem)
	}
	switch {
	case c.typ.IsList():
		b.takeList(o, rows)
	case c.typ.text():
		b.takeText(o, rows)
	case c.typ == Bool:
		takeBits(b.NewBools(o, len(rows)), buffer[uint8](b, c.from, 1, (b.rows+7)/8), rows)
	case typeTable[c.typ].width == 1:
		takeFixed[uint8](b, o, rows)
	case typeTable[c.typ].width == 2:
		takeFixed[uint16](b, o, rows)
	case typeTable[c.typ].width == 4:
		takeFixed[uint32](b, o, rows)
	default:
		takeFixed[uint64](b, o, rows)
	}
}

// value is the i-th value behind a pointer.
func value[T any](p unsafe.Pointer, i int32) *T {
	var zero T
	return (*T)(unsafe.Add(p, uintptr(uint32(i))*unsafe.Sizeof(zero)))
}

func takeFixed[T Fixed](b *Batch, o int, rows []int32) {
	out := New[T](b, o, len(rows))
	if len(rows) == 0 {
		return
	}
	from, to, at := b.input(o, 1), unsafe.Pointer(unsafe.SliceData(out)), unsafe.Pointer(unsafe.SliceData(rows))
	i, n := int32(0), int32(len(rows))
	for ; i+8 <= n; i += 8 {
		r, v := value[[4]int32](at, i/4), (*[8]T)(unsafe.Pointer(value[T](to, i)))
		s := value[[4]int32](at, i/4+1)
		v[7] = *value[T](from, s[3])
		v[6] = *value[T](from, s[2])
		v[5] = *value[T](from, s[1])
		v[4] = *value[T](from, s[0])
		v[3] = *value[T](from, r[3])
		v[2] = *value[T](from, r[2])
		v[1] = *value[T](from, r[1])
		v[0] = *value[T](from, r[0])
	}
	for ; i < n; i++ {
		*value[T](to, i) = *value[T](from, *value[int32](at, i))
	}
}

// input is a buffer of the input column that an output column passes.
func (b *Batch) input(o, i int) unsafe.Pointer {
	return at(*(*uint32)(at(b.cols[b.out[o].from].buffers + uint32(4*i))))
}

// span is where a string starts and ends.
type span struct{ from, to uint32 }

// takeText takes the rows of a column of strings. The data takes what room there is, and gives back the rest.
func (b *Batch) takeText(o int, rows []int32) {
	c := &b.out[o]
	mem := b.alloc(4 * (len(rows) + 1))
	c.offsets = unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(mem))), len(rows)+1)
	c.offsets[0] = 0
	room := b.room
	c.made, c.values = true, addr(room)
	if len(rows) == 0 {
		return
	}
	var (
		spans, from = b.input(o, 1), b.input(o, 2)
		to, at      = unsafe.Pointer(unsafe.SliceData(room)), unsafe.Pointer(unsafe.SliceData(rows))
		ends        = unsafe.Pointer(&c.offsets[1])
		end, left   = uint32(0), uint32(min(len(room), 1<<31-1))
		i, n        = int32(0), int32(len(rows))
	)
	// Four rows a round where all are short: these are copied as 16 bytes, whatever their length, and what is too much is written over
	// by the next. Reading too much is fine, since the windows are not the end of the memory.
	for n-i >= 4 {
		r := (*[4]int32)(unsafe.Pointer(value[int32](at, i)))
		sd, sc, sb, sa := spanOf(spans, r[3]), spanOf(spans, r[2]), spanOf(spans, r[1]), spanOf(spans, r[0])
		la, lb, lc, ld := sa.to-sa.from, sb.to-sb.from, sc.to-sc.from, sd.to-sd.from
		if la|lb|lc|ld >= 16 || left-end < 64 {
			end = takeLong(room, end, from, spans, r[:], ends)
			ends = unsafe.Add(ends, 16)
			i += 4
			continue
		}
		e := (*[4]uint32)(ends)
		ea := end + la
		eb := ea + lb
		ec := eb + lc
		copy16(to, end, from, sa.from)
		copy16(to, ea, from, sb.from)
		copy16(to, eb, from, sc.from)
		copy16(to, ec, from, sd.from)
		end = ec + ld
		e[3], e[2], e[1], e[0] = end, ec, eb, ea
		ends = unsafe.Add(ends, 16)
		i += 4
	}
	end = takeLong(room, end, from, spans, rows[i:], ends)
	b.alloc(int(end))
}

// spanOf reads the two offsets of a row at once.
func spanOf(offsets unsafe.Pointer, row int32) span {
	v := *(*uint64)(unsafe.Add(offsets, uintptr(uint32(row))*4))
	return span{uint32(v), uint32(v >> 32)}
}

// copy16 copies 16 bytes.
func copy16(to unsafe.Pointer, at uint32, from unsafe.Pointer, start uint32) {
	d, s := (*[2]uint64)(unsafe.Add(to, uintptr(at))), (*[2]uint64)(unsafe.Add(from, uintptr(start)))
	second := s[1]
	first := s[0]
	d[1] = second
	d[0] = first
}

// takeLong adds rows of any length behind end, and returns where they end.
func takeLong(room []byte, end uint32, from, spans unsafe.Pointer, rows []int32, ends unsafe.Pointer) uint32 {
	for i, r := range rows {
		s := spanOf(spans, r)
		n := s.to - s.from
		if uint64(end)+uint64(n) > uint64(min(len(room), 1<<31-1)) {
			panic(errFull)
		}
		copy(room[end:end+n], unsafe.Slice((*byte)(unsafe.Add(from, uintptr(s.from))), int(n)))
		end += n
		*value[uint32](ends, int32(i)) = end
	}
	return end
}

// takeBits takes the rows of a bitmap. They are there.
func takeBits(to, from []byte, rows []int32) {
	clear(to)
	if len(rows) == 0 {
		return
	}
	bits, i := unsafe.Pointer(unsafe.SliceData(from)), 0
	for ; len(rows)-i >= 8; i += 8 {
		r := (*[8]int32)(rows[i:])
		to[i>>3] = bitOf(bits, r[7])<<7 | bitOf(bits, r[6])<<6 | bitOf(bits, r[5])<<5 | bitOf(bits, r[4])<<4 |
			bitOf(bits, r[3])<<3 | bitOf(bits, r[2])<<2 | bitOf(bits, r[1])<<1 | bitOf(bits, r[0])
	}
	for ; i < len(rows); i++ {
		to[i>>3] |= bitOf(bits, rows[i]) << (i & 7)
	}
}

// bitOf is a bit of a bitmap.
func bitOf(bits unsafe.Pointer, row int32) byte {
	return *(*byte)(unsafe.Add(bits, uint32(row)>>3)) >> (row & 7) & 1
}
