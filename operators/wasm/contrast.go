package wasm

import (
	"fmt"

	"github.com/weir-stream/weir/ingest/batch"
)

// contrasted counts how a candidate's result differs from the live one.
type contrasted struct {
	onlyLive, onlyCandidate int64 // rows
	changed                 int64 // rows that both have and that differ in a column
	rejects                 int64 // that only one has
	columns                 map[string]int64
	examples                []string
}

func (d *contrasted) example(format string, args ...any) {
	if len(d.examples) < shadowLines {
		d.examples = append(d.examples, fmt.Sprintf(format, args...))
	}
}

// contrast holds the results of one batch against each other. Rows belong together that are from the same record, in their
// order; where it is not known which records rows are from, those in the same place. Values are compared as differ does.
// Both batches are changed.
func contrast(live, candidate *batch.Batch) contrasted {
	d := contrasted{columns: map[string]int64{}}
	d.contrastRejects(live, candidate)
	x, y := d.pair(live, candidate)
	if len(x) != live.Rows {
		take(live, x)
	}
	if len(y) != candidate.Rows {
		take(candidate, y)
	}
	if len(x) == 0 {
		return d
	}
	var changed []bool
	for i := range live.Schema.Fields {
		f := &live.Schema.Fields[i]
		a, b := &live.Cols[i], &candidate.Cols[i]
		if differs(f.Type, a, b, live.Rows) < 0 {
			continue
		}
		if changed == nil {
			changed = make([]bool, live.Rows)
		}
		for row := range live.Rows {
			if a.Valid(row) == b.Valid(row) && (!a.Valid(row) || equalAt(f.Type, a, b, row)) {
				continue
			}
			d.columns[f.Name]++
			if !changed[row] {
				changed[row] = true
				d.changed++
			}
			d.example("row %d%s, column %s: %s live, %s in the candidate", row, offsetText(live, row), f.Name,
				valueText(f.Type, a, row), valueText(f.Type, b, row))
		}
	}
	return d
}

// pair finds the rows that belong together, and counts the others.
func (d *contrasted) pair(live, candidate *batch.Batch) (x, y []int32) {
	known := live.Origin != nil && candidate.Origin != nil
	i, j := 0, 0
	for i < live.Rows || j < candidate.Rows {
		var order int // below 0: the next row is the live one's alone
		switch {
		case i == live.Rows:
			order = 1
		case j == candidate.Rows:
			order = -1
		case known:
			order = int(live.Origin[i]) - int(candidate.Origin[j])
		}
		switch {
		case order < 0:
			d.onlyLive++
			d.example("row %d%s is live only", i, offsetText(live, i))
			i++
		case order > 0:
			d.onlyCandidate++
			d.example("row %d%s is in the candidate only", j, offsetText(candidate, j))
			j++
		default:
			x, y = append(x, int32(i)), append(y, int32(j))
			i, j = i+1, j+1
		}
	}
	return x, y
}

// take keeps some rows of a batch, on the heap.
func take(b *batch.Batch, rows []int32) {
	var heap batch.Arena
	b.Gather(rows, &heap)
}

// contrastRejects counts the rejects that only one has.
func (d *contrasted) contrastRejects(live, candidate *batch.Batch) {
	if len(live.Rejects) == 0 && len(candidate.Rejects) == 0 {
		return
	}
	balance := map[string]int{}
	for i := range live.Rejects {
		balance[rejectText(live, &live.Rejects[i])]++
	}
	for i := range candidate.Rejects {
		balance[rejectText(candidate, &candidate.Rejects[i])]--
	}
	for text, n := range balance {
		switch {
		case n > 0:
			d.rejects += int64(n)
			d.example("%s live only", text)
		case n < 0:
			d.rejects -= int64(n)
			d.example("%s in the candidate only", text)
		}
	}
}
