//go:build unix

package endtoend

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-stream/weir/edge-node/embedded"
	"github.com/weir-stream/weir/edge-node/embedded/clickhouse"
	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
	"github.com/weir-stream/weir/edge-node/embedded/kafka"
)

// TestKilled kills a node at random moments while readings arrive, starts it again each time, and compares every answer with
// the truth.
func TestKilled(t *testing.T) {
	t.Parallel()
	brokers, prefix := embeddedtest.Kafka(t)
	s := newStream(t, brokers, prefix+"sensors", embeddedtest.ClickHouse(t), "    instance_id: box-1")
	s.produce(t.Context(), 1, 150_000, 8000)
	conn := openClickHouse(t, s.clickhouse)
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	const kills = 22
	moved, before := 0, int64(0)
	for i := range kills {
		p := s.start()
		if i%4 == 3 { // at the latest now, however slow this machine is
			eventually(t, patience, func() (bool, string) {
				n := s.stored(conn)
				return n > before, p.stderr.String()
			})
		}
		// From before it has joined its group to after some commits.
		time.Sleep(time.Duration(50+rng.IntN(1000)) * time.Millisecond)
		if !p.running() {
			t.Fatalf("the node ended by itself:\n%s", p.stderr.String())
		}
		p.kill()
		if n := s.stored(conn); n > before {
			moved, before = moved+1, n
		}
	}
	s.waitProduced()
	s.finish()
	s.check()
	if moved < 3 {
		t.Errorf("of %d lives only %d stored anything: the test does not test", kills, moved)
	}
	t.Logf("%d lives, %d of which stored something", kills, moved)
}

// TestTwoNodes shares a topic between two nodes. One is killed and started again, the other is stopped for longer than its
// session, so that its partitions go to the first, and then goes on as a zombie that does not know.
func TestTwoNodes(t *testing.T) {
	t.Parallel()
	brokers, prefix := embeddedtest.Kafka(t)
	s := newStream(t, brokers, prefix+"sensors", embeddedtest.ClickHouse(t), "    protocol: classic\n    session_timeout: 6s")
	conn := openClickHouse(t, s.clickhouse)
	s.produce(t.Context(), 2, 160_000, 6000)
	a, b := s.start("--node", "a"), s.start("--node", "b")
	progress := func(what string) {
		t.Helper()
		before := s.stored(conn)
		eventually(t, patience, func() (bool, string) {
			n := s.stored(conn)
			return n > before+2000, fmt.Sprintf("%s: %d records stored, %d before\na: %s\nb: %s", what, n, before, a.stderr.String(), b.stderr.String())
		})
	}
	joined := func(p *process) {
		t.Helper()
		eventually(t, patience, func() (bool, string) {
			return strings.Contains(p.stderr.String(), "partition assigned"), "no partition yet:\n" + p.stderr.String()
		})
	}
	joined(a)
	joined(b)
	progress("two nodes")
	a.kill()
	a = s.start("--node", "a")
	joined(a)
	progress("one was killed")
	b.signal(t, syscall.SIGSTOP)
	time.Sleep(8 * time.Second) // more than its session
	progress("one is stopped")
	b.signal(t, syscall.SIGCONT)
	progress("the zombie is back")
	s.waitProduced()
	for _, p := range []*process{a, b} {
		p.signal(t, os.Interrupt)
		if code := p.wait(t, patience); code != 0 {
			t.Errorf("exit code %d:\n%s", code, p.stderr.String())
		}
	}
	s.finish()
	s.check()
}

// TestServersKilled kills ClickHouse and the broker under a node that runs, and starts them again on their data. The node
// goes on by itself.
func TestServersKilled(t *testing.T) {
	t.Parallel()
	if embeddedtest.Server(t) == nil {
		t.Skip("SKIPPED, nothing was tested: the servers are not ours to kill")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	chCfg := clickhouse.Config{Dir: t.TempDir()}
	kafkaCfg := kafka.Config{Dir: t.TempDir(), SyncWrites: true}
	startCH := func() *embedded.ClickHouse {
		t.Helper()
		ch := startClickHouse(ctx, t, chCfg)
		chCfg.NativeAddr = ch.Native
		return ch
	}
	startKafka := func() *embedded.Kafka {
		t.Helper()
		k, err := embedded.StartKafka(ctx, embedded.Options{}, kafkaCfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(k.Kill)
		kafkaCfg.Ports = []int{port(t, k.Brokers[0])}
		return k
	}
	ch, broker := startCH(), startKafka()
	s := newStream(t, broker.Brokers, "sensors", ch.DSN("default"), "    instance_id: box-1")
	s.produce(ctx, 3, 90_000, 6000)
	conn := openClickHouse(t, s.clickhouse)
	node := s.start()
	progress := func(what string) {
		t.Helper()
		before := s.stored(conn)
		eventually(t, patience, func() (bool, string) {
			n := s.stored(conn)
			return n > before, fmt.Sprintf("%s: %d records stored, %d before\n%s", what, n, before, node.stderr.String())
		})
	}
	progress("at first")
	for range 2 {
		ch.Kill()
		time.Sleep(700 * time.Millisecond)
		ch = startCH()
		progress("ClickHouse is back")
		broker.Kill()
		time.Sleep(700 * time.Millisecond)
		broker = startKafka()
		progress("the broker is back")
	}
	s.waitProduced()
	node.signal(t, os.Interrupt)
	if code := node.wait(t, patience); code != 0 {
		t.Errorf("exit code %d:\n%s", code, node.stderr.String())
	}
	s.finish()
	s.readLog(ctx)
	s.check()
}
