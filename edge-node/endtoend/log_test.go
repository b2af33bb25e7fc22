//go:build unix

package endtoend

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
)

// logs are what may become of a log while it is read. What must be stored does not depend on whose broker it is, nor on the
// group protocol.
var logs = []struct {
	name string
	test func(context.Context, *logTest)
}{
	{"transactions", testTransactions},
	{"records_deleted", testRecordsDeleted},
	{"records_deleted_while_reading", testRecordsDeletedWhileReading},
	{"topic_recreated", testTopicRecreated},
	{"topic_recreated_while_reading", testTopicRecreatedWhileReading},
	{"commit_beyond_end", testCommitBeyondEnd},
	{"compacted", testCompacted},
}

// TestLogs runs them against the broker in process.
func TestLogs(t *testing.T) {
	t.Parallel()
	for _, l := range logs {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			brokers, prefix := embeddedtest.Kafka(t)
			runLog(t, brokers, prefix, config.ProtocolAuto, l.test)
		})
	}
}

func runLog(t *testing.T, brokers []string, prefix string, protocol config.Protocol, test func(context.Context, *logTest)) {
	parallel <- struct{}{}
	defer func() { <-parallel }()
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience) // of up to ten runs, one after the other
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.MetadataMinAge(100*time.Millisecond), kgo.MetadataMaxAge(2*time.Second), kgo.UnknownTopicRetries(-1))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	l := &logTest{T: t, client: client, admin: kadm.NewClient(client), topic: prefix + "in", spec: nodeSpec{
		YAML: logPipeline, Brokers: brokers, Prefix: prefix, ClickHouse: embeddedtest.ClickHouse(t), Protocol: protocol, StopAtEnd: true,
	}}
	l.create(ctx, nil)
	test(ctx, l)
}

const logPipeline = `
pipeline: logs
source:
  kafka: {topics: ["${PREFIX}in"]}
  columns: {ts: "timestamp[ms]", v: int64}
time: {column: ts, max_out_of_order: 1h}
window:
  tumbling: 10s
  aggregates: {n: count(), v: sum(v)}
sink: {clickhouse: {}}
`

// logTest is a pipeline on a topic of one partition. Record number i has v = 2^i, so that a sum tells which were counted.
type logTest struct {
	*testing.T
	spec     nodeSpec
	client   *kgo.Client
	admin    *kadm.Client
	topic    string
	produced int
}

func (l *logTest) create(ctx context.Context, settings map[string]string) {
	l.Helper()
	keep := "-1"
	configs := map[string]*string{"retention.ms": &keep}
	for name, value := range settings {
		configs[name] = &value
	}
	eventually(l.T, patience, func() (bool, string) {
		_, err := l.admin.CreateTopic(ctx, 1, 1, configs, l.topic)
		return err == nil, fmt.Sprint("make the topic: ", err) // it is there until the one before it is gone
	})
}

// id is what the broker knows the topic under: what it answers is of some moments ago.
func (l *logTest) id(ctx context.Context) kadm.TopicID {
	topics, err := l.admin.ListTopics(ctx, l.topic)
	if err != nil || topics.Error() != nil {
		return kadm.TopicID{}
	}
	return topics[l.topic].ID
}

func (l *logTest) records(n int) []*kgo.Record {
	out := make([]*kgo.Record, n)
	for i := range out {
		at := firstRecord.Add(time.Duration(l.produced) * time.Second)
		value := fmt.Sprintf(`{"ts":%d,"v":%d}`, at.UnixMilli(), int64(1)<<l.produced)
		out[i] = &kgo.Record{Topic: l.topic, Key: []byte(strconv.Itoa(l.produced)), Value: []byte(value), Timestamp: at}
		l.produced++
	}
	return out
}

