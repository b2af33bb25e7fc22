package delivery

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-stream/weir/sink"
)

// fakeLease is held or not; renewing it gives the error that is set.
type fakeLease struct {
	mu     sync.Mutex
	held   bool
	err    error
	before func() // called by Renew
}

func (l *fakeLease) set(held bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held, l.err = held, err
}

func (l *fakeLease) Held() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held
}

func (l *fakeLease) Renew(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.before != nil {
		l.before()
	}
	if l.err == nil {
		l.held = true
	}
	return l.err
}

func TestNothingIsStoredWithoutTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := &fakeSink{}, &fakeLease{err: errors.New("the brokers are away")}
		d, stop := start(t, Config{Lease: l}, s)
		var a acks
		submit(t, d, cut(0, 1), a.done("a"))
		time.Sleep(time.Minute)
		if n := len(s.calls()); n > 0 {
			t.Errorf("%d writes", n)
		}
		if st := d.Status(); st.Ready || !errors.Is(st.Err, sink.ErrLease) || !strings.Contains(st.Err.Error(), "the brokers are away") {
			t.Errorf("status %+v", st)
		}
		l.set(false, nil)
		time.Sleep(time.Minute)
		if st := d.Status(); a.String() != "a" || !st.Ready {
			t.Errorf("with the lease: acknowledged %q, %+v", a.String(), st)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestWithdrawn ends partitions while their cuts wait for the lease, for a retry, and for the sink.
func TestWithdrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := &fakeSink{}, &fakeLease{}
		d, stop := start(t, Config{Lease: l}, s)
		var a acks
		withdrawn := func(partition int32, name string) context.CancelFunc {
			ctx, cancel := context.WithCancel(t.Context())
			if err := d.Submit(ctx, cut(partition, 1), a.done(name)); err != nil {
				t.Fatal(err)
			}
			return cancel
		}

		l.set(false, errors.New("not a member"))
		cancel := withdrawn(0, "lease")
		time.Sleep(time.Minute)
		cancel()
		synctest.Wait()
		if st := d.Status(); a.String() != "lease!" || !st.Ready {
			t.Errorf("told %q, %+v", a.String(), st)
		}

		// The group takes the node in again, after it took the partition away.
		cancel = withdrawn(0, "again")
		l.mu.Lock()
		l.err, l.before = nil, cancel
		l.mu.Unlock()
		time.Sleep(time.Minute)
		if n := len(s.calls()); n > 0 || a.String() != "lease! again!" {
			t.Errorf("%d writes, told %q", n, a.String())
		}
		l.mu.Lock()
		l.before = nil
		l.mu.Unlock()

		s.answer = func(int, []*sink.Cut) error { return errors.New("away") }
		cancel = withdrawn(0, "retry")
		time.Sleep(time.Minute)
		before := len(s.calls())
		cancel()
		synctest.Wait()
		if a.String() != "lease! again! retry!" || before == 0 || len(s.calls()) != before {
			t.Errorf("told %q, %d writes before and %d behind", a.String(), before, len(s.calls()))
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// hanging is a sink that is stuck until its context ends.
type hanging struct {
	fakeSink
	free bool
}

func (h *hanging) Write(ctx context.Context, cuts []*sink.Cut) error {
	_ = h.fakeSink.Write(ctx, cuts)
	if h.free {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

// TestWriteIsAborted ends a partition, and then the lease, during a write.
func TestWriteIsAborted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := &hanging{}, &fakeLease{held: true}
		d, stop := start(t, Config{Lease: l}, s)
		var a acks
		ctx, cancel := context.WithCancel(t.Context())
		submit(t, d, cut(0, 1), a.done("stays"))
		if err := d.Submit(ctx, cut(1, 1), a.done("leaves")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour) // the lease is held: a slow write goes on
		if n := len(s.calls()); n != 1 {
			t.Fatalf("%d writes", n)
		}
		cancel()
		synctest.Wait()
		if calls := s.calls(); a.String() != "leaves!" || len(calls) != 2 || len(calls[1].cuts) != 1 {
			t.Fatalf("told %q, %d writes", a.String(), len(calls))
		}
		l.set(false, errors.New("not a member"))
		time.Sleep(time.Minute)
		if n := len(s.calls()); n != 2 || a.String() != "leaves!" {
			t.Errorf("without the lease: %d writes, told %q", n, a.String())
		}
		if st := d.Status(); !errors.Is(st.Err, sink.ErrLease) {
			t.Errorf("the write was not ended: %+v", st)
		}
		s.free = true
		l.set(false, nil)
		time.Sleep(time.Minute)
		if a.String() != "leaves! stays" {
			t.Errorf("told %q", a.String())
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}
