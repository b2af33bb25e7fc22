//go:build unix

package endtoend

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
	"github.com/weir-stream/weir/edge-node/pipeline"
	"github.com/weir-stream/weir/edge-node/torture"
)

// apacheSession is how long members of groups may be silent; for KIP-848 it is what kafkatest sets.
const apacheSession = 6 * time.Second

var protocols = []config.Protocol{config.ProtocolClassic, config.ProtocolConsumer}

// apacheGroups is what nodes of a group may do to each other, with both protocols, while records arrive.
func apacheGroups(t *testing.T, brokers []string) {
	t.Parallel()
	for _, g := range []struct {
		name string
		test func(*testing.T, []string, config.Protocol)
		slow config.Protocol // with which it waits for a minute, or for sessions to end: for make torture alone
	}{
		{"members", testMembers, ""},
		{"static", testStaticMembers, config.ProtocolConsumer},
		{"handover", testHandover, ""},
		{"partitions_added", testPartitionsAdded, config.ProtocolClassic},
	} {
		for _, protocol := range protocols {
			if protocol == g.slow && !torturing {
				continue
			}
			t.Run(g.name+"/"+string(protocol), func(t *testing.T) {
				t.Parallel()
				g.test(t, brokers, protocol)
			})
		}
	}
}

// group is a stream that nodes share.
type group struct {
	*stream
	nodes map[string]*process
}

func newGroup(t *testing.T, brokers []string, protocol config.Protocol, extra string) *group {
	t.Helper()
	prefix := embeddedtest.Prefix(t, brokers)
	settings := fmt.Sprintf("    protocol: %s\n    session_timeout: %s%s", protocol, apacheSession, extra)
	return &group{newStream(t, brokers, prefix+"sensors", embeddedtest.ClickHouse(t), settings), map[string]*process{}}
}

// join starts a node and waits until it has a partition.
func (g *group) join(name string) {
	g.t.Helper()
	g.nodes[name] = start(g.t, g.dir, []string{envWeir + "=1", "WEIR_LOG_FORMAT=text", "BOX=" + name},
		"run", "--listen", "127.0.0.1:0", "--node", name, "pipeline.yaml")
	g.assigned(name, 1)
}

// assigned waits until a node has got so many partitions in its life.
func (g *group) assigned(name string, n int) {
	g.t.Helper()
	p := g.nodes[name]
	eventually(g.t, patience, func() (bool, string) {
		if !p.running() {
			g.t.Fatalf("node %s ended:\n%s", name, p.stderr.String())
		}
		return strings.Count(p.stderr.String(), "partition assigned") >= n, fmt.Sprintf("node %s has no %d partitions yet:\n%s", name, n, p.stderr.String())
	})
}

// progress waits until every partition is further than it is: whatever happened, none is left alone.
func (g *group) progress(ctx context.Context, what string) {
	g.t.Helper()
	conn := openClickHouse(g.t, g.clickhouse)
	defer conn.Close()
	ask := func() (min uint64, partitions uint64) {
		_ = conn.QueryRow(ctx, `SELECT min(version), count() FROM (SELECT partition, max(version) AS version FROM weir_coverage GROUP BY partition)`).Scan(&min, &partitions)
		return min, partitions
	}
	// Further than the partition that is furthest now would be safe, and slow: each has about as many records.
	var furthest uint64
	_ = conn.QueryRow(ctx, "SELECT max(version) FROM weir_coverage").Scan(&furthest)
	eventually(g.t, patience, func() (bool, string) {
		least, partitions := ask()
		text := fmt.Sprintf("%s: %d partitions stored, the last up to %d, the furthest was at %d", what, partitions, least, furthest)
		for name, p := range g.nodes {
			text += "\n" + name + ": " + p.stderr.String()
		}
		return partitions == 6 && least > furthest, text
	})
}

