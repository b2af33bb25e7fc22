package clickhouse_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	osexec "os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	chgo "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/weir-stream/weir/edge-node/embedded"
	"github.com/weir-stream/weir/edge-node/embedded/clickhouse"
	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
)

// start runs a server of this test's own.
func start(t *testing.T, cfg clickhouse.Config) *embedded.ClickHouse {
	t.Helper()
	if embeddedtest.Server(t) == nil { // also skips or fails without libchdb
		t.Skip("about the embedded server itself")
	}
	p, err := embedded.StartClickHouse(testContext(t), embedded.Options{}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

func connect(t *testing.T, dsn string) (driver.Conn, error) {
	t.Helper()
	opts, err := chgo.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := chgo.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn, conn.Ping(testContext(t))
}

// TestKilledServerKeepsRows kills the process right after an INSERT was acknowledged.
func TestKilledServerKeepsRows(t *testing.T) {
	dir := t.TempDir()
	const rounds, rows = 3, 1000
	for round := range rounds {
		p := start(t, clickhouse.Config{Dir: dir})
		conn, err := connect(t, p.DSN("default"))
		if err != nil {
			t.Fatal(err)
		}
		exec(t, conn, "CREATE TABLE IF NOT EXISTS t (a UInt64) ENGINE = ReplacingMergeTree ORDER BY a")
		if got := scan[uint64](t, conn, "SELECT count() FROM t FINAL"); got != uint64(round*rows) {
			t.Fatalf("round %d starts with %d rows", round, got)
		}
		batch, err := conn.PrepareBatch(testContext(t), "INSERT INTO t (a)")
		if err != nil {
			t.Fatal(err)
		}
		for i := range rows {
			if err := batch.Append(uint64(round*rows + i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := batch.Send(); err != nil {
			t.Fatal(err)
		}
		p.Kill()
	}
	p := start(t, clickhouse.Config{Dir: dir})
	conn, err := connect(t, p.DSN("default"))
	if err != nil {
		t.Fatal(err)
	}
	if got := scan[uint64](t, conn, "SELECT count() FROM t FINAL"); got != rounds*rows {
		t.Errorf("%d rows, want %d", got, rounds*rows)
	}
	// A second process on the same folder is refused, and says why.
	_, err = embedded.StartClickHouse(testContext(t), embedded.Options{}, clickhouse.Config{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("got %v", err)
	}
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
}

func TestPassword(t *testing.T) {
	p := start(t, clickhouse.Config{User: "weir", Password: "s3cret"})
	for dsn, ok := range map[string]bool{
		"clickhouse://weir:s3cret@" + p.Native:    true,
		"clickhouse://weir:wrong@" + p.Native:     false,
		"clickhouse://default:s3cret@" + p.Native: false,
		"clickhouse://" + p.Native:                false,
		"http://weir:s3cret@" + p.HTTP:            true,
		"http://weir:wrong@" + p.HTTP:             false,
		"http://" + p.HTTP:                        false,
	} {
		_, err := connect(t, dsn)
		var e *chgo.Exception
		if ok && err != nil || !ok && (!errors.As(err, &e) || e.Code != 516) {
			t.Errorf("%s: %v", dsn, err)
		}
	}
	for _, header := range []string{"s3cret", "wrong"} {
		r, _ := http.NewRequest("POST", "http://"+p.HTTP+"/", strings.NewReader("SELECT 1"))
		r.Header.Set("X-ClickHouse-User", "weir")
		r.Header.Set("X-ClickHouse-Key", header)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if (res.StatusCode == 200) != (header == "s3cret") {
			t.Errorf("%s: %s", header, res.Status)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, c := range []struct {
		cfg  clickhouse.Config
		want string
	}{
		{clickhouse.Config{}, "no data folder"},
		{clickhouse.Config{Dir: "x", NativeAddr: "0.0.0.0:0"}, "not a loopback address"},
		{clickhouse.Config{Dir: "x", HTTPAddr: ":8123"}, "not a loopback address"},
		{clickhouse.Config{Dir: "x", HTTPAddr: "example.com:8123"}, "not a loopback address"},
		{clickhouse.Config{Dir: "x", NativeAddr: "9000"}, "listen address"},
		{clickhouse.Config{Dir: "x", NativeAddr: "-", HTTPAddr: "-"}, "both listeners"},
		{clickhouse.Config{Dir: "x", MaxMemory: 1}, "too few"},
		{clickhouse.Config{Dir: "x", MaxConnections: -1}, "must be positive"},
	} {
		if err := c.cfg.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v, want %q", c.cfg, err, c.want)
		}
	}
	for _, ok := range []clickhouse.Config{{Dir: "x"}, {Dir: "x", NativeAddr: "[::1]:0", HTTPAddr: "localhost:0"}, {Dir: "x", NativeAddr: "0.0.0.0:0", Password: "p"}} {
		if err := ok.Validate(); err != nil {
			t.Errorf("%+v: %v", ok, err)
		}
	}
}

// TestHostileClients sends what no client would, and goes away at every possible moment.
func TestHostileClients(t *testing.T) {
	p := start(t, clickhouse.Config{MaxBlock: 8 << 20})
	conn, err := connect(t, p.DSN("default"))
	if err != nil {
		t.Fatal(err)
	}
	exec(t, conn, "CREATE TABLE t (a UInt64, s String) ENGINE = MergeTree ORDER BY a")
	whole := clickhouse.InsertSession("default", "INSERT INTO t (a, s) VALUES", 50)
	rnd := rand.New(rand.NewPCG(1, 2))
	send := func(b []byte, linger time.Duration) {
		nc, err := net.Dial("tcp", p.Native)
		if err != nil {
			t.Error(err)
			return
		}
		defer nc.Close()
		_, _ = nc.Write(b)
		_ = nc.SetReadDeadline(time.Now().Add(linger))
		_, _ = nc.Read(make([]byte, 4096))
	}
	var wg sync.WaitGroup
	gate := make(chan struct{}, 8)
	spawn := func(b []byte, linger time.Duration) {
		gate <- struct{}{}
		wg.Go(func() { defer func() { <-gate }(); send(b, linger) })
	}
	for cut := 0; cut < len(whole)-20; cut += 7 { // never the whole insert
		spawn(whole[:cut], time.Duration(rnd.IntN(3))*time.Millisecond)
	}
	for range 300 {
		b := bytes.Clone(whole[:len(whole)-20])
		for range 1 + rnd.IntN(4) {
			b[rnd.IntN(len(b))] = byte(rnd.Uint32())
		}
		spawn(b, 2*time.Millisecond)
	}
	for range 100 {
		b := make([]byte, rnd.IntN(400))
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		spawn(b, 2*time.Millisecond)
	}
	spawn([]byte("GET / HTTP/1.1\r\n\r\n"), time.Millisecond)
	wg.Wait()
	if got := scan[uint64](t, conn, "SELECT count() FROM t"); got != 0 {
		t.Errorf("%d rows of inserts that never ended", got)
	}
	nc, err := net.Dial("tcp", p.Native)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.Write(whole); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); scan[uint64](t, conn, "SELECT count() FROM t") == 0 && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	if got := scan[uint64](t, conn, "SELECT count() FROM t"); got != 50 {
		t.Errorf("%d rows of the one insert that did end", got)
	}
	// An orderly client still gets its rows in, and sessions of those that left are gone.
	raw, err := clickhouse.DialRaw(p.Native, "default")
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	raw.PutQuery("SELECT count() FROM numbers(10)")
	if err := raw.Flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := raw.Answer(false); err != nil {
		t.Error(err)
	}
	raw.PutBlock(bytes.Repeat([]byte{0xff}, 64))
	_ = raw.Flush()
	if _, err := raw.Answer(false); err == nil || !strings.Contains(err.Error(), "UNEXPECTED_PACKET") {
		t.Errorf("got %v", err)
	}
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
}

func TestTooManyConnections(t *testing.T) {
	p := start(t, clickhouse.Config{MaxConnections: 2})
	var held []*clickhouse.RawClient
	for range 2 {
		c, err := clickhouse.DialRaw(p.Native, "default")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		held = append(held, c)
	}
	if _, err := connect(t, p.DSN("default")); err == nil || !strings.Contains(err.Error(), "Too many connections") {
		t.Errorf("got %v", err)
	}
	held[0].Close()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if _, err := connect(t, p.DSN("default")); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// TestStopWhileBusy stops a server with a query and an idle client on it.
func TestStopWhileBusy(t *testing.T) {
	p := start(t, clickhouse.Config{})
	conn, err := connect(t, p.DSN("default"))
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() {
		failed <- conn.Exec(context.Background(), "SELECT sum(cityHash64(number)) FROM numbers(1000000000000)")
	}()
	for scan[uint64](t, conn, "SELECT count() FROM system.processes WHERE query LIKE '%cityHash64%' AND query NOT LIKE '%processes%'") == 0 {
		time.Sleep(5 * time.Millisecond)
	}
	started := time.Now()
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(started); took > 8*time.Second {
		t.Errorf("stopping took %v", took)
	}
	if err := <-failed; err == nil {
		t.Error("the query ended well")
	}
}

// TestOldClient runs Debian's clickhouse-client of 2018, an independent implementation of the protocol.
func TestOldClient(t *testing.T) {
	path, err := osexec.LookPath("clickhouse-client")
	if err != nil {
		t.Skip("clickhouse-client is not installed (Debian package clickhouse-client)")
	}
	p := embeddedtest.Server(t)
	if p == nil {
		t.Skip("about the embedded server itself")
	}
	_, port, _ := net.SplitHostPort(p.Native)
	run := func(stdin string, args ...string) (string, error) {
		cmd := osexec.CommandContext(testContext(t), path, append([]string{"--host", "127.0.0.1", "--port", port}, args...)...)
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run("", "--query", "SELECT version()"); err == nil && strings.Contains(out, "Unknown") {
		t.Skip(out)
	}
	table := fmt.Sprintf("old_%d", time.Now().UnixNano())
	var rows strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&rows, "%d\trow\n", i)
	}
	for _, c := range []struct {
		stdin string
		args  []string
		want  string
	}{
		{"", []string{"--query", "SELECT number, toString(number), [number], toNullable(number) FROM numbers(2)"}, "0\t0\t[0]\t0\n1\t1\t[1]\t1\n"},
		{"", []string{"--query", "CREATE TABLE " + table + " (a UInt32, s String) ENGINE = MergeTree ORDER BY a"}, ""},
		{rows.String(), []string{"--query", "INSERT INTO " + table + " FORMAT TSV"}, ""},
		{"", []string{"--query", "INSERT INTO " + table + " VALUES (1, 'x'), (2, 'y')"}, ""},
		{"", []string{"--compression", "0", "--query", "SELECT count(), sum(a) FROM " + table}, "100002\t4999950003\n"},
		{"", []string{"--max_threads", "1", "--max_block_size", "10", "--query", "SELECT getSetting('max_block_size')"}, "10\n"},
		{"", []string{"--query", "SELECT 1 AS x, 'y' AS y FORMAT Vertical"}, "Row 1:\n──────\nx: 1\ny: y\n"},
		{"", []string{"--query", "SELECT a FROM " + table + " WHERE a > 1000000"}, ""},
		{"SELECT 1;\nSELECT 'two';\nINSERT INTO " + table + " VALUES (3, 'z');\nSELECT count() FROM " + table + ";", []string{"-n"}, "1\ntwo\n100003\n"},
		{"", []string{"--query", "DROP TABLE " + table}, ""},
	} {
		out, err := run(c.stdin, c.args...)
		if err != nil || out != c.want {
			t.Errorf("%v: got %q, want %q, %v", c.args, out, c.want, err)
		}
	}
	if out, err := run("", "--query", "SELECT * FROM absent"); err == nil || !strings.Contains(out, "Code: 60.") {
		t.Errorf("got %q, %v", out, err)
	}
}
