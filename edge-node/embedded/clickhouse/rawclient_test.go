package clickhouse

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/ClickHouse/ch-go/proto"
)

// RawClient speaks the native protocol, uncompressed, with as little as it takes: it keeps blocks as bytes.
type RawClient struct {
	nc  net.Conn
	in  *input
	out proto.Buffer
}

// DialRaw connects and shakes hands.
func DialRaw(addr, db string) (*RawClient, error) {
	nc, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return nil, err
	}
	_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
	c := &RawClient{nc: nc, in: newInput(nc)}
	proto.ClientHello{Name: "raw", Major: 1, ProtocolVersion: revision, Database: db, User: "default"}.Encode(&c.out)
	c.out.PutString("") // quota key
	if err := c.Flush(); err != nil {
		return nil, err
	}
	if code, err := c.in.uvarint(); err != nil || code != uint64(proto.ServerCodeHello) {
		return nil, fmt.Errorf("hello: %d, %w", code, err)
	}
	if _, err := c.in.text(1000); err != nil {
		return nil, err
	}
	for range 3 {
		if _, err := c.in.uvarint(); err != nil {
			return nil, err
		}
	}
	for range 2 {
		if _, err := c.in.text(1000); err != nil {
			return nil, err
		}
	}
	_, err = c.in.uvarint()
	return c, err
}

// Close ends the connection.
func (c *RawClient) Close() { _ = c.nc.Close() }

// Flush sends what was put.
func (c *RawClient) Flush() error {
	defer c.out.Reset()
	_, err := c.nc.Write(c.out.Buf)
	return err
}

// PutQuery puts a Query packet and the empty block after it.
func (c *RawClient) PutQuery(sql string) {
	proto.Query{
		Body: sql, Stage: proto.StageComplete,
		Info: proto.ClientInfo{ProtocolVersion: revision, Interface: proto.InterfaceTCP, Query: proto.ClientQueryInitial},
	}.EncodeAware(&c.out, revision)
	c.PutBlock(appendEmptyBlock(nil, nil, layoutOf(revision)))
}

// PutBlock puts a Data packet.
func (c *RawClient) PutBlock(block []byte) {
	proto.ClientCodeData.Encode(&c.out)
	c.out.PutString("")
	c.out.Buf = append(c.out.Buf, block...)
}

// Answer reads packets up to EndOfStream, an exception, or the header of an INSERT when headerOnly is set. It returns the
// blocks as they came, headers and the empty one at the end included.
func (c *RawClient) Answer(headerOnly bool) (blocks [][]byte, err error) {
	for {
		code, err := c.in.uvarint()
		if err != nil {
			return blocks, err
		}
		switch proto.ServerCode(code) {
		case proto.ServerCodeData:
			if _, err := c.in.text(100); err != nil {
				return blocks, err
			}
			w := walker{in: c.in, limit: 1 << 30}
			if _, err := w.walk(layoutOf(revision), layoutOf(revision)); err != nil {
				return blocks, err
			}
			blocks = append(blocks, w.out)
			if headerOnly {
				return blocks, nil
			}
		case proto.ServerCodeProfile, proto.ServerCodeProgress:
			for range 6 { // both have six fields, all varints or single bytes
				if _, err := c.in.uvarint(); err != nil {
					return blocks, err
				}
			}
		case proto.ServerCodeException:
			var p [4]byte
			if err := c.in.full(p[:]); err != nil {
				return blocks, err
			}
			if _, err := c.in.text(100); err != nil {
				return blocks, err
			}
			text, err := c.in.text(1 << 20)
			return blocks, errors.Join(errors.New(text), err)
		case proto.ServerCodeEndOfStream:
			return blocks, nil
		default:
			return blocks, fmt.Errorf("packet %d", code)
		}
	}
}

// Ended reports whether the server closed the connection.
func (c *RawClient) Ended() bool {
	_, err := c.in.byte()
	return errors.Is(err, io.EOF)
}

// InsertSession returns all that a client sends to insert rows rows of (UInt64, String), hello included.
func InsertSession(db, sql string, rows int) []byte {
	c := &RawClient{}
	proto.ClientHello{Name: "raw", Major: 1, ProtocolVersion: revision, Database: db, User: "default"}.Encode(&c.out)
	c.out.PutString("")
	c.PutQuery(sql)
	var a proto.ColUInt64
	var s proto.ColStr
	for i := range rows {
		a.Append(uint64(i))
		s.Append("some text")
	}
	b := &proto.Buffer{Buf: appendBlockInfo(nil)}
	b.PutUVarInt(2)
	b.PutUVarInt(uint64(rows))
	for _, col := range []struct {
		name string
		data proto.Column
	}{{"a", &a}, {"s", &s}} {
		b.PutString(col.name)
		b.PutString(string(col.data.Type()))
		b.PutByte(0)
		col.data.EncodeColumn(b)
	}
	c.PutBlock(b.Buf)
	c.PutBlock(appendEmptyBlock(nil, nil, layoutOf(revision)))
	return c.out.Buf
}