// leave ends a node in order.
func (g *group) leave(name string) {
	g.t.Helper()
	p := g.nodes[name]
	delete(g.nodes, name)
	p.signal(g.t, os.Interrupt)
	if code := p.wait(g.t, patience); code != 0 {
		g.t.Errorf("node %s: exit code %d:\n%s", name, code, p.stderr.String())
	}
}

// end has all nodes leave, reads to the end, and compares everything with the truth.
func (g *group) end() {
	g.t.Helper()
	g.waitProduced()
	for name := range g.nodes {
		g.leave(name)
	}
	g.finish()
	g.check()
}

// testMembers has nodes join, leave, be killed, and come back after their session as zombies.
func testMembers(t *testing.T, brokers []string, protocol config.Protocol) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	g := newGroup(t, brokers, protocol, "")
	g.produce(ctx, 11, 30_000, 3000)
	g.join("a")
	g.progress(ctx, "one node")
	g.join("b")
	g.join("c")
	g.progress(ctx, "three nodes")
	g.leave("b")
	g.nodes["c"].kill()
	delete(g.nodes, "c")
	g.join("d")
	g.progress(ctx, "one left, one was killed, one is new")
	g.nodes["a"].signal(t, syscall.SIGSTOP)
	time.Sleep(apacheSession + 2*time.Second)
	g.progress(ctx, "one is stopped")
	g.nodes["a"].signal(t, syscall.SIGCONT)
	g.progress(ctx, "the zombie is back")
	g.end()
}

// testStaticMembers kills a static member and starts it again within its session. In a classic group it goes on at once, and
// nobody else notices; with KIP-848 the group waits for the session of its former life.
func testStaticMembers(t *testing.T, brokers []string, protocol config.Protocol) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	g := newGroup(t, brokers, protocol, "\n    instance_id: box-${BOX:-last}")
	g.produce(ctx, 12, 20_000, 2000)
	g.join("a")
	g.join("b")
	g.assigned("b", 3)
	g.progress(ctx, "two nodes")
	before := strings.Count(g.nodes["b"].stderr.String(), "partition assigned")
	for range 2 {
		g.nodes["a"].kill()
		began := time.Now()
		g.join("a")
		g.assigned("a", 3)
		t.Logf("%s: the killed node has its partitions after %v", protocol, time.Since(began))
		g.progress(ctx, "one was killed and is back")
	}
	if now := strings.Count(g.nodes["b"].stderr.String(), "partition assigned"); protocol == config.ProtocolClassic && now != before {
		t.Errorf("the other node was given %d partitions meanwhile:\n%s", now-before, g.nodes["b"].stderr.String())
	}
	g.end()
}

// testPartitionsAdded gives a topic partitions that it did not have when the nodes joined. They are read from their beginning.
func testPartitionsAdded(t *testing.T, brokers []string, protocol config.Protocol) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	runLog(t, brokers, embeddedtest.Prefix(t, brokers), protocol, func(_ context.Context, l *logTest) {
		l.produce(ctx, 4)
		node := l.reading()
		l.waitCounted(ctx, node, 4)
		if _, err := l.admin.CreatePartitions(ctx, 2, l.topic); err != nil {
			t.Fatal(err)
		}
		for _, r := range l.records(3) {
			r.Partition = 2
			eventually(t, patience, func() (bool, string) {
				err := l.client.ProduceSync(ctx, r).FirstErr()
				return err == nil, fmt.Sprint("produce to the new partition: ", err)
			})
		}
		l.waitCounted(ctx, node, 7)
		l.stop(node)
		l.run(ctx)
		if n, sum, segments := l.stored(ctx); n != 7 || sum != 1<<7-1 {
			t.Errorf("%d records, %b, segments %q", n, sum, segments)
		}
		l.audit(ctx)
	})
}

// inProcess is a node in this process, whose lanes can be watched closely.
type inProcess struct {
	runner *pipeline.Runner
	stop   func()
}

