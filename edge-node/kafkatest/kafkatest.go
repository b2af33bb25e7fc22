// Package kafkatest gives tests brokers of Apache Kafka itself, in KRaft mode, as processes that can be killed.
//
//	c := kafkatest.Start(t, kafkatest.Config{Brokers: 3})
//	... c.Brokers ...
//	c.Kill(2)    // as a crash
//	c.Restart(2) // on its data and its port
//
// The jars come from Maven Central, once, into the user's cache, and need Java 17. Where either cannot be had the test is
// skipped and says so; where CI is set, it fails. The processes end with the test, and with this process at the latest; their
// data is in the test's temporary folder.
//
// Times that make groups slow for the sake of thousands of members are cut down: a group is there at once, and members may
// have sessions of a second. Everything else is as Kafka has it, except where Config says otherwise.
package kafkatest

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Config says which brokers. The zero value is one. Topics have as many replicas as there are brokers, three at most, and take records
// while one of them is away.
type Config struct {
	// Brokers is how many. One is its own controller. Several have a controller beside them, as a process of its own, so that
	// any of them may be killed.
	Brokers int
	// Settings are added to server.properties of every broker and controller.
	Settings map[string]string
}

// Cluster is a Kafka that runs. Its methods may be called from any goroutine.
type Cluster struct {
	// Brokers has the address of each, 1 to N, as host:port.
	Brokers []string

	controller *node // nil where the one broker is it
	nodes      []*node
}

const (
	startTimeout = 4 * time.Minute // several brokers may start at once, on few cores
	stopTimeout  = 30 * time.Second
	controllerID = 100
)

