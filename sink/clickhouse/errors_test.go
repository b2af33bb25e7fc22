package clickhouse_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/edge-node/embedded"
	server "github.com/weir-stream/weir/edge-node/embedded/clickhouse"
	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
	"github.com/weir-stream/weir/sink"
	"github.com/weir-stream/weir/sink/clickhouse"
)

func wantClass(t *testing.T, err error, class sink.Class, text ...string) {
	t.Helper()
	var e *sink.Error
	if !errors.As(err, &e) || e.Class != class {
		t.Fatalf("want an error of class %s, got %v", class, err)
	}
	for _, s := range text {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("no %q in: %v", s, err)
		}
	}
	if strings.Contains(err.Error(), "s3cret") {
		t.Errorf("the password is in: %v", err)
	}
}

func (b *bed) oneCut() []*sink.Cut {
	return []*sink.Cut{b.cut(source{}, 10, row{1_700_000_000, "a", 1, f(1), 1, f(1)})}
}

func TestServerIsAbsent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	for _, scheme := range []string{"clickhouse", "http"} {
		b := &bed{t: t, cfg: clickhouse.Config{URL: scheme + "://weir:s3cret@" + addr + "/db", Table: "temps"}, tab: temperature()}
		b.sink = b.open(b.cfg)
		wantClass(t, b.sink.Check(b.ctx()), sink.Retry, addr, "connection refused")
		wantClass(t, b.sink.Write(b.ctx(), b.oneCut()), sink.Retry, addr, "connection refused")
		_, err := b.coverage(source{}.key())
		wantClass(t, err, sink.Retry, addr)
		_, err = b.sink.Audit(b.ctx())
		wantClass(t, err, sink.Retry, addr)
		wantClass(t, b.sink.Apply(b.ctx(), nil), sink.Retry, addr)
	}
}

// A server that takes connections and says nothing costs the deadline and no more.
func TestServerIsSilent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, scheme := range []string{"clickhouse", "http"} {
		b := &bed{t: t, tab: temperature(), cfg: clickhouse.Config{
			URL: scheme + "://weir:s3cret@" + l.Addr().String() + "/db", Table: "temps",
			DialTimeout: 300 * time.Millisecond, InsertTimeout: 300 * time.Millisecond, QueryTimeout: 300 * time.Millisecond,
		}}
		b.sink = b.open(b.cfg)
		began := time.Now()
		wantClass(t, b.sink.Write(b.ctx(), b.oneCut()), sink.Retry)
		wantClass(t, b.sink.Check(b.ctx()), sink.Retry)
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("%s: it took %s", scheme, took)
		}
	}
}

func TestNotAClickHouse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"))
			_ = c.Close()
		}
	}()
	b := &bed{t: t, tab: temperature(), cfg: clickhouse.Config{URL: "clickhouse://" + l.Addr().String(), Table: "temps"}}
	b.sink = b.open(b.cfg)
	wantClass(t, b.sink.Check(b.ctx()), sink.Retry)
}

func TestWrongPassword(t *testing.T) {
	embeddedtest.ClickHouse(t) // for its skip where there is no engine
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	p, err := embedded.StartClickHouse(ctx, embedded.Options{}, server.Config{User: "weir", Password: "right"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	}()
	for scheme, addr := range map[string]string{"clickhouse": p.Native, "http": p.HTTP} {
		b := &bed{t: t, tab: temperature(), cfg: clickhouse.Config{URL: scheme + "://weir:s3cret@" + addr + "/db", Table: "temps"}}
		b.sink = b.open(b.cfg)
		for _, err := range []error{b.sink.Check(b.ctx()), b.sink.Write(b.ctx(), b.oneCut()), b.sink.Apply(b.ctx(), nil)} {
			wantClass(t, err, sink.Stop, "check user and password in the URL")
		}
		b.cfg.URL = scheme + "://weir:right@" + addr + "/db"
		b.sink = b.open(b.cfg)
		b.apply()
		b.write(b.oneCut()...)
	}
}

func TestOverHTTP(t *testing.T) {
	p := embeddedtest.Server(t)
	if p == nil {
		t.Skip("the given server's HTTP port is not known")
	}
	b := newBed(t)
	u, err := url.Parse(b.cfg.URL)
	if err != nil {
		t.Fatal(err)
	}
	b.cfg.URL = "http://" + p.HTTP + u.Path
	b.sink = b.open(b.cfg)
	if err := b.sink.Check(b.ctx()); err != nil {
		t.Fatal(err)
	}
	b.story()
	b.story()
	if r := b.audit(); !r.OK || len(r.Partitions) != 2 {
		t.Errorf("%+v", r.Partitions)
	}
	b.exec("DROP TABLE temps_partials SYNC")
	schemaError(t, b.sink.Write(b.ctx(), b.oneCut()))
	b.apply()
	b.write(b.oneCut()...)
}

func TestCanceled(t *testing.T) {
	b := newBed(t)
	ctx, cancel := context.WithCancel(b.ctx())
	cancel()
	if err := b.sink.Write(ctx, b.oneCut()); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := b.sink.Close(); err != nil {
		t.Error(err)
	}
	if err := b.sink.Close(); err != nil {
		t.Error("close twice:", err)
	}
}

func TestConfigHidesItsPassword(t *testing.T) {
	c := clickhouse.Config{URL: "clickhouse://u:s3cret@h:9000,i:9000/db?password=s3cret", Table: "t"}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if s := fmt.Sprintf(verb, c); strings.Contains(s, "s3cret") || !strings.Contains(s, "h:9000,i:9000") {
			t.Errorf("%s: %s", verb, s)
		}
	}
}
