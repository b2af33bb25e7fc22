package metering

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-stream/weir/edge-node/engine"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/sink"
)

// store keeps rows as a ReplacingMergeTree does.
type store struct {
	rows   map[rowKey]sink.Usage
	calls  atomic.Int64
	sent   int
	broken error
}

func (s *store) WriteUsage(_ context.Context, rows []sink.Usage) error {
	s.calls.Add(1)
	s.sent += len(rows)
	if s.rows == nil {
		s.rows = map[rowKey]sink.Usage{}
	}
	for _, u := range rows { // also where it says it is broken: an acknowledgement may be lost
		key := rowKey{stepKey{u.Revision, u.Step, u.Digest}, u.Run, u.Hour.Unix()}
		if old := s.rows[key]; u.Version > old.Version {
			s.rows[key] = u
		}
	}
	return s.broken
}

// fuel adds up what a step used.
func (s *store) fuel(step string) int64 {
	n := int64(0)
	for key, u := range s.rows {
		if key.step == step {
			n += u.Used.Fuel
		}
	}
	return n
}

func (s *store) hours() map[int]int64 {
	sums := map[int]int64{}
	for _, u := range s.rows {
		sums[u.Hour.Hour()] += u.Used.Fuel
	}
	return sums
}

// counters are those of a pipeline of one step, whose module and revision change.
type counters struct {
	fuel     atomic.Int64
	revision uint64
	digest   string
}

func (c *counters) used() []engine.Used {
	return []engine.Used{{Revision: c.revision, Steps: []engine.StepStatus{
		{Name: "decode"}, {Name: "1 wasm x", Digest: c.digest, In: c.fuel.Load(), Usage: operators.Usage{Fuel: c.fuel.Load()}},
	}}}
}

func TestBook(t *testing.T) {
	c, s := &counters{digest: "a"}, &store{}
	m := New(Config{Every: time.Minute, Used: c.used, Store: s})
	at := func(clock string, fuel int64) {
		t.Helper()
		now, err := time.Parse("15:04", clock)
		if err != nil {
			t.Fatal(err)
		}
		c.fuel.Store(fuel)
		m.book(now)
		m.ship(t.Context())
	}
	want := func(sent int, hours map[int]int64) {
		t.Helper()
		got := s.hours()
		for h, n := range hours {
			if got[h] != n {
				t.Errorf("hour %d has %d, want %d", h, got[h], n)
			}
		}
		if s.sent != sent || len(got) != len(hours) {
			t.Errorf("%d rows were sent, want %d; hours %v", s.sent, sent, got)
		}
	}
	at("10:01", 5)
	at("10:59", 7)
	want(2, map[int]int64{10: 7})
	at("10:59", 7) // nothing to say
	want(2, map[int]int64{10: 7})
	at("11:00", 17)
	want(3, map[int]int64{10: 7, 11: 10})
	if len(m.rows) != 1 {
		t.Errorf("%d rows are kept, want that of the hour", len(m.rows))
	}
	// A destination that fails gets everything once more, whatever it has stored of it.
	s.broken = errors.New("away")
	at("11:30", 20)
	at("12:30", 30)
	at("13:30", 40)
	if len(m.rows) != 3 {
		t.Errorf("%d rows wait, want 3", len(m.rows))
	}
	s.broken = nil
	at("13:31", 41)
	want(3+1+2+3+3, map[int]int64{10: 7, 11: 13, 12: 10, 13: 11})
	// The clock is set back to an hour whose row is stored and forgotten.
	at("10:10", 43)
	want(13, map[int]int64{10: 9, 11: 13, 12: 10, 13: 11})
	at("10:11", 44)
	want(14, map[int]int64{10: 10, 11: 13, 12: 10, 13: 11})
	// Another revision counts for itself.
	c.revision, c.digest = 1, "b"
	at("10:12", 3)
	want(15, map[int]int64{10: 13, 11: 13, 12: 10, 13: 11})
}

func TestBound(t *testing.T) {
	c, s := &counters{}, &store{broken: errors.New("away")}
	m := New(Config{Every: time.Minute, Used: c.used, Store: s})
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for h := range maxRows + 10 {
		c.fuel.Add(1)
		m.book(begin.Add(time.Duration(h) * time.Hour))
	}
	if len(m.rows) != maxRows || m.keys()[0].hour != begin.Add(10*time.Hour).Unix() {
		t.Errorf("%d rows wait", len(m.rows))
	}
}

// TestRun ships on time and at the end, and a second run adds to the first.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		for life := range 2 {
			c := &counters{}
			m := New(Config{Every: time.Minute, Used: c.used, Store: s, Tags: map[string]string{"team": "x"}})
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() { m.Run(ctx); close(ended) }()
			before := s.calls.Load()
			for range 10 {
				time.Sleep(time.Minute)
				synctest.Wait()
				c.fuel.Add(100)
			}
			if n := s.calls.Load() - before; n != 10 {
				t.Errorf("life %d: %d shipments in 10 minutes", life, n)
			}
			c.fuel.Add(1) // after the last shipment
			stop()
			<-ended
			if got, want := s.fuel("1 wasm x"), int64(1001*(life+1)); got != want {
				t.Errorf("life %d: %d is stored, want %d", life, got, want)
			}
		}
		for _, u := range s.rows {
			if u.Tags["team"] != "x" {
				t.Errorf("tags %v", u.Tags)
			}
		}
	})
}
