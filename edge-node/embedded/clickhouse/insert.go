package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/weir-stream/weir/edge-node/embedded/libchdb"
)

func isDeadline(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// insert runs an INSERT: with the rows that are in its text, or with the blocks the client sends once it has seen what
// they must look like.
func (c *connection) insert(ctx context.Context, req *request, st statement, scratch *[]byte) error {
	a := &answer{started: time.Now()}
	// Clients before 54429 repeat in the text the rows they send as blocks; newer ones mean the text alone.
	if st.inline && proto.FeatureSettingsSerializedAsStrings.In(c.revision) {
		stats, err := c.ses.insertBytes(ctx, st, []byte(req.body[st.data:]), req.params)
		if err != nil {
			return err
		}
		a.stats = stats
		return c.finish(a, false, req.compressed)
	}
	columns, err := c.ses.header(st, req.params)
	if err != nil {
		return err
	}
	ins, err := c.ses.conn.Insert(st.head, "Native", req.params)
	if err != nil {
		return err
	}
	defer ins.Close()
	if err := c.sendBlock(appendEmptyBlock(nil, columns, layoutOf(c.revision)), req.compressed); err != nil {
		return err
	}
	if err := c.receive(ctx, req, ins, scratch); err != nil {
		return err
	}
	stats, err := ins.Done()
	if err != nil {
		return err
	}
	a.stats = stats
	return c.finish(a, false, req.compressed)
}

var errInsertCancelled = errors.New("the client cancelled the insert")

// receive passes the client's blocks to the engine up to the empty one. After an error of the engine it reads on to that
// block, so that the connection stays usable, and returns the error then.
func (c *connection) receive(ctx context.Context, req *request, ins *libchdb.Insert, scratch *[]byte) error {
	var failed error
	for {
		code, err := c.in.uvarint()
		if err != nil {
			return unexpected(err)
		}
		switch proto.ClientCode(code) {
		case proto.ClientCodeCancel:
			if failed != nil {
				return nil
			}
			return exceptionf(codeCancelled, "%v", errInsertCancelled)
		case proto.ClientCodeData:
		default:
			return &brokenStream{exceptionf(codeUnexpectedPacket, "Unexpected packet %d from client instead of Data", code)}
		}
		_, h, block, err := c.readBlock(req.compressed, scratch)
		if err != nil {
			if isGone(err) {
				return err
			}
			return &brokenStream{fmt.Errorf("read the rows to insert: %w", err)}
		}
		if len(h.columns) == 0 {
			return failed
		}
		if failed != nil || h.rows == 0 {
			continue
		}
		if failed = ins.Append(block); failed == nil && ctx.Err() != nil {
			failed = exceptionf(codeCancelled, "the server stops")
		}
	}
}

// insertBytes inserts rows that are in memory.
func (s *session) insertBytes(ctx context.Context, st statement, rows []byte, params []libchdb.Param) (libchdb.Stats, error) {
	if err := forbidden(st.head); err != nil {
		return libchdb.Stats{}, err
	}
	ins, err := s.conn.Insert(st.head, st.format, params)
	if err != nil {
		return libchdb.Stats{}, err
	}
	defer ins.Close()
	defer s.watch(ctx)()
	if err := ins.Append(rows); err != nil {
		return libchdb.Stats{}, err
	}
	stats, err := ins.Done()
	return stats, s.cancelled(ctx, err)
}
