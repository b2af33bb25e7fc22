package delivery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

// fakeSink answers writes with what answer returns, and remembers them.
type fakeSink struct {
	mu     sync.Mutex
	writes []call
	answer func(n int, cuts []*sink.Cut) error
}

type call struct {
	at   time.Time
	cuts []*sink.Cut
}

func (f *fakeSink) Write(ctx context.Context, cuts []*sink.Cut) error {
	f.mu.Lock()
	f.writes = append(f.writes, call{time.Now(), cuts})
	n := len(f.writes)
	f.mu.Unlock()
	if f.answer == nil {
		return nil
	}
	return f.answer(n, cuts)
}

func (f *fakeSink) calls() []call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]call(nil), f.writes...)
}

func (*fakeSink) Check(context.Context) error { return nil }
func (*fakeSink) Close() error                { return nil }
func (*fakeSink) States(context.Context, batch.Partition, sink.StateKey) ([]sink.StepState, error) {
	return nil, nil
}

func (*fakeSink) Coverage(context.Context, []batch.Partition) ([][]sink.Coverage, error) {
	return nil, nil
}

func cut(partition int32, version int64) *sink.Cut {
	return &sink.Cut{
		Coverage: sink.Coverage{Partition: batch.Partition{Topic: "t", ID: partition}, Version: version},
		Rows:     &batch.Batch{Rows: 3, Cols: []batch.Column{{Values: make([]byte, 24)}}},
	}
}

// acks remembers what callbacks were told.
type acks struct {
	mu  sync.Mutex
	got []string
}

func (a *acks) done(name string) func(error) {
	return func(err error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if err != nil {
			name += "!"
		}
		a.got = append(a.got, name)
	}
}

func (a *acks) String() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Join(a.got, " ")
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// start runs a delivery in the test's bubble. stop ends it and gives what Run returned.
func start(t *testing.T, cfg Config, s sink.Sink) (d *Delivery, stop func() error) {
	t.Helper()
	d, err := New(cfg, s, quiet)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	return d, func() error { cancel(); return <-ended }
}

func submit(t *testing.T, d *Delivery, c *sink.Cut, done func(error)) {
	t.Helper()
	if err := d.Submit(t.Context(), c, done); err != nil {
		t.Fatalf("submit: %v", err)
	}
}

func TestCutsOfOneMomentAreOneWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, a := &fakeSink{}, &acks{}
		d, stop := start(t, Config{}, f)
		for p := range int32(5) {
			submit(t, d, cut(p, 10), a.done(fmt.Sprint(p)))
			time.Sleep(time.Millisecond) // lanes are never quite at the same moment
		}
		if err := d.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if w := f.calls(); len(w) != 1 || len(w[0].cuts) != 5 {
			t.Fatalf("%d writes, want one of 5 cuts", len(w))
		}
		if a.String() != "0 1 2 3 4" {
			t.Fatalf("acknowledged %q", a)
		}
		s := d.Snapshot()
		if s.Cuts != 5 || s.Rows != 15 || s.Bytes != 120 || s.Attempts != 1 {
			t.Fatalf("counted %+v", s)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestRetryBacksOffWithJitterUntilItIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const failures = 12
		f, a := &fakeSink{}, &acks{}
		f.answer = func(n int, _ []*sink.Cut) error {
			if n <= failures {
				return &sink.Error{Class: sink.Retry, Err: errors.New("connection refused")}
			}
			return nil
		}
		d, stop := start(t, Config{}, f)
		submit(t, d, cut(0, 1), a.done("0"))
		time.Sleep(10 * time.Minute)
		synctest.Wait()

		w := f.calls()
		if len(w) != failures+1 || a.String() != "0" {
			t.Fatalf("%d writes, acknowledged %q", len(w), a)
		}
		bound, longest := 200*time.Millisecond, time.Duration(0)
		for i := 1; i < len(w); i++ {
			pause := w[i].at.Sub(w[i-1].at)
			if pause > bound {
				t.Errorf("pause %d is %s, over its bound %s", i, pause, bound)
			}
			longest = max(longest, pause)
			bound = min(2*bound, 30*time.Second)
		}
		if longest < 2*time.Second {
			t.Errorf("the longest of %d pauses is %s: there is no back-off", failures, longest)
		}
		if s := d.Snapshot(); s.Failures != [3]int64{failures, 0, 0} || s.Attempts != failures+1 {
			t.Errorf("counted %+v", s)
		}
		if s := d.Status(); !s.Ready || s.Err != nil || s.Pending != 0 {
			t.Errorf("status after success: %+v", s)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestLongOutageIsNotReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSink{answer: func(int, []*sink.Cut) error { return errors.New("no route to host") }}
		d, stop := start(t, Config{}, f)
		began := time.Now()
		submit(t, d, cut(0, 1), func(error) {})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if s := d.Status(); !s.Ready || s.Class != sink.Retry || s.Err == nil {
			t.Errorf("after 10s: %+v", s)
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		s := d.Status()
		if s.Ready || s.Pending != 1 || !s.OldestPending.Equal(began) || s.Since.Sub(began) > time.Second {
			t.Errorf("after 40s: %+v", s)
		}
		// 30 days of it change nothing and cost little.
		time.Sleep(30 * 24 * time.Hour)
		synctest.Wait()
		if n := len(f.calls()); n > 30*24*3600/10 {
			t.Errorf("%d attempts in 30 days", n)
		}
		_ = stop()
	})
}

