package decode

import (
	"math"

	"github.com/weir-stream/weir/ingest/batch"
)

// Lists are written like strings: offsets per row, and a region for the items of all rows that is sized by what earlier
// rows took. The items are a column of their own, whose rows are the items; the writer's row is the number of the item
// while one is written. Items that are strings have a second region for their bytes.
//
// Where a record is decoded alone its items have regions of their own too, cut from what is left of the arena, and grow
// on the heap past that: how many items there are is known only when they are read.

// minItemRegion is the least a region on the heap has, in bytes.
const minItemRegion = 4 << 10

// addList makes the items of a list column.
func (w *writer) addList(c *column) {
	items := c.Type.Items()
	c.items = &column{Field: batch.Field{Name: c.Name + "[]", Type: items}, index: c.index, isItem: true, perRow: itemsPerRow * textPerItem << perRowShift}
	c.perRow = itemBytesPerRow(items)
	w.lists = append(w.lists, c)
	if items.Variable() {
		w.texts = append(w.texts, c.items)
	}
}

// listsAlone gives the items of a single record what is left of the arena, in equal parts.
func (w *writer) listsAlone(a *batch.Arena) {
	if len(w.lists) == 0 {
		return
	}
	regions := len(w.lists)
	for _, c := range w.lists {
		if c.items.Type.Variable() {
			regions++
		}
	}
	share := max(0, a.Free()-regions*batch.Align) / regions
	for _, c := range w.lists {
		c.items.view(a.AllocOrHeap(share))
		if c.items.Type.Variable() {
			c.items.text = a.AllocOrHeap(share)
		}
	}
}

// view makes a region the buffer of items.
func (c *column) view(region []byte) {
	c.values = region
	switch width := c.Type.Width(); {
	case c.Type.Variable():
		c.offsets = batch.As[int32](region)
		c.room = max(0, len(c.offsets)-1)
		if len(c.offsets) > 0 {
			c.offsets[0] = 0
		}
	case c.Type.Kind == batch.Bool:
		c.bits, c.room = region, min(8*len(region), math.MaxInt32)
	default:
		c.room = len(region) / width
		switch width {
		case 1:
			c.v8 = batch.As[uint8](region)
		case 2:
			c.v16 = batch.As[uint16](region)
		case 4:
			c.v32 = batch.As[uint32](region)
		case 16:
			c.v128 = (&batch.Column{Values: region}).Decimals()
		default:
			c.v64 = batch.As[uint64](region)
		}
	}
}

// grow doubles the regions of the items of a record that is decoded alone. The heap they then are on is bounded by the
// size of a record.
func (c *column) grow() {
	wider := func(b []byte) []byte {
		var heap batch.Arena
		to := heap.AllocOrHeap(max(2*len(b), minItemRegion))
		copy(to, b)
		return to
	}
	c.view(wider(c.values))
	if c.Type.Variable() {
		c.text = wider(c.text)
	}
}

// finishList hands the items of n rows over.
func (w *writer) finishList(c *column, out *batch.Column, n int) {
	items, count := c.items, int(c.offsets[n])
	used := count * items.Type.Width()
	switch {
	case items.Type.Variable():
		used = 4 * (count + 1)
		if len(items.offsets) == 0 { // a region too small for any
			items.view(batch.Bytes(make([]int32, 1)))
		}
		text := int(items.offsets[count])
		out.ItemOffsets, out.Values = items.values[:used], items.text[:text]
		if n > 0 && !w.alone {
			items.learn(text, n)
		}
	case items.Type.Kind == batch.Bool:
		out.Values = trimBits(items.bits, count)
		used = len(out.Values)
	default:
		out.Values = items.values[:used]
	}
	if n > 0 && !w.alone {
		c.learn(used, n)
	}
}
