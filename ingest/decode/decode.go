package decode

import (
	"fmt"

	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/ingest/schema"
)

// DefaultMaxRecord is the size limit of a record value where Options has none: 1 MiB, the default limit of a broker.
const DefaultMaxRecord = 1 << 20

// DefaultMaxItems is the limit of the items of one list where Options has none.
const DefaultMaxItems = 64 << 10

// limitRecord bounds what MaxRecord may be: offsets into string data are 32 bits wide.
const limitRecord = 1 << 28

// Options are the limits of a decoder.
type Options struct {
	// MaxRecord is the largest record value taken, in bytes; a larger one is rejected as too_large. 0 is
	// DefaultMaxRecord.
	MaxRecord int
	// MaxItems is the most items of a list; a record with more in one is rejected as too_large. 0 is DefaultMaxItems.
	MaxItems int
	// MaxRows is the most records one Decode takes, and the most rows. 0 leaves it to the size of the arena.
	MaxRows int
}

// Formats lists the formats New knows.
func Formats() []string { return []string{"json", "arrow"} }

// New makes the decoder of a format for the declared columns. The decoder is for one goroutine.
func New(name string, cols schema.Columns, opts Options) (ingest.Decoder, error) {
	if opts.MaxRecord < 0 || opts.MaxRows < 0 || opts.MaxItems < 0 {
		return nil, fmt.Errorf("decoder limits must not be negative: max record %d, max rows %d, max items %d", opts.MaxRecord, opts.MaxRows, opts.MaxItems)
	}
	if opts.MaxRecord > limitRecord {
		return nil, fmt.Errorf("max record %d is over the limit of %d bytes", opts.MaxRecord, limitRecord)
	}
	if opts.MaxRecord == 0 {
		opts.MaxRecord = DefaultMaxRecord
	}
	if opts.MaxItems == 0 {
		opts.MaxItems = DefaultMaxItems
	}
	if err := cols.Validate(); err != nil {
		return nil, fmt.Errorf("check columns: %w", err)
	}
	var d ingest.Decoder
	var err error
	switch name {
	case "json":
		d, err = newRows(cols, opts)
	case "arrow":
		d, err = newArrow(cols, opts)
	default:
		return nil, fmt.Errorf("unknown format %q: use one of %v", name, Formats())
	}
	if err != nil {
		return nil, fmt.Errorf("plan %s columns: %w", name, err)
	}
	return d, nil
}

// newRows makes a decoder of a format in which a record is a row.
func newRows(cols schema.Columns, opts Options) (ingest.Decoder, error) {
	d := &decoder{opts: opts}
	d.w.init(cols)
	d.meta = newMeta(cols, &d.w)
	var err error
	d.format, err = newJSON(cols, &d.w, opts.MaxItems)
	return d, err
}

// format decodes the value of one record into the current row of the writer it was made with.
type format interface {
	// record writes the columns that come from the value. It may leave a half written row behind; the driver moves
	// on to the next row only when all is well.
	record(value []byte) outcome
	// copies is how many times, at most, a byte of the value can end up in string data: the number of text columns
	// that share one place in the value.
	copies() int
}

// outcome is what became of a record.
type outcome uint8

const (
	written  outcome = iota
	rejected         // the writer holds the reason
	full             // string data does not fit its region
)

// decoder drives a format over the records of a batch, each of which is a row.
type decoder struct {
	opts   Options
	w      writer
	meta   []metaColumn
	format format
}

// Schema is the schema of the declared columns.
func (d *decoder) Schema() *batch.Schema { return d.w.schema }

// Decode implements [ingest.Decoder].
func (d *decoder) Decode(b *batch.Batch, a *batch.Arena) {
	records := b.Records
	if d.opts.MaxRows > 0 && len(records) > d.opts.MaxRows {
		records = records[:d.opts.MaxRows]
	}
	b.Schema = d.w.schema
	b.SetWidth(len(d.w.cols))

	if len(records) == 0 {
		b.Origin = b.Origins(0)
		d.w.fixed(a, 0)
		d.w.finish(b)
		return
	}
	before, took := *a, 0
	n := d.w.layout(a, len(records))
	origin := b.Origins(n)
	if n > 1 {
		took = d.rows(b, records[:n], origin)
	}
	if took == 0 {
		// The first record is larger than its share of the arena: it gets all of it.
		*a = before
		d.w.layoutAlone(a, d.need(&records[0], b.Partition))
		took = d.rows(b, records[:1], origin)
	}
	b.Records = b.Records[:took]
	b.Origin = origin[:d.w.row]
	d.w.finish(b)
}

// rows decodes records until they end or one does not fit, and returns how many it took.
func (d *decoder) rows(b *batch.Batch, records []batch.Record, origin []int32) int {
	w := &d.w
	for i := range records {
		r := &records[i]
		out := written
		switch {
		case len(r.Value) == 0:
			out = w.empty(r.Value == nil)
		case len(r.Value) > d.opts.MaxRecord:
			out = w.tooLarge(len(r.Value), d.opts.MaxRecord)
		default:
			out = d.format.record(r.Value)
		}
		if out == written && len(d.meta) > 0 {
			out = d.fillMeta(r, b.Partition)
		}
		switch out {
		case written:
			origin[w.row] = int32(i)
			w.commit()
		case rejected:
			w.nulls = w.nulls[:0]
			w.reject.Record, w.reject.Step = int32(i), "decode"
			b.Rejects = append(b.Rejects, w.reject)
		case full:
			return i
		}
	}
	return len(records)
}

// need is the most bytes of string data a record can take.
func (d *decoder) need(r *batch.Record, p batch.Partition) int {
	n := min(len(r.Value), d.opts.MaxRecord) * d.format.copies()
	for i := range d.meta {
		n += d.meta[i].size(r, p)
	}
	return n
}
