package kafka

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/ingest/batch"
)

// recorder is a handler that notes what it is told.
type recorder struct {
	mu       sync.Mutex
	source   *Source
	start    func(a ingest.Assignment) (int64, error)
	assigned []ingest.Assignment
	values   map[string][]string // by partition, in order
	offsets  map[string]int64    // offset after the last
	revoked  []string
	lost     []string
	gaps     []string
	failures []string
	held     map[string]bool
	broken   []string // what went wrong in the order of calls
}

func newRecorder() *recorder {
	return &recorder{values: map[string][]string{}, offsets: map[string]int64{}, held: map[string]bool{}}
}

func (r *recorder) Assigned(_ context.Context, as []ingest.Assignment) []ingest.Start {
	r.mu.Lock()
	defer r.mu.Unlock()
	starts := make([]ingest.Start, len(as))
	for i, a := range as {
		starts[i].Offset, starts[i].Err = r.begin(a)
	}
	return starts
}

// begin is where a partition begins. mu is held.
func (r *recorder) begin(a ingest.Assignment) (int64, error) {
	r.assigned = append(r.assigned, a)
	if a.Refused != nil {
		return 0, a.Refused
	}
	if r.held[a.Partition.String()] {
		r.broken = append(r.broken, a.Partition.String()+" assigned twice")
	}
	r.held[a.Partition.String()] = true
	if r.start != nil {
		return r.start(a)
	}
	if a.Committed >= 0 {
		return a.Committed, nil
	}
	return a.Begin, nil
}

func (r *recorder) Records(p batch.Partition, records []batch.Record, logEnd int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := p.String()
	for _, rec := range records {
		if next, ok := r.offsets[name]; ok && rec.Offset < next {
			r.broken = append(r.broken, fmt.Sprintf("%s: offset %d after %d", name, rec.Offset, next))
		}
		r.offsets[name] = rec.Offset + 1
		r.values[name] = append(r.values[name], string(rec.Value))
	}
	if last := records[len(records)-1].Offset; logEnd <= last {
		r.broken = append(r.broken, fmt.Sprintf("%s: log end %d at offset %d", name, logEnd, last))
	}
}

func (r *recorder) Skipped(p batch.Partition, to, logEnd int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := p.String()
	if to <= r.offsets[name] || logEnd < to {
		r.broken = append(r.broken, fmt.Sprintf("%s: skipped to %d after %d, log end %d", name, to, r.offsets[name], logEnd))
	}
	r.offsets[name] = to
}

func (r *recorder) Revoked(_ context.Context, ps []batch.Partition) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range ps {
		r.revoked = append(r.revoked, p.String())
		delete(r.offsets, p.String())
		delete(r.held, p.String())
	}
}

func (r *recorder) Lost(ps []batch.Partition) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range ps {
		r.lost = append(r.lost, p.String())
		delete(r.offsets, p.String())
		delete(r.held, p.String())
	}
}

func (r *recorder) Gap(_ context.Context, p batch.Partition, from, to int64, why ingest.GapReason) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gaps = append(r.gaps, fmt.Sprintf("%s %d-%d %s", p, from, to, why))
	delete(r.offsets, p.String())
}

func (r *recorder) Failed(p batch.Partition, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.failures = append(r.failures, err.Error())
	} else {
		r.failures = append(r.failures, "")
	}
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, v := range r.values {
		n += len(v)
	}
	return n
}

// eventually waits for a condition, up to 20 seconds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func cluster(t *testing.T, opts ...kfake.Opt) (*kfake.Cluster, *kgo.Client) {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return c, cl
}

func produce(t *testing.T, cl *kgo.Client, topic string, partition int32, values ...string) {
	t.Helper()
	for _, v := range values {
		r := &kgo.Record{
			Topic: topic, Partition: partition, Value: []byte(v), Key: []byte("k"), Timestamp: time.UnixMilli(1_700_000_000_000),
			Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("x")}},
		}
		if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// run starts a source and returns how to stop it.
func run(t *testing.T, cfg Config, r *recorder) (stop func()) {
	t.Helper()
	src, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r.source = src
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- src.Run(ctx, r) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, b := range r.broken {
			t.Error(b)
		}
	})
	t.Cleanup(stop)
	return stop
}