// produce sends the next n records, one after the other.
func (l *logTest) produce(ctx context.Context, n int) {
	l.Helper()
	for _, r := range l.records(n) {
		if err := l.client.ProduceSync(ctx, r).FirstErr(); err != nil {
			l.Fatal(err)
		}
	}
}

// transaction sends the next n records in a transaction. It is ended by the function.
func (l *logTest) transaction(ctx context.Context, n int) (end func(commit bool)) {
	l.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(l.spec.Brokers...), kgo.TransactionalID(l.topic+strconv.Itoa(l.produced)),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.UnknownTopicRetries(-1))
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(client.Close)
	if err := client.BeginTransaction(); err != nil {
		l.Fatal(err)
	}
	if err := client.ProduceSync(ctx, l.records(n)...).FirstErr(); err != nil {
		l.Fatal(err)
	}
	return func(commit bool) {
		l.Helper()
		if err := client.EndTransaction(ctx, kgo.TransactionEndTry(commit)); err != nil {
			l.Fatal(err)
		}
	}
}

// run runs a node to the end of the log.
func (l *logTest) run(ctx context.Context) {
	l.Helper()
	if _, err := l.spec.run(ctx); err != nil {
		l.Fatal(err)
	}
	if ctx.Err() != nil {
		l.Fatal("the pipeline has not come to its end in time")
	}
}

// refused runs a node that has to fail, and say why.
func (l *logTest) refused(ctx context.Context, words ...string) {
	l.Helper()
	_, err := l.spec.run(ctx)
	for _, w := range words {
		if err == nil || !strings.Contains(err.Error(), w) {
			l.Fatalf("the node ended with %v, which does not say %q", err, w)
		}
	}
}

// want compares what is stored: the records counted, by number, and the segments of the partition.
func (l *logTest) want(ctx context.Context, counted []int, segments ...string) {
	l.Helper()
	n, sum, got := l.stored(ctx)
	bits := int64(0)
	for _, i := range counted {
		bits |= 1 << i
	}
	if n != int64(len(counted)) || sum != bits {
		l.Errorf("counted %d records, %b; want %d, %b", n, sum, len(counted), bits)
	}
	if g, w := strings.Join(got, "\n"), strings.Join(segments, "\n"); g != w {
		l.Errorf("segments:\n%s\nwant\n%s", g, w)
	}
	l.audit(ctx)
}

func (l *logTest) audit(ctx context.Context) {
	l.Helper()
	plan, err := l.spec.plan(ctx)
	if err != nil {
		l.Fatal(err)
	}
	defer func() { _ = plan.Close() }()
	wantAudit(ctx, l.T, plan)
}

// stored gives the number and sum of what was counted, and a line per segment: its offsets, its records, and its gap.
func (l *logTest) stored(ctx context.Context) (n, sum int64, segments []string) {
	l.Helper()
	conn := openClickHouse(l.T, l.spec.ClickHouse)
	defer conn.Close()
	queryRows(ctx, l.T, conn, "SELECT toInt64(sum(n)), toInt64(sum(v)) FROM logs", func(rows driver.Rows) error { return rows.Scan(&n, &sum) })
	queryRows(ctx, l.T, conn, `SELECT format('[{},{}) {} records', toString(start_offset), toString(version), toString(records_in))
		|| if(gap > 0 OR gap_reason != '', format(', {} missing: {}', toString(gap), gap_reason), '')
		FROM weir_coverage FINAL ORDER BY received_at, segment`, func(rows driver.Rows) error {
		var line string
		err := rows.Scan(&line)
		segments = append(segments, line)
		return err
	})
	return n, sum, segments
}

// reading starts a node that goes on reading, as a process.
func (l *logTest) reading() *process {
	s := l.spec
	s.StopAtEnd = false
	return startNode(l.T, s)
}

// stop has a node leave its group.
func (l *logTest) stop(p *process) {
	l.Helper()
	p.signal(l.T, os.Interrupt)
	if code := p.wait(l.T, patience); code != 0 {
		l.Fatalf("exit code %d:\n%s", code, p.stderr.String())
	}
}

