package decode

import (
	"encoding/binary"

	"github.com/weir-stream/weir/ingest/batch"
)

// loadDictionary checks a dictionary and keeps it, in place of the one before of its ID. One that no column needs is passed over.
func (d *arrowDecoder) loadDictionary(y *arrowBody, t flatTable) outcome {
	id := t.i64(0)
	var field *arrowField
	for i := range d.schema.fields {
		if f := &d.schema.fields[i]; f.encoded && f.leaf >= 0 && f.id == id {
			field = f
			break
		}
	}
	data := t.table(1)
	if y.f.bad || data.f == nil {
		return y.malformed("its metadata is not a flatbuffer")
	}
	if field == nil {
		return written
	}
	l := &d.leafs[field.leaf]
	if t.u8(2, 0) != 0 {
		return d.w.refuse(batch.ReasonWrongType, l.col, "the dictionary of field %s comes in parts (a delta); send it whole", snippet([]byte(l.name)))
	}
	if out := y.begin(data, []arrowField{{nodes: 1, buffers: 3}}); out != written {
		return out
	}
	n, nulls := y.nodes.pair(0)
	// An entry has an offset, at least, in the body or in what is uncompressed from it, and nobody needs more entries than bytes.
	if n < 0 || n != data.i64(0) || n > arrowGrowth*int64(d.opts.MaxRecord) {
		return y.malformed("the dictionary of field %s has %d entries, and its node %d", snippet([]byte(l.name)), data.i64(0), n)
	}
	var dict *arrowDict
	if last := len(d.spare) - 1; last >= 0 {
		dict, d.spare = d.spare[last], d.spare[:last]
	} else {
		dict = &arrowDict{}
	}
	*dict = arrowDict{n: int(n)}
	if out := dict.loadValidity(y, l, dict.n, nulls); out != written {
		return out
	}
	if dict.nulls > 0 {
		return d.w.refuse(batch.ReasonWrongType, l.col, "%d entries of the dictionary of field %s are null; make the rows null instead", dict.nulls, snippet([]byte(l.name)))
	}
	dict.large = field.large
	if out := dict.loadText(y, l, dict.n); out != written {
		return out
	}
	d.dicts[id] = dict
	return written
}

// loadIndices checks a column of a dictionary's indices, and counts the bytes of what they stand for.
func (d *arrowDecoder) loadIndices(y *arrowBody, c *arrowColumn, f *arrowField, l *arrowLeaf, rows int) outcome {
	c.index = f.index.Width()
	if out := c.loadFixed(y, l, int64(c.index)*int64(rows)); out != written || rows == 0 {
		return out
	}
	if c.dict = d.dicts[f.id]; c.dict == nil {
		if c.nulls == rows {
			c.dict = &arrowDict{}
			return written
		}
		return y.malformed("field %s needs dictionary %d, which does not come before it", snippet([]byte(l.name)), f.id)
	}
	total := int64(0)
	for i := range rows {
		if !c.valid(i) {
			continue
		}
		k := c.entry(i)
		if k >= uint64(c.dict.n) {
			return y.malformed("row %d of field %s is entry %d of a dictionary of %d", i, snippet([]byte(l.name)), int64(k), c.dict.n)
		}
		lo, hi := c.dict.span(int(k))
		total += int64(hi - lo)
	}
	return d.grow(total)
}

// entry is the index in row i; a negative one is more than any dictionary has.
func (c *arrowColumn) entry(i int) uint64 {
	switch c.index {
	case 1:
		return uint64(c.values[i])
	case 2:
		return uint64(binary.LittleEndian.Uint16(c.values[2*i:]))
	case 4:
		return uint64(binary.LittleEndian.Uint32(c.values[4*i:]))
	default:
		return binary.LittleEndian.Uint64(c.values[8*i:])
	}
}
