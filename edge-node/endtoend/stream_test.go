package endtoend

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-stream/weir/bench/workload"
	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/pipeline"
)

// stream is a test of weir as a process: the sensors pipeline between a broker and a ClickHouse, records that arrive while
// it runs, and the truth about them.
type stream struct {
	t          *testing.T
	dir        string // with pipeline.yaml
	brokers    []string
	clickhouse string // DSN
	topic      string
	binary     string    // what start starts; this test binary where empty
	client     []kgo.Opt // of what produces
	truth      *workload.Truth
	enough     chan struct{} // closed by waitProduced
	produced   chan error
}

// newStream makes the pipeline file. extra are settings of source.kafka.
func newStream(t *testing.T, brokers []string, topic, dsn, extra string) *stream {
	t.Helper()
	s := &stream{t: t, dir: t.TempDir(), brokers: brokers, topic: topic, clickhouse: dsn, produced: make(chan error, 1)}
	text, err := os.ReadFile("../../examples/sensors/pipeline.yaml")
	if err != nil {
		t.Fatal(err)
	}
	operators, err := filepath.Abs("../../examples/operators")
	if err != nil {
		t.Fatal(err)
	}
	file := string(text)
	for _, r := range [][2]string{
		{"${KAFKA_BROKERS:-localhost:9092}", strings.Join(brokers, ",")},
		{"topics: [sensors]", "topics: [" + topic + "]"},
		{"group: line-temperature", "group: " + topic + "\n" + extra},
		{"../operators", operators},
		{"${WEIR_CLICKHOUSE:-clickhouse://localhost:9000/default}", dsn},
		{"flush_every: 2s", "flush_every: 200ms"},
	} {
		if !strings.Contains(file, r[0]) {
			t.Fatalf("the example has no %q any more", r[0])
		}
		file = strings.Replace(file, r[0], r[1], 1)
	}
	if err := os.WriteFile(s.file(), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	if s.truth, err = workload.NewSensorsTruth(workload.SensorsTruthConfig{}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *stream) file() string { return filepath.Join(s.dir, "pipeline.yaml") }

// edit changes the pipeline's file.
func (s *stream) edit(old, with string) {
	s.t.Helper()
	text, err := os.ReadFile(s.file())
	if err != nil {
		s.t.Fatal(err)
	}
	if !strings.Contains(string(text), old) {
		s.t.Fatalf("the pipeline has no %q", old)
	}
	if err := os.WriteFile(s.file(), []byte(strings.ReplaceAll(string(text), old, with)), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// patience is how long something may take that happens at once on a quiet machine. Nothing waits that long unless it is broken.
const patience = 2 * time.Minute

// produce starts to send readings: some late, some broken, some twice. Where a rate is given there are at least so many: more
// arrive until waitProduced, so that nothing can be over before a busy machine comes to it.
func (s *stream) produce(ctx context.Context, seed uint64, events int64, perSecond float64) {
	s.t.Helper()
	cfg := workload.SensorsConfig{
		Seed: seed, Events: events, Devices: 200, NumPartitions: 6, Span: 5 * time.Minute, HugeSize: 1<<20 + 1<<10,
	}.DefaultMix()
	cfg.LateRate, cfg.BrokenRate, cfg.Broken = 0.02, 0.005, nil
	s.send(ctx, cfg, perSecond)
}

func (s *stream) send(ctx context.Context, cfg workload.SensorsConfig, perSecond float64) {
	s.t.Helper()
	least := cfg.Events
	if perSecond > 0 {
		const more = 50
		cfg.Events *= more
		cfg.Span *= more
	}
	gen, err := workload.Sensors(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.enough = make(chan struct{})
	until := &until{Generator: gen, least: least, enough: s.enough}
	go func() {
		_, err := workload.Produce(ctx, s.brokers, s.topic, until, workload.ProduceOptions{Rate: perSecond, Observe: s.truth.Add, Client: s.client})
		s.produced <- err
	}()
}

// until gives at least so many records, and more until they are enough.
type until struct {
	workload.Generator
	least  int64
	enough <-chan struct{}
}

func (u *until) Next(r *workload.Record) bool {
	if u.least--; u.least < 0 {
		select {
		case <-u.enough:
			return false
		default:
		}
	}
	return u.Generator.Next(r)
}

// waitProduced ends what produce began.
func (s *stream) waitProduced() {
	s.t.Helper()
	close(s.enough)
	select {
	case err := <-s.produced:
		if err != nil {
			s.t.Fatal(err)
		}
	case <-time.After(patience):
		s.t.Fatalf("not everything was produced within %v", patience)
	}
}

// start starts a node of the pipeline.
func (s *stream) start(args ...string) *process {
	s.t.Helper()
	return s.startIn(nil, args...)
}

// startIn starts a node of the pipeline with more in its environment.
func (s *stream) startIn(env []string, args ...string) *process {
	s.t.Helper()
	args = append([]string{"run", "--listen", "127.0.0.1:0"}, append(args, "pipeline.yaml")...)
	if s.binary != "" {
		return startBinary(s.t, s.binary, s.dir, append(env, "WEIR_LOG_FORMAT=text"), args...)
	}
	return start(s.t, s.dir, append(env, envWeir+"=1", "WEIR_LOG_FORMAT=text"), args...)
}

// finish runs a node to the end of the topic.
func (s *stream) finish() {
	s.t.Helper()
	p := s.start("--stop-at-end")
	if code := p.wait(s.t, patience); code != 0 {
		s.t.Fatalf("exit code %d:\n%s", code, p.stderr.String())
	}
}

// check compares everything in ClickHouse with the truth.
func (s *stream) check() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	conn := openClickHouse(s.t, s.clickhouse)
	s.checkRows(ctx, conn)

	counts := s.truth.Counts()
	letters := map[string]int64{}
	queryRows(ctx, s.t, conn, "SELECT reason, toInt64(count()) FROM weir_dead_letters FINAL GROUP BY reason", func(rows driver.Rows) error {
		var reason string
		var n int64
		err := rows.Scan(&reason, &n)
		letters[reason] = n
		return err
	})
	wantLetters := map[string]int64{"late": counts.Late}
	for reason, n := range counts.Rejected {
		wantLetters[reason] = n
	}
	if fmt.Sprint(letters) != fmt.Sprint(wantLetters) {
		s.t.Errorf("dead letters by reason: %v, want %v", letters, wantLetters)
	}
	if counts.Late == 0 || counts.Filtered == 0 || len(counts.Rejected) < 3 {
		s.t.Errorf("the stream had not everything in it: %+v", counts)
	}

	byPartition := map[uint32]workload.Counts{}
	queryRows(ctx, s.t, conn, `SELECT partition, toInt64(sum(records_in)), toInt64(sum(aggregated)), toInt64(sum(late)), toInt64(sum(filtered)), toInt64(sum(gap))
		FROM weir_coverage FINAL GROUP BY partition`, func(rows driver.Rows) error {
		var p uint32
		var c workload.Counts
		var gap int64
		err := rows.Scan(&p, &c.Records, &c.Aggregated, &c.Late, &c.Filtered, &gap)
		byPartition[p] = c
		if gap != 0 {
			s.t.Errorf("partition %d has a gap of %d", p, gap)
		}
		return err
	})
	for p, c := range s.truth.PartitionCounts() {
		c.Rejected = nil
		if g := byPartition[uint32(p)]; fmt.Sprint(g) != fmt.Sprint(c) {
			s.t.Errorf("account of partition %d: %+v, want %+v", p, g, c)
		}
	}
	plan := s.plan()
	wantAudit(ctx, s.t, plan)
	wantLineage(ctx, s.t, plan, conn)
}

// checkRows compares the finished view with the truth.
func (s *stream) checkRows(ctx context.Context, conn driver.Conn) {
	s.t.Helper()
	columns := s.truth.Columns()
	sql := "SELECT toUnixTimestamp64Milli(window_start), site, device"
	for _, v := range columns.Values {
		sql += ", toFloat64(" + v.Name + ")"
	}
	var got []workload.Row
	queryRows(ctx, s.t, conn, sql+" FROM line_temperature", func(rows driver.Rows) error {
		r := workload.Row{Keys: make([]string, len(columns.Keys)), Values: make([]float64, len(columns.Values))}
		dest := []any{&r.Start, &r.Keys[0], &r.Keys[1]}
		for i := range r.Values {
			dest = append(dest, &r.Values[i])
		}
		err := rows.Scan(dest...)
		got = append(got, r)
		return err
	})
	want := s.truth.Windows()
	if d := workload.Diff(columns, want, got, 10); !d.Exact() || d.Compared == 0 {
		s.t.Error(d)
	}
}

// readLog makes the truth anew from what the broker has. A broker that was killed may have taken records twice: it forgot
// which ones an idempotent producer had sent.
func (s *stream) readLog(ctx context.Context) {
	s.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.brokers...), kgo.ConsumeTopics(s.topic))
	if err != nil {
		s.t.Fatal(err)
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, s.topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	left := int64(0)
	ends.Each(func(o kadm.ListedOffset) { left += o.Offset })
	if s.truth, err = workload.NewSensorsTruth(workload.SensorsTruthConfig{}); err != nil {
		s.t.Fatal(err)
	}
	for left > 0 {
		fetches := client.PollFetches(ctx)
		if err := errors.Join(fetches.Err(), ctx.Err()); err != nil {
			s.t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			s.truth.Add(&workload.Record{Partition: r.Partition, Offset: r.Offset, Time: r.Timestamp.UnixMilli(), Key: r.Key, Value: r.Value})
			left--
		})
	}
}

// plan plans the pipeline in this process.
func (s *stream) plan() *pipeline.Plan {
	s.t.Helper()
	spec, err := config.Load(s.file())
	if err != nil {
		s.t.Fatal(err)
	}
	p, err := pipeline.New(s.t.Context(), spec, config.DefaultNode(), pipeline.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = p.Close() })
	return p
}

// stored is how many records ClickHouse has an account of; 0 where it cannot be asked.
func (s *stream) stored(conn driver.Conn) int64 {
	ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Second)
	defer cancel()
	var n int64
	if err := conn.QueryRow(ctx, "SELECT toInt64(sum(records_in)) FROM weir_coverage FINAL").Scan(&n); err != nil {
		return 0
	}
	return n
}

