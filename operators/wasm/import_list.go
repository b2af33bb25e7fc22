package wasm

import (
	"encoding/binary"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators/abi"
)

// maxItems bounds the items of all lists of a column, so that sizes computed from it fit an int of 32 bits.
const maxItems = 1 << 26

// listFound is what the first pass learned of the items of a list column.
type listFound struct {
	items    int // before the end of the last row
	offset   int // of the first, in the buffers
	validity place
	offsets  place // of items that are strings
}

// locateList is the rest of locate for a list: its offsets, and the struct and the buffers of its child.
func (im *importer) locateList(i int, a arrayHead, rootOffset, rows int, validity, offsets uint32) *CallError {
	t, f := im.fields[i].Type, &im.found[i]
	items := t.Items()
	kids, err := im.bytesAt(a.children, 4, 4)
	if err != nil {
		return err.in("children")
	}
	b, err := im.arrayAt(binary.LittleEndian.Uint32(kids))
	if err != nil {
		return err.in("items")
	}
	nb := abi.Buffers(items)
	child, err := readArray(b, maxItems, nb, 0)
	if err != nil {
		return err.in("items")
	}
	if child.nulls > 0 {
		return outputError("items: null_count is %d: items of a list are never null", child.nulls)
	}
	ptrs, err := im.bytesAt(child.buffers, uint64(4*nb), 4)
	if err != nil {
		return err.in("buffers of the items")
	}
	itemValidity, itemOffsets, values := binary.LittleEndian.Uint32(ptrs), uint32(0), binary.LittleEndian.Uint32(ptrs[4*nb-4:])
	if nb == 3 {
		itemOffsets = binary.LittleEndian.Uint32(ptrs[4:])
	}
	*f = found{input: -1, offset: rootOffset + a.offset, list: listFound{offset: child.offset}}
	if f.offset == 0 && child.offset == 0 && itemValidity == 0 && rows == im.rowsIn {
		if in := im.same(i, t, validity, offsets, itemOffsets, values); in >= 0 {
			f.input = in
			return nil
		}
	}
	if rows == 0 {
		return nil
	}
	end := f.offset + rows
	if validity != 0 {
		if f.validity, err = im.find(validity, batch.BitmapLen(end), 1); err != nil {
			return err.in("validity")
		}
	}
	if f.offsets, err = im.find(offsets, 4*(end+1), 4); err != nil {
		return err.in("offsets")
	}
	last := int32(binary.LittleEndian.Uint32(im.view(f.offsets)[4*end:]))
	if last < 0 || int(last) > child.length {
		return outputError("the last offset is %d, where there are %d items", last, child.length)
	}
	f.list.items = int(last)
	if last == 0 {
		return nil
	}
	return im.locateItems(f, items, child.offset+int(last), itemValidity, itemOffsets, values)
}

// locateItems finds the buffers of a list's items, which have a number of entries.
func (im *importer) locateItems(f *found, t batch.Type, entries int, validity, offsets, values uint32) (err *CallError) {
	if validity != 0 {
		if f.list.validity, err = im.find(validity, batch.BitmapLen(entries), 1); err != nil {
			return err.in("validity of the items")
		}
	}
	n, align := 0, 1
	switch {
	case t.Kind == batch.Bool:
		n = batch.BitmapLen(entries)
	case t.Variable():
		if f.list.offsets, err = im.find(offsets, 4*(entries+1), 4); err != nil {
			return err.in("offsets of the items")
		}
		last := int32(binary.LittleEndian.Uint32(im.view(f.list.offsets)[4*entries:]))
		if last < 0 {
			return outputError("the last offset of the items is %d", last)
		}
		n = int(last)
	default:
		n, align = t.Width()*entries, t.Width()
	}
	if n > 0 {
		if f.values, err = im.find(values, n, uint32(align)); err != nil {
			return err.in("values of the items")
		}
	}
	return nil
}

// fetchList is the second pass over a list column: what is not its validity. Its offsets count from the first item of the
// child on, and so does what is taken over.
func (im *importer) fetchList(f *found, t batch.Type, c *batch.Column) *CallError {
	c.Offsets = im.hold(f.offsets, 4*f.offset, 4)
	off, n := batch.As[int32](c.Offsets), f.list.items
	if err := checkOffsets(off, n); err != nil {
		return err
	}
	if n == 0 {
		if t.Variable() {
			c.ItemOffsets = zeroOffset
		}
		return nil
	}
	from := f.list.offset
	if f.list.validity.n > 0 {
		bits, first := im.view(f.list.validity), int(off[0])
		if nulls := n - first - batch.CountBits(bits, from+n) + batch.CountBits(bits, from+first); nulls > 0 {
			return outputError("%d items are null: items of a list are never null", nulls)
		}
	}
	switch {
	case t.Kind == batch.Bool:
		c.Values = im.bits(f.values, from, n)
	case t.Variable():
		c.ItemOffsets = im.hold(f.list.offsets, 4*from, 4)
		c.Values = im.hold(f.values, 0, 1)
		if err := checkOffsets(batch.As[int32](c.ItemOffsets), len(c.Values)); err != nil {
			return err.in("items")
		}
		if t.Kind == batch.String {
			if err := checkText(batch.As[int32](c.ItemOffsets), c.Values); err != nil {
				return err.in("items")
			}
		}
	default:
		c.Values = im.hold(f.values, t.Width()*from, t.Width())
	}
	return nil
}
