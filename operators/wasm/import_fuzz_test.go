package wasm

import (
	"encoding/binary"
	"flag"
	"math/rand/v2"
	"testing"
	"unicode/utf8"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators/abi"
)

// result is a guest's memory with a valid array in it, as the importer sees it after a call: two windows, input buffers
// and an output slot as regions, and structs and buffers of the guest's own.
type resultMemory struct {
	im   importer
	root uint32
	size int // bytes of the structs from root on: where mutation hits most
}

const (
	fuzzIn, fuzzInLen   = 1 << 10, 15 << 10
	fuzzOut, fuzzOutLen = 16 << 10, 16 << 10
	fuzzOwn, fuzzOwnLen = 32 << 10, 16 << 10
	fuzzClosed          = 48 << 10
	fuzzStructs         = 49 << 10
	fuzzMem             = 64 << 10
	fuzzRows            = 24
)

// newResultMemory lays out one column of each type: every third is passed through, every third in the output slot, every
// third in the guest's own memory.
func newResultMemory(t testing.TB) *resultMemory {
	fields := append(abiEvery(t), batch.Field{Name: abi.RowColumn, Type: batch.Type{Kind: batch.Int32}})
	inputs := fields[:len(fields)-1]
	im := newImporter(fields, len(inputs)+1)
	mem := make([]byte, fuzzMem)
	host := make([]byte, fuzzInLen) // the input, as the host has it
	im.mem, im.rowsIn, im.rowsMax = mem, fuzzRows, 4*fuzzRows
	im.slot = make([]byte, fuzzOutLen)
	im.shared = true
	im.ownMax = uint64(len(mem))
	im.closed = [3]window{{fuzzIn, fuzzInLen}, {fuzzOut, fuzzOutLen}, {fuzzClosed, 1 << 10}}

	inArena, outArena, own := batch.NewArena(host), batch.NewArena(im.slot[1024:]), batch.NewArena(mem[fuzzOwn:][:fuzzOwnLen])
	regions := []region{}
	place := func(kind int, b []byte) uint32 {
		if b == nil {
			return 0
		}
		switch kind {
		case 0:
			at := fuzzIn + uint32(fuzzInLen-inArena.Free())
			to := inArena.Alloc(len(b))
			copy(to, b)
			regions = append(regions, region{at, to})
			return at
		case 1:
			at := fuzzOut + 1024 + uint32(fuzzOutLen-1024-outArena.Free())
			copy(outArena.Alloc(len(b)), b)
			return at
		default:
			at := uint32(fuzzOwn + fuzzOwnLen - own.Free())
			copy(own.Alloc(len(b)), b)
			return at
		}
	}
	var heap batch.Arena
	const base = fuzzStructs
	all := exported(&batch.Schema{Fields: inputs})
	children := base + abi.ArraySize
	structs := children + 4*all
	structs = (structs + 7) &^ 7
	buffers := structs + abi.ArraySize*all
	lists := len(fields)
	put32 := func(at int, v uint32) { binary.LittleEndian.PutUint32(mem[at:], v) }
	put64 := func(at int, v uint64) { binary.LittleEndian.PutUint64(mem[at:], v) }
	for i, f := range fields {
		vals := make([]any, fuzzRows)
		for r := range vals {
			switch {
			case f.Nullable && r%4 == 1:
			case f.Type.Kind == batch.List:
				vals[r] = fuzzList(f.Type.Items(), r)
			case f.Name == abi.RowColumn:
				vals[r] = r
			case f.Type.Kind == batch.Bool:
				vals[r] = r%3 == 0
			case f.Type.Variable():
				vals[r] = []string{"", "a", "größer", "zzz"}[r%4]
			case f.Type.Float():
				vals[r] = float64(r)
			default:
				vals[r] = r
			}
		}
		c := column(f, vals, &heap)
		kind := i % 3
		v, o, io, d := place(kind, c.Validity), place(kind, c.Offsets), place(kind, c.ItemOffsets), place(kind, c.Values)
		if i < len(inputs) {
			im.inputs[i] = given{} // of no type, and so of no use to the guest
			if kind == 0 {
				im.inputs[i] = given{validity: v, offsets: o, itemOffsets: io, values: d, typ: f.Type, column: c}
			}
		}
		at, bt := structs+abi.ArraySize*i, buffers+12*i
		put32(children+4*i, uint32(at))
		put64(at+abi.ArrayLength, fuzzRows)
		put64(at+abi.ArrayNullCount, uint64(c.Nulls))
		put64(at+abi.ArrayNBuffers, uint64(abi.Buffers(f.Type)))
		put32(at+abi.ArrayBuffers, uint32(bt))
		put32(bt, v)
		if f.Type.Kind == batch.List {
			put32(bt+4, o)
			put64(at+abi.ArrayNChildren, 1)
			put32(at+abi.ArrayChildren, uint32(children+4*lists))
			at, bt = structs+abi.ArraySize*lists, buffers+12*lists
			put32(children+4*lists, uint32(at))
			put64(at+abi.ArrayLength, uint64(c.ItemCount(fuzzRows)))
			put64(at+abi.ArrayNBuffers, uint64(abi.Buffers(f.Type.Items())))
			put32(at+abi.ArrayBuffers, uint32(bt))
			if put32(bt+4, d); f.Type.Items().Variable() {
				put32(bt+4, io)
				put32(bt+8, d)
			}
			lists++
			continue
		}
		if f.Type.Variable() {
			put32(bt+4, o)
			put32(bt+8, d)
		} else {
			put32(bt+4, d)
		}
	}
	put64(base+abi.ArrayLength, fuzzRows)
	put64(base+abi.ArrayNBuffers, 1)
	put64(base+abi.ArrayNChildren, uint64(len(fields)))
	put32(base+abi.ArrayBuffers, uint32(buffers+12*all))
	put32(base+abi.ArrayChildren, uint32(children))
	im.regions = append(regions, region{fuzzOut + 1024, im.slot[1024:]})
	copy(mem[fuzzIn:], host)
	copy(mem[fuzzOut:], im.slot)
	return &resultMemory{im: im, root: base, size: buffers + 12*all + 8 - base}
}

