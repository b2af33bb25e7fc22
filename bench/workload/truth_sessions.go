package workload

import (
	"cmp"
	"maps"
	"slices"
)

// sessions joins what the rows of each key make on their own, in the order of their times. It is told apart by nothing but times which
// rows are one session, so it does not matter in what order, or in which partition, they came.
func (t *Truth) sessions() []Row {
	gap, length := t.rules.Window.Microseconds(), t.rules.MaxLength.Microseconds()
	stretch := func(time int64) int64 { return time - (time%length+length)%length }
	cells := slices.SortedFunc(maps.Keys(t.totals), func(a, b cell) int {
		return cmp.Or(slices.Compare(a.keys[:], b.keys[:]), cmp.Compare(a.start, b.start), cmp.Compare(a.partition, b.partition))
	})
	var rows []Row
	for len(cells) > 0 {
		first, last := cells[0], cells[0].start
		var sum total
		for len(cells) > 0 && cells[0].keys == first.keys && cells[0].start-last < gap && stretch(cells[0].start) == stretch(first.start) {
			last = cells[0].start
			sum.add(*t.totals[cells[0]])
			cells = cells[1:]
		}
		rows = append(rows, Row{Start: first.start / 1000, Keys: slices.Clone(first.keys[:len(t.columns.Keys)]), Values: t.finish(sum)})
	}
	slices.SortFunc(rows, compareRows)
	return rows
}