func TestReadCommitResume(t *testing.T) {
	for _, protocol := range []string{"classic", "consumer", "auto"} {
		t.Run(protocol, func(t *testing.T) {
			c, cl := cluster(t, kfake.SeedTopics(2, "a"))
			cfg := Config{Brokers: c.ListenAddrs(), Topics: []string{"a"}, Group: "g", Protocol: protocol}
			produce(t, cl, "a", 0, "a0", "a1", "a2")
			produce(t, cl, "a", 1, "b0")
			first := newRecorder()
			stop := run(t, cfg, first)
			eventually(t, "4 records", func() bool { return first.count() == 4 })
			for _, a := range first.assigned {
				if a.Committed != -1 || a.Metadata != "" || a.LogStart != 0 || a.Begin != 0 || a.Partition.TopicID == [16]byte{} {
					t.Errorf("assignment %+v", a)
				}
			}
			p := first.assigned[0].Partition
			p.ID = 0
			if err := first.source.Commit(t.Context(), []ingest.Commit{{Partition: p, Offset: 2, Metadata: `{"x":1}`}}); err != nil {
				t.Fatal(err)
			}
			stop()
			slices.Sort(first.revoked)
			if fmt.Sprint(first.revoked) != "[a/0 a/1]" {
				t.Errorf("revoked %v", first.revoked)
			}
			second := newRecorder()
			stop = run(t, cfg, second)
			eventually(t, "2 records", func() bool { return second.count() == 2 })
			stop()
			if got := fmt.Sprint(second.values); got != "map[a/0:[a2] a/1:[b0]]" {
				t.Errorf("read %s after the commit", got)
			}
			for _, a := range second.assigned {
				if a.Partition.ID == 0 && (a.Committed != 2 || a.Metadata != `{"x":1}`) {
					t.Errorf("assignment %+v", a)
				}
			}
		})
	}
}

func TestStart(t *testing.T) {
	c, cl := cluster(t, kfake.SeedTopics(1, "a"))
	produce(t, cl, "a", 0, "old")
	for name, want := range map[string]struct {
		cfg   Config
		begin int64
	}{
		"earliest": {Config{Start: "earliest"}, 0},
		"latest":   {Config{Start: "latest"}, 1},
		"before":   {Config{Start: "time", StartTime: time.UnixMilli(1_600_000_000_000)}, 0},
		"after":    {Config{Start: "time", StartTime: time.UnixMilli(1_800_000_000_000)}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRecorder()
			cfg := want.cfg
			cfg.Brokers, cfg.Topics, cfg.Group = c.ListenAddrs(), []string{"a"}, "g-"+name
			stop := run(t, cfg, r)
			eventually(t, "an assignment", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return len(r.assigned) == 1 })
			stop()
			if got := r.assigned[0].Begin; got != want.begin {
				t.Errorf("begins at %d, want %d", got, want.begin)
			}
		})
	}
}

func TestRegexAndNewTopics(t *testing.T) {
	c, cl := cluster(t, kfake.SeedTopics(1, "line-a", "other", "xline-b"))
	r := newRecorder()
	stop := run(t, Config{Brokers: c.ListenAddrs(), Topics: []string{"re:line-.*", "oth.r"}, Group: "g"}, r)
	for _, topic := range []string{"line-a", "other", "xline-b"} {
		produce(t, cl, topic, 0, topic)
	}
	eventually(t, "a record", func() bool { return r.count() >= 1 })
	time.Sleep(300 * time.Millisecond)
	stop()
	if got := fmt.Sprint(r.values); got != "map[line-a/0:[line-a]]" {
		t.Errorf("read %s: a pattern matches the whole name, and a plain name is no pattern", got)
	}
}

func TestPause(t *testing.T) {
	c, cl := cluster(t, kfake.SeedTopics(1, "a"))
	r := newRecorder()
	run(t, Config{Brokers: c.ListenAddrs(), Topics: []string{"a"}, Group: "g"}, r)
	produce(t, cl, "a", 0, "0")
	eventually(t, "a record", func() bool { return r.count() == 1 })
	p := r.assigned[0].Partition
	r.source.Pause(p)
	time.Sleep(100 * time.Millisecond)
	produce(t, cl, "a", 0, "1")
	time.Sleep(300 * time.Millisecond)
	if n := r.count(); n != 1 {
		t.Fatalf("%d records while paused", n)
	}
	r.source.Resume(p)
	eventually(t, "the second record", func() bool { return r.count() == 2 })
}