func TestStopClassIsRetriedSlowlyAndNotReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mended bool
		var mu sync.Mutex
		f, a := &fakeSink{}, &acks{}
		f.answer = func(int, []*sink.Cut) error {
			mu.Lock()
			defer mu.Unlock()
			if mended {
				return nil
			}
			return &sink.Error{Class: sink.Stop, Err: errors.New("no such table"), Hint: "create it"}
		}
		d, stop := start(t, Config{}, f)
		submit(t, d, cut(0, 1), a.done("0"))
		time.Sleep(4*time.Minute + 45*time.Second) // between two retries
		synctest.Wait()
		if n := len(f.calls()); n != 10 {
			t.Errorf("%d attempts in 4:45 minutes, want one every 30s", n)
		}
		if s := d.Status(); s.Ready || s.Class != sink.Stop || !strings.Contains(s.Err.Error(), "create it") {
			t.Errorf("status %+v", s)
		}
		mu.Lock()
		mended = true
		mu.Unlock()
		// Flush does not wait for the slow retry.
		began := time.Now()
		if err := d.Flush(t.Context()); err != nil || time.Since(began) > time.Second {
			t.Errorf("flush: %v after %s", err, time.Since(began))
		}
		if a.String() != "0" || !d.Status().Ready {
			t.Errorf("acknowledged %q, status %+v", a, d.Status())
		}
		_ = stop()
	})
}

func TestFailuresAreLoggedOnceAndOnChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		var cause atomic.Value
		cause.Store("refused")
		f := &fakeSink{answer: func(n int, _ []*sink.Cut) error {
			return &sink.Error{Class: sink.Retry, Err: fmt.Errorf("insert %d rows: %w", n, errors.New(cause.Load().(string)))}
		}}
		d, err := New(Config{}, f, slog.New(slog.NewTextHandler(&out, nil)))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- d.Run(ctx) }()
		submit(t, d, cut(0, 1), func(error) {})
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		cause.Store("timed out")
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		cancel()
		<-ended
		if n := strings.Count(out.String(), "cannot store"); n != 2 {
			t.Errorf("%d reports, want 2:\n%s", n, &out)
		}
	})
}

func TestRejectEndsRunAndAcknowledgesTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, a := &fakeSink{}, &acks{}
		f.answer = func(_ int, cuts []*sink.Cut) error {
			return &sink.Error{Class: sink.Reject, Hint: "mend it", Err: &sink.Rejected{Cuts: []sink.RejectedCut{
				{Index: 1, Row: `{"k":1}`, Err: errors.New("year 9999")},
			}}}
		}
		d, err := New(Config{}, f, quiet)
		if err != nil {
			t.Fatal(err)
		}
		var cause error
		submit(t, d, cut(0, 1), a.done("0"))
		submit(t, d, cut(1, 1), func(err error) { cause = err; a.done("1")(err) })
		submit(t, d, cut(2, 1), a.done("2"))
		err = d.Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), "year 9999") {
			t.Errorf("run returned %v", err)
		}
		if a.String() != "0 1! 2" {
			t.Errorf("callbacks %q", a)
		}
		var e *sink.Error
		if !errors.As(cause, &e) || e.Class != sink.Reject || e.Hint != "mend it" {
			t.Errorf("the cut was told %v", cause)
		}
		if s := d.Status(); s.Ready || s.Class != sink.Reject {
			t.Errorf("status %+v", s)
		}
		if err := d.Submit(t.Context(), cut(0, 2), func(error) {}); !errors.Is(err, ErrStopped) {
			t.Errorf("submit after the end: %v", err)
		}
	})
}

func TestOneCutPerPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		f, a := &fakeSink{}, &acks{}
		f.answer = func(int, []*sink.Cut) error { <-gate; return nil }
		d, stop := start(t, Config{}, f)
		submit(t, d, cut(0, 1), a.done("first"))
		second := make(chan error, 1)
		go func() { second <- d.Submit(t.Context(), cut(0, 2), a.done("second")) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		select {
		case <-second:
			t.Fatal("a second cut of the partition was taken before the first was stored")
		default:
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := d.Submit(ctx, cut(0, 3), func(error) {}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("submit with a deadline: %v", err)
		}
		close(gate)
		if err := <-second; err != nil {
			t.Fatal(err)
		}
		if err := d.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if a.String() != "first second" {
			t.Errorf("acknowledged %q", a)
		}
		_ = stop()
	})
}

func TestEndLeavesNoCallbackOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, a := &fakeSink{}, &acks{}
		f.answer = func(int, []*sink.Cut) error { return errors.New("down") }
		d, stop := start(t, Config{}, f)
		submit(t, d, cut(0, 1), a.done("0"))
		submit(t, d, cut(1, 1), a.done("1"))
		blocked := make(chan error, 1)
		go func() { blocked <- d.Submit(t.Context(), cut(1, 2), a.done("never")) }()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := d.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "2 cuts are not stored") {
			t.Errorf("flush: %v", err)
		}
		if err := stop(); err != nil {
			t.Errorf("run: %v", err)
		}
		if a.String() != "0! 1!" {
			t.Errorf("callbacks %q", a)
		}
		if err := <-blocked; !errors.Is(err, ErrStopped) {
			t.Errorf("a waiting submit got %v", err)
		}
	})
}

func TestSubmitFromACallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, a := &fakeSink{}, &acks{}
		d, stop := start(t, Config{}, f)
		submit(t, d, cut(0, 1), func(err error) {
			a.done("1")(err)
			submit(t, d, cut(0, 2), a.done("2"))
		})
		time.Sleep(time.Second)
		if err := d.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if a.String() != "1 2" {
			t.Errorf("acknowledged %q", a)
		}
		_ = stop()
	})
}

func TestConfigIsChecked(t *testing.T) {
	for _, c := range []Config{{MinBackoff: -1}, {MinBackoff: time.Minute, MaxBackoff: time.Second}} {
		if _, err := New(c, &fakeSink{}, quiet); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
}
