// Package delivery is the hand-off between lanes and a sink: one goroutine per pipeline that stores cuts, and goes on
// trying until they are stored.
//
// Lanes call Submit and go on; the sink is called by Run alone, with everything live that waits at that moment, so that one
// insert carries many partitions. A cut is acknowledged once and in order for its partition. It is never dropped: what
// passes by itself is retried with growing pauses, what needs a person is retried slowly and makes the pipeline not
// ready, and what the destination will never take ends Run, so that the pipeline stops where it can be seen.
//
// A backlog, which a node kept on its disk while the sink was away, is stored at a pace of its own between what is live.
//
// There is no queue to overflow: a partition has one cut with delivery, and its lane keeps changes in its windows until
// that is acknowledged.
package delivery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

// ErrStopped is what Submit and Flush return, and callbacks get, when Run has ended. The cuts were perhaps stored; what
// is not acknowledged is made again from the source.
var ErrStopped = errors.New("delivery has stopped")

// ErrWithdrawn is what the callback of a cut gets whose context ended before it was stored.
var ErrWithdrawn = errors.New("the cut was withdrawn")

// Config says how to retry. The zero value is the defaults.
type Config struct {
	// MinBackoff and MaxBackoff bound the pause before a retry of what passes by itself. The bound doubles with every
	// failure in a row, and the pause is chosen at random below it, so that sites which lost the same server do not
	// come back together. Defaults 200ms and 30s.
	MinBackoff, MaxBackoff time.Duration
	// StopBackoff is the pause before a retry of what needs a person. Default 30s.
	StopBackoff time.Duration
	// Gather is how long the first of several cuts waits for the others. Default 10ms.
	Gather time.Duration
	// UnreadyAfter is how long failures that pass by themselves may last before the pipeline is not ready. Default 30s.
	UnreadyAfter time.Duration
	// LogEvery is the least time between two reports of different failures. Default 30s.
	LogEvery time.Duration
	// Lease is renewed before cuts are stored; nil is a lease that never runs out.
	Lease sink.Lease
	// Link says how long nothing should be stored, for the sake of the link to the sink, and until when if that is known; nil
	// is a link without a budget. It is asked before every write, and again when the time is over.
	Link func(now time.Time) (wait time.Duration, until time.Time)
}

// Validate fills in defaults and refuses what cannot be.
func (c *Config) Validate() error {
	for _, d := range []struct {
		name  string
		value *time.Duration
		def   time.Duration
	}{
		{"min backoff", &c.MinBackoff, 200 * time.Millisecond},
		{"max backoff", &c.MaxBackoff, 30 * time.Second},
		{"stop backoff", &c.StopBackoff, 30 * time.Second},
		{"gather", &c.Gather, 10 * time.Millisecond},
		{"unready after", &c.UnreadyAfter, 30 * time.Second},
		{"log every", &c.LogEvery, 30 * time.Second},
	} {
		if *d.value == 0 {
			*d.value = d.def
		}
		if *d.value < 0 {
			return fmt.Errorf("delivery: %s %s is negative", d.name, *d.value)
		}
	}
	if c.MaxBackoff < c.MinBackoff {
		return fmt.Errorf("delivery: max backoff %s is below min backoff %s", c.MaxBackoff, c.MinBackoff)
	}
	return nil
}

// Delivery stores the cuts of one pipeline. Its methods are safe for concurrent use; Run is called once.
type Delivery struct {
	cfg      Config
	sink     sink.Sink
	log      *slog.Logger
	counters counters

	work chan struct{} // holds one token when there is something new to store
	now  chan struct{} // holds one token when a retry should not wait

	mu      sync.Mutex
	pending []*item                   // not acknowledged, in the order of Submit
	busy    map[batch.Partition]*item // the same by partition
	changed chan struct{}             // closed and replaced when pending shrinks or delivery stops
	stopped bool
	failure failure
	writing map[*item]bool // of the write under way; nil when there is none
	abort   func()         // ends it
	pace    pace
	held    time.Time // until when Link says to wait; zero when it does not
}

// item is a submitted cut.
type item struct {
	cut       *sink.Cut
	done      func(error)
	at        time.Time
	live      func() error // whether the cut was withdrawn
	unwatched func() bool  // ends watching for that
}

// failure is what is wrong now; err is nil when nothing is.
type failure struct {
	class sink.Class
	err   error
	since time.Time
	count int // in a row

	logged   time.Time
	loggedAs string
}

// New makes a delivery to a sink, which stays the caller's to close.
func New(cfg Config, s sink.Sink, log *slog.Logger) (*Delivery, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Delivery{
		cfg: cfg, sink: s, log: log,
		work: make(chan struct{}, 1), now: make(chan struct{}, 1), changed: make(chan struct{}),
		busy: map[batch.Partition]*item{}, pace: newPace(),
	}, nil
}

