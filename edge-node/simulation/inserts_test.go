package simulation

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

// client is the way of one process to the centre, and is to it what sink/clickhouse is.
type client struct {
	p      *process
	lease  sink.Lease
	opened map[segment]bool // of delivery's goroutine alone
}

// road is what happens on the way to the centre at the moment.
type road struct {
	away  atomic.Bool  // nobody answers
	hangs atomic.Bool  // and not even that is told: inserts run into their timeout
	flaky atomic.Int64 // of 100 inserts, how many go wrong in some way
}

const insertTimeout = 30 * time.Second

func retry(text string) error { return &sink.Error{Class: sink.Retry, Err: errors.New(text)} }

// Check implements sink.Sink.
func (c *client) Check(context.Context) error { return nil }

// Close implements sink.Sink.
func (c *client) Close() error { return nil }

// Coverage implements sink.Sink.
func (c *client) Coverage(ctx context.Context, ps []batch.Partition) ([][]sink.Coverage, error) {
	if err := c.ask(ctx); err != nil {
		return nil, err
	}
	all := make([][]sink.Coverage, len(ps))
	for i, p := range ps {
		all[i] = c.p.w.centre.read(p)
	}
	return all, nil
}

// States implements sink.Sink.
func (c *client) States(ctx context.Context, p batch.Partition, at sink.StateKey) ([]sink.StepState, error) {
	if err := c.ask(ctx); err != nil {
		return nil, err
	}
	return c.p.w.centre.readStates(ctx, p, at), nil
}

func (c *client) ask(ctx context.Context) error {
	if err := c.travel(ctx, 5*time.Millisecond); err != nil {
		return err
	}
	return c.p.step()
}

// travel takes the time a message takes, and fails where nobody answers.
func (c *client) travel(ctx context.Context, d time.Duration) error {
	w := c.p.w
	c.p.pass()
	if w.road.away.Load() {
		d = 10 * time.Millisecond
		if w.road.hangs.Load() {
			d = insertTimeout
		}
		if err := sleep(ctx, d); err != nil {
			return err
		}
		w.hit(faultOutage)
		return retry("no answer")
	}
	if err := sleep(ctx, d); err != nil {
		return err
	}
	c.p.onItsWay()
	c.p.pass()
	return c.p.alive()
}

// Write implements sink.Sink.
func (c *client) Write(ctx context.Context, cuts []*sink.Cut) error {
	for _, in := range blocks(cuts, c.opened) {
		if err := c.send(ctx, &in); err != nil {
			return err
		}
		for _, cut := range in.cuts {
			if in.kind == insertOpening || in.kind == insertCoverage {
				c.opened[segmentOf(&cut.Coverage)] = true
			}
		}
	}
	return nil
}

// send brings an insert to the centre, or not, or late, or twice.
func (c *client) send(ctx context.Context, in *insert) error {
	w := c.p.w
	if err := c.travel(ctx, time.Duration(5+w.rand(40))*time.Millisecond); err != nil {
		return err
	}
	if err := c.p.step(); err != nil {
		return err
	}
	if !c.lease.Held() { // as sink/clickhouse asks before it sends a block
		w.hit(faultLeaseOver)
		return &sink.Error{Class: sink.Retry, Err: sink.ErrLease}
	}
	if c.p.isStale() {
		w.hit(faultStaleWrite)
	}
	if w.rand(100) < int(w.road.flaky.Load()) {
		switch w.rand(4) {
		case 0:
			w.hit(faultLostInsert)
			return retry("the connection was closed before the insert was sent")
		case 1:
			w.hit(faultLostAck)
			if !w.centre.take(in) {
				return retry("code: 252, too many parts")
			}
			return retry("the connection was closed before the answer")
		case 2:
			if w.plan.excludes(faultLateInsert) {
				w.hit(faultLostInsert)
				return retry("timeout")
			}
			w.hit(faultLateInsert)
			w.later(in)
			return retry("timeout")
		default:
			w.hit(faultTwice)
			w.later(in)
		}
	}
	if !w.centre.take(in) {
		return retry("code: 252, too many parts")
	}
	if err := sleep(ctx, time.Duration(w.rand(20))*time.Millisecond); err != nil {
		return err
	}
	c.p.pass()
	return c.p.step()
}

// later has an insert arrive after minutes, whatever became of who sent it.
func (w *world) later(in *insert) {
	copied := *in
	w.background.Go(func() {
		if sleep(w.life, time.Duration(1+w.rand(300))*time.Second) == nil {
			w.centre.take(&copied)
		}
	})
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
