//go:build linux

package endtoend

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
	"github.com/weir-stream/weir/edge-node/torture"
)

// faultyKafka is a broker that tells its clients to come through proxies.
type faultyKafka struct {
	cluster *kfake.Cluster
	nets    []*faultyNet
	direct  map[string]string // address of a proxy: the broker's own
}

// elsewhere is a listener that says it listens at another address.
type elsewhere struct {
	net.Listener
	at net.Addr
}

func (e elsewhere) Addr() net.Addr { return e.at }

func newFaultyKafka(t *testing.T, seed uint64) *faultyKafka {
	t.Helper()
	k := &faultyKafka{direct: map[string]string{}}
	var err error
	k.cluster, err = kfake.NewCluster(kfake.NumBrokers(2), kfake.ListenFn(func(network, _ string) (net.Listener, error) {
		l, err := net.Listen(network, "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		n := newFaultyNet(t, l.Addr().String(), seed+uint64(len(k.nets)), 1)
		k.nets = append(k.nets, n)
		k.direct[n.addr()] = l.Addr().String()
		return elsewhere{l, n.listener.Addr()}, nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.cluster.Close)
	return k
}

// past is an option for a client that goes past the proxies.
func (k *faultyKafka) past() kgo.Opt {
	return kgo.Dialer(func(ctx context.Context, network, addr string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, k.direct[addr])
	})
}

// TestFaultyNetwork runs a node whose connections to ClickHouse and to Kafka fail in every way, and which is killed now and
// then.
func TestFaultyNetwork(t *testing.T) {
	t.Parallel()
	stores, seeds, lasts := []bool{rand.IntN(2) == 0}, 1, 10*time.Second
	if big() {
		stores, seeds, lasts = []bool{true, false}, 3, time.Minute
	}
	t.Cleanup(func() {
		torture.Record(t, "faulty network: failed, or wrong totals", failures(t), fmt.Sprintf("of %d runs", len(stores)*seeds), 0, fmt.Sprintf("%v each", lasts))
	})
	for _, store := range stores {
		for range seeds {
			seed := rand.Uint64()
			t.Run(fmt.Sprintf("store %v, seed %d", store, seed), func(t *testing.T) {
				t.Parallel()
				faultyNetwork(t, store, seed, lasts)
			})
		}
	}
}

func faultyNetwork(t *testing.T, store bool, seed uint64, lasts time.Duration) {
	kafka := newFaultyKafka(t, seed)
	dsn, err := url.Parse(embeddedtest.ClickHouse(t))
	if err != nil {
		t.Fatal(err)
	}
	direct := dsn.String()
	toClickHouse := newFaultyNet(t, dsn.Host, seed+100, 2000)
	dsn.Host = toClickHouse.addr()
	s := newStream(t, kafka.cluster.ListenAddrs(), "sensors", dsn.String(), "    instance_id: box-1\n    session_timeout: 6s")
	s.clickhouse = direct // for what the test asks
	s.client = []kgo.Opt{kafka.past()}
	s.binary = weirBinary(t, "failpoints")
	conn := openClickHouse(t, s.clickhouse)
	rng := rand.New(rand.NewPCG(seed, 6))
	var args []string
	if store {
		args = []string{"--state-dir", filepath.Join(t.TempDir(), "state")}
	}
	s.produce(t.Context(), rng.Uint64(), 30_000, 5000)
	node := s.start(args...)
	eventually(t, patience, func() (bool, string) { return s.stored(conn) > 0, node.stderr.String() })

	nets := append([]*faultyNet{toClickHouse}, kafka.nets...)
	for _, n := range nets {
		n.on.Store(true)
		n.hangUp()
	}
	kills, moved := 0, s.stored(conn)
	for deadline := time.Now().Add(lasts); time.Now().Before(deadline) || !enough(nets); {
		time.Sleep(time.Duration(500+rng.IntN(2500)) * time.Millisecond)
		if !node.running() {
			t.Fatalf("the node ended by itself:\n%s", node.stderr.String())
		}
		// However slow this machine is, a life comes to something before it ends.
		if n := s.stored(conn); n > moved && rng.IntN(3) == 0 {
			node.kill()
			kills, moved = kills+1, n
			node = s.start(args...)
		}
		if time.Since(deadline) > patience {
			t.Errorf("not every fault happened")
			break
		}
	}
	before := s.stored(conn)
	for i, n := range nets {
		n.heal()
		t.Logf("%s:%s", []string{"ClickHouse", "broker 0", "broker 1"}[i], describeFaults(n.counts()))
	}
	t.Logf("%d kills; %d records stored while the network was bad", kills, before)
	eventually(t, patience, func() (bool, string) {
		n := s.stored(conn)
		return n > before, fmt.Sprintf("%d stored, %d before: it does not go on\n%s", n, before, node.stderr.String())
	})
	s.waitProduced()
	node.signal(t, os.Interrupt)
	if code := node.wait(t, patience); code != 0 {
		t.Errorf("exit code %d:\n%s", code, node.stderr.String())
	}
	last := s.start(append(args, "--stop-at-end")...)
	if code := last.wait(t, patience); code != 0 {
		t.Fatalf("exit code %d:\n%s", code, last.stderr.String())
	}
	s.check()
}

// enough tells whether ClickHouse has seen enough faults, and the brokers together: in the long variant every one.
func enough(nets []*faultyNet) bool {
	need := 4
	if big() {
		need = int(faults) - 1
	}
	var brokers [faults]int
	for _, n := range nets[1:] {
		for f, k := range n.counts() {
			brokers[f] += k
		}
	}
	clickhouse := nets[0].counts()
	kinds := func(hit [faults]int) (n int) {
		for f := refuse; f < faults; f++ {
			n += min(1, hit[f])
		}
		return n
	}
	return kinds(clickhouse) >= need && kinds(brokers) >= need
}

// newLinkedStream is a stream whose nodes reach ClickHouse over a link that can be made faulty. The test itself does not use the link.
func newLinkedStream(t *testing.T) (*stream, *faultyNet) {
	t.Helper()
	brokers, prefix := embeddedtest.Kafka(t)
	dsn, err := url.Parse(embeddedtest.ClickHouse(t))
	if err != nil {
		t.Fatal(err)
	}
	direct := dsn.String()
	link := newFaultyNet(t, dsn.Host, 1, 1)
	dsn.Host = link.addr()
	s := newStream(t, brokers, prefix+"sensors", dsn.String(), "    instance_id: box-1")
	s.clickhouse = direct
	s.binary = weirBinary(t)
	return s, link
}

// TestBlackHole has everything that a node sends to ClickHouse vanish, without a word, until its deadline ends the connection.
func TestBlackHole(t *testing.T) {
	if !big() {
		t.Skip("it waits for a deadline of a minute: make torture")
	}
	t.Parallel()
	s, n := newLinkedStream(t)
	conn := openClickHouse(t, s.clickhouse)
	s.produce(t.Context(), 41, 30_000, 4000)
	node := s.start()
	eventually(t, patience, func() (bool, string) { return s.stored(conn) > 0, node.stderr.String() })
	n.mu.Lock()
	n.only = blackHole
	n.mu.Unlock()
	n.on.Store(true)
	n.hangUp()
	began := time.Now()
	eventually(t, patience, func() (bool, string) { return n.counts()[blackHole] > 0, "no connection came" })
	n.on.Store(false) // new connections are good; the one in the hole is not ended
	before := s.stored(conn)
	eventually(t, patience, func() (bool, string) { return s.stored(conn) > before, node.stderr.String() })
	torture.Note(t, "black hole on the way to ClickHouse: goes on after", time.Since(began).Seconds(), "s")
	s.waitProduced()
	node.signal(t, os.Interrupt)
	if code := node.wait(t, patience); code != 0 {
		t.Errorf("exit code %d:\n%s", code, node.stderr.String())
	}
	s.finish()
	s.check()
}
