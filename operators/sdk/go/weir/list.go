//go:build wasip1

package weir

import "unsafe"

// listArray is what the host looks at of the items of an output column of lists.
type listArray struct {
	array   arrowArray
	child   [1]uint32 // the address of array
	buffers [3]uint32
}

func newListArray(item Type) *listArray {
	l := &listArray{}
	l.array.nBuffers = 2
	if item.text() {
		l.array.nBuffers = 3
	}
	l.array.buffers = addr(l.buffers[:])
	l.child[0] = uint32(uintptr(unsafe.Pointer(&l.array)))
	return l
}

func (l *listArray) set(c *column) {
	l.array.length = int64(c.items)
	l.buffers = [3]uint32{0, c.values, 0}
	if c.typ.Item().text() {
		l.buffers = [3]uint32{0, addr(c.ends), c.values}
	}
}

// itemSchema is the address of a table of one schema, that of items.
func itemSchema(format string) uint32 {
	s := &struct {
		schema arrowSchema
		at     [1]uint32
	}{schema: arrowSchema{format: zeroed(format), name: zeroed("item")}}
	s.at[0] = uint32(uintptr(unsafe.Pointer(&s.schema)))
	guest.items = append(guest.items, &s.schema)
	return addr(s.at[:])
}

// itemBuffer is the i-th buffer of the items of an input column of lists, as n values of T.
func itemBuffer[T Fixed](b *Batch, column, i, n int) []T {
	child := (*arrowArray)(at(*(*uint32)(at(b.cols[column].children))))
	p := *(*uint32)(at(child.buffers + uint32(4*i)))
	if p == 0 || n == 0 {
		return nil
	}
	return unsafe.Slice((*T)(at(p)), n)
}

// spans is where the lists of a column begin and end, counted in items.
type spans struct {
	offsets  []int32
	validity []byte
}

func (b *Batch) spans(column int) spans {
	return spans{buffer[int32](b, column, 1, b.rows+1), buffer[uint8](b, column, 0, (b.rows+7)/8)}
}

// of is the items of a row, none where it is null.
func (s spans) of(row int) (from, to int32) {
	if s.validity != nil && s.validity[row>>3]&(1<<(row&7)) == 0 {
		return 0, 0
	}
	return s.offsets[row], s.offsets[row+1]
}

// count is how many items there are.
func (s spans) count() int {
	if len(s.offsets) == 0 {
		return 0
	}
	return int(s.offsets[len(s.offsets)-1])
}

// List is a view of a column of lists of fixed width items.
type List[T Fixed] struct {
	spans
	items []T
}

// Lists is an input column of lists of fixed width items. T must have the width of the items' type.
func Lists[T Fixed](b *Batch, column int) List[T] {
	s := b.spans(column)
	return List[T]{s, itemBuffer[T](b, column, 1, s.count())}
}

// At is the list of a row: nil where it is null. It shares the input's memory.
func (l List[T]) At(row int) []T {
	from, to := l.of(row)
	return l.items[from:to:to]
}

// Len is how many items all rows have together.
func (l List[T]) Len() int { return len(l.items) }

// TextList is a view of a column of lists of strings or binary.
type TextList struct {
	spans
	text Text
}

// StringLists is an input column of lists of strings or binary.
func (b *Batch) StringLists(column int) TextList {
	s := b.spans(column)
	l := TextList{spans: s, text: Text{offsets: itemBuffer[int32](b, column, 1, s.count()+1)}}
	if data := itemBuffer[uint8](b, column, 2, 1); data != nil {
		l.text.data = unsafe.Pointer(unsafe.SliceData(data))
	}
	return l
}

// At is the list of a row, empty where it is null.
func (l TextList) At(row int) Texts {
	from, to := l.of(row)
	if from == to {
		return Texts{}
	}
	return Texts{Text{l.text.offsets[from : to+1], l.text.data}}
}

// Bytes is how many bytes all items have together.
func (l TextList) Bytes() int {
	if n := len(l.text.offsets); n > 0 {
		return int(l.text.offsets[n-1] - l.text.offsets[0])
	}
	return 0
}

// Len is how many items all rows have together.
func (l TextList) Len() int { return l.count() }

// Texts is a list of strings or binary.
type Texts struct{ text Text }

// Len is how many items there are.
func (t Texts) Len() int { return max(0, len(t.text.offsets)-1) }

// At is an item. It shares the input's memory.
func (t Texts) At(i int) string { return t.text.At(i) }

// BoolList is a view of a column of lists of truth values.
type BoolList struct {
	spans
	bits []byte
}

// BoolLists is an input column of lists of truth values.
func (b *Batch) BoolLists(column int) BoolList {
	s := b.spans(column)
	return BoolList{s, itemBuffer[uint8](b, column, 1, (s.count()+7)/8)}
}

// At is the list of a row, empty where it is null.
func (l BoolList) At(row int) Bools {
	from, to := l.of(row)
	return Bools{l.bits, int(from), int(to - from)}
}

// Len is how many items all rows have together.
func (l BoolList) Len() int { return l.count() }

// Bools is a list of truth values.
type Bools struct {
	bits    []byte
	from, n int
}

// Len is how many items there are.
func (l Bools) Len() int { return l.n }

// At is an item.
func (l Bools) At(i int) bool {
	if uint(i) >= uint(l.n) {
		panic("weir: item out of range")
	}
	i += l.from
	return l.bits[i>>3]&(1<<(i&7)) != 0
}