// Submit hands a cut over. It waits only where the partition's last cut is not acknowledged yet. done is called exactly
// once if Submit returns nil: with nil when the cut is stored, otherwise with why it will not be. It is called from
// Run's goroutine and must not wait for anything of delivery's. The cut must not be changed until then.
//
// The context is the cut's: when it ends, because the partition is somebody else's now, the cut is withdrawn. A write that
// carries it is given up, and done with the other cuts again.
func (d *Delivery) Submit(ctx context.Context, cut *sink.Cut, done func(error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p := cut.Coverage.Partition
	d.mu.Lock()
	for d.busy[p] != nil && !d.stopped {
		if err := d.waitChange(ctx); err != nil {
			d.mu.Unlock()
			return err
		}
	}
	if d.stopped {
		d.mu.Unlock()
		return ErrStopped
	}
	it := &item{cut: cut, done: done, at: time.Now(), live: ctx.Err}
	d.pending = append(d.pending, it)
	d.busy[p] = it
	it.unwatched = context.AfterFunc(ctx, func() { d.withdrawn(it) })
	d.mu.Unlock()
	poke(d.work)
	return nil
}

// withdrawn ends the write that carries an item, and any pause: Run sorts the item out.
func (d *Delivery) withdrawn(it *item) {
	d.mu.Lock()
	if d.writing[it] {
		d.abort()
	}
	d.mu.Unlock()
	poke(d.work)
	poke(d.now)
}

// waitChange waits, with mu given up meanwhile, for pending to shrink.
func (d *Delivery) waitChange(ctx context.Context) error {
	changed := d.changed
	d.mu.Unlock()
	defer d.mu.Lock()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Flush waits until everything submitted before is acknowledged, and makes a retry that is being waited for happen now.
func (d *Delivery) Flush(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.pending) == 0 {
		return nil
	}
	poke(d.now)
	waiting := make(map[*item]bool, len(d.pending))
	for _, it := range d.pending {
		waiting[it] = true
	}
	for {
		left := 0
		for _, it := range d.pending {
			if waiting[it] {
				left++
			}
		}
		switch {
		case d.stopped:
			return ErrStopped
		case left == 0:
			return nil
		}
		if err := d.waitChange(ctx); err != nil {
			if d.failure.err != nil {
				return fmt.Errorf("%d cuts are not stored: %w (%w)", left, err, d.failure.err)
			}
			return fmt.Errorf("%d cuts are not stored: %w", left, err)
		}
	}
}

// Run stores cuts until ctx ends, which is not an error, or the sink refuses a cut for good, which is. Callbacks of cuts
// that are not acknowledged then get ErrStopped.
func (d *Delivery) Run(ctx context.Context) error {
	defer d.stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.work:
		}
		if !pause(ctx, d.cfg.Gather, nil) {
			return nil
		}
		for {
			items, wait := d.choose()
			if len(items) == 0 && wait == 0 {
				break
			}
			if len(items) == 0 {
				// What is submitted meanwhile may be stored before, and what was withdrawn need not wait.
				d.sortOut()
				if !pause(ctx, wait, d.work) {
					return nil
				}
				continue
			}
			wait, err := d.attempt(ctx, items)
			if err != nil {
				return err
			}
			if !pause(ctx, wait, d.now) {
				return nil
			}
		}
	}
}

// choose says what is to be stored now, or how long to wait until something may be.
func (d *Delivery) choose() ([]*item, time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if d.cfg.Link != nil && len(d.pending) > 0 {
		wait, until := d.cfg.Link(now)
		if !until.Equal(d.held) && !until.IsZero() {
			d.log.Info("waiting for shipping hours", "until", until)
		}
		if d.held = until; wait > 0 {
			return nil, wait
		}
	}
	return d.pace.choose(d.pending, now)
}

// sortOut ends what was withdrawn of all that is pending.
func (d *Delivery) sortOut() {
	d.mu.Lock()
	items := slices.Clone(d.pending)
	d.mu.Unlock()
	d.dropWithdrawn(items)
}

// PartRows is about how many rows a cut of a backlog should have now.
func (d *Delivery) PartRows() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return min(d.pace.rows, firstRows)
}

// attempt writes once. wait is how long to pause before the next; err ends Run.
func (d *Delivery) attempt(ctx context.Context, items []*item) (wait time.Duration, err error) {
	if l := d.cfg.Lease; l != nil {
		if err := l.Renew(ctx); err != nil {
			if ctx.Err() != nil || d.dropWithdrawn(items) != len(items) {
				return 0, nil
			}
			return d.failed(sink.Retry, fmt.Errorf("%w: %w", sink.ErrLease, err)), nil
		}
	}
	// In this order: who takes the node in again takes the partitions from it before.
	if d.dropWithdrawn(items) != len(items) {
		return 0, nil
	}
	cuts := make([]*sink.Cut, len(items))
	for i, it := range items {
		cuts[i] = it.cut
	}
	write, abort := context.WithCancel(ctx)
	defer abort()
	d.mu.Lock()
	d.writing, d.abort = make(map[*item]bool, len(items)), abort
	for _, it := range items {
		d.writing[it] = true
		if it.live() != nil {
			abort()
		}
	}
	d.mu.Unlock()
	stop := d.watchLease(abort)
	d.counters.attempts.Add(1)
	began := time.Now()
	err = d.sink.Write(write, cuts)
	stop()
	d.mu.Lock()
	d.writing = nil
	d.mu.Unlock()
	if err == nil {
		d.recovered(cuts, began)
		d.finish(items, nil)
		return 0, nil
	}
	if write.Err() != nil {
		return 0, nil // somebody gave up, and not the sink
	}
	class := sink.Retry
	var e *sink.Error
	if errors.As(err, &e) {
		class = e.Class
		if e.Overload {
			d.mu.Lock()
			d.pace.overloaded(time.Now())
			d.mu.Unlock()
		}
	}
	d.counters.failures[class].Add(1)
	if class == sink.Reject {
		return 0, d.rejected(items, err)
	}
	return d.failed(class, err), nil
}

