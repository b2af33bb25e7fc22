package clickhouse

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/ClickHouse/ch-go/proto"
)

// revision is the protocol revision announced: the newest clickhouse-go v2 speaks. It includes query parameters (54459).
const revision = 54460

// oldestRevision is that of the oldest client accepted (2018): settings of older ones are laid out otherwise.
const oldestRevision = 54372

const (
	helloTimeout = 10 * time.Second
	writeTimeout = 5 * time.Minute // a client that reads nothing for so long is gone
	stopGrace    = 2 * time.Second
	maxSmallText = 64 << 10 // names, ids, passwords
	maxQueryText = 64 << 20 // a statement with inline rows
	maxSettings  = 2000
	maxParams    = 10_000
	frameSize    = 1 << 20 // bytes compressed together, as ClickHouse does it
)

// connection is one client on the native port.
type connection struct {
	srv *Server
	nc  net.Conn
	in  *input

	revision int // what both sides speak
	database string
	ses      *session

	out        proto.Buffer
	compressor *compress.Writer
}

func (s *Server) serveConn(ctx context.Context, nc net.Conn) {
	defer nc.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// Nothing here waits for a client once the server stops: no next packet is read, and an answer has a moment left.
	defer context.AfterFunc(ctx, func() {
		_ = nc.SetReadDeadline(time.Now())
		time.AfterFunc(stopGrace, func() { _ = nc.Close() })
	})()

	c := &connection{srv: s, nc: nc, in: newInput(nc), compressor: compress.NewWriter(compress.LevelZero, compress.LZ4)}
	defer func() {
		if c.ses != nil {
			c.ses.close()
		}
	}()
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		_ = c.sendException(exceptionf(codeTooManyConns, "Too many connections: the embedded server serves %d at once", cap(s.slots)))
		return
	}
	_ = nc.SetReadDeadline(time.Now().Add(helloTimeout))
	if err := c.hello(); err != nil {
		if !isGone(err) {
			_ = c.sendException(asException(err))
		}
		return
	}
	_ = nc.SetReadDeadline(time.Time{})
	for ctx.Err() == nil {
		err := c.packet(ctx)
		if err == nil {
			continue
		}
		if !isGone(err) && ctx.Err() == nil {
			_ = c.sendException(asException(err))
		}
		return
	}
}

// isGone reports errors that mean nobody is left to tell.
func isGone(err error) bool {
	var ne net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.As(err, &ne)
}

