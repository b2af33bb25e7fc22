package clickhouse

import (
	"context"
	"errors"
	"time"
)

// bound gives a context for one insert: it ends when ctx does, and after d. It does not end when the insert has: the client looks, in a
// goroutine that may run late, whether the context of an insert has ended, and would close a connection that others have by then. Call
// stop when the insert has ended; what the timer holds goes after d.
func bound(ctx context.Context, d time.Duration) (own context.Context, stop func() bool) {
	at := time.Now().Add(d)
	if sooner, ok := ctx.Deadline(); ok && sooner.Before(at) {
		at = sooner
	}
	own, cancel := context.WithDeadline(context.WithoutCancel(ctx), at)
	return own, context.AfterFunc(ctx, func() {
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) { // or it ends by itself, and says why
			cancel()
		}
	})
}
