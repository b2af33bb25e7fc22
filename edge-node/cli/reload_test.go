package cli

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weir-stream/weir/edge-node/config"
)

// TestWatchedFiles has --watch look at every file that a pipeline is made of.
func TestWatchedFiles(t *testing.T) {
	p, err := config.Parse("dir/p.yaml", []byte(`
pipeline: p
source: {kafka: {brokers: [a], topics: [t]}, columns: {k: string, ts: "timestamp[ms]", v: float64}}
time: {column: ts}
functions:
  f: {wasm: function.wasm}
steps:
  - wasm: {module: step.wasm, shadow: {module: candidate.wasm}}
  - map: {w: f(v)}
window: {tumbling: 1m, aggregates: {n: count(), a: {wasm: aggregate.wasm, args: [v]}}}
outputs:
  - {kafka: {topic: o}, columns: [n], steps: [{wasm: {module: output.wasm}}]}
sink: {clickhouse: {url: "clickhouse://h"}}
`))
	if err != nil {
		t.Fatal(err)
	}
	var w running
	w.file = p.File
	w.uses(p)
	var names []string
	for _, f := range w.files {
		names = append(names, filepath.Base(f))
	}
	slices.Sort(names)
	if got := strings.Join(names, " "); got != "aggregate.wasm candidate.wasm function.wasm output.wasm p.yaml step.wasm" {
		t.Errorf("it looks at %s", got)
	}
}