// TestRetentionBeforeStart asks for an offset that the broker has deleted.
func TestRetentionBeforeStart(t *testing.T) {
	c, cl := cluster(t, kfake.SeedTopics(1, "a"))
	produce(t, cl, "a", 0, "0", "1", "2", "3")
	deleteBefore(t, cl, "a", 0, 3)
	r := newRecorder()
	r.start = func(ingest.Assignment) (int64, error) { return 1, nil }
	stop := run(t, Config{Brokers: c.ListenAddrs(), Topics: []string{"a"}, Group: "g"}, r)
	eventually(t, "the last record", func() bool { return r.count() == 1 })
	stop()
	if fmt.Sprint(r.gaps) != "[a/0 1-3 retention]" || r.values["a/0"][0] != "3" {
		t.Errorf("gaps %v, values %v", r.gaps, r.values)
	}
}

// TestRetentionWhilePaused deletes records under a reader that is behind.
func TestRetentionWhilePaused(t *testing.T) {
	c, cl := cluster(t, kfake.SeedTopics(1, "a"))
	r := newRecorder()
	stop := run(t, Config{Brokers: c.ListenAddrs(), Topics: []string{"a"}, Group: "g"}, r)
	produce(t, cl, "a", 0, "0")
	eventually(t, "a record", func() bool { return r.count() == 1 })
	r.source.Pause(r.assigned[0].Partition)
	time.Sleep(300 * time.Millisecond) // a fetch on its way has come back empty
	produce(t, cl, "a", 0, "1", "2", "3")
	deleteBefore(t, cl, "a", 0, 3)
	time.Sleep(300 * time.Millisecond)
	r.source.Resume(r.assigned[0].Partition)
	eventually(t, "the last record", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return slices.Contains(r.values["a/0"], "3")
	})
	stop()
	// What was fetched before the deletion may have been kept: then there is no gap.
	if got := fmt.Sprint(r.gaps); got != "[a/0 1-3 retention]" && len(r.values["a/0"]) != 4 {
		t.Errorf("gaps %v, values %v", r.gaps, r.values)
	}
}

