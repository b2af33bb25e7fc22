package clickhouse

import (
	"context"
	"errors"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/weir-stream/weir/edge-node/embedded/libchdb"
)

var errClientCancelled = errors.New("the client cancelled it")

// selectRows streams a SELECT to the client, watching for its Cancel packet or its disappearance.
func (c *connection) selectRows(ctx context.Context, req *request, st statement) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	unwatch := c.watchCancel(cancel)
	a := &answer{started: time.Now()}
	out := &rowSender{c: c, answer: a, compressed: req.compressed}
	err := c.ses.stream(ctx, st, "Native", req.params, out.chunk)
	if gone := unwatch(); gone != nil {
		return gone
	}
	if err != nil {
		return err
	}
	if !out.started { // no rows: the engine sent no header either
		columns, err := c.ses.describe(st.text, req.params)
		if err != nil {
			return err
		}
		if err := c.sendBlock(appendEmptyBlock(nil, columns, layoutOf(c.revision)), req.compressed); err != nil {
			return err
		}
	}
	return c.finish(a, true, req.compressed)
}

// command runs a statement whose whole answer, if any, is small.
func (c *connection) command(ctx context.Context, req *request, st statement) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	unwatch := c.watchCancel(cancel)
	a := &answer{started: time.Now()}
	r, err := c.ses.query(ctx, st, "Native", req.params)
	if gone := unwatch(); gone != nil {
		if err == nil {
			r.Close()
		}
		return gone
	}
	if err != nil {
		return err
	}
	defer r.Close()
	out := &rowSender{c: c, answer: a, compressed: req.compressed}
	if err := out.chunk(r.Bytes(), r.Stats()); err != nil {
		return err
	}
	return c.finish(a, out.started, req.compressed)
}

// rowSender sends blocks of the engine to the client, a header first.
type rowSender struct {
	c          *connection
	answer     *answer
	compressed bool
	started    bool
	scratch    []byte
}

func (s *rowSender) chunk(chunk []byte, stats libchdb.Stats) error {
	s.answer.stats = stats
	to := layoutOf(s.c.revision)
	return eachBlock(chunk, to, &s.scratch, func(h blockHead, block []byte) error {
		if !s.started {
			s.started = true
			if err := s.c.sendBlock(appendEmptyBlock(nil, h.columns, to), s.compressed); err != nil {
				return err
			}
		}
		if h.rows == 0 {
			return nil
		}
		s.answer.rows += uint64(h.rows)
		s.answer.blocks++
		s.answer.bytes += uint64(len(block))
		return s.c.sendBlock(block, s.compressed)
	})
}

// watchCancel reads ahead while a query runs. A Cancel packet or the end of the connection cancels the query. The
// returned function stops reading and returns the connection's own error, if it broke.
func (c *connection) watchCancel(cancel context.CancelCauseFunc) func() error {
	var broken error
	stopped := make(chan struct{})
	if c.in.buffered() > 0 && c.in.buf[c.in.pos] != byte(proto.ClientCodeCancel) {
		close(stopped) // the client has already sent its next packet: nothing can be watched for
	} else {
		go func() {
			defer close(stopped)
			for c.in.buffered() == 0 {
				if err := c.in.fill(); err != nil {
					broken = err
					break
				}
			}
			if broken == nil && c.in.buf[c.in.pos] == byte(proto.ClientCodeCancel) {
				c.in.pos++
				cancel(errClientCancelled)
			} else if broken != nil && !isDeadline(broken) {
				cancel(errors.New("the client is gone"))
			}
		}()
	}
	return func() error {
		_ = c.nc.SetReadDeadline(time.Unix(1, 0))
		<-stopped
		_ = c.nc.SetReadDeadline(time.Time{})
		if isDeadline(broken) {
			return nil
		}
		return broken
	}
}
