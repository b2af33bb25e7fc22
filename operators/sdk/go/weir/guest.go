//go:build wasip1

package weir

import (
	"runtime"
	"runtime/debug"
	"structs"
	"unsafe"
)

// arrowSchema and arrowArray are the structs of the Arrow C data interface as wasm32 lays them out: pointers are 32 bits wide there,
// unlike Go's own. Source: https://arrow.apache.org/docs/format/CDataInterface.html.
type arrowSchema struct {
	_                      structs.HostLayout
	format, name, metadata uint32
	_                      uint32
	flags, children        int64
	table, dictionary      uint32
	release, private       uint32
}

type arrowArray struct {
	_                            structs.HostLayout
	length, nulls, offset        int64
	nBuffers, nChildren          int64
	buffers, children            uint32
	dictionary, release, private uint32
	_                            uint32
}

const (
	pageSize = 64 << 10
	abiFull  = 1
	nullable = 2
	// heapGrowth is how far the heap may grow beyond the windows before the collector runs.
	heapGrowth = 4 << 20
)

// guest is the one operator of this module, and what must stay where the host can find it.
var guest struct {
	open    Open
	process Process
	blocks  [][]byte       // what the host asked for; never freed
	bytes   int            // of the blocks
	text    [][]byte       // zero terminated strings of the schema
	items   []*arrowSchema // of lists

	schema   arrowSchema
	schemas  []arrowSchema
	table    []uint32 // of the schemas
	batch    Batch
	array    arrowArray
	arrays   []arrowArray
	children []uint32     // of the array
	buffers  [][3]uint32  // of the arrays
	lists    []*listArray // of the columns that are lists
	top      [1]uint32    // the buffers of the batch: no validity
}

// Serve names the operator of this module. Call it once, in an init function of package main.
func Serve(open Open) { guest.open = open }

// Log writes a line to the node's log. Levels: 0 debug, 1 info, 2 warning, 3 error. Only a few lines of each call are kept.
func Log(level int, text string) {
	importLog(int32(level), unsafe.Pointer(unsafe.StringData(text)), uint32(len(text)))
}

//go:wasmimport weir log
func importLog(level int32, text unsafe.Pointer, n uint32)

//go:wasmimport weir error
func importError(text unsafe.Pointer, n uint32)

func fail(why string) uint32 {
	importError(unsafe.Pointer(unsafe.StringData(why)), uint32(len(why)))
	return 0
}

// at is the memory at an address that the host gave. It lies in a block, which stays.
func at(p uint32) unsafe.Pointer { return unsafe.Add(unsafe.Pointer(nil), uintptr(p)) }

// addr is the address of memory, for the host.
func addr[T any](s []T) uint32 { return uint32(uintptr(unsafe.Pointer(unsafe.SliceData(s)))) }

// cstring is text at an address, up to its zero byte.
func cstring(p uint32) string {
	n := 0
	for *(*byte)(at(p + uint32(n))) != 0 {
		n++
	}
	return string(unsafe.Slice((*byte)(at(p)), n))
}

// zeroed is the address of text with a zero byte behind it.
func zeroed(s string) uint32 {
	b := append([]byte(s), 0)
	guest.text = append(guest.text, b)
	return addr(b)
}

//go:wasmexport weir_abi
func exportABI() int32 { return 1 }

//go:wasmexport weir_alloc
func exportAlloc(size uint32) uint32 {
	block := make([]byte, int(size)+pageSize)
	guest.blocks = append(guest.blocks, block)
	guest.bytes += len(block)
	// The collector would wait until the heap has doubled, windows included, and that is beyond the memory limit.
	debug.SetGCPercent(max(1, int(100*int64(heapGrowth)/int64(guest.bytes+heapGrowth))))
	return (addr(block) + pageSize - 1) &^ (pageSize - 1)
}

//go:wasmexport weir_windows
func exportWindows(_, _, _, _ uint32) {}

//go:wasmexport weir_open
func exportOpen(config, configLen, in uint32) uint32 {
	if guest.open == nil {
		return fail("the operator does not call weir.Serve in an init function")
	}
	p := &Plan{}
	if configLen > 0 {
		p.config = Value{space(string(unsafe.Slice((*byte)(at(config)), int(configLen))))}
	}
	root := (*arrowSchema)(at(in))
	for i := range int(root.children) {
		f := (*arrowSchema)(at(*(*uint32)(at(root.table + uint32(4*i)))))
		p.names = append(p.names, cstring(f.name))
		p.types = append(p.types, typeAt(f))
		p.nulls = append(p.nulls, f.flags&nullable != 0)
	}
	process, err := guest.open(p)
	if err == nil {
		err = p.err
	}
	if err != nil {
		return fail(err.Error())
	}
	if p.rows {
		p.Pass(len(p.names) - 1)
	}
	guest.process = process
	prepare(p)
	return uint32(uintptr(unsafe.Pointer(&guest.schema)))
}

