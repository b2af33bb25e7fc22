package window

import (
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators/aggregate"
)

// TestUndivided says which windows may be in parts that are merged in any order, and which not.
func TestUndivided(t *testing.T) {
	value := batch.Field{Name: "v", Type: batch.Type{Kind: batch.Int64}}
	ts := batch.Field{Name: "ts", Type: batch.TimestampOf(batch.Millisecond)}
	for _, info := range aggregate.Functions() {
		s := aggregate.Spec{Func: info.Name}
		for range info.Args {
			s.Args = append(s.Args, value)
		}
		if strings.HasPrefix(info.Name, "bool_") {
			s.Args[0].Type.Kind = batch.Bool
		}
		if info.Time {
			s.Args = append(s.Args, ts)
		}
		switch {
		case info.Name == "topk" || info.Name == "group_array":
			s.Params = []float64{3}
		case info.Params != 0:
			s.Params = []float64{0.5}
		}
		a, err := aggregate.New(s)
		if err != nil {
			t.Fatal(err)
		}
		cfg := Config{Aggregate: []Aggregate{{Aggregate: a, Name: "x"}}}
		// What the documentation of aggregates calls the first or last in the log, or takes in the order of event time within a partition.
		ordered := strings.Contains(" first last argmin argmax any group_array delta rate time_avg ", " "+info.Name+" ")
		if got := cfg.Undivided(); (got != "") != ordered {
			t.Errorf("%s: %q", info.Name, got)
		}
	}
	for want, cfg := range map[string]Config{
		"cut in two": {Gap: time.Second},
		"begin anew": {Count: &Count{Rows: 3}},
		"max_keys":   {MaxKeys: 10},
		"":           {Size: time.Second},
	} {
		if got := cfg.Undivided(); !strings.Contains(got, want) || (got == "") != (want == "") {
			t.Errorf("%+v: %q", cfg, got)
		}
	}
}

// TestResetGivesBack has windows that begin anew have no memory: a segment that begins early is for that.
func TestResetGivesBack(t *testing.T) {
	cfg := testConfig(t)
	w := New(cfg)
	rows := make([]row, 2000)
	for i := range rows {
		rows[i] = row{ts: int64(1_000_000 + i), device: strings.Repeat("x", 30) + time.Duration(i).String(), temp: 1}
	}
	add(t, w, makeBatch(cfg.In, rows, 0), 0)
	clock := w.Clock()
	if w.MemorySize() < 100_000 {
		t.Fatalf("%d bytes show nothing", w.MemorySize())
	}
	w.Reset()
	if w.MemorySize() != 0 || w.Groups() != 0 || w.Clock() != clock {
		t.Errorf("%d bytes, %d groups, %+v; the clock was %+v", w.MemorySize(), w.Groups(), w.Clock(), clock)
	}
}
