package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/bench/workload"
)

func TestReadAnswer(t *testing.T) {
	file := filepath.Join(t.TempDir(), "answer.jsonl")
	for _, c := range []struct{ text, want string }{
		{"", "[]"},
		{`{"start":0,"keys":["a"],"values":[1.5]}` + "\n" + `{"start":10,"keys":["a"],"values":[2]}` + "\n", "[{0 [a] [1.5]} {10 [a] [2]}]"},
		{`{"start":0,"keys":["a"],"values":[1]}` + "\n" + `{"start":0,"keys":["b"],"values":[2]}` + "\n" + `{"start":0,"keys":["a"],"values":[3]}`, "[{0 [a] [3]} {0 [b] [2]}]"},
		{`{"keys":["a"],"values":[1]}`, "error"},
		{`{"start":0,"keys":["a"],"values":["1"]}`, "error"},
		{`start`, "error"},
	} {
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		rows, err := readAnswer(file)
		got := fmt.Sprint(rows)
		if err != nil {
			got = "error"
		}
		if got != c.want {
			t.Errorf("%q: %s, %v; should be %s", c.text, got, err, c.want)
		}
	}
}

func TestAccount(t *testing.T) {
	want := workload.Counts{Records: 10, Aggregated: 6, Late: 1, Filtered: 2, Rejected: map[string]int64{"missing": 1}}
	line := `{"msg":"starting"}` + "\nsomething else\n" + `{"msg":"stopped","records":10,"aggregated":6,"late":1,"filtered":2,"rejected":1,"bytes_copied":7}` + "\n"
	if s, wrong, err := account(line, want); wrong != "" || err != nil || s.BytesCopied != 7 {
		t.Errorf("%+v, %q, %v", s, wrong, err)
	}
	if _, wrong, err := account(strings.Replace(line, `"late":1`, `"late":0`, 1), want); wrong == "" || err != nil {
		t.Errorf("a count that differs: %q, %v", wrong, err)
	}
	if _, _, err := account("nothing", want); err == nil {
		t.Error("there was no account")
	}
}

// TestFollow takes records of two partitions until they are stored: each must be waited for until its own partition is
// stored beyond it.
func TestFollow(t *testing.T) {
	f := &follow{waiting: map[int32][]sent{}, versions: map[int32]int64{}}
	before := time.Now()
	for i := range int64(10) {
		f.observe(&workload.Record{Partition: int32(i % 2), Offset: i / 2}, 1)
	}
	at := before.Add(time.Hour)
	f.stored(0, 3, at)
	if len(f.latencies) != 3 || f.accounted() != 3 || f.produced.Load() != 10 {
		t.Errorf("%d records of partition 0 below 3, %d accounted for", len(f.latencies), f.accounted())
	}
	f.stored(0, 2, at) // an answer that is older than one before
	f.stored(1, 5, at)
	f.stored(0, 5, at)
	if len(f.latencies) != 10 || f.accounted() != 10 {
		t.Errorf("%d records in the end, %d accounted for", len(f.latencies), f.accounted())
	}
	for _, ms := range f.latencies {
		if ms > 3_600_000 || ms < 3_590_000 {
			t.Errorf("a latency of %v ms instead of an hour or a little less", ms)
		}
	}
}

func TestSampler(t *testing.T) {
	m, err := readMemory(os.Getpid())
	if err != nil {
		t.Skipf("this system has no /proc: %v", err)
	}
	if m.resident < 1<<20 || m.peak < m.resident {
		t.Errorf("%+v", m)
	}
	if cpu, err := cpuTime(os.Getpid()); err != nil || cpu < 0 {
		t.Errorf("%v, %v", cpu, err)
	}
	if _, err := readMemory(1 << 30); err == nil {
		t.Error("there is no such process")
	}
}
