package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
)

// TestWhy runs a pipeline in two revisions and asks what its rows were made from.
func TestWhy(t *testing.T) {
	dsn := embeddedtest.ClickHouse(t)
	brokers, prefix := embeddedtest.Kafka(t)
	topic := prefix + "sensors"
	produce(t, brokers, topic, 2000)
	t.Chdir(t.TempDir())
	file := fmt.Sprintf(runPipeline, strings.Join(brokers, ","), topic, prefix+"group", dsn)
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile("p.yaml", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(file)
	weir := func(want int, args ...string) (stdout, stderr string) {
		t.Helper()
		stdout, stderr, code := runCommand(t, args, nil)
		if code != want {
			t.Fatalf("weir %s: exit %d, want %d\n%s%s", strings.Join(args, " "), code, want, stdout, stderr)
		}
		return stdout, stderr
	}
	weir(exitOK, "schema", "apply", "p.yaml")
	if _, errs := weir(exitFailed, "why", "--window", "2026-11-21T10:00:00Z", "p.yaml"); !strings.Contains(errs, "there is no row of run_test whose window holds 2026-11-21T10:00:00Z") {
		t.Errorf("without rows: %s", errs)
	}
	weir(exitOK, "run", "--stop-at-end", "--listen", "127.0.0.1:0", "p.yaml")

	// The row that most of the first half is in, and who made it.
	ask := func(sql string) string {
		t.Helper()
		out, _ := weir(exitOK, "query", "--url", dsn, "--jsonl", sql)
		return strings.TrimSpace(out)
	}
	row := ask("SELECT * FROM run_test ORDER BY window_start, device LIMIT 1")
	out, _ := weir(exitOK, "why", "--row", row, "p.yaml")
	for _, want := range []string{
		`(?m)^run_test, \S+Z to \S+Z$`, `(?m)^[├└]─ device +\S+$`,
		`(?m)^made of \d+ rows from 1 segment of 1 partition: final$`, `(?m)^└─ site local$`,
		`(?m)segment 0: \d+ rows, of the records at offsets 0 to \d+$`, `final: the partition has passed the window`,
		`weir replay --partition \d --segment 0 --from 0 --to \d+ p\.yaml`, `(?m)^revision [0-9a-f]{16} of site local$`,
		`spec SHA-256 [0-9a-f]{64}`, `node \S+ +\S+Z to \S+Z, last with weir `,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}

	// Another revision counts the other records; what it has in the same row is a source of its own.
	produce(t, brokers, topic, 2000)
	write(strings.Replace(file, "window:", "steps: [{filter: device != 'nobody'}]\nwindow:", 1))
	weir(exitOK, "run", "--stop-at-end", "--listen", "127.0.0.1:0", "p.yaml")
	both := ask("SELECT window_start, device FROM run_test_partials FINAL GROUP BY window_start, device HAVING uniqExact(_rev) = 2 ORDER BY window_start DESC, device LIMIT 1")
	out, _ = weir(exitOK, "why", "--json", "--row", both, "p.yaml")
	var got struct {
		Rows    int64
		Final   bool
		Keys    map[string]string
		Answer  map[string]any
		Sources []struct {
			Rev, State, Node string
			From, To, Rows   int64
			Values           map[string]any
			Account          struct{ Start, Version int64 }
		}
		Revisions []struct {
			Rev   string
			Spec  map[string]any
			Nodes []struct{ Node, Weir string }
		}
		Replay []string
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	sum := int64(0)
	for _, s := range got.Sources {
		sum += s.Rows
		if s.From != s.Account.Start || s.To > s.Account.Version || s.From >= s.To || s.Node == "" {
			t.Errorf("source %+v", s)
		}
	}
	if sum != got.Rows || len(got.Replay) != 2 || len(got.Sources) != 2 || len(got.Revisions) != 2 || got.Final {
		t.Fatalf("%s", out)
	}
	if got.Sources[0].State != "closed" || got.Sources[1].State != "open" || !strings.Contains(got.Replay[0], "FILE-OF-REVISION-"+got.Sources[0].Rev) {
		t.Errorf("the last window of both revisions:\n%s", out)
	}
	// The first window of both is final in both.
	out, _ = weir(exitOK, "why", "--row", row, "p.yaml")
	if strings.Count(out, "final: the partition has passed the window") != 2 || !strings.Contains(out, "from 2 segments of 1 partition: final") {
		t.Errorf("the first window of both revisions:\n%s", out)
	}
	for _, r := range got.Revisions {
		if len(r.Nodes) != 1 || r.Spec["Pipeline"] != "run-test" {
			t.Errorf("revision %+v", r)
		}
	}

	start, _, _ := strings.Cut(strings.TrimPrefix(row, `{"window_start":"`), `"`)
	if _, errs := weir(exitFailed, "why", "--window", start, "p.yaml"); !strings.Contains(errs, "several rows of run-test fit; name one:\n  --window 2023-11-14T22:13:20Z --key device=d0\n") {
		t.Errorf("without keys: %s", errs)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--key", "device=x"}, "--window is missing"},
		{[]string{"--window", "noon"}, `"noon" is not a moment such as`},
		{[]string{"--window", start, "--key", "nobody=x"}, `no key "nobody"; keys: device`},
		{[]string{"--window", start, "--key", "device"}, `"device" is not column=value`},
		{[]string{"--window", start, "--null", "device"}, `the key "device" is never null`},
		{[]string{"--window", start, "--key", "device=a", "--key", "device=b"}, `the key "device" is given twice`},
		{[]string{"--row", "[]"}, "--row is not an object of JSON"},
		{[]string{"--row", "{}{}"}, "there are several rows"},
		{[]string{"--row", row, "--window", start}, "exclude each other"},
	} {
		if _, errs := weir(exitUsage, append(append([]string{"why"}, c.args...), "p.yaml")...); !strings.Contains(errs, c.want) {
			t.Errorf("%q: %s", c.args, errs)
		}
	}
}
