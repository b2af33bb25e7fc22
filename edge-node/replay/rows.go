package replay

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"slices"

	"github.com/weir-stream/weir/ingest/batch"
)

// firstKey is the column of the first key in the rows of a cut.
const firstKey = 3

// appendCell appends a value so that equal values have equal bytes. In a key, the two zeros of a float are one value, as windows
// and ClickHouse have it; NaN is one value everywhere.
func appendCell(dst []byte, t batch.Type, c *batch.Column, i int, key bool) []byte {
	if !c.Valid(i) {
		return append(dst, 0)
	}
	dst = append(dst, 1)
	switch {
	case t.Kind == batch.Bool:
		if c.Bit(i) {
			return append(dst, 1)
		}
		return append(dst, 0)
	case t.Variable():
		v := c.Bytes(i)
		return append(binary.AppendUvarint(dst, uint64(len(v))), v...)
	case t.Kind == batch.Float32:
		v := batch.As[float32](c.Values)[i]
		switch {
		case v != v:
			v = float32(math.NaN())
		case v == 0 && key:
			v = 0
		}
		return binary.LittleEndian.AppendUint32(dst, math.Float32bits(v))
	case t.Kind == batch.Float64:
		v := batch.As[float64](c.Values)[i]
		switch {
		case v != v:
			v = math.NaN()
		case v == 0 && key:
			v = 0
		}
		return binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
	}
	w := t.Width()
	return append(dst, c.Values[i*w:(i+1)*w]...)
}

// rowKey is the window and key of a row.
func rowKey(dst []byte, b *batch.Batch, keys, row int) []byte {
	dst = appendCell(dst, b.Schema.Fields[0].Type, &b.Cols[0], row, true)
	for k := range keys {
		dst = appendCell(dst, b.Schema.Fields[firstKey+k].Type, &b.Cols[firstKey+k], row, true)
	}
	return dst
}

// unequal lists the columns, but the keys, in which two rows differ.
func unequal(a *batch.Batch, i int, b *batch.Batch, j, keys int) []int {
	var cols []int
	var x, y []byte
	for c := 1; c < len(a.Cols); c++ {
		if c >= firstKey && c < firstKey+keys {
			continue
		}
		t := a.Schema.Fields[c].Type
		x, y = appendCell(x[:0], t, &a.Cols[c], i, false), appendCell(y[:0], t, &b.Cols[c], j, false)
		if !bytes.Equal(x, y) {
			cols = append(cols, c)
		}
	}
	return cols
}

func starts(b *batch.Batch) []int64 { return batch.As[int64](b.Cols[0].Values)[:b.Rows] }

func ends(b *batch.Batch) []int64 { return batch.As[int64](b.Cols[1].Values)[:b.Rows] }

// counts is the column of how many rows each row has taken.
func counts(b *batch.Batch) []uint64 { return batch.As[uint64](b.Cols[2].Values)[:b.Rows] }

// pick copies rows of a batch.
func pick(b *batch.Batch, rows []int32) *batch.Batch {
	out := &batch.Batch{Schema: b.Schema, Rows: b.Rows, Cols: slices.Clone(b.Cols)}
	out.Gather(rows, &batch.Arena{})
	return out
}

// Why rows are not compared.
const (
	skipBefore  = "their windows begin before the range"
	skipBehind  = "they go on behind the range"
	skipAhead   = "a node has stored them beyond the account"
	skipExpired = "the table drops windows so old"
	skipOpen    = "they are not final, and windows are stored when they are"
	skipMemory  = "a node merged their windows, and as they were before they need more memory than limits.state"
	skipSpan    = "a node that was cut off dropped or merged their windows, and the account says which"
)

// compareRows compares the rows that were built of windows that start in [lo, hi) with those stored. Windows that start before
// final take no more rows.
func (p *pass) compareRows(ctx context.Context, rows *batch.Batch, lo, hi, final int64) error {
	if err := p.compareMerged(ctx, rows, lo, hi, final); err != nil {
		return err
	}
	var dropped []int32
	if rows != nil {
		before := []int64{}
		for i, start := range starts(rows) {
			s, given := p.of.Spans.Find(start)
			switch {
			case start < lo || start >= hi || p.mergedHere(start):
			case given:
				p.out.skip("rows", skipSpan, 1, start)
				if s.Dropped() {
					dropped = append(dropped, int32(i))
				}
			case p.open(ends(rows)[i]):
				p.out.skip("rows", skipOpen, 1, start)
			case start < p.bound:
				before = append(before, start)
			}
		}
		p.out.skip("rows", skipBefore, int64(len(before)), before...)
	}
	if len(dropped) > 0 {
		p.mended(-batch.SumHashes(pick(rows, dropped)))
	}
	lo = max(lo, p.bound)
	if lo >= hi {
		return nil
	}
	return p.compareBuilt(ctx, rows, p.index(rows, lo, hi), lo, hi, final, 0)
}

