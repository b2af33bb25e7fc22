package wasm

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
	"unsafe"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators/abi"
)

// This file turns what a guest returned into columns, and trusts none of it. It knows nothing of the Wasm runtime: a guest
// is its memory and the windows in it. The number of columns, their types and their buffer counts come from the schema
// that the host knows, never from the guest, so nothing here can be made to loop or to recurse. Every field of the
// guest is read once.

// maxOffset bounds ArrowArray.offset so that sizes computed from it fit an int of 32 bits.
const maxOffset = 1 << 26

// region is a part of a guest's memory whose bytes the host also has, at the same moment, elsewhere: an input buffer or the
// slot for the output. What a guest returns inside a region is used where it is.
type region struct {
	addr uint32
	host []byte
}

// contains tells whether n bytes at addr lie in the region.
func (r *region) contains(addr uint32, n uint64) bool {
	return addr >= r.addr && uint64(addr-r.addr)+n <= uint64(len(r.host))
}

// window is a part of a guest's memory in which only regions may be pointed at: the rest of it is memory of other batches.
type window struct {
	addr uint32
	size uint32
}

func (w *window) touches(addr uint32, n uint64) bool {
	return uint64(addr) < uint64(w.addr)+uint64(w.size) && uint64(addr)+n > uint64(w.addr)
}

// given is an input column as the guest saw it: the addresses of its buffers, and what the host knows it to be.
type given struct {
	validity, offsets, values uint32
	itemOffsets               uint32 // of a list of strings; values are those of its items
	typ                       batch.Type
	column                    batch.Column
}

// importer checks and takes over the result of one call. It is reused from call to call.
type importer struct {
	fields  []batch.Field // of the guest's output schema, the row column included
	mem     []byte        // the guest's memory after the call
	regions []region      // inputs; the last one is the output slot where that is shared
	closed  [3]window     // where nothing but a region may be pointed at
	inputs  []given
	rowsIn  int
	rowsMax int
	ownMax  uint64 // bytes of buffers that may lie in the guest's own memory

	// shared tells that the last region is the output slot, so that copies go behind what the guest wrote there.
	shared bool
	slot   []byte // the output slot as the host sees it
	copied int64  // bytes copied by this call
	needed uint64 // bytes of buffers that lie in the guest's own memory

	cols    []batch.Column // the result, one per field
	found   []found        // what the first pass learned, one per field
	hint    []int          // per field: the input it was the last time, or -1
	arena   batch.Arena
	slotEnd int // bytes of the slot in use
}

// found is a column as the guest described it, with every number in range and every buffer located.
type found struct {
	input    int // the column is this input, untouched; or -1
	offset   int
	validity place
	offsets  place
	values   place

	list listFound // of a list
}

// place is where a buffer is: in a region, or in the guest's own memory where region is -1.
type place struct {
	addr   uint32
	n      int
	region int
}

// take reads the array at addr. On success the columns are in im.cols and the number of rows is returned; they borrow
// from the regions and the slot.
func (im *importer) take(addr uint32) (rows int, err *CallError) {
	im.copied, im.needed, im.slotEnd = 0, 0, 0
	root, err := im.arrayAt(addr)
	if err != nil {
		return 0, err.in("the batch")
	}
	a, err := readArray(root, im.rowsMax, 1, len(im.fields))
	if err != nil {
		return 0, err.in("the batch")
	}
	if a.nulls > 0 {
		return 0, outputError("the batch has %d null rows: only columns have nulls", a.nulls)
	}
	if top, err := im.bytesAt(a.buffers, 4, 4); err != nil {
		return 0, err.in("buffers of the batch")
	} else if binary.LittleEndian.Uint32(top) != 0 {
		return 0, outputError("the batch has a validity bitmap: only columns have nulls")
	}
	children, err := im.bytesAt(a.children, uint64(4*len(im.fields)), 4)
	if err != nil {
		return 0, err.in("children of the batch")
	}
	rows = a.length
	for i := range im.fields {
		if err := im.locate(i, binary.LittleEndian.Uint32(children[4*i:]), a.offset, rows); err != nil {
			return 0, err.in("column " + im.fields[i].Name)
		}
	}
	im.arena = batch.NewArena(im.slot[min(len(im.slot), (im.slotEnd+batch.Align-1)&^(batch.Align-1)):])
	for i := range im.fields {
		if err := im.fetch(i, rows); err != nil {
			return 0, err.in("column " + im.fields[i].Name)
		}
	}
	return rows, nil
}