// prepare lays out the output schema, and the arrays that every batch fills in.
func prepare(p *Plan) {
	g, n := &guest, len(p.out)
	g.schemas, g.table = make([]arrowSchema, n), make([]uint32, n)
	g.arrays, g.children, g.buffers = make([]arrowArray, n), make([]uint32, n), make([][3]uint32, n)
	g.lists = make([]*listArray, n)
	g.batch.out = make([]column, n)
	g.batch.cols = make([]*arrowArray, len(p.names))
	for i, o := range p.out {
		format := typeTable[o.typ.Item()].format
		if o.typ.IsList() {
			g.schemas[i].children, g.schemas[i].table = 1, itemSchema(format)
			format = "+l"
		}
		g.schemas[i].format, g.schemas[i].name = zeroed(format), zeroed(o.name)
		if o.null {
			g.schemas[i].flags = nullable
		}
		g.table[i] = addr(g.schemas[i:])
		g.children[i] = addr(g.arrays[i:])
		g.arrays[i].buffers = addr(g.buffers[i][:])
		g.arrays[i].nBuffers = 2
		if o.typ.text() {
			g.arrays[i].nBuffers = 3
		}
		if o.typ.IsList() {
			g.lists[i] = newListArray(o.typ.Item())
			g.arrays[i].nChildren, g.arrays[i].children = 1, addr(g.lists[i].child[:])
		}
		g.batch.out[i] = column{typ: o.typ, from: o.from}
	}
	g.schema = arrowSchema{format: zeroed("+s"), name: zeroed(""), children: int64(n), table: addr(g.table)}
	g.array = arrowArray{nBuffers: 1, nChildren: int64(n), buffers: addr(g.top[:]), children: addr(g.children)}
}

//go:wasmexport weir_process
func exportProcess(array, out, room uint32) (result uint32) {
	// A full window unwinds as a panic, and other panics become messages: the host starts a new instance either way.
	defer func() {
		switch r := recover().(type) {
		case nil:
		case error:
			if r == errFull {
				result = abiFull
			} else {
				result = fail("panic: " + r.Error())
			}
		case string:
			result = fail("panic: " + r)
		default:
			panic(r)
		}
	}()
	// The collector works in goroutines of its own, which run only when this one lets them: a call from the host does not.
	runtime.Gosched()
	b := &guest.batch
	b.in = (*arrowArray)(at(array))
	for i := range b.cols {
		b.cols[i] = (*arrowArray)(at(*(*uint32)(at(b.in.children + uint32(4*i)))))
	}
	b.rows = int(b.in.length)
	b.made = b.rows
	b.room = unsafe.Slice((*byte)(at(out)), int(room))
	b.from, b.end = out, out+room
	for i := range b.out {
		c := &b.out[i]
		c.made, c.validity, c.values, c.offsets, c.data, c.ends, c.items = false, 0, 0, nil, nil, nil, 0
	}
	if err := guest.process(b); err != nil {
		return fail(err.Error())
	}
	return b.result()
}

// result writes the arrays of the output and is their address.
func (b *Batch) result() uint32 {
	g := &guest
	for i := range b.out {
		c, a, to := &b.out[i], &g.arrays[i], &g.buffers[i]
		a.length = int64(b.made)
		switch {
		case c.made:
			a.nulls = 0
			if c.validity != 0 {
				a.nulls = -1
			}
			to[0], to[1], to[2] = c.validity, c.values, 0
			if c.typ.text() {
				to[1], to[2] = addr(c.offsets), c.values
			}
			if c.typ.IsList() {
				if len(c.offsets) != b.made+1 {
					return fail("an output column of lists has another number of rows than the output")
				}
				to[1] = addr(c.offsets)
				g.lists[i].set(c)
				a.children = addr(g.lists[i].child[:])
			}
		case c.from < 0:
			return fail("an output column was not made in this batch")
		default:
			from := b.cols[c.from]
			a.nulls = from.nulls
			copy(to[:], unsafe.Slice((*uint32)(at(from.buffers)), int(a.nBuffers)))
			if c.typ.IsList() {
				a.children = from.children
			}
		}
	}
	g.array.length = int64(b.made)
	return uint32(uintptr(unsafe.Pointer(&g.array)))
}