// waitCounted waits until so many records are stored.
func (l *logTest) waitCounted(ctx context.Context, p *process, records int64) {
	l.Helper()
	conn := openClickHouse(l.T, l.spec.ClickHouse)
	defer conn.Close()
	eventually(l.T, patience, func() (bool, string) {
		var n int64
		err := conn.QueryRow(ctx, "SELECT toInt64(sum(n)) FROM logs").Scan(&n)
		if !p.running() {
			l.Fatalf("the node ended:\n%s", p.stderr.String())
		}
		return n >= records, fmt.Sprintf("%d of %d records (%v)\n%s", n, records, err, p.stderr.String())
	})
}

func (l *logTest) deleteBefore(ctx context.Context, offset int64) {
	l.Helper()
	var to kadm.Offsets
	to.Add(kadm.Offset{Topic: l.topic, At: offset})
	resp, err := l.admin.DeleteRecords(ctx, to)
	if err == nil {
		err = resp.Error()
	}
	if err != nil {
		l.Fatal(err)
	}
}

// recreate deletes the topic and makes it anew.
func (l *logTest) recreate(ctx context.Context, settings map[string]string) {
	l.Helper()
	before := kadm.TopicID{}
	eventually(l.T, patience, func() (bool, string) { before = l.id(ctx); return before != kadm.TopicID{}, "no topic to delete" })
	if _, err := l.admin.DeleteTopic(ctx, l.topic); err != nil {
		l.Fatal(err)
	}
	l.create(ctx, settings)
	eventually(l.T, patience, func() (bool, string) {
		now := l.id(ctx)
		return now != before && now != kadm.TopicID{}, "the broker still knows the topic of before" // and would take records for it
	})
	l.client.PurgeTopicsFromClient(l.topic)
}

func upTo(n int) (out []int) {
	for i := range n {
		out = append(out, i)
	}
	return out
}

// testTransactions: what was aborted is not counted, its offsets are passed all the same, and the end of a log is where a
// consumer comes to, behind the mark of the last transaction and before one that is open.
func testTransactions(ctx context.Context, l *logTest) {
	l.produce(ctx, 2)               // 0 and 1
	l.transaction(ctx, 3)(true)     // 2 to 4, mark at 5
	l.transaction(ctx, 4)(false)    // 5 to 8: offsets 6 to 9, mark at 10
	open := l.transaction(ctx, 2)   // 9 and 10: offsets 11 and 12
	l.produce(ctx, 1)               // 11: offset 13
	behind := l.transaction(ctx, 1) // 12: offset 14
	l.run(ctx)
	l.want(ctx, upTo(5), "[0,11) 5 records")
	behind(true) // mark at 15, but the one before is still open
	l.run(ctx)
	l.want(ctx, upTo(5), "[0,11) 5 records")
	open(false) // mark at 16
	l.run(ctx)
	l.want(ctx, append(upTo(5), 11, 12), "[0,17) 7 records")

	node := l.reading()
	open = l.transaction(ctx, 3) // 13 to 15
	l.produce(ctx, 1)            // 16
	open(true)
	l.waitCounted(ctx, node, 11)
	l.stop(node)
	l.transaction(ctx, 2)(false) // 17 and 18
	l.run(ctx)
	l.want(ctx, append(upTo(5), 11, 12, 13, 14, 15, 16), "[0,25) 11 records")
}

// testRecordsDeleted: records go before a node comes to them, by command and as retention has them go.
func testRecordsDeleted(ctx context.Context, l *logTest) {
	l.produce(ctx, 10)
	l.run(ctx)
	l.produce(ctx, 10)
	l.deleteBefore(ctx, 15)
	l.run(ctx)
	l.want(ctx, append(upTo(10), 15, 16, 17, 18, 19), "[0,10) 10 records", "[15,20) 5 records, 5 missing: retention")
	l.produce(ctx, 5)
	l.deleteBefore(ctx, 25)
	l.produce(ctx, 1)
	l.run(ctx)
	l.want(ctx, append(upTo(10), 15, 16, 17, 18, 19, 25),
		"[0,10) 10 records", "[15,20) 5 records, 5 missing: retention", "[25,26) 1 records, 5 missing: retention")
}

