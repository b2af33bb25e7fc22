package clickhouse

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// sending is a connection that takes inserts, and keeps the context of the last.
type sending struct {
	driver.Conn
	ctx context.Context
}

func (c *sending) PrepareBatch(ctx context.Context, _ string, _ ...driver.PrepareBatchOption) (driver.Batch, error) {
	c.ctx = ctx
	return &sentBatch{}, nil
}

func (c *sending) ServerVersion() (*driver.ServerVersion, error) {
	return &driver.ServerVersion{Revision: stringSettingsRevision}, nil
}

type sentBatch struct{ driver.Batch }

func (*sentBatch) Send() error { return nil }

// The client closes the connection of an insert whose context ends, and may see that only when the insert has ended and somebody else has the
// connection. So the context of an insert that was sent does not end, whatever happens to that of its write.
func TestContextOutlivesInsert(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &sending{}
		s := &Sink{cfg: Config{InsertTimeout: time.Minute}, conn: c, log: slog.New(slog.DiscardHandler)}
		ctx, cancel := context.WithCancel(t.Context())
		tok := newToken("t")
		if err := s.insert(ctx, &tableDef{name: "t"}, []string{"a"}, tok, 1, func(driver.Batch) error { return nil }); err != nil {
			t.Fatal(err)
		}
		cancel()
		synctest.Wait()
		if err := c.ctx.Err(); err != nil {
			t.Errorf("the context of the insert has ended: %v", err)
		}
		time.Sleep(time.Minute) // its timer goes
	})
}

func TestBound(t *testing.T) {
	for _, c := range []struct {
		name         string
		of           time.Duration // of the context around it; 0: it has no deadline
		cancel, stop time.Duration // when; 0: never
		ends         time.Duration
		why          error
	}{
		{"the limit", 0, 0, 0, 10 * time.Second, context.DeadlineExceeded},
		{"the limit around it", 3 * time.Second, 0, 0, 3 * time.Second, context.DeadlineExceeded},
		{"a limit around it that is later", 30 * time.Second, 0, 0, 10 * time.Second, context.DeadlineExceeded},
		{"it is called off", 0, 2 * time.Second, 0, 2 * time.Second, context.Canceled},
		{"it is called off when it is over", 0, 2 * time.Second, time.Second, 10 * time.Second, context.DeadlineExceeded},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if c.of > 0 {
					var end context.CancelFunc
					ctx, end = context.WithTimeout(ctx, c.of)
					defer end()
				}
				began := time.Now()
				own, stop := bound(ctx, 10*time.Second)
				defer stop()
				if c.cancel > 0 {
					time.AfterFunc(c.cancel, cancel)
				}
				if c.stop > 0 {
					time.AfterFunc(c.stop, func() { stop() })
				}
				if at, ok := own.Deadline(); !ok || at.Sub(began) > 10*time.Second {
					t.Errorf("its deadline is after %v, %t", at.Sub(began), ok)
				}
				<-own.Done()
				if took := time.Since(began); took != c.ends || !errors.Is(own.Err(), c.why) {
					t.Errorf("ended after %v with %v, want %v with %v", took, own.Err(), c.ends, c.why)
				}
			})
		})
	}
}
