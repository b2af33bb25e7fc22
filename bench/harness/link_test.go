package harness

import (
	"bufio"
	"context"
	"io"
	"net"
	"testing"
	"time"
)

// echo answers each line with itself.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	return l.Addr().String()
}

// ask sends a line over a new connection and tells whether it came back.
func ask(t *testing.T, addr, line string) bool {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		return false
	}
	got, err := bufio.NewReader(c).ReadString('\n')
	return err == nil && got == line+"\n"
}

func TestLink(t *testing.T) {
	k, err := newLink(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	defer k.close()
	if !ask(t, k.addr(), "12345") {
		t.Fatal("nothing came back")
	}
	// They are counted when they have been passed on, which may be after they have come back.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := until(ctx, time.Millisecond, "12 bytes are counted", func() bool { return k.bytes.Load() == 12 }); err != nil {
		t.Errorf("%d bytes were counted instead of 6 there and 6 back: %v", k.bytes.Load(), err)
	}
	open, err := net.Dial("tcp", k.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = open.Close() }()
	if _, err := io.WriteString(open, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := open.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	k.sever(true)
	_ = open.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := open.Read(make([]byte, 1)); err == nil {
		t.Error("a connection has survived the cut")
	} else if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
		t.Error("a connection was not closed by the cut")
	}
	if ask(t, k.addr(), "1") {
		t.Error("something came through a link that is cut")
	}
	k.sever(false)
	if !ask(t, k.addr(), "1") {
		t.Error("nothing comes through a link that was mended")
	}
}
