package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-stream/weir/edge-node/deadletter"
)

// records reads what a topic has, as consumers of committed records see it, by origin.
func (b *dlqBed) records(topic string) map[string][]*kgo.Record {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 20*time.Second)
	defer cancel()
	ends, err := kadm.NewClient(b.client).ListCommittedOffsets(ctx, topic)
	if err != nil {
		b.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(b.brokers...), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	out := map[string][]*kgo.Record{}
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			b.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
			if !r.Attrs.IsControl() {
				out[header(r, deadletter.OriginHeader)] = append(out[header(r, deadletter.OriginHeader)], r)
			}
		})
	}
	return out
}

func header(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

func (b *dlqBed) makeTopic(name string, partitions int32) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 20*time.Second)
	defer cancel()
	if _, err := kadm.NewClient(b.client).CreateTopic(ctx, partitions, 1, nil, name); err != nil {
		b.Fatal(err)
	}
}

func (b *dlqBed) proven() {
	b.Helper()
	if out, _ := b.weir(exitOK, "audit", "p.yaml"); !strings.Contains(out, "run-test: proven: ") {
		b.Errorf("%s", out)
	}
}

// TestDLQReplay sends dead letters to another topic and to their own, where they are counted as new records.
func TestDLQReplay(t *testing.T) {
	b := newDLQBed(t)
	mended := b.topic + "-mended"
	for _, args := range [][]string{
		{"p.yaml"}, {"--to-source", "--to-topic", "x", "p.yaml"}, {"--to-source", "p.yaml"}, {"--to-source", "--yes", "--offset", "a", "p.yaml"},
	} {
		b.weir(exitUsage, append([]string{"dlq", "replay"}, args...)...)
	}
	if _, errs := b.weir(exitFailed, "dlq", "replay", "--to-topic", mended, "--yes", "p.yaml"); !strings.Contains(errs, "there is no topic "+mended+": make it first") {
		t.Errorf("%s", errs)
	}
	b.makeTopic(mended, 3)
	out, _ := b.weir(exitOK, "dlq", "replay", "--to-topic", mended, "--dry-run", "p.yaml")
	b.want(out, "would send 4 records (4 dead letters) to topic "+mended+"\n")
	if n := len(b.records(mended)); n != 0 {
		t.Fatalf("a dry run has sent %d records", n)
	}
	out, _ = b.weir(exitOK, "dlq", "replay", "--to-topic", mended, "--yes", "--reason", "malformed", "p.yaml")
	b.want(out, "sent 2 records (2 dead letters) to topic "+mended+"\n")
	out, _ = b.weir(exitOK, "dlq", "replay", "--to-topic", mended, "--yes", "--json", "p.yaml")
	var result deadletter.Result
	if err := json.Unmarshal([]byte(out), &result); err != nil || result.Records != 2 || result.Replayed != 2 || result.DryRun || len(result.Refused) != 0 {
		t.Errorf("%v in %s", err, out)
	}
	got := b.records(mended)
	for offset, d := range deadRecords {
		origin := fmt.Sprintf("%s/0/%d", b.topic, offset)
		rs := got[origin]
		if len(rs) != 1 {
			t.Fatalf("%d records of %s", len(rs), origin)
		}
		// The one that is cut short in its letter comes from the log, whole and with its headers.
		trace := ""
		if len(d.value) > 64<<10 {
			trace = fmt.Sprint(offset)
		}
		if r := rs[0]; string(r.Key) != d.key || string(r.Value) != d.value || r.Timestamp.UnixMilli() != 1_700_000_000_000+offset || header(r, "trace") != trace {
			t.Errorf("%s: key %q, %d bytes, %v, %v", origin, r.Key, len(r.Value), r.Timestamp, r.Headers)
		}
	}
	out, _ = b.weir(exitOK, "dlq", "ls", "--by", "site", "p.yaml")
	if f := strings.Fields(out); f[8] != "4" || f[9] != "4" {
		t.Errorf("%s", out)
	}
	if out, _ = b.weir(exitOK, "dlq", "show", "p.yaml", b.topic+"/0/3"); !strings.Contains(out, "\nreplayed to "+mended+"/") {
		t.Errorf("%s", out)
	}

	// To where they came from: counted as new records, the account still holds.
	out, _ = b.weir(exitOK, "dlq", "replay", "--to-source", "--yes", "--again", "--original", "--limit", "3", "p.yaml")
	b.want(out, "sent 3 records (3 dead letters) to the topics they came from\n")
	again := b.records(b.topic)[b.topic+"/0/5"]
	if len(again) != 1 || again[0].Partition != 0 || header(again[0], "trace") != "5" {
		t.Errorf("%+v", again)
	}
	// --stop-at-end waits for a record at the end of the log, and that of a transaction is a marker.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	good := &kgo.Record{Topic: b.topic, Value: []byte(`{"device":"d1","ts":1700000000000,"v":1}`)}
	if err := b.client.ProduceSync(ctx, good).FirstErr(); err != nil {
		t.Fatal(err)
	}
	b.run()
	b.proven()
	out, _ = b.weir(exitOK, "dlq", "ls", "--json", "--by", "site", "p.yaml")
	var counts []map[string]any
	if err := json.Unmarshal([]byte(out), &counts); err != nil || counts[0]["letters"] != 7.0 || counts[0]["replayed"] != 4.0 {
		t.Errorf("%v in %s", err, out)
	}
	// Those of the replayed records are not replayed themselves, and their origin is where they are now.
	out, _ = b.weir(exitOK, "dlq", "replay", "--to-topic", mended, "--yes", "p.yaml")
	b.want(out, "sent 3 records (3 dead letters) to topic "+mended+"\n4: left out: sent before, --again sends them again\n")
}

