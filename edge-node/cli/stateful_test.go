package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestStatefulSteps has validate and explain tell which step is stateful, and where its state is stored.
func TestStatefulSteps(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pipeline.yaml")
	text := fmt.Sprintf(`pipeline: counters
source:
  kafka: {topics: [in]}
  columns: {device: string, ts: "timestamp[ms]", v: int64?}
time: {column: ts}
steps:
  - filter: v >= 0
  - wasm: {module: %q, config: {counter: v}}
window: {tumbling: 10s, aggregates: {up: sum(delta)}}
sink: {clickhouse: {}}
`, filepath.Join(exampleOperators(t), "delta", "delta.wasm"))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		t.Helper()
		out, errs, code := runCommand(t, append(args, file), nil)
		if code != exitOK {
			t.Fatalf("%v: exit %d\n%s", args, code, errs)
		}
		return out
	}
	for line := range strings.Lines(run("validate")) {
		if got, want := strings.HasSuffix(line, "; stateful, its state is stored in the table weir_state\n"), strings.HasPrefix(line, "  2 wasm delta "); got != want {
			t.Errorf("validate: %s", line)
		}
	}
	out := run("explain")
	if strings.Count(out, "stateful") != 1 || !strings.Contains(out, "it is stored in the table weir_state") || !strings.Contains(out, "weir_usage, weir_state") {
		t.Errorf("explain:\n%s", out)
	}

	type stages []struct {
		Name       string
		Stateful   bool
		StateTable string `json:"state_table"`
	}
	var files []struct{ Stages stages }
	if err := json.Unmarshal([]byte(run("validate", "--json")), &files); err != nil || len(files) != 1 {
		t.Fatal(err)
	}
	var e struct{ Stages stages }
	if err := json.Unmarshal([]byte(run("explain", "--json")), &e); err != nil {
		t.Fatal(err)
	}
	for _, got := range []stages{files[0].Stages, e.Stages} {
		if len(got) != 4 {
			t.Fatalf("%+v", got)
		}
		for i, s := range got {
			table := ""
			if i == 2 {
				table = "weir_state"
			}
			if s.Stateful != (i == 2) || s.StateTable != table {
				t.Errorf("%+v", s)
			}
		}
	}
}