func (s *stream) inProcess(ctx context.Context, name string) *inProcess {
	s.t.Helper()
	spec, err := config.Load(s.file())
	if err != nil {
		s.t.Fatal(err)
	}
	node := config.DefaultNode()
	node.Node = name
	plan, err := pipeline.New(ctx, spec, node, pipeline.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	runner, err := plan.Open(ctx, pipeline.RunOptions{Log: testLog()})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- runner.Run(ctx) }()
	n := &inProcess{runner: runner}
	n.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			s.t.Errorf("node %s: %v", name, err)
		}
		if err := runner.Close(); err != nil {
			s.t.Errorf("close node %s: %v", name, err)
		}
	})
	s.t.Cleanup(n.stop)
	return n
}

// standstills watches lanes and notes for how long each partition that changed hands was worked on by nobody.
type standstills struct {
	mu    sync.Mutex
	nodes map[string]*inProcess // guarded by mu
	owner map[int32]string      // of the last record worked on
	at    map[int32]int64       // its position
	when  map[int32]time.Time   // when that was seen
	moves []time.Duration       // guarded by mu
}

// watch looks at all lanes every few milliseconds until ctx ends.
func (w *standstills) watch(ctx context.Context) {
	for ctx.Err() == nil {
		time.Sleep(3 * time.Millisecond)
		w.mu.Lock()
		for name, n := range w.nodes {
			for _, l := range n.runner.Status().Engine.Lanes {
				id := l.Partition.ID
				if !l.Owned || l.Position <= w.at[id] {
					continue
				}
				now := time.Now()
				if before, ok := w.owner[id]; ok && before != name {
					w.moves = append(w.moves, now.Sub(w.when[id]))
				}
				w.owner[id], w.at[id], w.when[id] = name, l.Position, now
			}
		}
		w.mu.Unlock()
	}
}

func (w *standstills) set(name string, n *inProcess) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n == nil {
		delete(w.nodes, name)
	} else {
		w.nodes[name] = n
	}
}

func (w *standstills) moved() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.moves)
}

// testHandover measures how long a partition stands still when it goes from a node to another that joins, and back when that
// one leaves.
func testHandover(t *testing.T, brokers []string, protocol config.Protocol) {
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	rounds, events := 1, int64(10_000)
	if torturing {
		rounds, events = 20, 30_000 // 50 times as many at most, which is more than ctx has time for
	}
	g := newGroup(t, brokers, protocol, "")
	g.produce(ctx, 13, events, 3000)
	w := &standstills{nodes: map[string]*inProcess{}, owner: map[int32]string{}, at: map[int32]int64{}, when: map[int32]time.Time{}}
	watching, stopWatching := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() { defer close(watched); w.watch(watching) }()
	defer func() { stopWatching(); <-watched }()

	w.set("a", g.inProcess(ctx, "a"))
	eventually(t, patience, func() (bool, string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.owner) == 6, fmt.Sprintf("%d partitions are worked on", len(w.owner))
	})
	expect := func(moves int) {
		t.Helper()
		eventually(t, patience, func() (bool, string) { return w.moved() >= moves, fmt.Sprintf("%d of %d moves", w.moved(), moves) })
	}
	for i := range rounds {
		name := fmt.Sprint("b", i)
		b := g.inProcess(ctx, name)
		w.set(name, b)
		expect(6*i + 3)
		b.stop() // its lanes are watched while it ships what it has
		w.set(name, nil)
		expect(6*i + 6)
	}
	stopWatching()
	<-watched
	w.nodes["a"].stop()
	slices.Sort(w.moves)
	n := len(w.moves)
	p99 := w.moves[min(n-1, n*99/100)]
	t.Logf("%s: %d moves: median %v, p99 %v, longest %v", protocol, n, w.moves[n/2], p99, w.moves[n-1])
	if torturing {
		torture.Record(t, "graceful hand-over on Apache Kafka, p99, "+string(protocol), p99.Seconds(), "s", 1)
	}
	g.end()
}
