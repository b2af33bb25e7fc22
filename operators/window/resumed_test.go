package window

import (
	"testing"
	"time"

	"github.com/weir-stream/weir/operators"
)

// TestResumed holds windows that open inside a record to the clock before it: whoever reads that record again takes its first rows,
// too, and they must be as late as they were.
func TestResumed(t *testing.T) {
	cfg := testConfig(t)
	cfg.Size, cfg.MaxOutOfOrder, cfg.AllowedLateness = 10*time.Second, 0, time.Minute
	w := New(cfg)
	add(t, w, makeBatch(testSchema(), []row{{ts: 5_000, device: "a"}}, 7), 7)
	before := w.Clock()
	for _, ts := range []int64{12_000, 34_000} { // of record 8, which does not fit a batch
		b := makeBatch(testSchema(), []row{{ts: ts, device: "a"}}, 8)
		b.Resumed = ts > 12_000
		add(t, w, b, 8)
	}
	open := w.Cut(9).Open
	if len(open) != 3 {
		t.Fatalf("%d windows are open: %+v", len(open), open)
	}
	for _, o := range open {
		offset, clock := int64(8), before
		if o.Start == 0 {
			offset, clock = 7, operators.Clock{Max: operators.Unset}
		}
		if o.Offset != offset || o.Clock != clock {
			t.Errorf("window %d is to be built again from %d, %+v; want %d, %+v", o.Start, o.Offset, o.Clock, offset, clock)
		}
	}
}
