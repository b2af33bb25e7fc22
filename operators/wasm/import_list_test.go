package wasm

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators/abi"
)

// listStructs are the addresses of the structs of list columns in a result: of the list and of its items.
func listStructs(r *resultMemory) (lists, items []uint32) {
	mem := r.im.mem
	children := binary.LittleEndian.Uint32(mem[r.root+abi.ArrayChildren:])
	for i, f := range r.im.fields {
		if f.Type.Kind == batch.List {
			at := binary.LittleEndian.Uint32(mem[children+uint32(4*i):])
			lists = append(lists, at)
			items = append(items, binary.LittleEndian.Uint32(mem[binary.LittleEndian.Uint32(mem[at+abi.ArrayChildren:]):]))
		}
	}
	return lists, items
}

// TestImportListOffsets slices a result: by the batch's offset, by that of the lists, and by that of their items.
func TestImportListOffsets(t *testing.T) {
	const skip = 5
	for _, where := range []string{"batch", "lists", "items"} {
		r := newResultMemory(t)
		mem := r.im.mem
		put := func(at uint32, v uint64) { binary.LittleEndian.PutUint64(mem[at:], v) }
		lists, items := listStructs(r)
		rows := fuzzRows - skip
		put(r.root+abi.ArrayLength, uint64(rows))
		switch where {
		case "batch":
			put(r.root+abi.ArrayOffset, skip)
		default:
			children := binary.LittleEndian.Uint32(mem[r.root+abi.ArrayChildren:])
			for i := range r.im.fields {
				at := binary.LittleEndian.Uint32(mem[children+uint32(4*i):])
				put(at+abi.ArrayLength, uint64(rows))
			}
			for i := range lists {
				if where == "lists" {
					put(lists[i]+abi.ArrayOffset, skip)
				} else { // the second item is the first one, so there is one less
					put(items[i]+abi.ArrayOffset, 1)
					put(items[i]+abi.ArrayLength, binary.LittleEndian.Uint64(mem[items[i]+abi.ArrayLength:])-1)
				}
				put(lists[i]+abi.ArrayNullCount, ^uint64(0)) // not computed
			}
		}
		got, err := r.im.take(r.root)
		if err != nil {
			t.Fatal(where, err)
		}
		readAll(t, r.im.fields, r.im.cols, got)
		for i, f := range r.im.fields {
			if f.Type.Kind != batch.List {
				continue
			}
			for row := range got {
				from, shift := row+skip, 0
				if where == "items" {
					from, shift = row, 1
				}
				var flat []any // all items that are there, to be shifted
				for k := range fuzzRows {
					if !f.Nullable || k%4 != 1 {
						flat = append(flat, fuzzList(f.Type.Items(), k)...)
					}
				}
				begin := 0
				for k := range from {
					if !f.Nullable || k%4 != 1 {
						begin += k % 4
					}
				}
				var want any
				if !f.Nullable || from%4 != 1 {
					want = flat[begin+shift:][:from%4]
				}
				col := listColumn(f, []any{want}, &batch.Arena{})
				g, w := batch.AppendCellJSON(nil, f.Type, &r.im.cols[i], row), batch.AppendCellJSON(nil, f.Type, &col, 0)
				if !json.Valid(g) || string(g) != string(w) {
					t.Fatalf("%s: %s row %d: got %s, want %s", where, f.Name, row, g, w)
				}
			}
		}
	}
}

// TestImportListRefuses lies about lists, in one way each.
func TestImportListRefuses(t *testing.T) {
	for want, spoil := range map[string]func(mem []byte, list, items uint32){
		"n_children is 0": func(m []byte, l, _ uint32) { binary.LittleEndian.PutUint64(m[l+abi.ArrayNChildren:], 0) },
		"n_children is 2": func(m []byte, l, _ uint32) { binary.LittleEndian.PutUint64(m[l+abi.ArrayNChildren:], 2) },
		"children: null":  func(m []byte, l, _ uint32) { binary.LittleEndian.PutUint32(m[l+abi.ArrayChildren:], 0) },
		"items: 64 bytes at": func(m []byte, l, _ uint32) {
			binary.LittleEndian.PutUint32(m[binary.LittleEndian.Uint32(m[l+abi.ArrayChildren:]):], uint32(len(m)-8))
		},
		"items: n_children":  func(m []byte, _, i uint32) { binary.LittleEndian.PutUint64(m[i+abi.ArrayNChildren:], 1) },
		"items: n_buffers":   func(m []byte, _, i uint32) { binary.LittleEndian.PutUint64(m[i+abi.ArrayNBuffers:], 1) },
		"items: it has a":    func(m []byte, _, i uint32) { binary.LittleEndian.PutUint32(m[i+abi.ArrayDictionary:], 8) },
		"items: length":      func(m []byte, _, i uint32) { binary.LittleEndian.PutUint64(m[i+abi.ArrayLength:], 1<<40) },
		"items: offset":      func(m []byte, _, i uint32) { binary.LittleEndian.PutUint64(m[i+abi.ArrayOffset:], 1<<40) },
		"items: null_count":  func(m []byte, _, i uint32) { binary.LittleEndian.PutUint64(m[i+abi.ArrayNullCount:], 1) },
		"the last offset is": func(m []byte, _, i uint32) { binary.LittleEndian.PutUint64(m[i+abi.ArrayLength:], 3) },
		"items are null": func(m []byte, _, i uint32) {
			binary.LittleEndian.PutUint32(m[binary.LittleEndian.Uint32(m[i+abi.ArrayBuffers:]):], fuzzOwn+fuzzOwnLen-64)
		},
		"values of the items": func(m []byte, _, i uint32) { binary.LittleEndian.PutUint64(m[i+abi.ArrayOffset:], 1<<20) },
		"in a window": func(m []byte, _, i uint32) {
			binary.LittleEndian.PutUint32(m[binary.LittleEndian.Uint32(m[i+abi.ArrayBuffers:])+4:], fuzzClosed)
		},
	} {
		r := newResultMemory(t)
		lists, items := listStructs(r)
		n := 0
		for _, f := range r.im.fields {
			if f.Name == "list<float64>" {
				break
			}
			if f.Type.Kind == batch.List {
				n++
			}
		}
		spoil(r.im.mem, lists[n], items[n])
		if _, err := r.im.take(r.root); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "column list<float64>") {
			t.Errorf("%s: got %v", want, fmt.Sprint(err))
		}
	}
}