func abiEvery(t testing.TB) []batch.Field {
	var fields []batch.Field
	for _, name := range batch.TypeNames() {
		for _, q := range []string{"", "?"} {
			typ, nullable, err := batch.ParseType(name + q)
			if err != nil {
				t.Fatal(err)
			}
			fields = append(fields, batch.Field{Name: name + q, Type: typ, Nullable: nullable},
				batch.Field{Name: "list<" + name + ">" + q, Type: batch.ListOf(typ), Nullable: nullable})
		}
	}
	return fields
}

// fuzzList is the list in row r: none to three items.
func fuzzList(t batch.Type, r int) []any {
	list := make([]any, 0, 3)
	for i := range r % 4 {
		switch {
		case t.Kind == batch.Bool:
			list = append(list, (r+i)%3 == 0)
		case t.Variable():
			list = append(list, []string{"größer", "a", ""}[i])
		case t.Float():
			list = append(list, float64(r))
		default:
			list = append(list, r)
		}
	}
	return list
}

// readAll reads every value of accepted columns, as any later stage may: out of bounds panics, and bad text is an error.
func readAll(t testing.TB, fields []batch.Field, cols []batch.Column, rows int) (sum uint64) {
	for i, f := range fields {
		c := &cols[i]
		if c.Validity != nil && len(c.Validity) != batch.BitmapLen(rows) {
			t.Fatalf("%s: bitmap of %d bytes for %d rows", f.Name, len(c.Validity), rows)
		}
		nulls := 0
		for r := range rows {
			if !c.Valid(r) {
				nulls++
			}
			switch {
			case f.Type.Kind == batch.List:
				lo, hi := c.Range(r)
				items := c.Items()
				for k := lo; k < hi; k++ {
					sum += uint64(len(batch.AppendCellJSON(nil, f.Type.Items(), &items, k)))
					if f.Type.Item == batch.String && !utf8.Valid(items.Bytes(k)) {
						t.Fatalf("%s: item %d is %q", f.Name, k, items.Bytes(k))
					}
				}
			case f.Type.Kind == batch.Bool:
				if c.Bit(r) {
					sum++
				}
			case f.Type.Variable():
				b := c.Bytes(r)
				for _, x := range b {
					sum += uint64(x)
				}
				if f.Type.Kind == batch.String && !utf8.Valid(b) {
					t.Fatalf("%s: row %d is %q", f.Name, r, b)
				}
			default:
				switch f.Type.Width() {
				case 1:
					sum += uint64(c.Values[r])
				case 2:
					sum += uint64(batch.As[uint16](c.Values)[r])
				case 4:
					sum += uint64(batch.As[uint32](c.Values)[r])
				default:
					sum += batch.As[uint64](c.Values)[r]
				}
			}
		}
		if nulls != c.Nulls || nulls > 0 && !f.Nullable {
			t.Fatalf("%s: %d nulls, %d counted", f.Name, nulls, c.Nulls)
		}
		if f.Type.Kind == batch.List { // as when rows are taken out, and put together again
			var heap batch.Arena
			var to assembled
			to.add(c, f.Type, 0, rows)
			to.add(c, f.Type, rows, rows)
			odd := make([]int32, 0, rows)
			for r := 1; r < rows; r += 2 {
				odd = append(odd, int32(r))
			}
			some := batch.Batch{Schema: &batch.Schema{Fields: fields[i : i+1]}, Rows: rows, Cols: []batch.Column{*c}}
			some.Gather(odd, &heap)
		}
		if f.Type.Width() > 0 && len(c.Values) != rows*f.Type.Width() {
			t.Fatalf("%s: %d bytes of values for %d rows", f.Name, len(c.Values), rows)
		}
	}
	return sum
}

