package wasm

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/weir-stream/weir/ingest/batch"
)

// split runs a batch that failed as a whole in halves, and those that fail in halves again, down to the rows that fail by
// themselves. These are rejected; the rest becomes the batch. It is for row-wise operators: the result must not depend on
// which rows go together. This path is rare and copies; its results live on the Go heap.
func (o *operator) split(ctx context.Context, b *batch.Batch, failure error) error {
	all := assembly{o: o, b: b, cols: make([]assembled, len(o.step.out.Fields)), known: b.Origin != nil}
	before := len(b.Rejects)
	if err := all.divide(ctx, 0, b.Rows, failure); err != nil {
		clear(b.Rejects[before:]) // as if it had not been tried
		b.Rejects = b.Rejects[:before]
		return err
	}
	all.finish()
	return nil
}

// assembly puts the results of parts together, in order.
type assembly struct {
	o              *operator
	b              *batch.Batch // the whole input, unchanged until finish
	cols           []assembled
	rows           int
	origin         []int32
	known          bool // origin is complete so far
	dropped, added int
	gather         []int32
}

// assembled is a column under construction.
type assembled struct {
	validity, offsets, itemOffsets, values []byte
	nulls                                  int
}

// divide handles rows lo to hi, which failed together.
func (a *assembly) divide(ctx context.Context, lo, hi int, failure error) error {
	var ce *CallError
	if !errors.As(failure, &ce) {
		ce = &CallError{Fault: FaultRoom, Err: failure}
	}
	if hi-lo == 1 {
		if a.o.step.cfg.OnError == Stop {
			return ce
		}
		a.reject(lo, ce)
		return nil
	}
	mid := lo + (hi-lo)/2
	for _, part := range [...][2]int{{lo, mid}, {mid, hi}} {
		r, err := a.o.attempt(ctx, a.slice(part[0], part[1]))
		switch {
		case err == nil:
			a.add(part[0], r)
			r.slot.Release()
		case a.o.splits(err):
			if err := a.divide(ctx, part[0], part[1], err); err != nil {
				return err
			}
		default:
			return err
		}
	}
	return nil
}

// slice copies rows lo to hi into a batch of their own on the Go heap.
func (a *assembly) slice(lo, hi int) *batch.Batch {
	a.gather = a.gather[:0]
	for i := lo; i < hi; i++ {
		a.gather = append(a.gather, int32(i))
	}
	part := &batch.Batch{Schema: a.b.Schema, Rows: a.b.Rows, Cols: append([]batch.Column(nil), a.b.Cols...)}
	var heap batch.Arena
	part.Gather(a.gather, &heap)
	return part
}

// reject takes one input row out.
func (a *assembly) reject(i int, why *CallError) {
	a.b.Reject(i, a.o.step.cfg.Name, batch.ReasonOperator, why.detail())
	if r := &a.b.Rejects[len(a.b.Rejects)-1]; r.Record < 0 {
		r.Payload = a.b.RowJSON(i)
	}
}

// add appends the result of a part that starts at input row lo.
func (a *assembly) add(lo int, r result) {
	n := 0
	for i := range a.o.im.cols {
		if i != a.o.step.row {
			a.cols[n].add(&a.o.im.cols[i], a.o.step.out.Fields[n].Type, a.rows, r.rows)
			n++
		}
	}
	if a.known {
		switch {
		case r.identity:
			a.origin = append(a.origin, a.b.Origin[lo:lo+r.rows]...)
		case r.from == nil && r.rows > 0:
			a.known = false
		default:
			for _, f := range r.from {
				a.origin = append(a.origin, a.b.Origin[lo+int(f)])
			}
		}
	}
	a.rows += r.rows
	a.dropped += r.dropped
	a.added += r.added
}

// add appends n rows of a column behind the first have rows.
func (to *assembled) add(c *batch.Column, t batch.Type, have, n int) {
	to.validity = addBits(to.validity, have, n, c.Valid)
	to.nulls += c.Nulls
	switch {
	case t.Kind == batch.Bool:
		to.values = addBits(to.values, have, n, c.Bit)
	case t.Kind == batch.List:
		off := batch.As[int32](c.Offsets)[:n+1]
		lo, hi := int(off[0]), int(off[n])
		have := 0
		if len(to.offsets) > 0 {
			have = int(binary.LittleEndian.Uint32(to.offsets[len(to.offsets)-4:]))
		}
		to.offsets = addOffsets(to.offsets, off, have)
		to.addItems(c, t.Items(), have, lo, hi)
	case t.Variable():
		off := batch.As[int32](c.Offsets)[:n+1]
		to.offsets = addOffsets(to.offsets, off, len(to.values))
		to.values = append(to.values, c.Values[off[0]:off[n]]...)
	default:
		to.values = append(to.values, c.Values[:n*t.Width()]...)
	}
}

// addItems appends items lo to hi of a list column behind the first have ones.
func (to *assembled) addItems(c *batch.Column, t batch.Type, have, lo, hi int) {
	items := c.Items()
	switch {
	case t.Kind == batch.Bool:
		to.values = addBits(to.values, have, hi-lo, func(i int) bool { return items.Bit(lo + i) })
	case t.Variable():
		off := batch.As[int32](c.ItemOffsets)[lo : hi+1]
		to.itemOffsets = addOffsets(to.itemOffsets, off, len(to.values))
		to.values = append(to.values, c.Values[off[0]:off[hi-lo]]...)
	default:
		to.values = append(to.values, c.Values[lo*t.Width():hi*t.Width()]...)
	}
}

// addOffsets appends offsets, moved so that they go on from end.
func addOffsets(to []byte, off []int32, end int) []byte {
	if len(to) == 0 { // not where no row is there yet: parts before can have become no rows
		to = append(to, zeroOffset...)
	}
	shift := int32(end) - off[0]
	for _, o := range off[1:] {
		to = binary.LittleEndian.AppendUint32(to, uint32(o+shift))
	}
	return to
}

func addBits(to []byte, have, n int, bit func(int) bool) []byte {
	for len(to) < batch.BitmapLen(have+n) {
		to = append(to, 0)
	}
	for i := range n {
		if bit(i) {
			batch.SetBit(to, have+i)
		}
	}
	return to
}

// finish makes the assembled parts the batch.
func (a *assembly) finish() {
	b := a.b
	b.Filtered += int64(a.dropped)
	b.Expanded += int64(a.added)
	if a.known {
		b.Origin = b.Origins(a.rows)
		copy(b.Origin, a.origin)
	} else {
		b.Origin = nil
	}
	a.o.empty(b)
	b.Rows = a.rows
	for i, c := range a.cols {
		if a.rows == 0 {
			break
		}
		b.Cols[i] = batch.Column{Offsets: c.offsets, ItemOffsets: c.itemOffsets, Values: c.values, Nulls: c.nulls}
		if c.nulls > 0 {
			b.Cols[i].Validity = c.validity
		}
	}
}
