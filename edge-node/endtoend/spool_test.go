//go:build unix

package endtoend

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
)

// runWeir runs a command in this process, which must end with a code.
func runWeir(t *testing.T, want int, args ...string) (stdout, stderr string) {
	t.Helper()
	stdout, stderr, code := weir(t, args...)
	if code != want {
		t.Fatalf("weir %s: exit %d, want %d\n%s%s", strings.Join(args, " "), code, want, stdout, stderr)
	}
	return stdout, stderr
}

// spoolLane is a line of weir spool ls --json, as a reader of its own knows it.
type spoolLane struct {
	Pipeline, Rev, Topic, State, Result string
	Partition                           int32
	Position, Rows, Bytes               int64
	DeadLetters                         int64      `json:"dead_letters"`
	FirstWindow                         *time.Time `json:"first_window"`
	SavedAt                             *time.Time `json:"saved_at"`
	Unsent                              *bool
}

type spoolAnswer struct {
	Running bool
	Lanes   []spoolLane
}

func readSpool(t *testing.T, text string) spoolAnswer {
	t.Helper()
	var got spoolAnswer
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return got
}

func (a *spoolAnswer) positions() int64 {
	sum := int64(0)
	for _, l := range a.Lanes {
		sum += l.Position
	}
	return sum
}