func deleteBefore(t *testing.T, cl *kgo.Client, topic string, partition int32, offset int64) {
	t.Helper()
	var to kadm.Offsets
	to.Add(kadm.Offset{Topic: topic, Partition: partition, At: offset})
	resp, err := kadm.NewClient(cl).DeleteRecords(t.Context(), to)
	if err == nil {
		err = resp.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestBeyondEnd starts past the end of the log: the position is reported as cut back.
func TestBeyondEnd(t *testing.T) {
	c, cl := cluster(t, kfake.SeedTopics(1, "a"))
	produce(t, cl, "a", 0, "0")
	r := newRecorder()
	r.start = func(ingest.Assignment) (int64, error) { return 10, nil }
	run(t, Config{Brokers: c.ListenAddrs(), Topics: []string{"a"}, Group: "g"}, r)
	eventually(t, "a gap", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return len(r.gaps) > 0 })
	r.mu.Lock()
	if fmt.Sprint(r.gaps) != "[a/0 10-1 truncated]" {
		t.Errorf("gaps %v", r.gaps)
	}
	r.mu.Unlock()
	produce(t, cl, "a", 0, "1")
	eventually(t, "the new record", func() bool { return r.count() == 1 })
}

func TestTopicRecreated(t *testing.T) {
	c, cl := cluster(t, kfake.SeedTopics(1, "a"))
	produce(t, cl, "a", 0, "old")
	r := newRecorder()
	run(t, Config{Brokers: c.ListenAddrs(), Topics: []string{"a"}, Group: "g"}, r)
	eventually(t, "a record", func() bool { return r.count() == 1 })
	adm := kadm.NewClient(cl)
	if _, err := adm.DeleteTopics(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := adm.CreateTopics(t.Context(), 1, 1, nil, "a"); err != nil {
		t.Fatal(err)
	}
	cl.PurgeTopicsFromClient("a")
	produce(t, cl, "a", 0, "new")
	eventually(t, "the record of the new topic", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return slices.Contains(r.values["a/0"], "new")
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	if last := r.assigned[len(r.assigned)-1]; last.Partition.TopicID == r.assigned[0].Partition.TopicID {
		t.Errorf("assignments %+v", r.assigned)
	}
	// Rebalances may come between; every assignment but the last has ended.
	if len(r.lost)+len(r.revoked) != len(r.assigned)-1 {
		t.Errorf("%d assignments, lost %v, revoked %v", len(r.assigned), r.lost, r.revoked)
	}
}

func TestMissingTopicAndBroker(t *testing.T) {
	c, cl := cluster(t)
	r := newRecorder()
	run(t, Config{Brokers: c.ListenAddrs(), Topics: []string{"later"}, Group: "g"}, r)
	eventually(t, "a complaint", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return slices.ContainsFunc(r.failures, func(s string) bool {
			return strings.Contains(s, `topic "later" does not exist`) && strings.Contains(s, "create it")
		})
	})
	if _, err := kadm.NewClient(cl).CreateTopics(t.Context(), 1, 1, nil, "later"); err != nil {
		t.Fatal(err)
	}
	produce(t, cl, "later", 0, "x")
	eventually(t, "the record", func() bool { return r.count() == 1 })

	nobody := newRecorder()
	run(t, Config{Brokers: []string{"127.0.0.1:1"}, Topics: []string{"a"}, Group: "g"}, nobody)
	eventually(t, "a complaint", func() bool {
		nobody.mu.Lock()
		defer nobody.mu.Unlock()
		return slices.ContainsFunc(nobody.failures, func(s string) bool { return strings.Contains(s, "cannot reach Kafka at 127.0.0.1:1") })
	})
}

// TestTwoMembers shares partitions between two members and hands them over when one leaves.
func TestTwoMembers(t *testing.T) {
	for _, protocol := range []string{"classic", "consumer"} {
		t.Run(protocol, func(t *testing.T) {
			c, cl := cluster(t, kfake.SeedTopics(4, "a"))
			cfg := Config{Brokers: c.ListenAddrs(), Topics: []string{"a"}, Group: "g", Protocol: protocol}
			one, two := newRecorder(), newRecorder()
			run(t, cfg, one)
			eventually(t, "4 partitions", func() bool { one.mu.Lock(); defer one.mu.Unlock(); return len(one.assigned) == 4 })
			stop := run(t, cfg, two)
			eventually(t, "2 partitions", func() bool { two.mu.Lock(); defer two.mu.Unlock(); return len(two.assigned) == 2 })
			stop()
			eventually(t, "all partitions again", func() bool { one.mu.Lock(); defer one.mu.Unlock(); return len(one.assigned) == 6 })
			for p := range int32(4) {
				produce(t, cl, "a", p, fmt.Sprint(p))
			}
			eventually(t, "4 records", func() bool { return one.count() == 4 })
		})
	}
}

func TestNewRefuses(t *testing.T) {
	good := Config{Brokers: []string{"b:1"}, Topics: []string{"t"}, Group: "g"}
	for name, c := range map[string]struct {
		edit func(*Config)
		want string
	}{
		"no brokers": {func(c *Config) { c.Brokers = nil }, "no brokers"},
		"no topics":  {func(c *Config) { c.Topics = nil }, "no topics"},
		"no group":   {func(c *Config) { c.Group = "" }, "no consumer group"},
		"regex":      {func(c *Config) { c.Topics = []string{"re:("} }, "not a regular expression"},
		"protocol":   {func(c *Config) { c.Protocol = "new" }, "auto, classic or consumer"},
		"mechanism":  {func(c *Config) { c.SASL = &SASL{Mechanism: "x"} }, "scram-sha-256"},
	} {
		cfg := good
		c.edit(&cfg)
		if _, err := New(cfg, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := New(good, slog.New(slog.DiscardHandler)); err != nil {
		t.Error(err)
	}
}

func TestSASL(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "a"), kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", "u", "secret"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	for pass, ok := range map[string]bool{"secret": true, "wrong": false} {
		r := newRecorder()
		stop := run(t, Config{Brokers: c.ListenAddrs(), Topics: []string{"a"}, Group: "g" + pass, SASL: &SASL{Mechanism: "scram-sha-256", User: "u", Password: pass}}, r)
		if ok {
			eventually(t, "an assignment", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return len(r.assigned) == 1 })
		} else {
			eventually(t, "a complaint", func() bool {
				r.mu.Lock()
				defer r.mu.Unlock()
				return slices.ContainsFunc(r.failures, func(s string) bool { return strings.Contains(strings.ToLower(s), "sasl") })
			})
		}
		stop()
	}
}