// TestDLQReplayRefuses cannot send what is neither in the letter nor in the log.
func TestDLQReplayRefuses(t *testing.T) {
	b := newDLQBed(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	adm := kadm.NewClient(b.client)
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: b.topic, Partition: 0, At: 9})
	if _, err := adm.DeleteRecords(ctx, offsets); err != nil {
		t.Fatal(err)
	}
	mended := b.topic + "-mended"
	b.makeTopic(mended, 1)
	out, errs := b.weir(exitFailed, "dlq", "replay", "--to-topic", mended, "--yes", "p.yaml")
	b.want(out, "sent 3 records (3 dead letters) to topic "+mended+"\n1: could not be sent\n")
	b.want(errs, "not sent: "+b.topic+"/0/8: its letter has the first 65536 bytes only, and the log has offsets 9 to 9\n")
	if n := len(b.records(mended)); n != 3 {
		t.Errorf("%d records", n)
	}
	// A topic that was made anew is another one.
	if _, err := adm.DeleteTopics(ctx, b.topic); err != nil {
		t.Fatal(err)
	}
	b.makeTopic(b.topic, 2)
	_, errs = b.weir(exitFailed, "dlq", "replay", "--to-source", "--again", "--yes", "p.yaml")
	if strings.Count(errs, "is another one here: it was made anew since") != 4 {
		t.Errorf("%s", errs)
	}
}

// TestDLQPurge deletes dead letters, and the audit still accounts for them.
func TestDLQPurge(t *testing.T) {
	b := newDLQBed(t)
	for _, args := range [][]string{{"p.yaml"}, {"--all", "p.yaml"}, {"--all", "--reason", "late", "--yes", "p.yaml"}} {
		b.weir(exitUsage, append([]string{"dlq", "purge"}, args...)...)
	}
	out, _ := b.weir(exitOK, "dlq", "purge", "--reason", "malformed", "--dry-run", "p.yaml")
	b.want(out, "would delete 2 dead letters of run-test with 29 bytes of payload\n")
	out, _ = b.weir(exitOK, "dlq", "purge", "--reason", "malformed", "--yes", "p.yaml")
	b.want(out, "deleted 2 dead letters of run-test with 29 bytes of payload\n")
	b.proven()
	out, _ = b.weir(exitOK, "dlq", "purge", "--all", "--yes", "--json", "p.yaml")
	if !strings.Contains(strings.Join(strings.Fields(out), ""), `{"dry_run":false,"letters":2,"bytes":`) {
		t.Errorf("%s", out)
	}
	b.proven()
	out, _ = b.weir(exitOK, "dlq", "purge", "--all", "--yes", "p.yaml")
	b.want(out, "deleted 0 dead letters of run-test with 0 bytes of payload\n")
	out, _ = b.weir(exitOK, "dlq", "ls", "--by", "reason", "p.yaml")
	if !strings.Contains(out, "malformed   ") || strings.Count(out, "\n") != 4 {
		t.Errorf("%s", out)
	}
	b.weir(exitFailed, "dlq", "show", "p.yaml")

	// To the log they are there as well, and what stores again what was lost does not bring them back.
	out, _ = b.weir(exitOK, "replay", "p.yaml")
	if !strings.Contains(out, "dead_letters") {
		t.Errorf("%s", out)
	}
	b.weir(exitOK, "resend", "--since", "2023-01-01T00:00:00Z", "p.yaml")
	b.weir(exitFailed, "dlq", "show", "p.yaml")
	b.proven()
}

