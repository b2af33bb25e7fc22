package clickhouse

import (
	"slices"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

// part is the rows of one cut that go into one insert.
type part struct {
	index int // of the cut, in the slice given to Write
	cut   *sink.Cut
	rows  *batch.Batch // borrowed from the cut, or copied out of it
}

// chunk is one insert of partials.
type chunk []part

func (c chunk) rows() int {
	n := 0
	for _, p := range c {
		n += p.rows.Rows
	}
	return n
}

// plan divides the rows of cuts into inserts of at most maxRows rows and maxDays days of windows. Cuts whose index is
// in skip are left out. The usual flush fits one insert, and then no row is moved.
func plan(cuts []*sink.Cut, skip map[int]bool, maxRows, maxDays int) []chunk {
	all, days, total, bytes := chunk{}, map[int64]bool{}, 0, 0
	for i, c := range cuts {
		if skip[i] || c.Rows == nil || c.Rows.Rows == 0 {
			continue
		}
		all = append(all, part{index: i, cut: c, rows: c.Rows})
		total += c.Rows.Rows
		for f := range c.Rows.Cols {
			bytes += columnBytes(c.Rows.Schema.Fields[f], &c.Rows.Cols[f], c.Rows.Rows)
		}
		last := int64(0)
		for r, ms := range windowStarts(c.Rows) {
			if d := day(ms); r == 0 || d != last {
				days[d], last = true, d
			}
		}
	}
	if total == 0 {
		return nil
	}
	maxRows = min(maxRows, max(1, int(int64(maxInsertBytes)*int64(total)/int64(max(1, bytes)))))
	if total <= maxRows && len(days) <= maxDays {
		return []chunk{all}
	}
	return divide(all, maxRows, maxDays)
}

// rowRef is a row of a part.
type rowRef struct{ part, row int32 }

// divide sorts all rows by day and takes them in runs.
func divide(all chunk, maxRows, maxDays int) []chunk {
	byDay := map[int64][]rowRef{}
	for p := range all {
		for r, ms := range windowStarts(all[p].rows) {
			byDay[day(ms)] = append(byDay[day(ms)], rowRef{int32(p), int32(r)})
		}
	}
	days := make([]int64, 0, len(byDay))
	for d := range byDay {
		days = append(days, d)
	}
	slices.Sort(days)

	var chunks []chunk
	var refs []rowRef
	inChunk := 0 // days
	flush := func() {
		if len(refs) > 0 {
			chunks = append(chunks, all.pick(refs))
		}
		refs, inChunk = refs[:0], 0
	}
	for _, d := range days {
		rest := byDay[d]
		if inChunk == maxDays || len(refs)+len(rest) > maxRows {
			flush()
		}
		for len(rest) > 0 {
			n := min(len(rest), maxRows)
			refs, rest = append(refs, rest[:n]...), rest[n:]
			if len(rest) > 0 {
				flush()
			}
		}
		inChunk++
	}
	flush()
	return chunks
}

// pick copies rows, given part by part or mixed, into a chunk of their own.
func (c chunk) pick(refs []rowRef) chunk {
	rows := make([][]int32, len(c))
	for _, r := range refs {
		rows[r.part] = append(rows[r.part], r.row)
	}
	var out chunk
	for p, r := range rows {
		if len(r) > 0 {
			out = append(out, part{index: c[p].index, cut: c[p].cut, rows: gather(c[p].rows, r)})
		}
	}
	return out
}

// split halves a chunk of at least two rows.
func (c chunk) split() (a, b chunk) {
	half := c.rows() / 2
	for _, p := range c {
		n := min(half, p.rows.Rows)
		half -= n
		switch n {
		case 0:
			b = append(b, p)
		case p.rows.Rows:
			a = append(a, p)
		default:
			rows := make([]int32, p.rows.Rows)
			for i := range rows {
				rows[i] = int32(i)
			}
			a = append(a, part{index: p.index, cut: p.cut, rows: gather(p.rows, rows[:n])})
			b = append(b, part{index: p.index, cut: p.cut, rows: gather(p.rows, rows[n:])})
		}
	}
	return a, b
}

// gather copies rows of a batch, leaving it as it is.
func gather(b *batch.Batch, rows []int32) *batch.Batch {
	out := &batch.Batch{Schema: b.Schema, Rows: b.Rows, Cols: slices.Clone(b.Cols)}
	out.Gather(rows, &batch.Arena{})
	return out
}

func windowStarts(b *batch.Batch) []int64 { return batch.As[int64](b.Cols[0].Values)[:b.Rows] }

// day is the day of a time in milliseconds: the partition of the table it goes to.
func day(ms int64) int64 {
	const perDay = 24 * 3600 * 1000
	d := ms / perDay
	if ms%perDay < 0 {
		d--
	}
	return d
}
