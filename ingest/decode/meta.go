package decode

import (
	"unicode/utf8"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/ingest/schema"
)

// noTimestamp is Kafka's mark of a record without a timestamp.
const noTimestamp = -1

// metaColumn is a column filled from a part of the record beside its value.
type metaColumn struct {
	from   schema.Meta
	header string
	col    *column
}

func newMeta(cols schema.Columns, w *writer) []metaColumn {
	var ms []metaColumn
	for i := range cols {
		if cols[i].From != schema.FromValue {
			ms = append(ms, metaColumn{from: cols[i].From, header: cols[i].Header, col: &w.cols[i]})
		}
	}
	return ms
}

// fillMeta writes the meta columns of the current row. Rejections come before nulls are counted, so that a rejected
// row leaves none behind.
func (d *decoder) fillMeta(r *batch.Record, p batch.Partition) outcome {
	w := &d.w
	for i := range d.meta {
		if out := d.meta[i].fill(w, r, p); out != written {
			return out
		}
	}
	return written
}

func (m *metaColumn) fill(w *writer, r *batch.Record, p batch.Partition) outcome {
	c := m.col
	switch m.from {
	case schema.FromKey:
		return m.text(w, r.Key, "record key")
	case schema.FromHeader:
		return m.text(w, lastHeader(r, m.header), "header")
	case schema.FromTopic:
		if !w.copyText(c, []byte(p.Topic)) {
			return full
		}
	case schema.FromTimestamp:
		if r.Time == noTimestamp {
			return m.absent(w, "record timestamp")
		}
		v, ok := scaleTime(r.Time, batch.Millisecond, c.Type.Unit)
		if !ok {
			return w.refuse(batch.ReasonOutOfRange, c, "the record timestamp %d ms does not fit", r.Time)
		}
		c.v64[w.row] = uint64(v)
	case schema.FromOffset:
		c.v64[w.row] = uint64(r.Offset)
	case schema.FromPartition:
		c.putBits(w.row, uint64(int64(p.ID)))
	}
	return written
}

// text writes a key or header; nil is null.
func (m *metaColumn) text(w *writer, v []byte, what string) outcome {
	if out := m.checkText(w, v, what); out != written || v == nil {
		return out
	}
	if !w.copyText(m.col, v) {
		return full
	}
	return written
}

// checkText makes the column null, rejects the record, or finds the text good.
func (m *metaColumn) checkText(w *writer, v []byte, what string) outcome {
	switch {
	case v == nil:
		return m.absent(w, what)
	case m.col.Type.Kind == batch.String && !utf8.Valid(v):
		return w.refuse(batch.ReasonWrongType, m.col, "the %s is not UTF-8 text: %s; declare it as binary", what, snippet(v))
	}
	return written
}

// check finds out whether fill would reject the record.
func (m *metaColumn) check(w *writer, r *batch.Record) outcome {
	out := written
	switch m.from {
	case schema.FromKey:
		out = m.checkText(w, r.Key, "record key")
	case schema.FromHeader:
		out = m.checkText(w, lastHeader(r, m.header), "header")
	case schema.FromTimestamp:
		if r.Time == noTimestamp {
			out = m.absent(w, "record timestamp")
		} else if _, ok := scaleTime(r.Time, batch.Millisecond, m.col.Type.Unit); !ok {
			out = w.refuse(batch.ReasonOutOfRange, m.col, "the record timestamp %d ms does not fit", r.Time)
		}
	}
	w.nulls = w.nulls[:0]
	return out
}

// repeat fills n rows that have room, of a record that was checked.
func (m *metaColumn) repeat(w *writer, r *batch.Record, p batch.Partition, n int) {
	row := w.row
	for i := range n {
		w.row = row + i
		m.fill(w, r, p)
		for _, c := range w.nulls {
			w.setNull(c)
		}
		w.nulls = w.nulls[:0]
	}
	w.row = row
}

// absent makes the column null, or rejects the record.
func (m *metaColumn) absent(w *writer, what string) outcome {
	if m.col.Nullable {
		w.null(m.col)
		return written
	}
	if m.from == schema.FromHeader {
		return w.refuse(batch.ReasonMissing, m.col, "the record has no header %s", snippet([]byte(m.header)))
	}
	return w.refuse(batch.ReasonMissing, m.col, "the record has no %s", what[len("record "):])
}

// size is the bytes of string data the column takes for a record.
func (m *metaColumn) size(r *batch.Record, p batch.Partition) int {
	switch m.from {
	case schema.FromKey:
		return len(r.Key)
	case schema.FromHeader:
		return len(lastHeader(r, m.header))
	case schema.FromTopic:
		return len(p.Topic)
	default:
		return 0
	}
}

// lastHeader is the value of the last header with a key, or nil.
func lastHeader(r *batch.Record, key string) []byte {
	for i := len(r.Headers) - 1; i >= 0; i-- {
		if r.Headers[i].Key == key {
			return r.Headers[i].Value
		}
	}
	return nil
}