// in says where an output error was found.
func (e *CallError) in(where string) *CallError {
	return &CallError{Fault: e.Fault, Err: fmt.Errorf("%s: %w", where, e.Err)}
}

// arrayHead is the fixed part of an ArrowArray, checked against its own limits.
type arrayHead struct {
	length, offset, nulls int
	buffers, children     uint32
}

func readArray(b []byte, rowsMax, buffers, children int) (arrayHead, *CallError) {
	i64 := func(at int) int64 { return int64(binary.LittleEndian.Uint64(b[at:])) }
	length, offset, nulls := i64(abi.ArrayLength), i64(abi.ArrayOffset), i64(abi.ArrayNullCount)
	switch {
	case length < 0 || length > int64(rowsMax):
		return arrayHead{}, outputError("length %d is not between 0 and %d", length, rowsMax)
	case offset < 0 || offset > maxOffset:
		return arrayHead{}, outputError("offset %d is not between 0 and %d", offset, maxOffset)
	case nulls < -1 || nulls > length:
		return arrayHead{}, outputError("null_count %d is not between -1 and the length %d", nulls, length)
	case i64(abi.ArrayNBuffers) != int64(buffers):
		return arrayHead{}, outputError("n_buffers is %d, which must be %d", i64(abi.ArrayNBuffers), buffers)
	case i64(abi.ArrayNChildren) != int64(children):
		return arrayHead{}, outputError("n_children is %d, which must be %d", i64(abi.ArrayNChildren), children)
	case binary.LittleEndian.Uint32(b[abi.ArrayDictionary:]) != 0:
		return arrayHead{}, outputError("it has a dictionary")
	}
	return arrayHead{
		length: int(length), offset: int(offset), nulls: int(nulls),
		buffers:  binary.LittleEndian.Uint32(b[abi.ArrayBuffers:]),
		children: binary.LittleEndian.Uint32(b[abi.ArrayChildren:]),
	}, nil
}

// locate is the first pass over a column: it reads the structs and finds every buffer, and copies nothing.
func (im *importer) locate(i int, addr uint32, rootOffset, rows int) *CallError {
	t, f := im.fields[i].Type, &im.found[i]
	b, err := im.arrayAt(addr)
	if err != nil {
		return err
	}
	nb, kids := abi.Buffers(t), 0
	if t.Kind == batch.List {
		kids = 1
	}
	a, err := readArray(b, rootOffset+rows, nb, kids)
	if err != nil {
		return err
	}
	if a.length != rootOffset+rows {
		return outputError("length %d, where the batch has %d rows at offset %d", a.length, rows, rootOffset)
	}
	ptrs, err := im.bytesAt(a.buffers, uint64(4*nb), 4)
	if err != nil {
		return err.in("buffers")
	}
	validity := binary.LittleEndian.Uint32(ptrs)
	if validity == 0 && a.nulls > 0 {
		return outputError("null_count is %d, but there is no validity bitmap", a.nulls)
	}
	offsets := uint32(0)
	if nb == 3 {
		offsets = binary.LittleEndian.Uint32(ptrs[4:])
	}
	values := binary.LittleEndian.Uint32(ptrs[4*nb-4:])
	if kids > 0 {
		return im.locateList(i, a, rootOffset, rows, validity, values)
	}
	*f = found{input: -1, offset: rootOffset + a.offset}
	if f.offset == 0 && rows == im.rowsIn {
		if in := im.same(i, t, validity, offsets, 0, values); in >= 0 {
			f.input = in
			return nil
		}
	}
	end := f.offset + rows
	if rows == 0 {
		return nil
	}
	if validity != 0 {
		if f.validity, err = im.find(validity, batch.BitmapLen(end), 1); err != nil {
			return err.in("validity")
		}
	}
	n, align := 0, 1
	switch {
	case t.Kind == batch.Bool:
		n = batch.BitmapLen(end)
	case t.Variable():
		if f.offsets, err = im.find(offsets, 4*(end+1), 4); err != nil {
			return err.in("offsets")
		}
		last := int32(binary.LittleEndian.Uint32(im.view(f.offsets)[4*end:]))
		if last < 0 {
			return outputError("the last offset is %d", last)
		}
		n = int(last)
	default:
		n, align = t.Width()*end, t.Width()
	}
	if n > 0 {
		if f.values, err = im.find(values, n, uint32(align)); err != nil {
			return err.in("values")
		}
	}
	return nil
}

