package batch

import (
	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
)

// Record wraps the batch as an Arrow record without copying. The record borrows the batch's memory: it must not be
// used after the batch is released. It is for the ends of a pipeline and for tests; steps use the columns directly.
func (b *Batch) Record() arrow.Record {
	cols := make([]arrow.Array, len(b.Cols))
	for i := range b.Cols {
		cols[i] = b.array(i)
	}
	rec := array.NewRecord(b.Schema.Arrow(), cols, int64(b.Rows))
	for _, c := range cols {
		c.Release()
	}
	return rec
}

func (b *Batch) array(i int) arrow.Array {
	t, c := b.Schema.Fields[i].Type, &b.Cols[i]
	buffers := []*memory.Buffer{nil}
	if c.Validity != nil {
		buffers[0] = memory.NewBufferBytes(c.Validity)
	}
	if t.Variable() || t.Kind == List {
		buffers = append(buffers, memory.NewBufferBytes(c.Offsets))
	}
	var children []arrow.ArrayData
	if t.Kind == List {
		items := []*memory.Buffer{nil}
		if t.Items().Variable() {
			items = append(items, memory.NewBufferBytes(c.ItemOffsets))
		}
		child := array.NewData(t.Items().Arrow(), c.ItemCount(b.Rows), append(items, memory.NewBufferBytes(c.Values)), nil, 0, 0)
		defer child.Release()
		children = append(children, child)
	} else {
		buffers = append(buffers, memory.NewBufferBytes(c.Values))
	}
	data := array.NewData(t.Arrow(), b.Rows, buffers, children, c.Nulls, 0)
	defer data.Release()
	return array.MakeFromData(data)
}
