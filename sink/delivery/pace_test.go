package delivery

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

func backlog(partition int32, rows int) *sink.Cut {
	c := cut(partition, 1)
	c.Backlog, c.Partial = true, true
	c.Rows = &batch.Batch{Rows: rows}
	return c
}

// catchUp runs a delivery whose sink takes a second for 50000 rows: two partitions have a backlog of n cuts, a third ships what is
// live every two seconds. It returns how long live cuts took at most, and the writes of the backlog.
func catchUp(t *testing.T, n int, answer func(rows int) error) (slowest time.Duration, writes []call, d *Delivery) {
	t.Helper()
	f := &fakeSink{}
	f.answer = func(_ int, cuts []*sink.Cut) error {
		rows := 0
		for _, c := range cuts {
			rows += c.Rows.Rows
		}
		time.Sleep(time.Duration(rows) * time.Second / 50_000)
		return answer(rows)
	}
	d, err := New(Config{}, f, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	left := make(chan struct{}, 2)
	for p := range int32(2) {
		go func() {
			for range n {
				done := make(chan error, 1)
				if err := d.Submit(ctx, backlog(p, d.PartRows()), func(err error) { done <- err }); err != nil {
					t.Error(err)
				}
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
			left <- struct{}{}
		}()
	}
	for waiting := 2; waiting > 0; {
		select {
		case <-left:
			waiting--
		case <-time.After(2 * time.Second):
			began, done := time.Now(), make(chan error, 1)
			if err := d.Submit(ctx, cut(9, 1), func(err error) { done <- err }); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			slowest = max(slowest, time.Since(began))
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	for _, w := range f.calls() {
		if w.cuts[0].Backlog {
			writes = append(writes, w)
		}
		for _, c := range w.cuts {
			if c.Backlog != w.cuts[0].Backlog {
				t.Error("a write has live cuts and those of the backlog")
			}
		}
	}
	return slowest, writes, d
}

// TestCatchUp has a backlog of two million rows: what is live waits for one write of it at most, and the server is left alone for
// half of the time.
func TestCatchUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		slowest, writes, _ := catchUp(t, 20, func(int) error { return nil })
		took := time.Since(began)
		t.Logf("%d writes in %s; a live cut took %s at most", len(writes), took, slowest)
		if slowest > 4100*time.Millisecond { // most rows of a write, and then its own
			t.Errorf("a live cut took %s", slowest)
		}
		if least := 60 * time.Second; took < least {
			t.Errorf("2 million rows took %s, want at least %s: no pauses", took, least)
		}
		if took > 100*time.Second {
			t.Errorf("2 million rows took %s", took)
		}
	})
}

// TestCatchUpWithAServerShortOfMemory has a server that refuses large writes for a while: cuts become smaller.
func TestCatchUpWithAServerShortOfMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails := 0
		slowest, writes, d := catchUp(t, 4, func(rows int) error {
			if rows > 20_000 && fails < 6 {
				fails++
				return &sink.Error{Class: sink.Retry, Err: errors.New("code 241"), Overload: true}
			}
			return nil
		})
		t.Logf("%d writes, %d refused; a live cut took %s at most; now %d rows at a time", len(writes), fails, slowest, d.PartRows())
		if fails != 6 {
			t.Errorf("%d writes failed", fails)
		}
		least := firstRows
		for _, w := range writes {
			least = min(least, w.cuts[0].Rows.Rows)
		}
		if least > 5_000 {
			t.Errorf("the smallest cut had %d rows: nobody listened", least)
		}
	})
}

// TestLittleBacklog is not slowed down: a restart sends a little once more.
func TestLittleBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, writes, _ := catchUp(t, 1, func(int) error { return nil })
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("%d writes took %s", len(writes), took)
		}
	})
}
