package batch

import (
	"fmt"
	"strings"
)

// ListOf is the type of lists of an item type, which must not be a list.
func ListOf(item Type) Type {
	return Type{Kind: List, Unit: item.Unit, Item: item.Kind, Precision: item.Precision, Scale: item.Scale}
}

// Items is the type of a list's items.
func (t Type) Items() Type {
	return Type{Kind: t.Item, Unit: t.Unit, Precision: t.Precision, Scale: t.Scale}
}

// parseList reads what is between list< and >.
func parseList(item string) (Type, error) {
	if strings.HasPrefix(item, "list<") {
		return Type{}, fmt.Errorf("type %q: lists of lists are not supported; flatten them in the producer or in an operator", "list<"+item+">")
	}
	t, nullable, err := ParseType(item)
	switch {
	case err != nil:
		return Type{}, fmt.Errorf("items of a list: %w", err)
	case nullable:
		return Type{}, fmt.Errorf("type %q: items of a list are never null; write list<%s>? where the list as a whole may be", "list<"+item+">", t)
	}
	return ListOf(t), nil
}

// Items views the items of a list column, all rows one after the other, as a column of the item type without nulls. It
// shares the column's memory.
func (c *Column) Items() Column { return Column{Offsets: c.ItemOffsets, Values: c.Values} }

// Range is which items row i of a list column has: from lo up to but not hi. A null row may have some: look at Valid.
func (c *Column) Range(i int) (lo, hi int) {
	off := As[int32](c.Offsets)
	return int(off[i]), int(off[i+1])
}

// ItemCount is how many items lie before the end of a list column of so many rows. It counts those before the first
// row's, where there are any.
func (c *Column) ItemCount(rows int) int { return int(As[int32](c.Offsets)[rows]) }

// gatherList copies the lists of rows. Rows that follow each other are one copy.
func gatherList(c, out *Column, t Type, rows []int32, a *Arena) {
	from, to := gatherOffsets(c, out, rows, a)
	total := to[len(rows)]
	items := t.Items()
	switch {
	case items.Kind == Bool:
		out.Values = a.AllocOrHeap(BitmapLen(int(total)))
		clear(out.Values)
	case items.Variable():
		gatherItemBytes(c, out, rows, from, int(total), a)
		return
	default:
		out.Values = a.AllocOrHeap(items.Width() * int(total))
	}
	width := int32(items.Width())
	for i := 0; i < len(rows); {
		j := runEnd(rows, i)
		lo, hi := from[rows[i]], from[rows[j-1]+1]
		if width == 0 {
			copyBits(out.Values, int(to[i]), c.Values, int(lo), int(hi-lo))
		} else {
			copy(out.Values[int(width)*int(to[i]):], c.Values[int(width)*int(lo):int(width)*int(hi)])
		}
		i = j
	}
}

// gatherItemBytes copies items that are strings, in two passes: their offsets, then their bytes.
func gatherItemBytes(c, out *Column, rows, from []int32, total int, a *Arena) {
	src := As[int32](c.ItemOffsets)
	out.ItemOffsets = a.AllocOrHeap(4 * (total + 1))
	dst := As[int32](out.ItemOffsets)
	dst[0] = 0
	n, end := 0, int32(0)
	for i := 0; i < len(rows); {
		j := runEnd(rows, i)
		lo, hi := from[rows[i]], from[rows[j-1]+1]
		shift := end - src[lo]
		for _, o := range src[lo+1 : hi+1] {
			n++
			dst[n] = o + shift
		}
		end = dst[n]
		i = j
	}
	out.Values = a.AllocOrHeap(int(end))
	at := 0
	for i := 0; i < len(rows); {
		j := runEnd(rows, i)
		lo, hi := from[rows[i]], from[rows[j-1]+1]
		at += copy(out.Values[at:], c.Values[src[lo]:src[hi]])
		i = j
	}
}

// runEnd is the end of the rows from i on that follow each other.
func runEnd(rows []int32, i int) int {
	for i++; i < len(rows) && rows[i] == rows[i-1]+1; i++ {
	}
	return i
}

// copyBits copies n bits of src from bit s on to dst from bit d on. The bits there must be clear.
func copyBits(dst []byte, d int, src []byte, s, n int) {
	for i := range n {
		dst[(d+i)>>3] |= src[(s+i)>>3] >> ((s + i) & 7) & 1 << ((d + i) & 7)
	}
}

// appendListJSON appends row i of a list column as a JSON array. One over the limit of a cell is cut.
func appendListJSON(dst []byte, t Type, c *Column, i int) []byte {
	lo, hi := c.Range(i)
	items, start := c.Items(), len(dst)
	dst = append(dst, '[')
	for k := lo; k < hi; k++ {
		if k > lo {
			dst = append(dst, ',')
		}
		if len(dst)-start > maxCellJSON {
			dst = append(dst, `"…"`...)
			break
		}
		dst = AppendCellJSON(dst, t.Items(), &items, k)
	}
	return append(dst, ']')
}