// TestSpoolDrained takes ClickHouse away until a node has much on its disk, kills the node, and ships what it has with weir spool
// drain: without a record read, and so that the next start is exact. A running node drains, too.
func TestSpoolDrained(t *testing.T) {
	t.Parallel()
	if embeddedtest.Server(t) == nil {
		t.Skip("SKIPPED, nothing was tested: the servers are not ours to kill")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	ch, cfg := ownClickHouse(ctx, t)
	brokers, prefix := embeddedtest.Kafka(t)
	s := newStream(t, brokers, prefix+"sensors", ch.DSN("default"), "    instance_id: box-1")
	state := filepath.Join(t.TempDir(), "state")
	if _, errs := runWeir(t, 1, "spool", "ls", "--state-dir", state); !strings.Contains(errs, "there is no local store in "+state) {
		t.Errorf("%s", errs)
	}
	s.produce(ctx, 14, 60_000, 6000)
	conn := openClickHouse(t, s.clickhouse)
	node := s.start("--state-dir", state)
	eventually(t, patience, func() (bool, string) { return s.stored(conn) > 2000, node.stderr.String() })
	listen := strings.TrimPrefix(node.address(t), "http://")

	// It runs: everything by now is stored when a drain ends.
	runWeir(t, 0, "spool", "drain", "--dry-run", "--state-dir", state, "--listen", listen)
	before := node.sum(t, "weir_source_records_total")
	out, _ := runWeir(t, 0, "spool", "drain", "--json", "--state-dir", state, "--listen", listen)
	if n := s.stored(conn); n < int64(before) {
		t.Errorf("%d records are stored, and %v had been read before the drain", n, before)
	}
	if got := readSpool(t, out); len(got.Lanes) != 6 || got.Lanes[0].Result != "shipped" {
		t.Errorf("%s", out)
	}
	if code, body := get(t, node.address(t)+"/spool/drain"); code != 405 {
		t.Errorf("a GET drains: %d %s", code, body)
	}

	ch.Kill()
	stored := node.sum(t, "weir_source_records_total")
	eventually(t, patience, func() (bool, string) {
		return node.sum(t, "weir_source_records_total") > stored+15_000 && node.sum(t, "weir_saves_total") > 30, node.stderr.String()
	})
	out, _ = runWeir(t, 0, "spool", "ls", "--json", "--state-dir", state, "--listen", listen)
	got := readSpool(t, out)
	unsent := 0
	for _, l := range got.Lanes {
		if l.Unsent != nil && *l.Unsent {
			unsent++
		}
		if l.State != "current" || l.Rows == 0 || l.Bytes == 0 || l.FirstWindow == nil || l.SavedAt == nil || l.Topic != s.topic {
			t.Errorf("%+v", l)
		}
	}
	if !got.Running || len(got.Lanes) != 6 || unsent != 6 {
		t.Errorf("%d of these are unsent: %s", unsent, out)
	}
	if _, errs := runWeir(t, 4, "spool", "ls", "--state-dir", state, "--listen", "127.0.0.1:1"); !strings.Contains(errs, "another process uses the store") {
		t.Errorf("%s", errs)
	}
	if _, errs := runWeir(t, 1, "spool", "drop", "--pipeline", "x", "--yes", "--state-dir", state); !strings.Contains(errs, "stop the node first") {
		t.Errorf("%s", errs)
	}
	if _, errs := runWeir(t, 1, "spool", "drain", "--timeout", "1s", "--state-dir", state, "--listen", listen); !strings.Contains(errs, "within 1s") {
		t.Errorf("%s", errs)
	}
	node.kill()

	out, errs := runWeir(t, 0, "spool", "ls", "--state-dir", state)
	if !strings.Contains(errs, "the node does not run") || strings.Count(out, "\n") != 7 {
		t.Errorf("%s%s", out, errs)
	}
	out, _ = runWeir(t, 0, "spool", "ls", "--json", "--state-dir", state, s.file())
	saved := readSpool(t, out)
	if saved.Running || len(saved.Lanes) != 6 || saved.Lanes[0].State != "current" || saved.Lanes[0].Unsent != nil {
		t.Errorf("%s", out)
	}
	startClickHouse(ctx, t, cfg)
	runWeir(t, 2, "spool", "drain", "--state-dir", state)
	out, _ = runWeir(t, 0, "spool", "drain", "--state-dir", state, s.file())
	if strings.Count(out, ": shipped to offset ") != 6 {
		t.Errorf("%s", out)
	}
	if n := s.stored(conn); n != saved.positions() {
		t.Errorf("%d records are stored, and %d were saved", n, saved.positions())
	}
	wantAudit(ctx, t, s.plan())
	// A second drain changes nothing, and another revision has nothing to compare with.
	runWeir(t, 0, "spool", "drain", "--state-dir", state, s.file())
	if n := s.stored(conn); n != saved.positions() {
		t.Errorf("after a second drain %d records are stored", n)
	}

	s.waitProduced()
	p := s.start("--state-dir", state, "--stop-at-end")
	if code := p.wait(t, patience); code != 0 {
		t.Fatalf("exit code %d:\n%s", code, p.stderr.String())
	}
	if n := strings.Count(p.stderr.String(), "going on with what was saved"); n != 6 {
		t.Errorf("%d partitions went on with what was saved:\n%s", n, p.stderr.String())
	}
	s.check()

	// What is left of a pipeline that is no more.
	other := filepath.Join(s.dir, "other.yaml")
	weirOther := strings.Replace(s.text(), "pipeline: line-temperature", "pipeline: other", 1)
	writeFile(t, other, weirOther)
	out, _ = runWeir(t, 0, "spool", "drop", "--dry-run", "--orphaned", "--state-dir", state, other)
	if strings.Count(out, "would remove line-temperature revision ") != 6 || !strings.Contains(out, "would remove 6 partitions with ") {
		t.Errorf("%s", out)
	}
	out, _ = runWeir(t, 0, "spool", "drop", "--orphaned", "--partition", "0,1", "--yes", "--state-dir", state, other)
	if !strings.Contains(out, "removed 2 partitions with ") {
		t.Errorf("%s", out)
	}
	out, _ = runWeir(t, 1, "spool", "drain", "--state-dir", state, other)
	if strings.Count(out, "left: no file of the pipeline was given") != 4 {
		t.Errorf("%s", out)
	}
	out, _ = runWeir(t, 0, "spool", "drop", "--pipeline", "line-temperature", "--yes", "--json", "--state-dir", state)
	if got := readSpool(t, out); len(got.Lanes) != 4 {
		t.Errorf("%s", out)
	}
	if out, _ = runWeir(t, 0, "spool", "ls", "--state-dir", state); out != fmt.Sprintf("the local store in %s is empty\n", state) {
		t.Errorf("%s", out)
	}
	s.check()
}

// text is the pipeline's file.
func (s *stream) text() string {
	s.t.Helper()
	text, err := os.ReadFile(s.file())
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
