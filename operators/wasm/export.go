package wasm

import (
	"encoding/binary"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators/abi"
)

// exporter writes the ArrowArray structs of a batch for a guest. The structs are built on the host and copied into the
// guest's scratch area in one piece, since the guest can have written over those of the last call.
type exporter struct {
	// | root struct | structs of the columns | of the items of lists | children table | root's buffers | buffers, 3 each |
	//
	// The children of the root are the columns; behind them in the table, each list has its one child.
	structs []byte
	n       int   // columns, the row column included
	all     int   // and the items of lists
	items   []int // per column of a list: which of all its items are; otherwise 0
	copied  int64
}

// arraysSize is the bytes of the structs of so many columns and items of lists.
func arraysSize(all int) int { return abi.ArraySize*(all+1) + 4*all + 8 + 12*all }

// exported is how many structs below the root a batch of the schema has: its columns, the row column, the items of lists.
func exported(in *batch.Schema) int {
	all := len(in.Fields) + 1
	for _, f := range in.Fields {
		if f.Type.Kind == batch.List {
			all++
		}
	}
	return all
}

func (e *exporter) children() int          { return abi.ArraySize * (e.all + 1) }
func (e *exporter) rootBuffers() int       { return e.children() + 4*e.all }
func (e *exporter) buffers(i int) int      { return e.rootBuffers() + 8 + 12*i }
func (e *exporter) array(i int) []byte     { return e.structs[abi.ArraySize*(i+1):][:abi.ArraySize] }
func (e *exporter) put32(at int, v uint32) { binary.LittleEndian.PutUint32(e.structs[at:], v) }

// newExporter prepares what is the same in every batch but for the guest's addresses.
func newExporter(in *batch.Schema) exporter {
	e := exporter{n: len(in.Fields) + 1, all: exported(in)}
	e.structs, e.items = make([]byte, arraysSize(e.all)), make([]int, e.n)
	binary.LittleEndian.PutUint64(e.structs[abi.ArrayNBuffers:], 1)
	binary.LittleEndian.PutUint64(e.structs[abi.ArrayNChildren:], uint64(e.n))
	for i := range e.n {
		nb := 2
		if i < len(in.Fields) {
			nb = abi.Buffers(in.Fields[i].Type)
		}
		binary.LittleEndian.PutUint64(e.array(i)[abi.ArrayNBuffers:], uint64(nb))
	}
	next := e.n
	for i, f := range in.Fields {
		if f.Type.Kind == batch.List {
			e.items[i] = next
			binary.LittleEndian.PutUint64(e.array(i)[abi.ArrayNChildren:], 1)
			binary.LittleEndian.PutUint64(e.array(next)[abi.ArrayNBuffers:], uint64(abi.Buffers(f.Type.Items())))
			next++
		}
	}
	return e
}

// export gives the batch to the guest: every buffer gets an address, and the structs are written. It returns where in the
// guest's memory the output goes and how much room there is. It is not ok when the input does not fit.
func (o *operator) export(b *batch.Batch, slot *batch.Slot) (out, room uint32, ok bool) {
	w, im, e := &o.wins, &o.im, &o.call
	e.copied = 0
	im.regions = append(im.regions[:0], region{addr: w.rows, host: o.step.rows[:4*b.Rows]})
	im.slot = slot.Mem()
	p := placer{o: o, mem: o.g.mem.bytes()[w.spill : w.spill+w.spillLen], base: w.spill}
	p.arena = batch.NewArena(p.mem)

	e.put32(abi.ArrayBuffers, w.scratch+uint32(e.rootBuffers()))
	e.put32(abi.ArrayChildren, w.scratch+uint32(e.children()))
	binary.LittleEndian.PutUint64(e.structs[abi.ArrayLength:], uint64(b.Rows))
	for i := range b.Cols {
		c := &b.Cols[i]
		g := &im.inputs[i]
		*g = given{typ: b.Schema.Fields[i].Type, column: *c}
		if c.Validity != nil {
			g.validity = p.place(c.Validity)
		}
		if g.typ.Variable() {
			g.offsets = p.place(c.Offsets)
		}
		g.values = p.place(c.Values)
		if g.typ.Kind == batch.List {
			g.offsets = p.place(c.Offsets)
			if g.typ.Items().Variable() {
				g.itemOffsets = p.place(c.ItemOffsets)
			}
			e.list(i, b.Rows, g, w.scratch)
			continue
		}
		e.column(i, b.Rows, c.Nulls, g, w.scratch)
	}
	if p.failed {
		return 0, 0, false
	}
	rows := &im.inputs[e.n-1]
	*rows = given{typ: batch.Type{Kind: batch.Int32}, values: w.rows, column: batch.Column{Values: o.step.rows[:4*b.Rows]}}
	e.column(e.n-1, b.Rows, 0, rows, w.scratch)
	copy(o.g.mem.bytes()[w.scratch:], e.structs)

	// The whole block is closed but for what is in a region; and, without a mapping, the output, which is copied out.
	im.closed = [3]window{{w.in, uint32(w.total)}, {}}
	if im.shared = o.fd; !o.fd {
		im.closed = [3]window{{w.in, w.inLen}, {w.scratch, w.in + uint32(w.total) - w.scratch}}
		return w.out, w.outLen, true
	}
	off, _ := o.env.Pool.Offset(im.slot)
	out = w.out + uint32(off-o.env.Range.Off)
	im.regions = append(im.regions, region{addr: out, host: im.slot})
	return out, uint32(len(im.slot)), true
}

