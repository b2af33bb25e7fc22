// Package embeddedtest gives tests a real ClickHouse and a real broker.
//
// A test package that uses it has a TestMain:
//
//	func TestMain(m *testing.M) { embeddedtest.Main(m) }
//
// and its tests ask for what they need:
//
//	dsn := embeddedtest.ClickHouse(t)       // a fresh database of this test's own
//	brokers, prefix := embeddedtest.Kafka(t) // topics and groups of this test start with prefix
//
// One process of each kind serves a whole test binary. WEIR_TEST_CLICKHOUSE (a clickhouse-go DSN) and WEIR_TEST_KAFKA (a
// comma-separated list of brokers) name other servers to run the same tests against. Where libchdb is not installed, tests
// that ask for ClickHouse fail, unless WEIR_TEST_SKIP_CLICKHOUSE=1: then they are skipped.
package embeddedtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	chgo "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-stream/weir/edge-node/embedded"
	"github.com/weir-stream/weir/edge-node/embedded/clickhouse"
	"github.com/weir-stream/weir/edge-node/embedded/kafka"
	"github.com/weir-stream/weir/edge-node/embedded/libchdb"
)

// The environment variables the package reads.
const (
	EnvClickHouse     = "WEIR_TEST_CLICKHOUSE"
	EnvKafka          = "WEIR_TEST_KAFKA"
	EnvSkipClickHouse = "WEIR_TEST_SKIP_CLICKHOUSE"
)

// shared are the processes of this test binary. A test binary is one program with one purpose, so they are its globals.
var shared struct {
	clickhouse lazy[*embedded.ClickHouse]
	kafka      lazy[*embedded.Kafka]
}

type lazy[T any] struct {
	once  sync.Once
	value T
	err   error
}

func (l *lazy[T]) get(f func() (T, error)) (T, error) {
	l.once.Do(func() { l.value, l.err = f() })
	return l.value, l.err
}

// Main is the whole of a TestMain: it runs the tests, or one of the servers when the test binary was started as one.
func Main(m *testing.M) { os.Exit(Run(m)) }

// Run does what Main does and returns the exit code, for a TestMain that has more to do. It must come first in it.
func Run(m *testing.M) int {
	if code, ok := embedded.Child(); ok {
		return code
	}
	mainCalled = true
	code := m.Run()
	var stops []func() error
	if p, _ := shared.clickhouse.get(neverStarted[*embedded.ClickHouse]); p != nil {
		stops = append(stops, p.Stop)
	}
	if p, _ := shared.kafka.get(neverStarted[*embedded.Kafka]); p != nil {
		stops = append(stops, p.Stop)
	}
	for _, stop := range stops {
		if err := stop(); err != nil {
			fmt.Fprintln(os.Stderr, "embeddedtest:", err)
			code = max(code, 1)
		}
	}
	return code
}

func neverStarted[T any]() (T, error) { var zero T; return zero, errors.New("the tests are over") }

var mainCalled bool

func needMain(t testing.TB) {
	t.Helper()
	if !mainCalled {
		t.Fatal("embeddedtest: this package needs: func TestMain(m *testing.M) { embeddedtest.Main(m) }")
	}
}

const startTimeout = 90 * time.Second

// Server returns the shared ClickHouse process, for tests about the process itself. It is nil when WEIR_TEST_CLICKHOUSE
// names another server.
func Server(t testing.TB) *embedded.ClickHouse {
	t.Helper()
	if os.Getenv(EnvClickHouse) != "" {
		return nil
	}
	needMain(t)
	needLibrary(t)
	p, err := shared.clickhouse.get(func() (*embedded.ClickHouse, error) {
		ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
		defer cancel()
		return embedded.StartClickHouse(ctx, embedded.Options{}, clickhouse.Config{})
	})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.Done():
		t.Fatalf("the embedded ClickHouse has died; it wrote:\n%s", p.Stderr())
	default:
	}
	return p
}

// needLibrary fails or skips a test when there is no libchdb.
func needLibrary(t testing.TB) {
	t.Helper()
	_, err := libchdb.Locate()
	if err == nil {
		return
	}
	if os.Getenv(EnvSkipClickHouse) == "1" {
		t.Skipf("SKIPPED, nothing was tested: %v", err)
	}
	t.Fatalf("%v\nrun: make libchdb (or set %s=1 to go without these tests)", err, EnvSkipClickHouse)
}

// ClickHouse returns a DSN for clickhouse-go, native protocol, whose database is new and this test's own. The database is
// dropped when the test ends.
func ClickHouse(t testing.TB) (dsn string) {
	t.Helper()
	base := os.Getenv(EnvClickHouse)
	if base == "" {
		base = Server(t).DSN("")
	}
	u, err := url.Parse(base)
	if err != nil {
		t.Fatalf("%s: %v", EnvClickHouse, err)
	}
	name := uniqueName(t)
	execute(t, u, "CREATE DATABASE `"+name+"`")
	t.Cleanup(func() { execute(t, u, "DROP DATABASE IF EXISTS `"+name+"` SYNC") })
	own := *u
	own.Path = "/" + name
	return own.String()
}

func execute(t testing.TB, u *url.URL, sql string) {
	t.Helper()
	opts, err := chgo.ParseDSN(u.String())
	if err != nil {
		t.Fatalf("read the DSN: %v", err)
	}
	conn, err := chgo.Open(opts)
	if err != nil {
		t.Fatalf("open ClickHouse: %v", err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := conn.Exec(ctx, sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// Kafka returns a broker's bootstrap addresses and a prefix for the names of this test's topics and groups. Topics that
// start with it are deleted when the test ends.
func Kafka(t testing.TB) (brokers []string, prefix string) {
	t.Helper()
	if list := os.Getenv(EnvKafka); list != "" {
		brokers = strings.Split(list, ",")
	} else {
		needMain(t)
		p, err := shared.kafka.get(func() (*embedded.Kafka, error) {
			ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
			defer cancel()
			return embedded.StartKafka(ctx, embedded.Options{}, kafka.Config{Brokers: 3})
		})
		if err != nil {
			t.Fatal(err)
		}
		brokers = p.Brokers
	}
	return brokers, Prefix(t, brokers)
}

// Prefix is what the names of this test's topics and groups start with, on brokers that others use, too. Topics that start
// with it are deleted when the test ends.
func Prefix(t testing.TB, brokers []string) string {
	t.Helper()
	prefix := uniqueName(t) + "-"
	t.Cleanup(func() { deleteTopics(t, brokers, prefix) })
	return prefix
}

func deleteTopics(t testing.TB, brokers []string, prefix string) {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		t.Errorf("delete this test's topics: %v", err)
		return
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	admin := kadm.NewClient(client)
	topics, err := admin.ListTopics(ctx)
	if err != nil {
		t.Errorf("list this test's topics: %v", err)
		return
	}
	var own []string
	for _, name := range topics.Names() {
		if strings.HasPrefix(name, prefix) {
			own = append(own, name)
		}
	}
	if len(own) == 0 {
		return
	}
	if _, err := admin.DeleteTopics(ctx, own...); err != nil {
		t.Errorf("delete this test's topics: %v", err)
	}
}

var names atomic.Int64

// uniqueName makes a name that no other test, process or earlier run has, from the test's own.
func uniqueName(t testing.TB) string {
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, t.Name())
	return fmt.Sprintf("%s_%d_%d_%x", clean[:min(len(clean), 60)], os.Getpid(), names.Add(1), time.Now().UnixNano()&0xffffff)
}