// dropWithdrawn ends the items that were withdrawn, and tells how many are left.
func (d *Delivery) dropWithdrawn(items []*item) (left int) {
	var gone []*item
	for _, it := range items {
		if it.live() != nil {
			gone = append(gone, it)
		}
	}
	d.finish(gone, ErrWithdrawn)
	d.mu.Lock()
	if len(gone) > 0 && len(d.pending) == 0 {
		d.failure = failure{} // nobody waits for it to pass any more
	}
	d.mu.Unlock()
	return len(items) - len(gone)
}

// watchLease ends a write under way when the lease runs out: what the server does not have by then, it must not get.
func (d *Delivery) watchLease(abort func()) (stop func()) {
	if d.cfg.Lease == nil {
		return func() {}
	}
	const every = time.Second
	var mu sync.Mutex
	ended := false
	var t *time.Timer
	mu.Lock()
	t = time.AfterFunc(every, func() {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case ended:
		case d.cfg.Lease.Held():
			t.Reset(every)
		default:
			abort()
		}
	})
	mu.Unlock()
	return func() {
		mu.Lock()
		defer mu.Unlock()
		ended = true
		t.Stop()
	}
}

// rejected acknowledges the cuts that were stored, tells the owners of the others, and gives the error that ends Run.
func (d *Delivery) rejected(items []*item, err error) error {
	d.mu.Lock()
	d.failure = failure{class: sink.Reject, err: err, since: time.Now(), count: 1}
	d.mu.Unlock()
	d.log.Error("the destination refuses rows for good; the pipeline stops", "error", err)

	named := map[int]error{}
	var r *sink.Rejected
	if errors.As(err, &r) {
		for _, c := range r.Cuts {
			named[c.Index] = &sink.Error{Class: sink.Reject, Err: c.Err, Hint: hintOf(err)}
		}
	}
	for i, it := range items {
		cause := named[i]
		if r == nil {
			cause = err
		}
		d.finish([]*item{it}, cause)
	}
	return err
}

func hintOf(err error) string {
	var e *sink.Error
	if errors.As(err, &e) {
		return e.Hint
	}
	return ""
}

// finish calls the callbacks of items, with no lock held, and takes the items out of pending. In this order: a callback
// may submit the partition's next cut, and who waits in Flush may rely on what the callbacks did.
func (d *Delivery) finish(items []*item, err error) {
	if len(items) == 0 {
		return
	}
	gone := make(map[*item]bool, len(items))
	d.mu.Lock()
	for _, it := range items {
		gone[it] = true
		delete(d.busy, it.cut.Coverage.Partition)
	}
	d.mu.Unlock()

	for _, it := range items {
		it.unwatched()
		if err == nil {
			d.counters.acked(it.cut)
		}
		it.done(err)
	}

	d.mu.Lock()
	defer d.mu.Unlock()
	d.pending = slices.DeleteFunc(d.pending, func(it *item) bool { return gone[it] })
	d.broadcast()
}

// broadcast wakes all who wait in waitChange. mu is held.
func (d *Delivery) broadcast() {
	close(d.changed)
	d.changed = make(chan struct{})
}

// stop ends what is pending.
func (d *Delivery) stop() {
	d.mu.Lock()
	d.stopped = true
	items := slices.Clone(d.pending)
	d.broadcast()
	d.mu.Unlock()
	d.finish(items, ErrStopped)
}

// pause waits, or less when there is a token in early. It tells whether ctx is still there.
func pause(ctx context.Context, wait time.Duration, early <-chan struct{}) bool {
	if wait <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
	case <-early:
	}
	return ctx.Err() == nil
}

// poke leaves a token where there is none.
func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// backoff is the pause after the n-th failure in a row: anything up to a bound that doubles each time.
func (c *Config) backoff(n int) time.Duration {
	bound := c.MinBackoff
	for range n - 1 {
		if bound *= 2; bound >= c.MaxBackoff {
			bound = c.MaxBackoff
			break
		}
	}
	return time.Duration(rand.Int64N(int64(bound) + 1))
}