func isTooManyFiles(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// packet reads one packet and answers it. An error ends the connection.
func (c *connection) packet(ctx context.Context) error {
	code, err := c.in.uvarint()
	if err != nil {
		return err
	}
	switch proto.ClientCode(code) {
	case proto.ClientCodePing:
		proto.ServerCodePong.Encode(&c.out)
		return c.flush()
	case proto.ClientCodeQuery:
		return c.query(ctx)
	case proto.ClientCodeCancel:
		return nil // what it meant to cancel has ended
	case proto.ClientCodeData:
		return exceptionf(codeUnexpectedPacket, "Unexpected packet Data: no query waits for rows")
	}
	return exceptionf(codeUnknownPacket, "Unknown packet %d from client", code)
}

// hello does the handshake.
func (c *connection) hello() error {
	code, err := c.in.uvarint()
	if err != nil {
		return err
	}
	if code == 'G' || code == 'P' || code == 'H' {
		_, _ = io.WriteString(c.nc, "HTTP/1.0 400 Bad Request\r\n\r\nThis is the port of ClickHouse's native protocol. HTTP is on "+c.srv.HTTPAddr()+"\n")
		return io.EOF
	}
	if proto.ClientCode(code) != proto.ClientCodeHello {
		return exceptionf(codeUnexpectedPacket, "Unexpected packet %d from client instead of Hello", code)
	}
	if _, err := c.in.text(maxSmallText); err != nil { // the client's name
		return unexpected(err)
	}
	var numbers [3]uint64
	for i := range numbers {
		if numbers[i], err = c.in.uvarint(); err != nil {
			return unexpected(err)
		}
	}
	var fields [3]string
	for i := range fields {
		if fields[i], err = c.in.text(maxSmallText); err != nil {
			return unexpected(err)
		}
	}
	if numbers[2] < oldestRevision {
		return exceptionf(codeBadArguments, "the client speaks revision %d of the protocol; the embedded server needs %d or newer", numbers[2], oldestRevision)
	}
	c.revision = int(min(numbers[2], revision))
	c.database = fields[0]
	if err := c.srv.authenticate(fields[1], fields[2]); err != nil {
		return err
	}
	if c.ses, err = c.srv.newSession(); err != nil {
		return err
	}
	if c.database != "" {
		if err := c.ses.use(c.database); err != nil {
			return err
		}
	}
	hello := proto.ServerHello{
		Name: "ClickHouse", Major: c.srv.version[0], Minor: c.srv.version[1], Patch: c.srv.version[2],
		Revision: revision, Timezone: c.srv.timezone, DisplayName: "weir embedded",
	}
	hello.EncodeAware(&c.out, c.revision)
	if err := c.flush(); err != nil {
		return err
	}
	if proto.FeatureAddendum.In(c.revision) {
		if _, err := c.in.text(maxSmallText); err != nil { // the quota key
			return unexpected(err)
		}
	}
	return nil
}

// authenticate checks a client's name and password. A server without a password takes any.
func (s *Server) authenticate(user, password string) error {
	if s.cfg.Password == "" {
		return nil
	}
	if user == "" {
		user = "default"
	}
	ok := subtle.ConstantTimeCompare([]byte(user), []byte(s.cfg.User)) & subtle.ConstantTimeCompare([]byte(password), []byte(s.cfg.Password))
	if ok == 1 {
		return nil
	}
	return exceptionf(codeAuthFailed, "%s: Authentication failed: password is incorrect, or there is no user with such name", clip(user, 100))
}

// flush sends what is in c.out.
func (c *connection) flush() error {
	defer c.out.Reset()
	return c.write(c.out.Buf)
}

func (c *connection) write(p []byte) error {
	_ = c.nc.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := c.nc.Write(p)
	if err != nil {
		return fmt.Errorf("write to the client: %w", err)
	}
	return nil
}

// sendException reports a failed query; the connection goes on.
func (c *connection) sendException(e *exception) error {
	c.out.Reset()
	proto.ServerCodeException.Encode(&c.out)
	(&proto.Exception{Code: proto.Error(e.code), Name: "DB::Exception", Message: "DB::Exception: " + e.message}).EncodeAware(&c.out, c.revision)
	return c.flush()
}

// sendBlock sends a Data packet. The block is in layoutOf(c.revision).
func (c *connection) sendBlock(block []byte, compressed bool) error {
	proto.ServerCodeData.Encode(&c.out)
	c.out.PutString("") // table name
	if !compressed {
		if err := c.flush(); err != nil {
			return err
		}
		return c.write(block)
	}
	for len(block) > 0 {
		n := min(len(block), frameSize)
		if err := c.compressor.Compress(block[:n]); err != nil {
			return fmt.Errorf("compress a block: %w", err)
		}
		c.out.Buf = append(c.out.Buf, c.compressor.Data...)
		block = block[n:]
		if len(c.out.Buf) >= frameSize {
			if err := c.flush(); err != nil {
				return err
			}
		}
	}
	return c.flush()
}

// readBlock reads the rest of a Data packet, after its code. The block is in the engine's layout and valid until the
// next call.
func (c *connection) readBlock(compressed bool, scratch *[]byte) (table string, h blockHead, block []byte, err error) {
	if table, err = c.in.text(maxSmallText); err != nil {
		return "", h, nil, unexpected(err)
	}
	w := walker{in: c.in, out: (*scratch)[:0], limit: c.srv.cfg.MaxBlock}
	if compressed {
		w.in = newInput(&frames{r: compress.NewReader(c.in)})
	}
	h, err = w.walk(layoutOf(c.revision), nativeFormat)
	*scratch = w.out
	if err != nil {
		return table, h, nil, unexpected(err)
	}
	if compressed && w.in.buffered() > 0 {
		return table, h, nil, exceptionf(codeIncorrectData, "%d bytes follow the block in its last compressed frame", w.in.buffered())
	}
	return table, h, w.out, nil
}

// Read lets the decompressor read what in has buffered.
func (in *input) Read(p []byte) (int, error) {
	if in.pos == in.end {
		if err := in.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, in.buf[in.pos:in.end])
	in.pos += n
	return n, nil
}

// frames makes the errors of the decompressor plain: an end of input inside a frame comes wrapped from it.
type frames struct{ r *compress.Reader }

func (f *frames) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err == nil || n > 0 {
		return n, nil
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, io.ErrUnexpectedEOF
	}
	if isGone(err) {
		return 0, err
	}
	return 0, exceptionf(codeIncorrectData, "a compressed frame cannot be read: %v", err)
}
