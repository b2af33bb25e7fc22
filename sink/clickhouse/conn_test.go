package clickhouse_test

import (
	"net"
	"sync/atomic"
	"testing"
)

type counted struct {
	net.Conn
	n *atomic.Int64
}

func (c counted) Write(b []byte) (int, error) {
	c.n.Add(int64(len(b)))
	return c.Conn.Write(b)
}

// TestConn sends everything through the connections that Config.Conn gives.
func TestConn(t *testing.T) {
	b := newBed(t)
	var n atomic.Int64
	cfg := b.cfg
	cfg.Conn = func(c net.Conn) net.Conn { return counted{c, &n} }
	b.sink = b.open(cfg)
	b.write(b.cut(source{}, 10, row{1_700_000_000, "a", 3, f(6), 3, f(4)}))
	b.want("1700000000 a 3 2 4")
	if n.Load() < 500 {
		t.Errorf("%d bytes were counted", n.Load())
	}
}
