package output_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/edge-node/output"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/ingest/kafka"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/operators/builtin"
	"github.com/weir-stream/weir/operators/wasm"
)

// TestSteps takes windows through steps: one window is left out, one makes a step fail, and the others are changed. What is sent has the key
// and the identity of its window whatever columns are left.
func TestSteps(t *testing.T) {
	var got []string
	ids := map[string]bool{}
	cfg := config(t, "mean < 100", func(_ context.Context, m []kafka.Message) error {
		for _, m := range m {
			value, _, _ := strings.Cut(string(m.Value), `,"_site"`)
			got = append(got, string(m.Key)+" "+value)
			ids[m.Headers[0].Value] = true
		}
		return nil
	})
	var log bytes.Buffer
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	in := cfg.Schema()
	filter, err := builtin.NewFilter("output alarms 1 filter", in, "mean > 2")
	if err != nil {
		t.Fatal(err)
	}
	calc, err := builtin.NewMap("output alarms 2 map", filter.Out(), []builtin.Assign{{Name: "left", Src: "7 % (int(mean) - 3)"}})
	if err != nil {
		t.Fatal(err)
	}
	judge, err := wasm.New(t.Context(), wasm.Config{
		Name: "output alarms 3 wasm severity", Path: "../../examples/operators/severity/severity.wasm", Config: []byte(`{"column": "mean", "warning": 1, "critical": 5}`), OnError: wasm.Reject,
		BatchRows: 100,
	}, calc.Out())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = judge.Close() }()
	drop, err := builtin.NewDrop("output alarms 4 drop", judge.Out(), []string{"device", "window_start", "window_end"})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Steps, cfg.BatchRows = []operators.Step{filter, calc, judge, drop}, 2
	o, err := output.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	windows := rows(cfg.Rows, "abc_e", []float64{10, 4, 6, 8, 400})
	for range 2 { // after a restart
		if err := o.Send(t.Context(), &from, windows); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		`{"device":"a"} {"n":2,"mean":5,"left":1,"severity":"critical"`,
		`{"device":null} {"n":2,"mean":4,"left":0,"severity":"warning"`,
	}
	if strings.Join(got, "\n") != strings.Join(append(want, want...), "\n") {
		t.Errorf("sent\n%s\nwant twice\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	st := o.Status()
	if st.Sent != 4 || st.Left != 4 || st.Rejected != 2 || len(ids) != 2 {
		t.Errorf("status %+v, %d identities", st, len(ids))
	}
	text := ""
	for _, s := range st.Steps {
		text += fmt.Sprintln(s.Name, s.In, s.Out, s.Rejected, s.Usage.Fuel > 0, len(s.Digest))
	}
	const steps = "output alarms 1 filter 8 6 0 false 0\noutput alarms 2 map 6 4 2 false 0\noutput alarms 3 wasm severity 4 4 0 true 64\noutput alarms 4 drop 4 4 0 false 0\n"
	if text != steps {
		t.Errorf("steps\n%s, want\n%s", text, steps)
	}
	if n := strings.Count(log.String(), "cannot handle a window"); n != 1 || !strings.Contains(log.String(), `\"device\":\"c\"`) || !strings.Contains(log.String(), "reason=expression") {
		t.Errorf("the log has %d lines about rejects: %s", n, log.String())
	}
	live := func() int64 { u := o.Status().Steps[2].Usage; return u.Instances - u.Ended }
	o.Rest(time.Hour)
	if n := live(); n != 1 {
		t.Errorf("%d sandboxes live before the hour is over", n)
	}
	o.Rest(0)
	if n := live(); n != 0 {
		t.Errorf("%d sandboxes live of an output that has nothing to do", n)
	}
	if err := o.Send(t.Context(), &from, windows); err != nil || live() != 1 || o.Status().Sent != 6 {
		t.Errorf("the next windows: %v, %d sandboxes, %+v", err, live(), o.Status())
	}
	for range 2 {
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
	}
	o.Rest(0)
	if err := o.Send(t.Context(), &from, windows); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("an output that is closed sends: %v", err)
	}
}

// double makes two rows of each.
type double struct{ in *batch.Schema }

func (d double) Name() string                                                    { return "output alarms 1 double" }
func (d double) In() *batch.Schema                                               { return d.in }
func (d double) Out() *batch.Schema                                              { return d.in }
func (d double) Close() error                                                    { return nil }
func (d double) Open(context.Context, operators.Env) (operators.Operator, error) { return d, nil }

func (d double) Process(_ context.Context, b *batch.Batch) error {
	var rows []int32
	for range 2 {
		for i := range b.Rows {
			rows = append(rows, int32(i))
		}
	}
	b.Expanded += int64(b.Rows)
	b.Gather(rows, &batch.Arena{})
	return nil
}

// TestStepsExpand gives each of the records that a step makes of a window an identity of its own, and the same one again after a restart; the
// first is that of the window.
func TestStepsExpand(t *testing.T) {
	ids := map[string]int{}
	cfg := config(t, "", func(_ context.Context, m []kafka.Message) error {
		for _, m := range m {
			ids[m.Headers[0].Value]++
		}
		return nil
	})
	windows := rows(cfg.Rows, "ab_", []float64{1, 2, 3})
	for i, steps := range [][]operators.Step{nil, {double{cfg.Schema()}}, {double{cfg.Schema()}}} {
		cfg.Steps = steps
		o, err := output.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(o.Open(t.Context()), o.Send(t.Context(), &from, windows)); err != nil {
			t.Fatal(err)
		}
		if st := o.Status(); st.Sent != int64(3+3*min(i, 1)) || st.Left != 0 {
			t.Errorf("status %+v", st)
		}
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
	}
	times := map[int]int{}
	for _, n := range ids {
		times[n]++
	}
	if times[3] != 3 || times[2] != 3 || len(ids) != 6 {
		t.Errorf("identities by how often they came: %v", times)
	}
}