// mutate changes a few places of a result: mostly its structs, and mostly to values that are nearly right.
func (r *resultMemory) mutate(rnd *rand.Rand) {
	for range 1 + rnd.IntN(3) {
		at := int(r.root) + rnd.IntN(r.size)
		if rnd.IntN(8) == 0 {
			at = rnd.IntN(len(r.im.mem) - 8)
		}
		switch rnd.IntN(6) {
		case 0:
			r.im.mem[at] ^= 1 << rnd.IntN(8)
		case 1:
			r.im.mem[at] = byte(rnd.Uint32())
		case 2:
			binary.LittleEndian.PutUint32(r.im.mem[at&^3:], rnd.Uint32N(uint32(len(r.im.mem)+64)))
		case 3:
			binary.LittleEndian.PutUint64(r.im.mem[at&^7:], uint64(rnd.Int64N(64)-8))
		case 4:
			binary.LittleEndian.PutUint64(r.im.mem[at&^7:], rnd.Uint64())
		default: // one struct over another
			n := min(int(rnd.UintN(64)), len(r.im.mem)-at)
			copy(r.im.mem[at:at+n], r.im.mem[int(r.root)+rnd.IntN(r.size):])
		}
		// What the guest wrote to its window is in the slot.
		copy(r.im.slot, r.im.mem[fuzzOut:])
	}
}

func TestImportValid(t *testing.T) {
	r := newResultMemory(t)
	rows, err := r.im.take(r.root)
	if err != nil || rows != fuzzRows {
		t.Fatal(rows, err)
	}
	if readAll(t, r.im.fields, r.im.cols, rows) == 0 {
		t.Fatal("no values")
	}
	if r.im.copied == 0 {
		t.Fatal("the guest's own buffers were not copied")
	}
}

var mutations = flag.Int("mutations", 200_000, "results that TestImportMutations makes; a tenth with -short and under the race detector")

// TestImportMutations mutates a valid result again and again: no panic, and all that is accepted can be read.
func TestImportMutations(t *testing.T) {
	n := *mutations
	if testing.Short() || raceEnabled {
		n /= 10
	}
	r := newResultMemory(t)
	mem, slot := append([]byte(nil), r.im.mem...), append([]byte(nil), r.im.slot...)
	rnd := rand.New(rand.NewPCG(1, uint64(n)))
	accepted := 0
	for range n {
		copy(r.im.mem, mem)
		copy(r.im.slot, slot)
		r.mutate(rnd)
		rows, err := r.im.take(r.root)
		if err == nil {
			accepted++
			readAll(t, r.im.fields, r.im.cols, rows)
		}
	}
	t.Logf("%d of %d accepted", accepted, n)
	if accepted == 0 || accepted == n {
		t.Fatalf("%d of %d accepted: this proves nothing", accepted, n)
	}
}

// FuzzImport edits a valid result: each six bytes are a place, counted from the structs on, and the value to put there.
func FuzzImport(f *testing.F) {
	r := newResultMemory(f)
	mem, slot := append([]byte(nil), r.im.mem...), append([]byte(nil), r.im.slot...)
	f.Add([]byte{})
	f.Add([]byte{0, 0, 25, 0, 0, 0})
	f.Add([]byte{44, 0, 0xff, 0xff, 0xff, 0xff, 64, 0, 1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, edits []byte) {
		copy(r.im.mem, mem)
		copy(r.im.slot, slot)
		for ; len(edits) >= 6; edits = edits[6:] {
			at := (int(r.root) + int(binary.LittleEndian.Uint16(edits))) % (len(mem) - 4)
			copy(r.im.mem[at:], edits[2:6])
		}
		copy(r.im.slot, r.im.mem[fuzzOut:])
		if rows, err := r.im.take(r.root); err == nil {
			readAll(t, r.im.fields, r.im.cols, rows)
		}
	})
}

// TestOffsetsOverflow: two steps of 2^31 apart must not pass for one that rises.
func TestOffsetsOverflow(t *testing.T) {
	for _, off := range [][]int32{
		{0, 1969876141, -1500000000, 50}, {-1, 0}, {0, -1}, {5, 4}, {0, 51}, {1 << 30, -1 << 30, 3},
	} {
		if checkOffsets(off, 50) == nil {
			t.Errorf("%v accepted", off)
		}
	}
	if err := checkOffsets([]int32{3, 3, 50}, 50); err != nil {
		t.Error(err)
	}
}