// index finds rows of windows that start in [lo, hi) by window and key. Those of the account's spans are in it where they are of wide
// windows.
func (p *pass) index(rows *batch.Batch, lo, hi int64) map[string]int32 {
	local := map[string]int32{}
	if rows == nil {
		return local
	}
	var key []byte
	until := ends(rows)
	for i, start := range starts(rows) {
		s, given := p.of.Spans.Find(start)
		if start < lo || start >= hi || given && (s.Dropped() || until[i]-start != s.Width) || p.open(until[i]) {
			continue
		}
		key = rowKey(key[:0], rows, p.keys, i)
		local[string(key)] = int32(i)
	}
	return local
}

// compareBuilt compares rows that were built, found by local, with those stored of windows that start in [lo, hi): of those that are
// width wide where others were merged into them, or where width is 0 of those that are as they were.
func (p *pass) compareBuilt(ctx context.Context, rows *batch.Batch, local map[string]int32, lo, hi, final, width int64) error {
	keys := p.keys
	var chosen []int32
	seen := make(map[int32]bool, len(local))
	var key []byte
	err := p.cfg.Stored.Rows(ctx, p.of, lo, hi, func(stored *batch.Batch, versions []int64) error {
		until := ends(stored)
		for j, start := range starts(stored) {
			// The account decides what counts.
			if s, given := p.of.Spans.Find(start); given != (width > 0) || given && (s.Width != width || until[j]-start != width) {
				continue
			}
			if w := p.cfg.Widening; w != nil && width == 0 && until[j]-start > w.Size() {
				continue // merged by a node whose account holds no more
			}
			if p.open(ends(stored)[j]) {
				continue // it does not count yet
			}
			key = rowKey(key[:0], stored, keys, j)
			i, built := local[string(key)]
			if built {
				seen[i] = true
			}
			if start >= final && versions[j] > p.to {
				why := skipBehind
				if versions[j] > p.of.Version {
					why = skipAhead
				}
				p.out.skip("rows", why, 1, start)
				continue
			}
			if !built {
				p.out.Rows.Surplus++
				p.out.differ(Difference{Kind: "surplus", Window: windowTime(start), Key: keyJSON(stored, keys, j), Version: versions[j], Columns: p.values(stored, j)})
				continue
			}
			cols := unequal(rows, int(i), stored, j, keys)
			if len(cols) == 0 {
				p.out.Rows.Identical++
				continue
			}
			p.out.Rows.Differing++
			send := p.send != nil && versions[j] <= p.of.Version && counts(stored)[j] <= counts(rows)[i]
			if send {
				chosen = append(chosen, i)
			}
			if p.out.room() {
				d := Difference{Kind: "differs", Window: windowTime(start), Key: keyJSON(stored, keys, j), Version: versions[j], Sent: send}
				for _, c := range cols {
					d.Columns = append(d.Columns, Values{Column: rows.Schema.Fields[c].Name, Log: cell(rows, c, int(i)), Stored: cell(stored, c, j)})
				}
				p.out.differ(d)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	missing := make([]int32, 0, len(local)-len(seen))
	for _, i := range local {
		if !seen[i] {
			missing = append(missing, i)
		}
	}
	slices.Sort(missing)
	for _, i := range missing {
		start := starts(rows)[i]
		if p.expired(ends(rows)[i]) {
			p.out.skip("rows", skipExpired, 1, start)
			continue
		}
		p.out.Rows.Missing++
		p.out.differ(Difference{Kind: "missing", Window: windowTime(start), Key: keyJSON(rows, keys, int(i)), Sent: p.send != nil})
		if p.send != nil {
			chosen = append(chosen, i)
		}
	}
	if len(chosen) == 0 {
		return nil
	}
	p.out.Rows.Sent += int64(len(chosen))
	return p.send(ctx, pick(rows, chosen), nil)
}

// values are the values of a row that only the store has.
func (p *pass) values(b *batch.Batch, row int) []Values {
	if !p.out.room() {
		return nil
	}
	var out []Values
	for c := 2; c < len(b.Cols); c++ {
		if c < firstKey || c >= firstKey+p.keys {
			out = append(out, Values{Column: b.Schema.Fields[c].Name, Stored: cell(b, c, row)})
		}
	}
	return out
}
