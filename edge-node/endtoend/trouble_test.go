package endtoend

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-stream/weir/edge-node/cli"
	"github.com/weir-stream/weir/edge-node/embedded"
	"github.com/weir-stream/weir/edge-node/embedded/clickhouse"
	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
	"github.com/weir-stream/weir/edge-node/embedded/kafka"
)

// weir runs a command in this process.
func weir(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out, errs bytes.Buffer
	code = cli.Main(ctx, args, &out, &errs)
	return out.String(), errs.String(), code
}

// ownServers gives a test servers that it may kill, unless the tests run against others.
func ownServers(t *testing.T) context.Context {
	t.Helper()
	if embeddedtest.Server(t) == nil {
		t.Skip("SKIPPED, nothing was tested: the servers are not ours to stop")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	t.Cleanup(cancel)
	return ctx
}

func startClickHouse(ctx context.Context, t *testing.T, cfg clickhouse.Config) *embedded.ClickHouse {
	t.Helper()
	cfg.HTTPAddr = "-"
	ch, err := embedded.StartClickHouse(ctx, embedded.Options{}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ch.Kill)
	return ch
}

// ownClickHouse starts a ClickHouse that a test may kill, and start again with the same configuration.
func ownClickHouse(ctx context.Context, t *testing.T) (*embedded.ClickHouse, clickhouse.Config) {
	t.Helper()
	cfg := clickhouse.Config{Dir: t.TempDir()}
	ch := startClickHouse(ctx, t, cfg)
	cfg.NativeAddr = ch.Native // where it comes back
	return ch, cfg
}

func startKafka(ctx context.Context, t *testing.T, cfg kafka.Config) *embedded.Kafka {
	t.Helper()
	k, err := embedded.StartKafka(ctx, embedded.Options{}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Kill)
	return k
}

// freeAddr is an address that nobody listens on, most likely for a while.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// TestInvalid gives run what it must refuse before anything starts: exit code 3, and where in the file it is.
func TestInvalid(t *testing.T) {
	t.Parallel()
	const good = `pipeline: p
source:
  kafka: {brokers: ["127.0.0.1:1"], topics: [t]}
  columns: {device: string, ts: "timestamp[ms]", v: int64}
time: {column: ts}
steps:
  - filter: v > 1
window: {tumbling: 10s, group_by: [device], aggregates: {n: count()}}
sink: {clickhouse: {url: "clickhouse://127.0.0.1:1/db"}}
`
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("text.wasm", "this is no module")
	write("cut.wasm", "\x00asm\x01\x00\x00\x00\x01\x7f")
	module, err := os.ReadFile("../../examples/operators/calibrate/calibrate.wasm")
	if err != nil {
		t.Fatal(err)
	}
	write("half.wasm", string(module[:len(module)/2]))
	write("calibrate.wasm", string(module))
	for _, c := range []struct{ name, old, new, want string }{
		{"yaml", "steps:", "steps: [", "p.yaml:"},
		{"unknown key", "topics: [t]", "topic: [t]", `topics`},
		{"unknown type", "v: int64", "v: integer", `did you mean "int64"?`},
		{"types do not fit", "v > 1", `v > "one"`, "p.yaml:7:"},
		{"no such column", "group_by: [device]", "group_by: [devise]", `did you mean "device"?`},
		{"no module", "filter: v > 1", "wasm: {module: nowhere.wasm}", "no such file"},
		{"text for a module", "filter: v > 1", "wasm: {module: text.wasm}", "not a Wasm module"},
		{"broken module", "filter: v > 1", "wasm: {module: cut.wasm}", "cut.wasm"},
		{"half a module", "filter: v > 1", "wasm: {module: half.wasm}", "half.wasm"},
		{"module refuses", "filter: v > 1", "wasm: {module: calibrate.wasm, config: {column: v}}", "set config.column"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := write("p.yaml", strings.Replace(good, c.old, c.new, 1))
			stdout, stderr, code := weir(t, "run", "--listen", "127.0.0.1:0", file)
			if code != 3 || !strings.Contains(stderr, c.want) || !strings.Contains(stderr, "p.yaml:") || stdout != "" {
				t.Errorf("exit code %d, want 3 and %q:\n%s%s", code, c.want, stdout, stderr)
			}
		})
	}
	if _, stderr, code := weir(t, "run", filepath.Join(dir, "nowhere.yaml")); code != 1 || !strings.Contains(stderr, "nowhere.yaml") {
		t.Errorf("no file: exit code %d\n%s", code, stderr)
	}
}

