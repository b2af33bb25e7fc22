package engine_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-stream/weir/edge-node/engine"
)

// TestLocalWindowsOutOfOrder opens a window before an earlier one, closes both with one cut while the destination is away, and
// wants all of both when it is back.
func TestLocalWindowsOutOfOrder(t *testing.T) {
	brokers, cl := broker(t)
	tr := &truth{next: make([]int64, partCount), newest: make([]int64, partCount), groups: map[string][2]int64{}}
	const boundary = 1_700_000_000_000
	send := func(times ...int64) {
		t.Helper()
		for i, at := range times {
			ts := boundary + at
			tr.add(0, ts, "d", int64(i), false)
			r := &kgo.Record{Topic: topic, Value: fmt.Appendf(nil, `{"ts":%d,"device":"d","v":%d}`, ts, i), Timestamp: time.UnixMilli(ts)}
			if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	disk := openDisk(t, t.TempDir())
	defer func() {
		if err := disk.Close(); err != nil {
			t.Error(err)
		}
	}()
	s := setup{brokers: brokers, group: "g", centre: newCentre(), disk: disk, gate: make(chan struct{})}
	send(500, -500)
	e, _ := start(t, s)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	until := func(what string, holds func(engine.LaneStatus) bool) {
		t.Helper()
		for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
			for _, l := range e.Status().Lanes {
				if l.Partition.ID == 0 && holds(l) {
					return
				}
			}
			if time.Since(began) > time.Minute {
				t.Fatalf("not within a minute: %s: %+v", what, e.Status().Lanes)
			}
		}
	}
	until("a cut is on its way", func(l engine.LaneStatus) bool { return l.Position == 2 && l.Saves > 0 && l.InFlight })
	send(-600, 600, 60_000)
	until("both windows are closed and saved", func(l engine.LaneStatus) bool { return l.Position == 5 && !l.Oldest.IsZero() })
	close(s.gate)
	until("all is acknowledged", func(l engine.LaneStatus) bool { return l.Acknowledged == 5 })
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	check(t, s.centre, tr)
}
