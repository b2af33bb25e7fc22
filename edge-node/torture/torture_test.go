package torture

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// silent takes failures instead of failing.
type silent struct {
	testing.TB
	failed int
}

func (s *silent) Errorf(string, ...any) { s.failed++ }

func TestRecord(t *testing.T) {
	file := filepath.Join(t.TempDir(), "results.jsonl")
	t.Setenv(ResultsVariable, file)
	s := &silent{TB: t}
	Record(s, "wrong totals", 0, "of 10 schedules", 0)
	Record(s, "start", 1.5, "s", 1)
	AtLeast(s, "throughput", 0.9, "of without", 0.8)
	AtLeast(s, "throughput", 0.7, "of without", 0.8)
	Note(s, "memory", 5, "MiB", "at the end", "of the soak")
	if s.failed != 2 {
		t.Errorf("%d figures failed, want the second and the last", s.failed)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var holds []bool
	var last Result
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var r Result
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		if r.At.IsZero() || r.Name == "" || r.Unit == "" {
			t.Errorf("incomplete: %s", lines.Text())
		}
		holds, last = append(holds, r.Holds), r
	}
	if last.Detail != "at the end; of the soak" || last.Machine == "" || last.Bound != Unbound {
		t.Errorf("the last line is %+v", last)
	}
	if want := [5]bool{true, false, true, false, true}; len(holds) != 5 || [5]bool(holds) != want {
		t.Errorf("the file says %v, want %v", holds, want)
	}
}
