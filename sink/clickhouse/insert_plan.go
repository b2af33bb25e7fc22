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

// run is the rows of a part from one to another.
type run struct{ part, from, to int }

func (r run) rows() int { return r.to - r.from }

// divide sorts all rows by day and takes them in runs, which are long: the rows of a cut are window by window.
func divide(all chunk, maxRows, maxDays int) []chunk {
	byDay := map[int64][]run{}
	for p := range all {
		starts := windowStarts(all[p].rows)
		for from, to := 0, 0; from < len(starts); from = to {
			d := day(starts[from])
			for to = from + 1; to < len(starts) && day(starts[to]) == d; to++ {
			}
			byDay[d] = append(byDay[d], run{p, from, to})
		}
	}
	days := make([]int64, 0, len(byDay))
	for d := range byDay {
		days = append(days, d)
	}
	slices.Sort(days)

	var chunks []chunk
	var runs []run
	inChunk, rows := 0, 0 // days and rows of runs
	flush := func() {
		if len(runs) > 0 {
			chunks = append(chunks, all.pick(runs))
		}
		runs, inChunk, rows = runs[:0], 0, 0
	}
	for _, d := range days {
		ofDay := 0
		for _, r := range byDay[d] {
			ofDay += r.rows()
		}
		if inChunk == maxDays || rows+ofDay > maxRows {
			flush()
		}
		for _, r := range byDay[d] {
			for r.from < r.to {
				if rows == maxRows {
					flush()
				}
				n := min(r.rows(), maxRows-rows)
				runs = append(runs, run{r.part, r.from, r.from + n})
				rows += n
				r.from += n
			}
		}
		inChunk++
	}
	flush()
	return chunks
}

// pick makes a chunk of runs. One run of a part is borrowed from its cut, and several are copied.
func (c chunk) pick(runs []run) chunk {
	ofPart := make([][]run, len(c))
	for _, r := range runs {
		ofPart[r.part] = append(ofPart[r.part], r)
	}
	var out chunk
	for p, runs := range ofPart {
		switch len(runs) {
		case 0:
		case 1:
			out = append(out, part{index: c[p].index, cut: c[p].cut, rows: c[p].rows.Slice(runs[0].from, runs[0].to)})
		default:
			var rows []int32
			for _, r := range runs {
				for i := r.from; i < r.to; i++ {
					rows = append(rows, int32(i))
				}
			}
			out = append(out, part{index: c[p].index, cut: c[p].cut, rows: gather(c[p].rows, rows)})
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
			a = append(a, part{index: p.index, cut: p.cut, rows: p.rows.Slice(0, n)})
			b = append(b, part{index: p.index, cut: p.cut, rows: p.rows.Slice(n, p.rows.Rows)})
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
