package delivery_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// proxy is a TCP connection to a server that can be made to fail.
type proxy struct {
	listener net.Listener
	server   string

	refuse atomic.Bool // close connections at once
	// cut decides, for each piece of data, whether to drop it and the connection. sent is how much the client has sent
	// since the server's last answer.
	cut  atomic.Pointer[func(fromServer bool, sent int) bool]
	cuts atomic.Int64

	mu    sync.Mutex
	conns map[net.Conn]bool
	wg    sync.WaitGroup
}

func newProxy(t *testing.T, server string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, server: server, conns: map[net.Conn]bool{}}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.hangUp()
		p.wg.Wait()
	})
	return p
}

// hangUp ends every connection.
func (p *proxy) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
	clear(p.conns)
}

func (p *proxy) keep(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = true
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		if p.refuse.Load() {
			_ = client.Close()
			continue
		}
		server, err := net.Dial("tcp", p.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.keep(client)
		p.keep(server)
		sent := &atomic.Int64{}
		p.wg.Go(func() { p.copy(server, client, false, sent) })
		p.wg.Go(func() { p.copy(client, server, true, sent) })
	}
}

func (p *proxy) copy(to, from net.Conn, fromServer bool, sent *atomic.Int64) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if cut := p.cut.Load(); cut != nil && (*cut)(fromServer, int(sent.Load())) {
				p.cuts.Add(1)
				return
			}
			if fromServer {
				sent.Store(0)
			} else {
				sent.Add(int64(n))
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				return
			}
			return
		}
	}
}

// loseAcks drops the server's answer to anything as large as a block of rows, up to n times.
func (p *proxy) loseAcks(n int64) {
	var lost atomic.Int64
	f := func(fromServer bool, sent int) bool {
		return fromServer && sent > 2000 && lost.Add(1) <= n
	}
	p.cut.Store(&f)
}

// loseSome drops a share of everything, in both directions.
func (p *proxy) loseSome(share float64) {
	f := func(bool, int) bool { return rand.Float64() < share }
	p.cut.Store(&f)
}

func (p *proxy) heal() { p.cut.Store(nil) }
