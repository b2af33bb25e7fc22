package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-stream/weir/edge-node/authoring"
)

func exampleOperators(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", "..", "examples", "operators"))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestOpExamples holds the example operators to their golden files, in every language they are written in. One in another language
// that does less has golden files of its own.
func TestOpExamples(t *testing.T) {
	root := exampleOperators(t)
	ran := 0
	folders, err := filepath.Glob(filepath.Join(root, "*", "testdata"))
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range folders {
		name := filepath.Base(filepath.Dir(data))
		goldens, err := filepath.Glob(filepath.Join(data, "*.txtar"))
		if err != nil {
			t.Fatal(err)
		}
		modules, err := filepath.Glob(filepath.Join(root, name+"*", name+"*.wasm"))
		if err != nil {
			t.Fatal(err)
		}
		for _, module := range modules {
			own := filepath.Join(filepath.Dir(module), "testdata")
			if _, err := os.Stat(own); err == nil && own != data {
				continue
			}
			t.Run(strings.TrimSuffix(filepath.Base(module), ".wasm"), func(t *testing.T) {
				out, errs, code := runCommand(t, append([]string{"op", "test", module}, goldens...), nil)
				if code != exitOK || strings.Count(out, "ok  ") != len(goldens) {
					t.Errorf("exit %d\n%s%s", code, out, errs)
				}
			})
			ran++
		}
	}
	if ran < 4 {
		t.Errorf("%d modules", ran)
	}
}

// TestOpTest shows a difference, writes it into the file, and is content then.
func TestOpTest(t *testing.T) {
	root := exampleOperators(t)
	dir := filepath.Join(t.TempDir(), "calibrate")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(root, "calibrate"))); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "testdata", "classes.txtar")
	right, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	wrong := strings.Replace(string(right), `"temp":41`, `"temp":42`, 1)
	if err := os.WriteFile(file, []byte(wrong), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _, code := runCommand(t, []string{"op", "test", dir}, nil)
	for _, want := range []string{
		"FAIL    " + file + ": expected (-) is not what came out (+)\n", "\n    -{\"device\":\"pump-17\"", `"temp":42}`,
		"\n    +{\"device\":\"pump-17\"", "\n1 of 4 golden files failed\n", "ok      ",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if code != exitFailed {
		t.Errorf("exit %d", code)
	}
	out, _, code = runCommand(t, []string{"op", "test", "--json", dir}, nil)
	var results []goldenResult
	if err := json.Unmarshal([]byte(out), &results); err != nil || code != exitFailed || len(results) != 4 || results[0].OK || results[0].Diff == "" || !results[1].OK {
		t.Errorf("exit %d, %v, %s", code, err, out)
	}
	if out, errs, code := runCommand(t, []string{"op", "test", "--update", dir}, nil); code != exitOK || strings.Count(out, "updated ") != 1 {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	if b, _ := os.ReadFile(file); string(b) != string(right) {
		t.Errorf("after --update:\n%s", b)
	}
}

func TestOpInspect(t *testing.T) {
	module := filepath.Join(exampleOperators(t), "severity", "severity.wasm")
	out, _, code := runCommand(t, []string{"op", "inspect", module, "--schema", "temp: float64?"}, nil)
	for _, want := range []string{"\nabi     1\n", "digest  sha256:", "offered\n", "weir_process  (i32, i32, i32) -> (i32)", "\nout     temp: float64?, severity: string\n", "\nuses    bulk-memory\n", " per row, on batches of 1024: made up rows\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if code != exitOK {
		t.Errorf("exit %d", code)
	}
	out, _, code = runCommand(t, []string{"op", "inspect", "--json", module, "--schema", "temp: float64", "--config", `{"warning": 9, "critical": 1}`}, nil)
	var r struct {
		Refused string
		Tables  []any
		Output  []string
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != exitFailed || !strings.HasSuffix(r.Refused, "config.critical is below config.warning") || r.Tables == nil {
		t.Errorf("exit %d, %v, %s", code, err, out)
	}
}

// TestOpNewFunction makes a function and calls it in a pipeline as its README says.
func TestOpNewFunction(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "to-double")
	if _, errs, code := runCommand(t, []string{"op", "new", "--lang", "c", "--kind", "function", dir}, nil); code != exitOK {
		t.Fatalf("exit %d\n%s", code, errs)
	}
	if _, errs, code := runCommand(t, []string{"op", "build", dir}, nil); code != exitOK {
		if strings.Contains(errs, "there is no ") {
			t.Skip(errs)
		}
		t.Fatalf("exit %d\n%s", code, errs)
	}
	readme, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(readme), "```yaml\n")
	use, _, found := strings.Cut(rest, "```\n")
	if !found || !strings.Contains(use, "to_double(temp) > 3") {
		t.Fatalf("the README says\n%s", readme)
	}
	for columns, want := range map[string]int{"temp: float64?": exitOK, "temp: int32": exitInvalid} {
		file := filepath.Join(dir, "pipeline.yaml")
		text := "pipeline: p\nsource:\n  kafka: {topics: [in]}\n  columns: {ts: \"timestamp[ms]\", " + columns + "}\ntime: {column: ts}\n" + use +
			"window: {tumbling: 10s, aggregates: {n: count()}}\nsink: {clickhouse: {}}\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, errs, code := runCommand(t, []string{"validate", file}, nil)
		if code != want || want != exitOK && !strings.Contains(errs, "to_double(x) takes one float64") {
			t.Errorf("%s: exit %d\n%s", columns, code, errs)
		}
	}
}

// TestOpInspectState tells a module that keeps state from one that does not.
func TestOpInspectState(t *testing.T) {
	for name, want := range map[string]bool{"delta": true, "delta-rust": true, "severity": false} {
		module := filepath.Join(exampleOperators(t), name, name+".wasm")
		out, _, code := runCommand(t, []string{"op", "inspect", module}, nil)
		if code != exitOK || strings.Contains(out, "\nstateful ") != want {
			t.Errorf("%s: exit %d\n%s", name, code, out)
		}
		out, _, _ = runCommand(t, []string{"op", "inspect", "--json", module}, nil)
		var r struct{ Stateful *bool }
		if err := json.Unmarshal([]byte(out), &r); err != nil || r.Stateful == nil || *r.Stateful != want {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

func TestOpBench(t *testing.T) {
	module := filepath.Join(exampleOperators(t), "severity")
	args := []string{"op", "bench", module, "--schema", "temp: float64?", "--rows", "256", "--time", "20ms"}
	out, errs, code := runCommand(t, args, nil)
	if code != exitOK || !strings.Contains(out, "native") || !strings.Contains(out, "per row") || !strings.HasPrefix(out, "256 rows of temp: float64?\n") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	rows := filepath.Join(t.TempDir(), "rows.jsonl")
	if err := os.WriteFile(rows, []byte("{\"temp\": 90}\n\n{\"temp\": 1}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _, _ = runCommand(t, append(args, "--json", "--input", rows), nil)
	var r struct {
		RowsOut int     `json:"rows_out"`
		Fuel    float64 `json:"fuel_per_row"`
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil || r.RowsOut != 128 || r.Fuel <= 0 {
		t.Errorf("%v, %s", err, out)
	}
}

func TestOpBenchAggregate(t *testing.T) {
	module := filepath.Join(exampleOperators(t), "weighted-mean")
	out, errs, code := runCommand(t, []string{"op", "bench", module, "--rows", "256", "--groups", "8", "--time", "20ms"}, nil)
	if code != exitOK || !strings.HasPrefix(out, "256 rows of ") || !strings.Contains(out, "\n8 groups with a state of ") || !strings.Contains(out, "pair of states") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	out, errs, _ = runCommand(t, []string{"op", "bench", module, "--rows", "256", "--time", "20ms", "--json"}, nil)
	var r authoring.AggregateBench
	if err := json.Unmarshal([]byte(out), &r); err != nil || r.Rows != 256 || r.Groups != 64 || r.Accumulate.Fuel <= 0 || r.Merge.Fuel <= 0 || r.Finish.Ns <= 0 || r.StateBytes <= 0 {
		t.Errorf("%v, %s%s", err, out, errs)
	}
}

// TestOpNewBuildTest is an author's first minute.
func TestOpNewBuildTest(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mine")
	if out, errs, code := runCommand(t, []string{"op", "new", "--lang", "c", dir}, nil); code != exitOK || !strings.Contains(out, filepath.Join(dir, "mine.c")+"\n") {
		t.Fatalf("exit %d\n%s%s", code, out, errs)
	}
	if _, errs, code := runCommand(t, []string{"op", "test", dir}, nil); code != exitFailed || !strings.Contains(errs, "run 'weir op build "+dir+"'") {
		t.Errorf("exit %d, %s", code, errs)
	}
	out, errs, code := runCommand(t, []string{"op", "build", dir}, nil)
	if strings.Contains(errs, "there is no ") {
		t.Skip(errs)
	}
	if code != exitOK || !strings.Contains(out, "mine.wasm") || !strings.Contains(out, " KiB  sha256:") {
		t.Fatalf("exit %d\n%s%s", code, out, errs)
	}
	if out, errs, code := runCommand(t, []string{"op", "test", "--build", dir}, nil); code != exitOK || strings.Count(out, "ok  ") != 3 {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
}
