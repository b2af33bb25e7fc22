//go:build unix

package endtoend

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
	"github.com/weir-stream/weir/edge-node/kafkatest"
)

// cluster is Apache Kafka with several brokers, and a group of two nodes with each protocol that reads from it.
type cluster struct {
	*testing.T
	*kafkatest.Cluster
	admin  *kadm.Client
	groups []*group
}

// TestApacheCluster kills, stops and starts three brokers under nodes that read, and moves leaders and coordinators about. No record
// is lost, counted twice, or late for it.
func TestApacheCluster(t *testing.T) {
	if !torturing {
		t.Skip("SKIPPED: this takes minutes; make torture-kafka has the time")
	}
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	c := &cluster{T: t, Cluster: kafkatest.Start(t, kafkatest.Config{Brokers: 3})}
	client, err := kgo.NewClient(kgo.SeedBrokers(c.Brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	c.admin = kadm.NewClient(client)
	for i, protocol := range protocols {
		g := newGroup(t, c.Brokers, protocol, "")
		g.produce(ctx, uint64(21+i), 30_000, 1000)
		g.join("a")
		g.join("b")
		c.groups = append(c.groups, g)
	}
	c.goOn(ctx, "at first")

	for id := 1; id <= 3; id++ { // each leads partitions, and one or the other coordinates a group
		was := ""
		for _, g := range c.groups {
			if c.coordinator(ctx, g.topic) == id {
				was += ", the coordinator of " + g.topic
			}
		}
		c.Kill(t, id)
		c.goOn(ctx, fmt.Sprintf("broker %d was killed%s", id, was))
		c.Restart(t, id)
		c.inSync(ctx)
	}
	c.moveLeaders(ctx, 1)
	c.goOn(ctx, "leaders have moved")
	for id := 1; id <= 3; id++ {
		c.Stop(t, id)
		time.Sleep(time.Second)
		c.Restart(t, id)
		c.inSync(ctx)
	}
	c.goOn(ctx, "each broker was restarted")
	for _, g := range c.groups {
		g.waitProduced()
		for name := range g.nodes {
			g.leave(name)
		}
		g.finish()
		g.readLog(ctx) // the truth is what the brokers have: a producer may have failed and sent again
		g.check()
	}
}

// goOn waits until every partition is further.
func (c *cluster) goOn(ctx context.Context, what string) {
	c.Helper()
	began := time.Now()
	for _, g := range c.groups {
		g.progress(ctx, what)
	}
	c.Logf("%s: all partitions are further after %v", what, time.Since(began).Round(time.Millisecond))
}

// inSync waits until every partition has all of its replicas.
func (c *cluster) inSync(ctx context.Context) {
	c.Helper()
	eventually(c.T, 2*patience, func() (bool, string) {
		topics, err := c.admin.ListTopicsWithInternal(ctx)
		if err != nil {
			return false, err.Error()
		}
		for _, topic := range topics {
			for _, p := range topic.Partitions {
				if p.Err != nil || len(p.ISR) < len(p.Replicas) {
					return false, fmt.Sprintf("%s/%d: replicas %v, in sync %v, %v", topic.Topic, p.Partition, p.Replicas, p.ISR, p.Err)
				}
			}
		}
		return true, ""
	})
}

// coordinator is the broker that coordinates a group.
func (c *cluster) coordinator(ctx context.Context, name string) int {
	c.Helper()
	found := c.admin.FindGroupCoordinators(ctx, name)
	if err := found.Error(); err != nil {
		c.Fatal(err)
	}
	return int(found[name].NodeID)
}

// moveLeaders gives every partition another first replica, and has it lead.
func (c *cluster) moveLeaders(ctx context.Context, shift int) {
	c.Helper()
	var assign kadm.AlterPartitionAssignmentsReq
	set := kadm.TopicsSet{}
	for _, g := range c.groups {
		for p := range int32(6) {
			var replicas []int32
			for i := range 3 {
				replicas = append(replicas, int32((int(p)+shift+i)%3+1))
			}
			assign.Assign(g.topic, p, replicas)
			set.Add(g.topic, p)
		}
	}
	resp, err := c.admin.AlterPartitionAssignments(ctx, assign)
	if err == nil {
		err = resp.Error()
	}
	if err != nil {
		c.Fatal(err)
	}
	if _, err := c.admin.ElectLeaders(ctx, kadm.ElectPreferredReplica, set); err != nil {
		c.Fatal(err)
	}
	eventually(c.T, patience, func() (bool, string) {
		topics, err := c.admin.ListTopics(ctx, set.Topics()...)
		if err != nil {
			return false, err.Error()
		}
		for _, topic := range topics {
			for _, p := range topic.Partitions {
				if want := int32((int(p.Partition)+shift)%3 + 1); p.Leader != want {
					return false, fmt.Sprintf("%s/%d is led by %d, not by %d", topic.Topic, p.Partition, p.Leader, want)
				}
			}
		}
		return true, ""
	})
}

// TestApacheTruncated has a broker lead a partition whose last records it never had. They were counted, and stay so; what
// comes under their offsets is counted, too, in a segment of its own, whether the node saw it happen, was away, or was away and the group is
// forgotten, so that only the account tells of it.
func TestApacheTruncated(t *testing.T) {
	if !torturing {
		t.Skip("SKIPPED: this takes a minute; make torture-kafka has the time")
	}
	t.Parallel()
	c := kafkatest.Start(t, kafkatest.Config{Brokers: 3}) // the third keeps the commits of the group, which the others lose
	for name, away := range map[string][2]bool{"while_reading": {}, "while_away": {true}, "while_away_and_forgotten": {true, true}} {
		t.Run(name, func(t *testing.T) {
			runLog(t, c.Brokers, embeddedtest.Prefix(t, c.Brokers), config.ProtocolAuto, func(ctx context.Context, l *logTest) {
				testTruncated(ctx, l, c, away[0], away[1])
			})
		})
	}
}

func testTruncated(ctx context.Context, l *logTest, c *kafkatest.Cluster, away, forgotten bool) {
	leader, follower := l.replicate(ctx)
	l.produce(ctx, 10)
	l.awaitISR(ctx, 2)
	node := l.reading()
	l.waitCounted(ctx, node, 10)
	c.Kill(l.T, follower)
	l.awaitISR(ctx, 1)
	l.produce(ctx, 10) // the leader alone has these
	l.waitCounted(ctx, node, 20)
	if away {
		l.stop(node)
	}
	if forgotten {
		answer, err := l.admin.DeleteGroup(ctx, l.spec.Prefix+"group")
		if err == nil {
			err = answer.Err
		}
		if err != nil {
			l.Fatal(err)
		}
	}
	c.Kill(l.T, leader)
	c.Restart(l.T, follower)
	l.produce(ctx, 15)
	if away {
		node = l.reading()
	}
	l.waitCounted(ctx, node, 35)
	c.Restart(l.T, leader)
	l.awaitISR(ctx, 2)
	l.produce(ctx, 1)
	l.waitCounted(ctx, node, 36)
	l.stop(node)
	l.run(ctx)
	l.want(ctx, upTo(36), "[0,20) 20 records", "[10,26) 16 records, 0 missing: truncated")
}

// replicate gives the topic a second replica, has either go on without the other, and tells which leads.
func (l *logTest) replicate(ctx context.Context) (leader, follower int) {
	l.Helper()
	var at kadm.PartitionDetail
	eventually(l.T, patience, func() (bool, string) {
		at = l.partition(ctx)
		return at.Leader > 0, fmt.Sprintf("%+v", at)
	})
	one, yes := "1", "true"
	altered, err := l.admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{
		{Name: "min.insync.replicas", Value: &one}, {Name: "unclean.leader.election.enable", Value: &yes},
	}, l.topic)
	if err == nil {
		_, err = altered.On(l.topic, nil)
	}
	if err != nil {
		l.Fatal(err)
	}
	other := at.Leader%3 + 1
	var assign kadm.AlterPartitionAssignmentsReq
	assign.Assign(l.topic, 0, []int32{at.Leader, other})
	resp, err := l.admin.AlterPartitionAssignments(ctx, assign)
	if err == nil {
		err = resp.Error()
	}
	if err != nil {
		l.Fatal(err)
	}
	l.awaitISR(ctx, 2)
	return int(at.Leader), int(other)
}

func (l *logTest) partition(ctx context.Context) kadm.PartitionDetail {
	topics, err := l.admin.ListTopics(ctx, l.topic)
	if err != nil || topics.Error() != nil {
		return kadm.PartitionDetail{Leader: -1}
	}
	return topics[l.topic].Partitions[0]
}

// awaitISR waits until so many replicas are in sync.
func (l *logTest) awaitISR(ctx context.Context, n int) {
	l.Helper()
	eventually(l.T, patience, func() (bool, string) {
		p := l.partition(ctx)
		slices.Sort(p.ISR)
		return len(p.ISR) == n, fmt.Sprintf("leader %d, in sync %v, and not %d of them", p.Leader, p.ISR, n)
	})
}