// testRecordsDeletedWhileReading: records go under a node that is stopped for a while. What it had fetched before is counted, so
// where the gap begins is the node's to say; but it must be exact.
func testRecordsDeletedWhileReading(ctx context.Context, l *logTest) {
	l.produce(ctx, 10)
	node := l.reading()
	l.waitCounted(ctx, node, 10)
	node.signal(l.T, syscall.SIGSTOP)
	time.Sleep(5500 * time.Millisecond) // a fetch on its way comes back empty after 5 s, and is the last
	l.produce(ctx, 20)
	l.deleteBefore(ctx, 28)
	node.signal(l.T, syscall.SIGCONT)
	l.produce(ctx, 1)
	l.waitCounted(ctx, node, 13)
	l.stop(node)
	l.run(ctx)
	n, sum, segments := l.stored(ctx)
	var begin, missing int64
	if len(segments) != 2 {
		l.Fatalf("segments %q, want two", segments)
	}
	if _, err := fmt.Sscanf(segments[0], "[0,%d) ", &begin); err != nil {
		l.Fatal(err)
	}
	if _, err := fmt.Sscanf(segments[1], "[28,31) 3 records, %d missing: retention", &missing); err != nil {
		l.Fatalf("segments %q: %v", segments, err)
	}
	if begin < 10 || begin+missing != 28 || n != begin+3 || sum != 1<<begin-1|7<<28 {
		l.Errorf("segments %q, %d records counted, %b", segments, n, sum)
	}
	l.audit(ctx)
}

// testTopicRecreated: another topic of the same name has other records under the same offsets.
func testTopicRecreated(ctx context.Context, l *logTest) {
	l.produce(ctx, 6)
	l.run(ctx)
	l.recreate(ctx, nil)
	l.produce(ctx, 3)
	l.run(ctx)
	l.want(ctx, upTo(9), "[0,6) 6 records", "[0,3) 3 records")
}

func testTopicRecreatedWhileReading(ctx context.Context, l *logTest) {
	l.produce(ctx, 6)
	node := l.reading()
	l.waitCounted(ctx, node, 6)
	l.recreate(ctx, nil)
	l.produce(ctx, 3)
	l.waitCounted(ctx, node, 9)
	l.stop(node)
	l.run(ctx)
	l.want(ctx, upTo(9), "[0,6) 6 records", "[0,3) 3 records")
}

// testCommitBeyondEnd: a group that is ahead of the log is not set back in silence.
func testCommitBeyondEnd(ctx context.Context, l *logTest) {
	l.produce(ctx, 5)
	var at kadm.Offsets
	at.Add(kadm.Offset{Topic: l.topic, At: 50, LeaderEpoch: -1})
	if err := l.admin.CommitAllOffsets(ctx, l.spec.Prefix+"group", at); err != nil {
		l.Fatal(err)
	}
	l.refused(ctx, "offset 50", "the log ends at 5")
}

// testCompacted: a compacted topic is refused, and read where the pipeline says that it may be.
func testCompacted(ctx context.Context, l *logTest) {
	l.recreate(ctx, map[string]string{"cleanup.policy": "compact"})
	l.produce(ctx, 4)
	l.refused(ctx, "cleanup.policy=compact", "source.kafka.allow_compacted")
	l.spec.YAML = strings.Replace(l.spec.YAML, "topics:", "allow_compacted: true, topics:", 1)
	l.run(ctx)
	l.want(ctx, upTo(4), "[0,4) 4 records")
}
