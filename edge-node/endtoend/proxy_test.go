package endtoend

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// fault is what a connection suffers from.
type fault uint8

const (
	healthy   fault = iota
	refuse          // closed at once
	cut             // closed after some bytes
	reset           // reset after some bytes
	lostReply       // the server gets everything and answers, and the answer is lost
	stall           // nothing gets through for a while
	blackHole       // nothing gets through any more, and nobody says so
	latency         // everything comes late
	trickle         // a few bytes at a time
	faults
)

func (f fault) String() string {
	return [...]string{"healthy", "refuse", "cut", "reset", "lost reply", "stall", "black hole", "latency", "trickle"}[f]
}

// faultyNet is a TCP proxy whose connections fail, each in its own way.
type faultyNet struct {
	listener net.Listener
	server   string
	// asks is how many bytes a request has at least whose reply is worth losing.
	asks int64
	on   atomic.Bool
	wg   sync.WaitGroup

	mu    sync.Mutex
	rng   *rand.Rand          // guarded by mu
	deck  []fault             // guarded by mu: what the next connections suffer from
	conns map[*faultyConn]any // guarded by mu
	hit   [faults]int         // guarded by mu
	only  fault               // guarded by mu: every connection has it; healthy: they take turns
}

func newFaultyNet(t *testing.T, server string, seed uint64, asks int64) *faultyNet {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &faultyNet{listener: l, server: server, asks: asks, rng: rand.New(rand.NewPCG(seed, 5)), conns: map[*faultyConn]any{}}
	n.wg.Go(n.accept)
	t.Cleanup(func() {
		_ = l.Close()
		n.hangUp()
		n.wg.Wait()
	})
	return n
}

func (n *faultyNet) addr() string { return n.listener.Addr().String() }

// heal makes new connections healthy and ends the others.
func (n *faultyNet) heal() {
	n.on.Store(false)
	n.hangUp()
}

func (n *faultyNet) hangUp() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		c.end(false)
	}
}

// counts tells how often each fault has happened.
func (n *faultyNet) counts() [faults]int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.hit
}

func describeFaults(hit [faults]int) string {
	var b strings.Builder
	for f := refuse; f < faults; f++ {
		fmt.Fprintf(&b, "  %s %d", f, hit[f])
	}
	return b.String()
}

// draw decides what the next connection suffers from. All faults take turns, in an order of chance.
func (n *faultyNet) draw() *faultyConn {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := &faultyConn{n: n, done: make(chan struct{}), from: n.rng.IntN(2) == 0, ends: time.Duration(1000+n.rng.IntN(3000)) * time.Millisecond}
	if !n.on.Load() {
		c.ends = 0
		return c
	}
	if n.only != healthy {
		c.fault, c.ends, c.from, c.after = n.only, 0, true, 4000 // behind the handshake
		return c
	}
	if len(n.deck) == 0 {
		for f := range faults {
			n.deck = append(n.deck, f)
		}
		n.rng.Shuffle(len(n.deck), func(i, j int) { n.deck[i], n.deck[j] = n.deck[j], n.deck[i] })
	}
	c.fault, n.deck = n.deck[0], n.deck[1:]
	if c.fault == lostReply {
		c.ends = 30 * time.Second // it waits for its request
	}
	c.after = int64(1) << n.rng.IntN(15) // bytes: as often within a handshake as behind it
	c.after += n.rng.Int64N(c.after)
	c.pause = time.Duration(1+n.rng.IntN(40)) * time.Millisecond
	c.long = time.Duration(200+n.rng.IntN(2500)) * time.Millisecond
	return c
}

func (n *faultyNet) count(f fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hit[f]++
}

func (n *faultyNet) accept() {
	for {
		client, err := n.listener.Accept()
		if err != nil {
			return
		}
		c := n.draw()
		if c.fault == refuse {
			n.count(refuse)
			_ = client.Close()
			continue
		}
		server, err := net.Dial("tcp", n.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		c.client, c.server = client, server
		n.mu.Lock()
		n.conns[c] = nil
		n.mu.Unlock()
		var both sync.WaitGroup
		both.Go(func() { c.copy(server, client, false) })
		both.Go(func() { c.copy(client, server, true) })
		n.wg.Go(func() {
			if c.ends > 0 {
				select {
				case <-time.After(c.ends): // it is another's turn
					c.end(false)
				case <-c.done:
				}
			}
			both.Wait()
			c.end(false)
			n.mu.Lock()
			delete(n.conns, c)
			n.mu.Unlock()
		})
	}
}

// faultyConn is one connection.
type faultyConn struct {
	n              *faultyNet
	client, server net.Conn
	fault          fault
	from           bool          // the fault is with what comes from the server
	after          int64         // bytes before it
	pause, long    time.Duration // of it
	ends           time.Duration // when the connection ends at the latest; 0: when its client wants

	asked atomic.Int64 // bytes from the client since the server's last
	once  sync.Once
	done  chan struct{}
}

// end closes both sides.
func (c *faultyConn) end(abruptly bool) {
	c.once.Do(func() {
		for _, conn := range []net.Conn{c.client, c.server} {
			if tcp, ok := conn.(*net.TCPConn); ok && abruptly {
				_ = tcp.SetLinger(0)
			}
			_ = conn.Close()
		}
		close(c.done)
	})
}

// wait pauses, and tells whether the connection is still there.
func (c *faultyConn) wait(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-c.done:
		return false
	}
}

func (c *faultyConn) copy(to, from net.Conn, fromServer bool) {
	defer c.end(false)
	buf := make([]byte, 32<<10)
	passed := int64(0)
	struck, stalled := false, false
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		data := buf[:n]
		if c.fault == lostReply && fromServer && c.asked.Load() >= c.n.asks && passed > 0 {
			c.n.count(lostReply)
			go func() { // the server goes on until it has answered in full
				for {
					if _, err := from.Read(buf); err != nil {
						return
					}
				}
			}()
			c.wait(300 * time.Millisecond)
			c.end(true)
			return
		}
		if fromServer {
			c.asked.Store(0)
		} else {
			c.asked.Add(int64(n))
		}
		if passed += int64(n); passed >= c.after && fromServer == c.from {
			if !struck {
				struck = true
				switch c.fault {
				case cut, reset, stall, blackHole, latency, trickle:
					c.n.count(c.fault)
				}
			}
			switch c.fault {
			case cut, reset:
				_, _ = to.Write(data[:len(data)/2])
				c.end(c.fault == reset)
				return
			case stall:
				if !stalled && !c.wait(c.long) {
					return
				}
				stalled = true
			case blackHole:
				<-c.done
				return
			case latency:
				if !c.wait(c.pause) {
					return
				}
			case trickle:
				for len(data) > 40 && c.wait(time.Millisecond) {
					k := min(len(data)-1, max(7, len(data)/20))
					if _, err := to.Write(data[:k]); err != nil {
						return
					}
					data = data[k:]
				}
			}
		}
		if _, err := to.Write(data); err != nil {
			return
		}
	}
}
