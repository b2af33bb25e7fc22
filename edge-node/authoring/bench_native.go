package authoring

import (
	"slices"

	"github.com/weir-stream/weir/ingest/batch"
)

// native is a Go operator that moves the same rows and columns as a guest did, and computes nothing: the floor that the
// guest is measured against. What the guest passes by pointer costs it nothing either.
type native struct {
	in     batch.Batch // the columns that are gathered
	cols   []batch.Column
	rows   int
	keep   []uint8 // by input row: 1 if it is in the output; nil where rows are repeated or unknown
	sel    []int32 // the input row of each output row, where rows were dropped or repeated
	spare  []int32
	copies [][]byte // buffers that the guest made, and no gathering makes
	mem    []byte
}

// newNative learns from a batch before and after the guest. The buffers of after are copied; those of before are used.
func newNative(before, after *batch.Batch, input []batch.Column, memory int) *native {
	n := &native{rows: before.Rows, mem: make([]byte, memory+batch.Align)}
	moved := after.Origin != nil && !identity(after.Origin, before.Rows)
	if moved {
		n.sel = slices.Clone(after.Origin)
		n.spare = make([]int32, before.Rows+1)
		n.keep = make([]uint8, before.Rows)
		for i, r := range n.sel {
			if i > 0 && n.sel[i-1] == r {
				n.keep = nil
				break
			}
			n.keep[r] = 1
		}
	}
	schema := &batch.Schema{}
	for i, f := range after.Schema.Fields {
		c := &after.Cols[i]
		from := before.Schema.Index(f.Name)
		switch {
		case from >= 0 && same(c, &input[from]): // passed
		case moved && from >= 0 && before.Schema.Fields[from].Type == f.Type:
			schema.Fields = append(schema.Fields, before.Schema.Fields[from])
			n.cols = append(n.cols, input[from])
		default:
			for _, b := range [][]byte{c.Validity, c.Offsets, c.Values} {
				if len(b) > 0 {
					n.copies = append(n.copies, slices.Clone(b))
				}
			}
		}
	}
	n.in.Schema = schema
	return n
}

// same tells whether two columns are the same memory.
func same(a, b *batch.Column) bool {
	at := func(x, y []byte) bool { return len(x) == len(y) && (len(x) == 0 || &x[0] == &y[0]) }
	return at(a.Values, b.Values) && at(a.Offsets, b.Offsets)
}

// identity tells whether row i comes from row i, for all rows.
func identity(origin []int32, rows int) bool {
	if len(origin) != rows {
		return false
	}
	for i, r := range origin {
		if int(r) != i {
			return false
		}
	}
	return true
}

func (n *native) run() {
	a := batch.NewArena(n.mem)
	if len(n.cols) > 0 {
		sel := n.sel
		if n.keep != nil {
			kept := 0
			for i, k := range n.keep {
				n.spare[kept] = int32(i)
				kept += int(k)
			}
			sel = n.spare[:kept]
		}
		n.in.SetWidth(len(n.cols))
		copy(n.in.Cols, n.cols)
		n.in.Rows = n.rows
		n.in.Gather(sel, &a)
	}
	for _, b := range n.copies {
		copy(a.AllocOrHeap(len(b)), b)
	}
}
