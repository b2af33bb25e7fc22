package authoring

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// outliers has one row that is refused and sums whose last places depend on the order of additions.
const outliers = `Means.
-- schema --
k: int64
value: float64?
weight: float64
-- group_by --
k
-- input --
{"k": 2, "value": 0.1, "weight": 0.3}
{"k": 1, "value": 10, "weight": 1}
{"k": 2, "value": 0.7, "weight": 1e-3}
{"k": 1, "value": 5, "weight": -1}
{"k": 2, "value": 0.2, "weight": 12345.678}
{"k": 2, "value": 1e9, "weight": 0.1}
{"k": 1, "value": 20, "weight": 3}
{"k": 3, "value": 20, "weight": 0}
-- columns --
k: int64
mean: float64?
-- output --
{"k": 2, "mean": 8099.937572592886}
{"k": 1, "mean": 17.5}
{"k": 3, "mean": null}
-- rejects --
{"line": 4, "detail": "error: a weight is negative, or no number"}
`

func TestGoldenAggregate(t *testing.T) {
	s := newSuite(t, example(t, "weighted-mean"))
	for _, c := range []struct {
		name, from, to string // a change of the file
		diff           []string
		err            string
	}{
		{name: "right"},
		{name: "wrong answer", from: "17.5", to: "17", diff: []string{`-{"k":1,"mean":17}`, `+{"k":1,"mean":17.5}`}},
		{name: "wrong order", from: `{"k": 3, "mean": null}` + "\n", to: "", diff: []string{`+{"k":3,"mean":null}`}},
		{name: "no rows", from: outliers[strings.Index(outliers, `{"k": 2`):], to: ""},
		{name: "refuses", from: "k\n-- input", to: "k, weight\n-- input", diff: []string{"+refused the input schema or its configuration: needs two arguments"}},
		{name: "list", from: "weight: float64", to: "weight: list<float64>", err: "does not fit the schema"},
		{name: "no argument", from: "k\n-- input", to: "k, value, weight\n-- input", err: "every column is in group_by"},
		{name: "no grouping column", from: "k\n-- input", to: "q\n-- input", err: `there is no column "q"`},
		{name: "twice", from: "k\n-- input", to: "k,k\n-- input", err: "column k is there twice"},
		{name: "the answer's name", from: `"k"`, to: `"mean"`, err: "the answer is called mean"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.ReplaceAll(outliers, c.from, c.to)
			if c.from == "" {
				text = outliers
			}
			if c.name == "the answer's name" {
				text = strings.NewReplacer("k: int64", "mean: int64", "\nk\n", "\nmean\n").Replace(text)
			}
			g, err := ParseGolden("mean.txtar", []byte(text))
			var got Outcome
			if err == nil {
				got, err = s.Run(t.Context(), g)
			}
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			d := g.Diff(got)
			for _, want := range c.diff {
				if !strings.Contains(d, want) {
					t.Errorf("no %q in\n%s", want, d)
				}
			}
			if c.diff == nil && d != "" {
				t.Error(d)
			}
		})
	}
	g, err := ParseGolden("step.txtar", []byte(strings.Replace(outliers, "value: float64?", "temp: float64?", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newSuite(t, example(t, "calibrate")).Run(t.Context(), g); err == nil || !strings.Contains(err.Error(), "group_by -- is for aggregates") {
		t.Errorf("a step: %v", err)
	}
}

// TestGoldenAggregateDisagrees finds out aggregates whose answer depends on how the rows were cut: one whose merge forgets,
// and one that remembers from call to call.
func TestGoldenAggregateDisagrees(t *testing.T) {
	source, err := os.ReadFile(filepath.Join("..", "..", "examples", "operators", "weighted-mean", "weighted-mean.c"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, from, to, want string }{
		{"merge", "s->weight += behind->weight;", "", "merged from two halves (+)"},
		{"global", "s->weight += weight[i];", "static double calls; s->weight += weight[i] + (i == from ? calls++ : 0);", "depend"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			text := strings.Replace(string(source), c.from, c.to, 1)
			if err := os.WriteFile(filepath.Join(dir, "mean.c"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			out := filepath.Join(dir, "mean.wasm")
			var log bytes.Buffer
			_, err := Build(t.Context(), dir, out, &log)
			compiles(t, C, err)
			module, err := ReadModule(out)
			if err != nil {
				t.Fatal(err)
			}
			g, err := ParseGolden("mean.txtar", []byte(outliers))
			if err != nil {
				t.Fatal(err)
			}
			_, err = newSuite(t, module).Run(t.Context(), g)
			var disagree *DisagreeError
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v", err)
			}
			if c.name == "merge" && (!errors.As(err, &disagree) || disagree.Diff == "") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestInspectAggregate(t *testing.T) {
	module := example(t, "weighted-mean")
	cols := columns(t, "k: string, value: float64, weight: float64?")
	r, err := Inspect(t.Context(), "mean.wasm", module, cols, nil, "k")
	if err != nil || r.Refused != "" || r.Kind != "aggregate" || r.ABI != 1 {
		t.Fatalf("%v, %+v", err, r)
	}
	if strings.Join(r.Input, ", ") != "value: float64, weight: float64?" || strings.Join(r.Output, ", ") != "mean: float64?" {
		t.Errorf("%v, %v", r.Input, r.Output)
	}
	if err := r.Measure(t.Context(), module, cols, nil, nil, "made up rows"); err != nil || r.Fuel.Problem != "" || r.Fuel.PerRow < 10 || r.Fuel.PerRow > 200 {
		t.Errorf("%v, %+v", err, r.Fuel)
	}
	if r, err = Inspect(t.Context(), "mean.wasm", module, nil, nil); err != nil || r.Refused != "" || r.ABI != 1 || r.Output != nil {
		t.Errorf("without columns: %v, %+v", err, r)
	}
	if r, err = Inspect(t.Context(), "mean.wasm", module, cols, nil); err != nil || !strings.Contains(r.Refused, "needs two arguments") {
		t.Errorf("%v, %+v", err, r)
	}
}
