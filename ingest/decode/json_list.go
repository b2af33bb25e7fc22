package decode

import (
	"fmt"

	"github.com/weir-stream/weir/ingest/batch"
)

// list reads the array at p into a list column.
func (j *jsonFormat) list(l *leaf, data []byte, p int) int {
	if data[p] != '[' {
		return j.wrongType(l, data, p)
	}
	w, row := j.w, j.w.row
	first := int(l.col.offsets[row])
	w.row = first
	p = j.items(l.items, data, skipSpace(data, p+1), first)
	end := w.row
	w.row = row
	if p >= 0 {
		l.col.offsets[row+1] = int32(end)
	}
	return p
}

// items reads what is in an array, from behind its bracket on. The writer's row counts the items.
func (j *jsonFormat) items(l *leaf, data []byte, p, first int) int {
	w, c := j.w, l.col
	if p < len(data) && data[p] == ']' {
		return p + 1
	}
	for {
		if p >= len(data) {
			return j.malformed(data, p, "a value")
		}
		n := w.row - first
		switch {
		case n >= j.limit:
			w.refuse(batch.ReasonTooLarge, c, "more than %d items in a list at byte %d", j.limit, p)
			return failed
		case data[p] == 'n':
			if end := j.literal(data, p, "null"); end < 0 {
				return end
			}
			w.refuse(batch.ReasonMissing, c, "item %d is null at byte %d: items of a list are never null", n, p)
			return failed
		}
		end := overflowed
		if w.row < c.room {
			end = j.value(l, data, p)
		}
		if end == overflowed && w.alone {
			c.grow()
			continue
		}
		if end == failed {
			w.reject.Detail += fmt.Sprintf(" (item %d of the list)", n)
		}
		if end < 0 {
			return end
		}
		w.row++
		p = skipSpace(data, end)
		switch {
		case p < len(data) && data[p] == ',':
			p = skipSpace(data, p+1)
		case p < len(data) && data[p] == ']':
			return p + 1
		default:
			return j.malformed(data, p, "a comma or the end of an array")
		}
	}
}
