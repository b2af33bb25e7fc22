package wasm

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// TestLogRate: a guest has so many lines in a call, and so many in a second; what is dropped is counted, and said now and then.
func TestLogRate(t *testing.T) {
	var out bytes.Buffer
	s := &Step{cfg: Config{Name: "2 wasm x", LogLines: 4, LogRate: 10}}
	j := s.journal(slog.New(slog.NewTextHandler(&out, nil)))
	at := time.Unix(1000, 0)
	j.now = func() time.Time { return at }
	call := func(lines int) (written int, dropped int64) {
		j.begin()
		for range lines {
			if j.takes() {
				j.write(1, "line")
				written++
			}
		}
		return written, j.end()
	}
	for i, c := range []struct {
		after   time.Duration
		lines   int
		written int
		dropped int64
	}{
		{0, 3, 3, 0},
		{0, 6, 4, 2},                      // over the lines of a call
		{0, 4, 3, 1},                      // over the burst of 10
		{0, 2, 0, 2},                      // nothing left
		{300 * time.Millisecond, 5, 3, 2}, // three came back
		{time.Hour, 100, 4, 96},
		{0, 4, 4, 0},
		{0, 4, 2, 2},
	} {
		at = at.Add(c.after)
		if written, dropped := call(c.lines); written != c.written || dropped != c.dropped {
			t.Errorf("call %d: %d written and %d dropped, want %d and %d", i, written, dropped, c.written, c.dropped)
		}
	}
	// Of the first second once, of the next hour once, with what was not said before.
	if got := strings.Count(out.String(), "lines were dropped"); got != 2 || !strings.Contains(out.String(), "lines=2\n") || !strings.Contains(out.String(), "lines=101\n") {
		t.Errorf("%d complaints:\n%s", got, out.String())
	}
}

// TestLogDropped: an operator that floods the log is metered, over all of its guests. No time passes for it, or it might write more.
func TestLogDropped(t *testing.T) {
	schema, rows := hostileRows(t, 5)
	ch := newChain(t, schema, 64<<10, Config{Module: hostile(t), Config: mode(38), LogLines: 3, LogRate: 5, FuelPerRow: 10_000_000})
	began := time.Now()
	ch.ops[0].log.now = func() time.Time { return began }
	for range 2 {
		if err := ch.ops[0].Process(context.Background(), ch.decode(t, schema, rows)); err != nil {
			t.Fatal(err)
		}
	}
	if got := ch.ops[0].Usage().LogDropped; got != 500_000-5 {
		t.Fatalf("%d lines dropped", got)
	}
}
