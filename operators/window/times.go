package window

import (
	"math"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
)

// readTimes converts the event times to microseconds, and gives the least and the greatest; operators.Unset is a null or a time that cannot
// be stored.
func (w *partition) readTimes(b *batch.Batch) (least, greatest int64) {
	c := &b.Cols[w.cfg.Time]
	values := batch.As[int64](c.Values)[:b.Rows]
	times := w.times[:b.Rows]
	least, greatest = math.MaxInt64, math.MinInt64
	mul := int64(1)
	switch w.cfg.In.Fields[w.cfg.Time].Type.Unit {
	case batch.Second:
		mul = 1_000_000
	case batch.Millisecond:
		mul = 1_000
	case batch.Nanosecond:
		for i, v := range values { // every int64 of nanoseconds is a year between 1677 and 2262
			t := floorDiv(v, 1_000)
			if t < minTime || c.Validity != nil && !c.Valid(i) {
				t = operators.Unset
			}
			times[i] = t
			least, greatest = min(least, t), max(greatest, t)
		}
		return least, greatest
	}
	lo, hi := minTime/mul, maxTime/mul
	for i, v := range values {
		t := v * mul
		if v < lo || v > hi || c.Validity != nil && !c.Valid(i) {
			t = operators.Unset
		}
		times[i] = t
		least, greatest = min(least, t), max(greatest, t)
	}
	return least, greatest
}
