package decode

import "encoding/binary"

// flat reads a flatbuffer that nobody has checked. Every position is compared with the buffer before it is read, and none is
// followed backwards but from a table to its vtable, so that nothing a sender writes makes it read elsewhere. What does not fit
// sets bad and gives zero values: look at bad before anything that was read is used.
//
// It lends no structure: two references may lead to one table. Whoever walks a tree bounds the number of its nodes.
//
// Source: https://flatbuffers.dev/internals/.
type flat struct {
	buf []byte
	bad bool
}

// flatTable is a table of a flatbuffer. That with a nil buffer is one that is not there: its fields have their defaults.
type flatTable struct {
	f  *flat
	at int // of the table
	vt int // of the offsets of its fields
	n  int // of these
}

// flatVector is a vector of a flatbuffer: n elements from at on, all inside the buffer.
type flatVector struct {
	f  *flat
	at int
	n  int
}

// u32 reads four bytes at a position.
func (f *flat) u32(at int) uint32 {
	if at < 0 || at > len(f.buf)-4 {
		f.bad = true
		return 0
	}
	return binary.LittleEndian.Uint32(f.buf[at:])
}

// root is the table that the buffer is about.
func (f *flat) root() flatTable { return f.table(int(f.u32(0))) }

func (f *flat) table(at int) flatTable {
	back := int(int32(f.u32(at)))
	vt := at - back
	if f.bad || vt < 0 || vt > len(f.buf)-4 {
		f.bad = true
		return flatTable{}
	}
	n, size := int(binary.LittleEndian.Uint16(f.buf[vt:])), int(binary.LittleEndian.Uint16(f.buf[vt+2:]))
	if n < 4 || n > len(f.buf)-vt || size < 4 || size > len(f.buf)-at {
		f.bad = true
		return flatTable{}
	}
	return flatTable{f: f, at: at, vt: vt + 4, n: (n - 4) / 2}
}

// field is where field i of some bytes is, or 0 where it is not there and has its default.
func (t flatTable) field(i, bytes int) int {
	if t.f == nil || i >= t.n {
		return 0
	}
	off := int(binary.LittleEndian.Uint16(t.f.buf[t.vt+2*i:]))
	if off == 0 {
		return 0
	}
	// The vtable's size of the table is not gone by: the writers of Arrow's Go library share a vtable among tables whose fields begin at
	// the same places, whatever their sizes are.
	if off < 4 || t.at+off > len(t.f.buf)-bytes {
		t.f.bad = true
		return 0
	}
	return t.at + off
}

func (t flatTable) u8(i int, otherwise uint8) uint8 {
	if at := t.field(i, 1); at > 0 {
		return t.f.buf[at]
	}
	return otherwise
}

func (t flatTable) i16(i int, otherwise int16) int16 {
	if at := t.field(i, 2); at > 0 {
		return int16(binary.LittleEndian.Uint16(t.f.buf[at:]))
	}
	return otherwise
}

func (t flatTable) i32(i int) int32 {
	if at := t.field(i, 4); at > 0 {
		return int32(binary.LittleEndian.Uint32(t.f.buf[at:]))
	}
	return 0
}

func (t flatTable) i64(i int) int64 {
	if at := t.field(i, 8); at > 0 {
		return int64(binary.LittleEndian.Uint64(t.f.buf[at:]))
	}
	return 0
}

// to follows a reference at a position.
func (f *flat) to(at int) int {
	off := f.u32(at)
	if f.bad || uint64(off) > uint64(len(f.buf)-at) {
		f.bad = true
		return 0
	}
	return at + int(off)
}

// has tells whether field i, a reference, is there.
func (t flatTable) has(i int) bool { return t.field(i, 4) > 0 }

// table is the table that field i refers to, or none.
func (t flatTable) table(i int) flatTable {
	at := t.field(i, 4)
	if at == 0 {
		return flatTable{}
	}
	return t.f.table(t.f.to(at))
}

// vector is the vector that field i refers to, of elements of some bytes each.
func (t flatTable) vector(i, bytes int) flatVector {
	at := t.field(i, 4)
	if at == 0 {
		return flatVector{}
	}
	at = t.f.to(at)
	n := uint64(t.f.u32(at))
	if t.f.bad || n*uint64(bytes) > uint64(len(t.f.buf)-at-4) {
		t.f.bad = true
		return flatVector{}
	}
	return flatVector{f: t.f, at: at + 4, n: int(n)}
}

// text is the string that field i refers to; it shares the buffer's memory.
func (t flatTable) text(i int) []byte {
	v := t.vector(i, 1)
	if v.n == 0 {
		return nil
	}
	return v.f.buf[v.at : v.at+v.n]
}

// table is element i of a vector of tables.
func (v flatVector) table(i int) flatTable { return v.f.table(v.f.to(v.at + 4*i)) }

// pair is element i of a vector of structs of two 64 bit numbers.
func (v flatVector) pair(i int) (a, b int64) {
	at := v.at + 16*i
	return int64(binary.LittleEndian.Uint64(v.f.buf[at:])), int64(binary.LittleEndian.Uint64(v.f.buf[at+8:]))
}

// i64 is element i of a vector of 64 bit numbers.
func (v flatVector) i64(i int) int64 { return int64(binary.LittleEndian.Uint64(v.f.buf[v.at+8*i:])) }