// column writes the struct of one column.
func (e *exporter) column(i, rows, nulls int, g *given, base uint32) {
	a, at := e.array(i), e.buffers(i)
	binary.LittleEndian.PutUint64(a[abi.ArrayLength:], uint64(rows))
	binary.LittleEndian.PutUint64(a[abi.ArrayNullCount:], uint64(nulls))
	binary.LittleEndian.PutUint32(a[abi.ArrayBuffers:], base+uint32(at))
	e.put32(e.children()+4*i, base+uint32(abi.ArraySize*(i+1)))
	e.put32(at, g.validity)
	if g.typ.Variable() {
		e.put32(at+4, g.offsets)
		e.put32(at+8, g.values)
	} else {
		e.put32(at+4, g.values)
	}
}

// list writes the structs of a list column and of its items.
func (e *exporter) list(i, rows int, g *given, base uint32) {
	e.column(i, rows, g.column.Nulls, &given{validity: g.validity, values: g.offsets}, base)
	item := e.items[i]
	binary.LittleEndian.PutUint32(e.array(i)[abi.ArrayChildren:], base+uint32(e.children()+4*item))
	e.column(item, g.column.ItemCount(rows), 0, &given{typ: g.typ.Items(), offsets: g.itemOffsets, values: g.values}, base)
}

// maxBuffers is how many buffers a column has at most.
const maxBuffers = 4

// placer finds or makes an address for each input buffer. A buffer of a mapped pool has one already. Others are copied to
// where the guest sees them, but not into the output slot: a row that comes by the heap has as much room for its output
// as one that comes by the pool. The host goes on using the original: what a guest does to a copy does not matter.
type placer struct {
	o      *operator
	mem    []byte // where copies go
	base   uint32 // the guest's address of mem
	arena  batch.Arena
	failed bool // something did not fit
}

func (p *placer) place(b []byte) uint32 {
	if len(b) == 0 {
		return p.o.wins.scratch // any address that is not null
	}
	var addr uint32
	if off, ok := p.o.env.Pool.Offset(b); ok && p.o.fd {
		addr = p.o.wins.in + uint32(off)
	} else {
		used := len(p.mem) - p.arena.Free()
		to := p.arena.Alloc(len(b))
		if to == nil {
			p.failed = true
			return 0
		}
		copy(to, b)
		p.o.call.copied += int64(len(b))
		addr = p.base + uint32(used)
	}
	p.o.im.regions = append(p.o.im.regions, region{addr: addr, host: b})
	return addr
}

// newImporter prepares an importer for results of these fields, from batches of so many columns.
func newImporter(fields []batch.Field, inputs int) importer {
	im := importer{
		fields: fields, inputs: make([]given, inputs), cols: make([]batch.Column, len(fields)),
		found: make([]found, len(fields)), hint: make([]int, len(fields)),
	}
	for i := range im.hint {
		im.hint[i] = -1
	}
	return im
}