// Start starts brokers and returns when they accept clients.
func Start(t testing.TB, cfg Config) *Cluster {
	t.Helper()
	java, jars := need(t)
	cfg.Brokers = max(cfg.Brokers, 1)
	ports := freePorts(t, cfg.Brokers+1)
	c := &Cluster{}
	voter := controllerID
	if cfg.Brokers == 1 {
		voter = 1
	} else {
		c.controller = &node{id: controllerID}
	}
	for i := range cfg.Brokers {
		addr := "127.0.0.1:" + ports[i]
		c.Brokers = append(c.Brokers, addr)
		c.nodes = append(c.nodes, &node{id: i + 1, listen: addr})
	}
	cluster := clusterID()
	all := c.all()
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, n := range all {
		n.dir = t.TempDir()
		file := filepath.Join(n.dir, "server.properties")
		writeProperties(t, file, settings(cfg, n, voter, "127.0.0.1:"+ports[cfg.Brokers]))
		n.start = func() (*jvm, error) { return run(java, jars, n.dir, "kafka.Kafka", file) }
		t.Cleanup(func() { _ = n.down(true, 0) })
		wg.Go(func() {
			if errs[i] = format(java, jars, n.dir, cluster, file); errs[i] == nil {
				errs[i] = n.up()
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for i := range c.nodes {
		c.await(t, i+1)
	}
	return c
}

func (c *Cluster) all() []*node {
	if c.controller == nil {
		return c.nodes
	}
	return append([]*node{c.controller}, c.nodes...)
}

// settings are the server.properties of a node.
func settings(cfg Config, n *node, voter int, quorum string) map[string]string {
	replicas := strconv.Itoa(min(cfg.Brokers, 3))
	s := map[string]string{
		"node.id":                        strconv.Itoa(n.id),
		"log.dirs":                       filepath.Join(n.dir, "data"),
		"controller.quorum.voters":       fmt.Sprintf("%d@%s", voter, quorum),
		"controller.listener.names":      "CONTROLLER",
		"listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"auto.create.topics.enable":      "false",

		"offsets.topic.replication.factor": replicas,
		"default.replication.factor":       replicas,
		"min.insync.replicas":              strconv.Itoa(max(1, min(cfg.Brokers, 3)-1)),

		"offsets.topic.num.partitions":             "4",
		"transaction.state.log.replication.factor": replicas,
		"transaction.state.log.min.isr":            strconv.Itoa(min(cfg.Brokers, 2)),
		"transaction.state.log.num.partitions":     "4",

		"group.initial.rebalance.delay.ms":                            "0",
		"group.min.session.timeout.ms":                                "1000",
		"group.consumer.min.session.timeout.ms":                       "1000",
		"group.consumer.session.timeout.ms":                           "6000",
		"group.consumer.min.heartbeat.interval.ms":                    "100",
		"group.consumer.heartbeat.interval.ms":                        "500",
		"log.cleaner.backoff.ms":                                      "500",
		"log.retention.check.interval.ms":                             "1000",
		"log.initial.task.delay.ms":                                   "500",
		"log.segment.delete.delay.ms":                                 "500",
		"broker.session.timeout.ms":                                   "3000",
		"broker.heartbeat.interval.ms":                                "500",
		"replica.lag.time.max.ms":                                     "4000",
		"leader.imbalance.check.interval.seconds":                     "5",
		"controlled.shutdown.enable":                                  "true",
		"num.network.threads":                                         "2",
		"num.io.threads":                                              "2",
		"log.cleaner.dedupe.buffer.size":                              "2097152",
		"transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
	}
	controller, broker := "CONTROLLER://"+quorum, "PLAINTEXT://"+n.listen
	switch {
	case n.id == controllerID:
		s["process.roles"], s["listeners"] = "controller", controller
	case n.id == voter:
		s["process.roles"], s["listeners"] = "broker,controller", broker+","+controller
	default:
		s["process.roles"], s["listeners"] = "broker", broker
	}
	if n.listen != "" {
		s["advertised.listeners"] = broker
		s["inter.broker.listener.name"] = "PLAINTEXT"
	}
	maps.Copy(s, cfg.Settings)
	return s
}

// Kill ends a broker, 1 to N, as a crash would. Its data stays.
func (c *Cluster) Kill(t testing.TB, id int) {
	t.Helper()
	if err := c.nodes[id-1].down(true, 0); err != nil {
		t.Fatal(err)
	}
}

// Stop ends a broker in order: it hands what it leads to the others first.
func (c *Cluster) Stop(t testing.TB, id int) {
	t.Helper()
	if err := c.nodes[id-1].down(false, stopTimeout); err != nil {
		t.Fatal(err)
	}
}

// Restart starts a broker that was ended, on its data, and returns when it accepts clients.
func (c *Cluster) Restart(t testing.TB, id int) {
	t.Helper()
	if err := c.nodes[id-1].up(); err != nil {
		t.Fatal(err)
	}
	c.await(t, id)
}

// await waits until a broker is one of the cluster and answers.
func (c *Cluster) await(t testing.TB, id int) {
	t.Helper()
	n := c.nodes[id-1]
	client, err := kgo.NewClient(kgo.SeedBrokers(n.listen), kgo.RetryTimeout(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	for deadline := time.Now().Add(startTimeout); ; time.Sleep(50 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		brokers, err := admin.ListBrokers(ctx)
		cancel()
		for _, b := range brokers {
			if err == nil && int(b.NodeID) == id {
				return
			}
		}
		alive, wrote := n.alive()
		if !alive {
			t.Fatalf("broker %d has ended:\n%s", id, wrote)
		}
		if time.Now().After(deadline) {
			t.Fatalf("broker %d was not ready after %v (%v):\n%s", id, startTimeout, err, wrote)
		}
	}
}

// freePorts are ports nobody listens on now.
func freePorts(t testing.TB, n int) []string {
	t.Helper()
	var ports []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // all of them are held until all are found
		_, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, port)
	}
	return ports
}

// clusterID is a UUID as Kafka writes it.
func clusterID() string {
	var id [16]byte
	_, _ = rand.Read(id[:])
	id[0] &= 0x7f // an ID that begins with "-" is taken for an option
	return base64.RawURLEncoding.EncodeToString(id[:])
}