// newLists starts a column of lists.
func (b *Batch) newLists(out, rows, items int) *column {
	c := &b.out[out]
	if items < 0 || items >= 1<<27 {
		panic(errFull)
	}
	mem := b.alloc(4 * (rows + 1))
	c.offsets = unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(mem))), rows+1)[:1]
	c.offsets[0], c.items, c.made = 0, 0, true
	return c
}

func (c *column) endList() {
	if len(c.offsets) == cap(c.offsets) {
		panic("weir: more lists than the column was made for")
	}
	c.offsets = append(c.offsets, int32(c.items))
}

const tooManyItems = "weir: more items, or longer ones, than the column was made for"

// ListBuilder is a column of lists of fixed width items that is being made.
type ListBuilder[T Fixed] struct {
	c     *column
	items []T
}

// NewLists starts a column of lists of fixed width items for so many rows, which have at most so many items together. T must
// have the width of the items' type.
func NewLists[T Fixed](b *Batch, out, rows, items int) *ListBuilder[T] {
	c := b.newLists(out, rows, items)
	var zero T
	mem := b.alloc(items * int(unsafe.Sizeof(zero)))
	c.values = addr(mem)
	l := &ListBuilder[T]{c: c}
	if items > 0 {
		l.items = unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(mem))), items)
	}
	return l
}

// Append adds an item to the list of the next row.
func (l *ListBuilder[T]) Append(v T) {
	if l.c.items == len(l.items) {
		panic(tooManyItems)
	}
	l.items[l.c.items] = v
	l.c.items++
}

// End ends the list of the next row, and begins another.
func (l *ListBuilder[T]) End() { l.c.endList() }

// Add is the next row: these items.
func (l *ListBuilder[T]) Add(items []T) {
	if len(items) > len(l.items)-l.c.items {
		panic(tooManyItems)
	}
	l.c.items += copy(l.items[l.c.items:], items)
	l.c.endList()
}

// StringListBuilder is a column of lists of strings or binary that is being made.
type StringListBuilder column

// NewStringLists starts a column of lists of strings or binary for so many rows, which have at most so many items together,
// of at most so many bytes together.
func (b *Batch) NewStringLists(out, rows, items, bytes int) *StringListBuilder {
	c := b.newLists(out, rows, items)
	mem := b.alloc(4 * (items + 1))
	c.ends = unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(mem))), items+1)[:1]
	c.ends[0] = 0
	c.data = b.alloc(bytes)[:0]
	c.values = addr(c.data)
	return (*StringListBuilder)(c)
}

// Append adds an item to the list of the next row.
func (l *StringListBuilder) Append(v string) {
	if len(v) > cap(l.data)-len(l.data) || len(l.ends) == cap(l.ends) {
		panic(tooManyItems)
	}
	l.data = append(l.data, v...)
	l.ends = append(l.ends, int32(len(l.data)))
	l.items++
}

// End ends the list of the next row, and begins another.
func (l *StringListBuilder) End() { (*column)(l).endList() }

// BoolListBuilder is a column of lists of truth values that is being made.
type BoolListBuilder struct {
	c    *column
	bits []byte
	max  int
}

// NewBoolLists starts a column of lists of truth values for so many rows, which have at most so many items together.
func (b *Batch) NewBoolLists(out, rows, items int) *BoolListBuilder {
	c := b.newLists(out, rows, items)
	bits := b.alloc((items + 7) / 8)
	clear(bits)
	c.values = addr(bits)
	return &BoolListBuilder{c, bits, items}
}

// Append adds an item to the list of the next row.
func (l *BoolListBuilder) Append(v bool) {
	i := l.c.items
	if i == l.max {
		panic(tooManyItems)
	}
	if v {
		l.bits[i>>3] |= 1 << (i & 7)
	}
	l.c.items++
}

// End ends the list of the next row, and begins another.
func (l *BoolListBuilder) End() { l.c.endList() }

// takeList gives a passed column of lists just the rows of a selection.
func (b *Batch) takeList(o int, rows []int32) {
	from := b.out[o].from
	s, items := b.spans(from), 0
	for _, r := range rows {
		items += int(s.offsets[r+1] - s.offsets[r])
		if items >= 1<<27 {
			panic(errFull)
		}
	}
	switch item := b.out[o].typ.Item(); {
	case item.text():
		in, bytes := b.StringLists(from), 0
		for _, r := range rows {
			bytes += int(in.text.offsets[s.offsets[r+1]] - in.text.offsets[s.offsets[r]])
		}
		out := b.NewStringLists(o, len(rows), items, bytes)
		for _, r := range rows {
			for k := s.offsets[r]; k < s.offsets[r+1]; k++ {
				out.Append(in.text.At(int(k)))
			}
			out.End()
		}
	case item == Bool:
		in, out := Bools{b.BoolLists(from).bits, 0, s.count()}, b.NewBoolLists(o, len(rows), items)
		for _, r := range rows {
			for k := s.offsets[r]; k < s.offsets[r+1]; k++ {
				out.Append(in.At(int(k)))
			}
			out.End()
		}
	case typeTable[item].width == 1:
		takeLists[uint8](b, o, rows, s, items)
	case typeTable[item].width == 2:
		takeLists[uint16](b, o, rows, s, items)
	case typeTable[item].width == 4:
		takeLists[uint32](b, o, rows, s, items)
	default:
		takeLists[uint64](b, o, rows, s, items)
	}
}

func takeLists[T Fixed](b *Batch, o int, rows []int32, s spans, items int) {
	in := itemBuffer[T](b, b.out[o].from, 1, s.count())
	out := NewLists[T](b, o, len(rows), items)
	for _, r := range rows {
		out.Add(in[s.offsets[r]:s.offsets[r+1]])
	}
}
