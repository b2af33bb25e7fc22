package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
)

// dlqBed is a pipeline that has run over records of which some are dead letters now.
type dlqBed struct {
	*testing.T
	dsn, topic string
	brokers    []string
	client     *kgo.Client
}

// The records that are rejected, by offset in partition 0. Those at other offsets are good.
var deadRecords = map[int64]struct{ key, value, reason string }{
	3: {"k3", `{"device":"d1","ts":`, "malformed"},
	5: {"k5", "\x00\x01\xffbinary", "malformed"},
	6: {"k6", `{"device":"d1","v":1}`, "missing"},
	8: {"k8", "{\"device\":\"d1\",\"ts\":1700000000000,\"v\":\"" + strings.Repeat("x", 70_000) + "\"}", "wrong_type"},
}

func newDLQBed(t *testing.T) *dlqBed {
	t.Helper()
	b := &dlqBed{T: t, dsn: embeddedtest.ClickHouse(t)}
	var prefix string
	b.brokers, prefix = embeddedtest.Kafka(t)
	b.topic = prefix + "sensors"
	t.Chdir(t.TempDir())
	file := fmt.Sprintf(runPipeline, strings.Join(b.brokers, ","), b.topic, prefix+"group", b.dsn)
	if err := os.WriteFile("p.yaml", []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(b.brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	b.client = client
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := kadm.NewClient(client).CreateTopic(ctx, 2, 1, nil, b.topic); err != nil {
		t.Fatal(err)
	}
	var records []*kgo.Record
	for i := range int64(10) {
		r := &kgo.Record{
			Topic: b.topic, Partition: 0, Key: fmt.Appendf(nil, "k%d", i), Timestamp: time.UnixMilli(1_700_000_000_000 + i),
			Value: fmt.Appendf(nil, `{"device":"d%d","ts":%d,"v":%d}`, i%3, 1_700_000_000_000+i, i), Headers: []kgo.RecordHeader{{Key: "trace", Value: fmt.Append(nil, i)}},
		}
		if d, dead := deadRecords[i]; dead {
			r.Value = []byte(d.value)
		}
		records = append(records, r, &kgo.Record{
			Topic: b.topic, Partition: 1, Timestamp: time.UnixMilli(1_700_000_000_000 + i),
			Value: fmt.Appendf(nil, `{"device":"d%d","ts":%d,"v":1}`, i, 1_700_000_000_000+i),
		})
	}
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	b.weir(exitOK, "schema", "apply", "p.yaml")
	b.run()
	return b
}

func (b *dlqBed) run() {
	b.Helper()
	b.weir(exitOK, "run", "--stop-at-end", "--listen", "127.0.0.1:0", "p.yaml")
}

func (b *dlqBed) weir(want int, args ...string) (stdout, stderr string) {
	b.Helper()
	stdout, stderr, code := runCommand(b.T, args, nil)
	if code != want {
		b.Fatalf("weir %s: exit %d, want %d\n%s%s", strings.Join(args, " "), code, want, stdout, stderr)
	}
	return stdout, stderr
}

func (b *dlqBed) want(got, want string) {
	b.Helper()
	if got != want {
		b.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestDLQLook counts and shows dead letters.
func TestDLQLook(t *testing.T) {
	b := newDLQBed(t)
	out, _ := b.weir(exitOK, "dlq", "ls", "p.yaml")
	if lines := strings.Split(strings.TrimSpace(out), "\n"); len(lines) != 4 || strings.Join(strings.Fields(lines[0]), " ") != "site topic partition step reason letters replayed purged bytes first last" ||
		strings.Join(strings.Fields(lines[1]), " ") != "local "+b.topic+" 0 decode malformed 2 0 0 29 2023-11-14 22:13:20.003 2023-11-14 22:13:20.005" {
		t.Errorf("%s", out)
	}
	out, _ = b.weir(exitOK, "dlq", "ls", "--json", "--by", "partition,day", "p.yaml")
	var counts []map[string]any
	if err := json.Unmarshal([]byte(out), &counts); err != nil || len(counts) != 1 || counts[0]["partition"] != 0.0 || counts[0]["day"] != "2023-11-14" || counts[0]["letters"] != 4.0 {
		t.Errorf("%v in %s", err, out)
	}
	for _, c := range []struct {
		letters int
		args    []string
	}{
		{1, []string{"--reason", "missing"}},
		{4, []string{"--step", "decode"}},
		{0, []string{"--step", "window"}},
		{2, []string{"--offset", "5-6"}},
		{3, []string{"--offset", "3,6-"}},
		{0, []string{"--partition", "1"}},
		{4, []string{"--partition", "0,1", "--topic", b.topic, "--site", "local"}},
		{0, []string{"--site", "elsewhere"}},
		{3, []string{"--since", "2023-11-14T22:13:20.005Z"}},
		{1, []string{"--until", "2023-11-14T22:13:20.005Z"}},
		{0, []string{"--since", "1d"}},
	} {
		out, _ := b.weir(exitOK, append([]string{"dlq", "show", "--json", "p.yaml"}, c.args...)...)
		if n := strings.Count(out, "\n"); n != c.letters {
			t.Errorf("%v: %d letters, want %d", c.args, n, c.letters)
		}
	}
	if out, _ := b.weir(exitOK, "dlq", "ls", "--reason", "late", "p.yaml"); out != "run-test has no dead letters that fit\n" {
		t.Errorf("%s", out)
	}

	out, _ = b.weir(exitOK, "dlq", "show", "p.yaml", b.topic+"/0/5")
	for _, want := range []string{
		"record   " + b.topic + "/0/5\nreason   malformed\nstep     decode\n", "\ntime     2023-11-14T22:13:20.005Z\n", "\nkey      k5\npayload  9 bytes\n",
		"  00000000  00 01 ff 62 69 6e 61 72  79                       |...binary|\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	out, _ = b.weir(exitOK, "dlq", "show", "p.yaml", b.topic+"/0/8")
	if !strings.Contains(out, "payload  65,536 bytes, TRUNCATED: only the beginning was kept\n  {\"device\":") || !strings.HasSuffix(out, "  … 61,440 bytes more: --raw writes all\n") {
		t.Errorf("%s", out)
	}
	for offset, d := range deadRecords {
		raw, errs := b.weir(exitOK, "dlq", "show", "--raw", "p.yaml", fmt.Sprintf("%s/0/%d", b.topic, offset))
		if cut := min(len(d.value), 64<<10); raw != d.value[:cut] || (errs != "") != (cut < len(d.value)) {
			t.Errorf("offset %d: %d bytes, %s", offset, len(raw), errs)
		}
	}
	if _, errs := b.weir(exitUsage, "dlq", "show", "--raw", "p.yaml"); !strings.Contains(errs, "more than one fits") {
		t.Errorf("%s", errs)
	}
	out, _ = b.weir(exitOK, "dlq", "show", "--json", "--reason", "malformed", "p.yaml")
	lines := bytes.Split(bytes.TrimSpace([]byte(out)), []byte("\n"))
	var text, binary shownLetter
	if len(lines) != 2 || json.Unmarshal(lines[0], &text) != nil || json.Unmarshal(lines[1], &binary) != nil {
		t.Fatalf("%s", out)
	}
	if text.Payload == nil || *text.Payload != deadRecords[3].value || text.Offset != 3 || *text.Key != "k3" || binary.Payload != nil || binary.PayloadBase64 != "AAH/YmluYXJ5" {
		t.Errorf("%+v\n%+v", text, binary)
	}
	b.weir(exitFailed, "dlq", "show", "p.yaml", b.topic+"/0/4")
	if _, errs := b.weir(exitOK, "dlq", "show", "--limit", "1", "p.yaml"); errs != "there may be more: --limit 1\n" {
		t.Errorf("%s", errs)
	}
}