// same finds the input column that has exactly these buffers and this type.
func (im *importer) same(i int, t batch.Type, validity, offsets, itemOffsets, values uint32) int {
	is := func(g *given) bool {
		return g.typ == t && g.values == values && g.validity == validity && g.offsets == offsets && g.itemOffsets == itemOffsets
	}
	if h := im.hint[i]; h >= 0 && h < len(im.inputs) && is(&im.inputs[h]) {
		return h
	}
	for in := range im.inputs {
		if is(&im.inputs[in]) {
			im.hint[i] = in
			return in
		}
	}
	im.hint[i] = -1
	return -1
}

// find locates n bytes that the guest points at.
func (im *importer) find(addr uint32, n int, align uint32) (place, *CallError) {
	if addr == 0 {
		return place{}, outputError("null pointer, where %d bytes are needed", n)
	}
	if addr%align != 0 {
		return place{}, outputError("address %#x is not aligned to its %d-byte values", addr, align)
	}
	if uint64(addr)+uint64(n) > uint64(len(im.mem)) {
		return place{}, outputError("%d bytes at %#x are outside the memory of %d bytes", n, addr, len(im.mem))
	}
	p := place{addr: addr, n: n, region: -1}
	for i := len(im.regions) - 1; i >= 0; i-- {
		if im.regions[i].contains(addr, uint64(n)) {
			p.region = i
			if im.shared && i == len(im.regions)-1 {
				r := &im.regions[i]
				im.slotEnd = max(im.slotEnd, len(im.slot)-len(r.host)+int(addr-r.addr)+n)
			}
			return p, nil
		}
	}
	for i := range im.closed {
		if im.closed[i].touches(addr, uint64(n)) {
			return place{}, outputError("%d bytes at %#x are in a window, but neither in an input buffer nor in the output slot", n, addr)
		}
	}
	// Many columns can point at the same bytes, and each would be copied.
	if im.needed += uint64(n); im.needed > im.ownMax {
		return place{}, outputError("the columns need more than the %d bytes of the operator's memory", im.ownMax)
	}
	return p, nil
}

// view is the bytes of a place as they are, not copied.
func (im *importer) view(p place) []byte {
	if p.n == 0 {
		return nil
	}
	if p.region < 0 {
		return im.mem[p.addr:][:p.n:p.n]
	}
	r := &im.regions[p.region]
	return r.host[p.addr-r.addr:][:p.n:p.n]
}

// hold is the bytes of a place from byte `from` on, in memory that outlives the call, aligned.
func (im *importer) hold(p place, from, align int) []byte {
	b := im.view(p)
	if b == nil {
		return nil
	}
	b = b[from:]
	if len(b) == 0 || p.region >= 0 && uintptr(unsafe.Pointer(unsafe.SliceData(b)))%uintptr(align) == 0 {
		return b
	}
	out := im.room(len(b))
	copy(out, b)
	return out
}

// room is memory for n copied bytes.
func (im *importer) room(n int) []byte {
	im.copied += int64(n)
	return im.arena.AllocOrHeap(n)
}

// bits is n bits of a place from bit `from` on, as a bitmap that starts at bit 0.
func (im *importer) bits(p place, from, n int) []byte {
	if from%8 == 0 {
		return im.hold(p, from/8, 1)[:batch.BitmapLen(n)]
	}
	src := im.view(p)
	out := im.room(batch.BitmapLen(n))
	shift := from % 8
	for i := range out {
		at := from/8 + i
		v := src[at] >> shift
		if at+1 < len(src) {
			v |= src[at+1] << (8 - shift)
		}
		out[i] = v
	}
	return out
}

// fetch is the second pass over a column: it takes the buffers over, at row 0, and checks what is in them.
func (im *importer) fetch(i, rows int) *CallError {
	f, field := &im.found[i], &im.fields[i]
	var c batch.Column
	switch {
	case f.input >= 0:
		c = im.inputs[f.input].column
	case rows == 0:
		c = emptyColumn(field.Type)
	default:
		if f.validity.n > 0 {
			c.Validity = im.bits(f.validity, f.offset, rows)
			if c.Nulls = rows - batch.CountBits(c.Validity, rows); c.Nulls == 0 {
				c.Validity = nil
			}
		}
		switch t := field.Type; {
		case t.Kind == batch.Bool:
			c.Values = im.bits(f.values, f.offset, rows)
		case t.Kind == batch.List:
			if err := im.fetchList(f, t.Items(), &c); err != nil {
				return err
			}
		case t.Variable():
			c.Offsets = im.hold(f.offsets, 4*f.offset, 4)
			c.Values = im.hold(f.values, 0, 1)
			if err := checkOffsets(batch.As[int32](c.Offsets), len(c.Values)); err != nil {
				return err
			}
			if t.Kind == batch.String {
				if err := checkText(batch.As[int32](c.Offsets), c.Values); err != nil {
					return err
				}
			}
		default:
			c.Values = im.hold(f.values, t.Width()*f.offset, t.Width())
		}
	}
	if c.Nulls > 0 && !field.Nullable {
		return outputError("%d null values, in a column that the operator declared without nulls", c.Nulls)
	}
	im.cols[i] = c
	return nil
}

