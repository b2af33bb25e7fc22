package clickhouse_test

import (
	"context"
	"strings"
	"testing"
	"time"

	chgo "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

// transport is one way clickhouse-go can reach the server.
type transport struct {
	name        string
	http        bool
	compression chgo.CompressionMethod
}

var transports = []transport{
	{"native", false, chgo.CompressionNone},
	{"native lz4", false, chgo.CompressionLZ4},
	{"native zstd", false, chgo.CompressionZSTD},
	{"http", true, chgo.CompressionNone},
	{"http lz4", true, chgo.CompressionLZ4},
	{"http zstd", true, chgo.CompressionZSTD},
	{"http gzip", true, chgo.CompressionGZIP},
}

// eachTransport runs a test over every transport, each with a database of its own.
func eachTransport(t *testing.T, f func(t *testing.T, conn driver.Conn)) {
	for _, tr := range transports {
		t.Run(strings.ReplaceAll(tr.name, " ", "-"), func(t *testing.T) { f(t, open(t, tr)) })
	}
}

// open connects to a fresh database.
func open(t *testing.T, tr transport) driver.Conn {
	t.Helper()
	opts, err := chgo.ParseDSN(embeddedtest.ClickHouse(t))
	if err != nil {
		t.Fatal(err)
	}
	if tr.http {
		p := embeddedtest.Server(t)
		if p == nil {
			t.Skip("the server under test is given by a native DSN: its HTTP address is not known")
		}
		if opts, err = chgo.ParseDSN("http://" + p.HTTP + "/" + opts.Auth.Database); err != nil {
			t.Fatal(err)
		}
	}
	opts.Compression = &chgo.Compression{Method: tr.compression}
	opts.ReadTimeout = 30 * time.Second
	conn, err := chgo.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func native(t *testing.T) driver.Conn { return open(t, transports[0]) }

func exec(t *testing.T, conn driver.Conn, sql string, args ...any) {
	t.Helper()
	if err := conn.Exec(testContext(t), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// scan returns the one value of a one-row answer.
func scan[T any](t *testing.T, conn driver.Conn, sql string, args ...any) T {
	t.Helper()
	var v T
	if err := conn.QueryRow(testContext(t), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}
