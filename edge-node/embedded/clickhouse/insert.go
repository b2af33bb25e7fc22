package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
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
	c.in.src = &patientReader{ctx: ctx, nc: c.nc, patience: receiveTimeout(req.settings)}
	err = c.receive(ctx, req, ins, scratch)
	c.in.src = c.nc
	if ctx.Err() == nil {
		_ = c.nc.SetReadDeadline(time.Time{})
	}
	if err != nil {
		return err
	}
	stats, err := ins.Done()
	if err != nil {
		return err
	}
	a.stats = stats
	return c.finish(a, false, req.compressed)
}

// defaultReceiveTimeout is that of ClickHouse.
const defaultReceiveTimeout = 300 * time.Second

// receiveTimeout is for how long the rows of an insert may fail to come: the setting receive_timeout, in seconds.
func receiveTimeout(settings []setting) time.Duration {
	for _, s := range settings {
		if s.name == "receive_timeout" {
			if seconds, err := strconv.ParseUint(s.value, 10, 31); err == nil && seconds > 0 {
				return time.Duration(seconds) * time.Second
			}
		}
	}
	return defaultReceiveTimeout
}

// patientReader reads from a connection, and waits for so long each time. Once the server stops it waits no more.
type patientReader struct {
	ctx      context.Context
	nc       net.Conn
	patience time.Duration
}

func (r *patientReader) Read(p []byte) (int, error) {
	_ = r.nc.SetReadDeadline(time.Now().Add(r.patience))
	if r.ctx.Err() != nil { // asked last: the server sets a deadline of its own when it stops
		return 0, os.ErrDeadlineExceeded
	}
	return r.nc.Read(p)
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