// zeroOffset is the offsets buffer of a column without rows.
var zeroOffset = batch.Bytes(make([]int32, 1))

// emptyColumn is a column without rows.
func emptyColumn(t batch.Type) (c batch.Column) {
	if t.Variable() || t.Kind == batch.List {
		c.Offsets = zeroOffset
	}
	if t.Kind == batch.List && t.Items().Variable() {
		c.ItemOffsets = zeroOffset
	}
	return c
}

// checkOffsets tells whether offsets never fall, and lie within n bytes of values.
func checkOffsets(off []int32, n int) *CallError {
	last := off[len(off)-1]
	if rises(off, 0) && int(last) <= n {
		return nil
	}
	for i := 1; i < len(off); i++ {
		if off[i-1] < 0 || off[i] < off[i-1] {
			return outputError("offsets fall from %d to %d at row %d", off[i-1], off[i], i-1)
		}
	}
	return outputError("offsets end at %d, where there are %d bytes", last, n)
}

// rises tells whether no number is negative, and each is larger than the one before by at least so much: 0 or 1.
func rises(v []int32, by int32) bool {
	// Without branches: the sign of a negative number or difference stays in the or. Of two numbers that are not negative
	// the difference does not overflow.
	bad := v[0]
	for ; len(v) > 8; v = v[8:] {
		w := (*[9]int32)(v)
		bad |= w[1] | (w[1] - w[0] - by) | w[2] | (w[2] - w[1] - by) | w[3] | (w[3] - w[2] - by) | w[4] | (w[4] - w[3] - by)
		bad |= w[5] | (w[5] - w[4] - by) | w[6] | (w[6] - w[5] - by) | w[7] | (w[7] - w[6] - by) | w[8] | (w[8] - w[7] - by)
	}
	last := v[0]
	for _, x := range v[1:] {
		bad |= x | (x - last - by)
		last = x
	}
	return bad >= 0
}

// checkText tells whether every string is UTF-8: the bytes as a whole are, and no string starts inside a character.
func checkText(off []int32, values []byte) *CallError {
	text := values[off[0]:off[len(off)-1]]
	if ascii(text) {
		return nil
	}
	if !utf8.Valid(text) {
		return outputError("strings are not valid UTF-8 (declare the column as binary if they are not text)")
	}
	for i, o := range off[:len(off)-1] {
		if int(o) < len(values) && !utf8.RuneStart(values[o]) {
			return outputError("the string in row %d starts inside a character", i)
		}
	}
	return nil
}

func word(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }

func ascii(b []byte) bool {
	for ; len(b) >= 64; b = b[64:] {
		w := (*[64]byte)(b)
		all := word(w[0:]) | word(w[8:]) | word(w[16:]) | word(w[24:]) | word(w[32:]) | word(w[40:]) | word(w[48:]) | word(w[56:])
		if all&0x8080808080808080 != 0 {
			return false
		}
	}
	for ; len(b) >= 8; b = b[8:] {
		if word(b)&0x8080808080808080 != 0 {
			return false
		}
	}
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

func (im *importer) arrayAt(addr uint32) ([]byte, *CallError) {
	return im.bytesAt(addr, abi.ArraySize, 8)
}

// bytesAt is n bytes of the guest's memory that are read at once and not kept.
func (im *importer) bytesAt(addr uint32, n uint64, align uint32) ([]byte, *CallError) {
	switch {
	case addr == 0:
		return nil, outputError("null pointer")
	case addr%align != 0:
		return nil, outputError("address %#x is not %d-aligned", addr, align)
	case uint64(addr)+n > uint64(len(im.mem)):
		return nil, outputError("%d bytes at %#x are outside the memory of %d bytes", n, addr, len(im.mem))
	}
	return im.mem[addr : uint64(addr)+n], nil
}
