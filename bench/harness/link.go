package harness

import (
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// link stands between weir and ClickHouse, counts the bytes that pass, and can be cut. It listens on loopback.
type link struct {
	listener net.Listener
	to       string
	bytes    atomic.Int64

	mu    sync.Mutex // guards what follows
	cut   bool
	ended bool
	conns map[net.Conn]bool
	wg    sync.WaitGroup
}

// newLink opens a link to a TCP address.
func newLink(to string) (*link, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open a link to %s: %w", to, err)
	}
	k := &link{listener: l, to: to, conns: map[net.Conn]bool{}}
	k.wg.Go(k.accept)
	return k, nil
}

func (k *link) addr() string { return k.listener.Addr().String() }

func (k *link) accept() {
	for {
		in, err := k.listener.Accept()
		if err != nil {
			return // closed
		}
		if !k.keep(in) {
			_ = in.Close()
			continue
		}
		k.wg.Go(func() { k.serve(in) })
	}
}

func (k *link) serve(in net.Conn) {
	defer k.drop(in)
	out, err := net.Dial("tcp", k.to)
	if err != nil {
		return
	}
	if !k.keep(out) {
		_ = out.Close()
		return
	}
	defer k.drop(out)
	var back sync.WaitGroup
	back.Go(func() { k.pump(in, out) })
	k.pump(out, in)
	back.Wait()
}

// pump copies one direction, counts as it goes, and ends both when it ends.
func (k *link) pump(to, from net.Conn) {
	_, _ = io.Copy(counting{to, &k.bytes}, from)
	_ = to.Close()
	_ = from.Close()
}

type counting struct {
	to net.Conn
	n  *atomic.Int64
}

func (c counting) Write(b []byte) (int, error) {
	n, err := c.to.Write(b)
	c.n.Add(int64(n))
	return n, err
}

// keep remembers a connection while the link is whole.
func (k *link) keep(c net.Conn) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.cut || k.ended {
		return false
	}
	k.conns[c] = true
	return true
}

func (k *link) drop(c net.Conn) {
	_ = c.Close()
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.conns, c)
}

// sever cuts the link, or mends it. While it is cut, connections are closed as soon as they are made.
func (k *link) sever(cut bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cut = cut
	if cut {
		for c := range k.conns {
			_ = c.Close()
		}
	}
}

// close ends the link and waits for its goroutines.
func (k *link) close() {
	k.mu.Lock()
	k.ended = true
	for c := range k.conns {
		_ = c.Close()
	}
	k.mu.Unlock()
	_ = k.listener.Close()
	k.wg.Wait()
}