// address waits until a node tells where its metrics are.
func (p *process) address(t *testing.T) string {
	t.Helper()
	var addr string
	eventually(t, patience, func() (bool, string) {
		for line := range strings.Lines(p.stderr.String()) {
			if _, rest, ok := strings.Cut(line, "address="); ok {
				addr, _, _ = strings.Cut(strings.TrimSpace(rest), " ")
				return true, ""
			}
		}
		if !p.running() {
			t.Fatalf("weir ended:\n%s", p.stderr.String())
		}
		return false, "no address yet:\n" + p.stderr.String()
	})
	return addr
}

func port(t *testing.T, addr string) int {
	t.Helper()
	_, text, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// get asks a node.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	var b strings.Builder
	buf := make([]byte, 32<<10)
	for {
		n, err := resp.Body.Read(buf)
		b.Write(buf[:n])
		if err != nil {
			break
		}
	}
	return resp.StatusCode, b.String()
}

// waitReady waits until /readyz says what is expected: 200, or 503 with all of the words.
func (p *process) waitReady(t *testing.T, atMost time.Duration, words ...string) {
	t.Helper()
	addr := p.address(t)
	eventually(t, atMost, func() (bool, string) {
		code, body := get(t, addr+"/readyz")
		if !p.running() {
			t.Fatalf("weir ended:\n%s", p.stderr.String())
		}
		if len(words) == 0 {
			return code == http.StatusOK, fmt.Sprintf("/readyz: %d %s", code, body)
		}
		for _, w := range words {
			if code != http.StatusServiceUnavailable || !strings.Contains(body, w) {
				return false, fmt.Sprintf("/readyz: %d %s\nwithout %q", code, body, w)
			}
		}
		return true, ""
	})
}