// TestTablesMissing runs the statements that run prints where tables are missing, and then it runs.
func TestTablesMissing(t *testing.T) {
	t.Parallel()
	brokers, prefix := embeddedtest.Kafka(t)
	s := newStream(t, brokers, prefix+"sensors", embeddedtest.ClickHouse(t), "")
	text, err := os.ReadFile(s.file())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.file(), []byte(strings.Replace(string(text), "schema: apply", "schema: check", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	s.produce(t.Context(), 4, 30_000, 0)
	s.waitProduced()
	_, stderr, code := weir(t, "run", "--listen", "127.0.0.1:0", "--stop-at-end", "--log-level", "error", s.file())
	if code != 1 || !strings.Contains(stderr, "table line_temperature_partials is missing") || !strings.Contains(stderr, "weir schema print") {
		t.Fatalf("exit code %d:\n%s", code, stderr)
	}
	ddl, stderr, code := weir(t, "schema", "print", s.file())
	if code != 0 {
		t.Fatalf("schema print: exit code %d:\n%s", code, stderr)
	}
	conn := openClickHouse(t, s.clickhouse)
	for stmt := range strings.SplitSeq(ddl, ";\n") {
		if strings.TrimSpace(stmt) == "" {
			continue
		}
		if err := conn.Exec(t.Context(), stmt); err != nil {
			t.Fatalf("%s: %v", stmt, err)
		}
	}
	s.finish()
	s.check()

	// A column that has another type cannot be mended without losing data: run says which, and stores nothing.
	if err := errors.Join(conn.Exec(t.Context(), "ALTER TABLE line_temperature_partials MODIFY COLUMN temp_min Int32")); err != nil {
		t.Fatal(err)
	}
	_, stderr, code = weir(t, "run", "--listen", "127.0.0.1:0", "--stop-at-end", s.file())
	if code != 1 || !strings.Contains(stderr, "temp_min") || !strings.Contains(stderr, "Float64") {
		t.Errorf("another type: exit code %d:\n%s", code, stderr)
	}
}

// TestPassword starts a node with the wrong password, then with the right one.
func TestPassword(t *testing.T) {
	t.Parallel()
	ctx := ownServers(t)
	ch := startClickHouse(ctx, t, clickhouse.Config{User: "weir", Password: "right:and/secret"})
	brokers, prefix := embeddedtest.Kafka(t)
	url := func(password string) string { return "clickhouse://weir:" + password + "@" + ch.Native + "/default" }
	s := newStream(t, brokers, prefix+"sensors", url("hunter2"), "")
	s.produce(ctx, 5, 20_000, 0)
	s.waitProduced()
	_, stderr, code := weir(t, "run", "--listen", "127.0.0.1:0", "--stop-at-end", s.file())
	if code != 4 || !strings.Contains(stderr, "check user and password") || !strings.Contains(stderr, ch.Native) {
		t.Errorf("exit code %d:\n%s", code, stderr)
	}
	if strings.Contains(stderr, "hunter2") {
		t.Errorf("it shows the password:\n%s", stderr)
	}
	s.clickhouse = url("right%3Aand%2Fsecret")
	text, err := os.ReadFile(s.file())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.file(), bytes.Replace(text, []byte(url("hunter2")), []byte(s.clickhouse), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	s.finish()
	s.check()
}

// TestBrokerComesAndGoes starts a node before its broker and its topic are there, and takes the broker away later.
func TestBrokerComesAndGoes(t *testing.T) {
	t.Parallel()
	ctx := ownServers(t)
	addr := freeAddr(t)
	cfg := kafka.Config{Dir: t.TempDir(), Ports: []int{port(t, addr)}}
	s := newStream(t, []string{addr}, "sensors", embeddedtest.ClickHouse(t), "    instance_id: box-1")
	node := s.start()
	node.waitReady(t, patience, "line-temperature: kafka: ", "cannot reach Kafka at "+addr, "connection refused")
	if code, body := get(t, node.address(t)+"/healthz"); code != 200 || body != "ok\n" {
		t.Errorf("/healthz: %d %s", code, body)
	}
	broker := startKafka(ctx, t, cfg)
	node.waitReady(t, patience, `topic "sensors" does not exist on `+addr, "create it, or correct source.kafka.topics")
	s.produce(ctx, 6, 40_000, 10_000)
	node.waitReady(t, patience)
	s.waitProduced()
	conn := openClickHouse(t, s.clickhouse)
	eventually(t, patience, func() (bool, string) {
		n := s.stored(conn)
		return n == s.truth.Counts().Records, fmt.Sprintf("%d stored\n%s", n, node.stderr.String())
	})
	broker.Kill()
	node.waitReady(t, patience, "cannot reach Kafka at "+addr)
	startKafka(ctx, t, cfg)
	node.waitReady(t, patience)
	node.signal(t, os.Interrupt)
	if code := node.wait(t, patience); code != 0 {
		t.Errorf("exit code %d:\n%s", code, node.stderr.String())
	}
	s.finish()
	s.check()
}

// TestClickHouseComesLater starts a node before its ClickHouse is there.
func TestClickHouseComesLater(t *testing.T) {
	t.Parallel()
	ctx := ownServers(t)
	addr := freeAddr(t)
	brokers, prefix := embeddedtest.Kafka(t)
	s := newStream(t, brokers, prefix+"sensors", "clickhouse://"+addr+"/default", "")
	s.produce(ctx, 7, 20_000, 0)
	node := s.start()
	node.waitReady(t, patience, "line-temperature: clickhouse: ", addr, "connection refused")
	startClickHouse(ctx, t, clickhouse.Config{NativeAddr: addr})
	node.waitReady(t, patience)
	s.waitProduced()
	node.signal(t, os.Interrupt)
	if code := node.wait(t, patience); code != 0 {
		t.Errorf("exit code %d:\n%s", code, node.stderr.String())
	}
	s.finish()
	s.check()
}
