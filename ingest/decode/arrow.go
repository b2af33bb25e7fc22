package decode

import (
	"fmt"

	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/ingest/schema"
)

const (
	// arrowGrowth is how many times Options.MaxRecord a record may take when its buffers are uncompressed and its dictionaries
	// written out.
	arrowGrowth = 16
	// arrowRowBytes is the bytes of Options.MaxRecord for which a record may have a row.
	arrowRowBytes = 4
	// arrowBatchRows is the rows of a batch where Options.MaxRows has none.
	arrowBatchRows = 8192
)

// arrowDecoder decodes Arrow IPC streams. A record is checked as a whole, and every claim in it, before any row of it is copied;
// then its columns are copied as they are, in as many batches as they fill.
type arrowDecoder struct {
	opts    Options
	maxRows int // of a record
	w       writer
	meta    []metaColumn
	leafs   []arrowLeaf
	absent  int // bytes per row of fixed width, over all columns

	// Of the record at hand.
	flat     flat // of the message at hand
	schema   arrowSchema
	messages []arrowMessage
	batches  []arrowBatch
	columns  []arrowColumn // of all batches, one per leaf each
	dicts    map[int64]*arrowDict
	spare    []*arrowDict
	growth   int64 // bytes that it may still grow by
	left     int   // rows that are not copied yet
	batch    int   // of batches: where they begin,
	row      int   // and the row there
	inflate  inflater
}

func newArrow(cols schema.Columns, opts Options) (ingest.Decoder, error) {
	d := &arrowDecoder{opts: opts, maxRows: opts.MaxRecord / arrowRowBytes, dicts: map[int64]*arrowDict{}}
	if d.opts.MaxRows == 0 {
		d.opts.MaxRows = arrowBatchRows
	}
	d.w.init(cols)
	d.meta = newMeta(cols, &d.w)
	for i := range cols {
		c := &cols[i]
		d.absent += max(1, c.Type.Width())
		if c.Type.Variable() {
			d.absent += 3 // an offset
		}
		if c.From != schema.FromValue {
			continue
		}
		switch {
		case len(c.Path) > 1:
			return nil, fmt.Errorf("column %q: its path leads into %q, and fields inside of structs are not read: flatten them in the producer; a path is the name of a field",
				c.Name, c.Path[0])
		case c.Type.Kind == batch.List:
			return nil, fmt.Errorf("column %q: lists are not read from Arrow", c.Name)
		case c.Type.Kind == batch.Timestamp && c.Epoch != c.Type.Unit:
			return nil, fmt.Errorf("column %q: an epoch is for numbers in text; Arrow says the unit of a timestamp itself", c.Name)
		}
		d.leafs = append(d.leafs, arrowLeaf{col: &d.w.cols[i], name: c.Path[0]})
	}
	d.schema.found = make([]bool, len(d.leafs))
	return d, nil
}

// Schema implements [ingest.Decoder].
func (d *arrowDecoder) Schema() *batch.Schema { return d.w.schema }

// Decode implements [ingest.Decoder].
func (d *arrowDecoder) Decode(b *batch.Batch, a *batch.Arena) {
	w := &d.w
	b.Schema, b.Many = w.schema, true
	b.SetWidth(len(w.cols))
	if len(b.Records) == 0 {
		b.Origin = b.Origins(0)
		w.fixed(a, 0)
		w.finish(b)
		return
	}
	resumed := b.Resumed && d.left > 0
	if !resumed {
		d.left = 0
	}
	before := *a
	n := w.layout(a, d.opts.MaxRows)
	if n <= 1 { // not even two rows have room, as they were of late: the first one gets all there is
		n = 0
		w.alone = true
		w.fixed(a, 0)
	}
	origin := b.Origins(max(n, 1))
	took := 0
	for took < len(b.Records) {
		r := &b.Records[took]
		if !resumed {
			out := d.read(r, b.Partition)
			if out == written && took > 0 && d.left > n-w.row {
				break // it is not the only one, and does not fit
			}
			if out == written {
				out = d.load()
			}
			if out == rejected {
				d.left = 0
				w.reject.Record, w.reject.Step = int32(took), "decode"
				b.Rejects = append(b.Rejects, w.reject)
				took++
				continue
			}
			if d.left == 0 { // it has no rows
				b.Filtered++
				took++
				continue
			}
		}
		k := 0
		if n > 0 {
			k = d.fit(r, b.Partition, min(d.left, n-w.row))
		}
		if k < d.left && took > 0 {
			break
		}
		if k == 0 {
			*a = before
			w.layoutAlone(a, d.rowText(r, b.Partition))
			k = 1
		}
		for i := range k {
			origin[w.row+i] = int32(took)
		}
		d.copyRows(r, b.Partition, k)
		b.Expanded += int64(k)
		if !resumed {
			b.Expanded--
		}
		took++
		if b.Unfinished = d.left > 0; resumed || w.alone || b.Unfinished {
			break
		}
	}
	b.Records = b.Records[:took]
	b.Origin = origin[:w.row]
	w.finish(b)
}

// read takes a record apart, without a look at its values.
func (d *arrowDecoder) read(r *batch.Record, p batch.Partition) outcome {
	switch {
	case len(r.Value) == 0:
		return d.w.empty(r.Value == nil)
	case len(r.Value) > d.opts.MaxRecord:
		return d.w.tooLarge(len(r.Value), d.opts.MaxRecord)
	}
	if out := d.readMessages(r.Value); out != written {
		return out
	}
	for i := range d.meta {
		if out := d.meta[i].check(&d.w, r); out != written {
			return out
		}
	}
	d.growth = arrowGrowth * int64(d.opts.MaxRecord)
	perRow := int64(d.absent)
	for i := range d.meta {
		perRow += int64(d.meta[i].size(r, p))
	}
	return d.grow(int64(d.left) * perRow)
}

// grow notes that the record takes so many bytes more than it has.
func (d *arrowDecoder) grow(n int64) outcome {
	if d.growth -= n; n < 0 || d.growth < 0 {
		return d.w.refuseRecord(batch.ReasonTooLarge, "the record's rows take more than %d bytes, %d times max_record", arrowGrowth*int64(d.opts.MaxRecord), arrowGrowth)
	}
	return written
}