// TestDLQReplayDied leaves what a replay leaves that is killed at each of its steps. The next one sends each record once, as
// consumers of committed records see it.
func TestDLQReplayDied(t *testing.T) {
	b := newDLQBed(t)
	mended := b.topic + "-mended"
	b.makeTopic(mended, 3)
	each := func(what string) {
		t.Helper()
		got := b.records(mended)
		for offset := range deadRecords {
			if n := len(got[fmt.Sprintf("%s/0/%d", b.topic, offset)]); n != 1 {
				t.Errorf("%s: %d records of offset %d", what, n, offset)
			}
		}
	}
	replay := []string{"dlq", "replay", "--to-topic", mended, "--yes", "p.yaml"}

	// It had marked two, and sent one of them in a transaction that it did not end.
	exec(t, b.dsn, `INSERT INTO weir_dead_letter_marks (site, pipeline, rev, topic, topic_id, partition, segment, record_offset, step, row_index, mark, time, reason, target, target_partition, target_offset)
		SELECT site, pipeline, rev, topic, topic_id, partition, segment, record_offset, step, row_index, 'sending', time, reason, '`+mended+`', 0, 0 FROM weir_dead_letters WHERE record_offset IN (3, 5)`)
	dead, err := kgo.NewClient(kgo.SeedBrokers(b.brokers...), kgo.TransactionalID(deadletter.TransactionalID("run-test")), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := dead.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	id, _ := b.weir(exitOK, "query", "--csv", "-p", "p.yaml", "SELECT DISTINCT toString(topic_id) AS id FROM weir_dead_letters")
	if err := dead.ProduceSync(ctx, &kgo.Record{Topic: mended, Partition: 0, Value: []byte(deadRecords[3].value), Headers: []kgo.RecordHeader{
		{Key: deadletter.OriginHeader, Value: []byte(b.topic + "/0/3")}, {Key: deadletter.TopicIDHeader, Value: []byte(strings.Fields(id)[1])},
	}}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if out, _ := b.weir(exitOK, "dlq", "show", "p.yaml", b.topic+"/0/3"); !strings.Contains(out, "\nreplayed perhaps, to "+mended+"/0") {
		t.Errorf("%s", out)
	}
	out, _ := b.weir(exitOK, replay...)
	b.want(out, "sent 4 records (4 dead letters) to topic "+mended+"\n")
	each("died in the transaction")
	if err := dead.EndTransaction(ctx, kgo.TryCommit); err == nil {
		t.Error("the one before could still commit")
	}
	each("it came back")

	// It had committed, and noted nothing.
	exec(t, b.dsn, "ALTER TABLE weir_dead_letter_marks DELETE WHERE mark = 'replayed' AND record_offset != 6 SETTINGS mutations_sync = 2")
	out, _ = b.weir(exitOK, append([]string{"dlq", "replay", "--dry-run"}, replay[2:]...)...)
	const found = "3: had been sent by a replay that ended before it could note so, and are noted now\n1: left out: sent before, --again sends them again\n"
	b.want(out, "would send 0 records (0 dead letters) to topic "+mended+"\n"+found)
	out, _ = b.weir(exitOK, replay...)
	b.want(out, "sent 0 records (0 dead letters) to topic "+mended+"\n"+found)
	out, _ = b.weir(exitOK, replay...)
	b.want(out, "sent 0 records (0 dead letters) to topic "+mended+"\n4: left out: sent before, --again sends them again\n")
	each("died before the notes")

	// The topic no longer has what it sent: nobody knows.
	exec(t, b.dsn, "ALTER TABLE weir_dead_letter_marks DELETE WHERE mark = 'replayed' AND record_offset = 6 SETTINGS mutations_sync = 2")
	if _, err := kadm.NewClient(b.client).DeleteTopics(ctx, mended); err != nil {
		t.Fatal(err)
	}
	_, errs := b.weir(exitFailed, "dlq", "replay", "--to-source", "--yes", "p.yaml")
	if strings.Count(errs, "\n") != 1 || !strings.Contains(errs, b.topic+"/0/6: a replay before may have sent it to "+mended) {
		t.Errorf("%s", errs)
	}
}
