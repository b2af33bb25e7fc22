package engine

import (
	"context"
	"errors"
	"testing"

	"github.com/weir-stream/weir/sink"
)

// answering is a delivery whose cuts come to what the test says.
type answering func(ctx context.Context, done func(error)) error

func (f answering) Submit(ctx context.Context, _ *sink.Cut, done func(error)) error {
	return f(ctx, done)
}

// A cut that was withdrawn or refused may not be taken for one that was acknowledged, at no moment: what it had would leave the disk with
// the next change, and be nowhere any more.
func TestOnlyWhatIsAcknowledgedLeavesTheDisk(t *testing.T) {
	refused := errors.New("refused")
	for name, c := range map[string]struct {
		delivery func(cancel func()) answering
		taken    bool
	}{
		"acknowledged": {func(func()) answering {
			return func(_ context.Context, done func(error)) error { done(nil); return nil }
		}, true},
		"refused": {func(func()) answering {
			return func(_ context.Context, done func(error)) error { done(refused); return nil }
		}, false},
		"withdrawn when the partition was lost": {func(cancel func()) answering {
			return func(ctx context.Context, done func(error)) error { cancel(); done(ctx.Err()); return nil }
		}, false},
		"stored when the partition was lost": {func(cancel func()) answering {
			return func(_ context.Context, done func(error)) error { cancel(); done(nil); return nil }
		}, false},
		"not taken": {func(func()) answering {
			return func(context.Context, func(error)) error { return refused }
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			e := &Engine{stop: func() {}}
			e.cfg.Delivery = c.delivery(cancel)
			l := &lane{e: e, ctx: ctx, cancel: cancel, wake: make(chan struct{}, 1)}
			l.local = local{
				sent: &saved{letters: 3, coverage: sink.Coverage{Version: 10}}, pass: 20,
				closed: []closed{{start: 0, end: 10, version: 10}, {start: 10, end: 20, version: 12}, {start: 20, end: 30, version: 12}},
			}
			l.submit(&sink.Cut{}, nil)
			l.reap()
			d := &l.local
			var gone []int64
			for _, w := range d.closed {
				if w.version < 0 {
					gone = append(gone, w.start)
				}
			}
			if c.taken != (d.acked == 3) || c.taken != (len(gone) == 2) || !c.taken && len(gone) > 0 {
				t.Errorf("%d dead letters and the windows %d leave the disk", d.acked, gone)
			}
			if !c.taken && ctx.Err() == nil {
				t.Error("the lane goes on")
			}
		})
	}
}
