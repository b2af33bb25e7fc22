package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/weir-stream/weir/bench/report"
	"github.com/weir-stream/weir/bench/workload"
)

// startPhases are what weir run says at debug level of its start, in their order: what is over by then.
var startPhases = []struct{ phase, what string }{
	{"configured", "process started, settings read"},
	{"planned", "modules compiled"},
	{"tables", "tables at ClickHouse looked at, or made"},
	{"group", "group joined"},
	{"log", "brokers asked about the partitions"},
	{"partitions", "ClickHouse asked about the partitions"},
	{"fetch", "first fetch"},
	{lastPhase, "first record taken"},
}

// lastPhase is that a record went through the chain and into a window.
const lastPhase = "record"

// coldStart measures from the start of a process until it has taken a record, with a group and tables of its own.
func (b *bench) coldStart(ctx context.Context) error {
	c := workload.Cases()[0]
	s, err := b.fill(ctx, c, workload.Size{Events: 1000})
	if err != nil {
		return err
	}
	var took []float64
	phases := map[string][]float64{}
	for range max(3, b.opts.Rounds) {
		at, err := b.firstRecord(ctx, c, s)
		if err != nil {
			return err
		}
		took = append(took, at[lastPhase])
		for phase, ms := range at {
			phases[phase] = append(phases[phase], ms)
		}
	}
	b.say("start: first record after %.0f ms", report.Median(took))
	for _, p := range startPhases {
		if ms := phases[p.phase]; len(ms) > 0 {
			b.say("  %6.0f ms  %s", report.Median(ms), p.what)
		}
	}
	b.figure("", "start_to_first_record", "ms", report.Time, false, took)
	return nil
}

// firstRecord is when each phase of a start was over, in milliseconds since the process was started.
func (b *bench) firstRecord(ctx context.Context, c workload.Case, s *stream) (map[string]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	// What the node says of its start is asked of its log: to ask for metrics again and again would take what it needs itself.
	n, err := b.startNode(ctx, c, s, "start", "", 1, "--log-level", "debug")
	if err != nil {
		return nil, err
	}
	var at map[string]float64
	err = until(ctx, 5*time.Millisecond, "the node has read a record", func() bool {
		at = phasesOf(n.stderr.String(), n.began)
		_, ok := at[lastPhase]
		return ok
	})
	if r, stopped := n.interrupt(); stopped != nil && err == nil {
		return nil, stopped
	} else if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, tail(r.stderr))
	}
	b.dropTables(ctx, n.task.Name)
	return at, nil
}

// phasesOf reads when phases were over from a log: the first of each, in milliseconds since a moment.
func phasesOf(log string, began time.Time) map[string]float64 {
	at := map[string]float64{}
	for line := range strings.Lines(log) {
		var l struct {
			Time       time.Time
			Msg, Phase string
		}
		if json.Unmarshal([]byte(line), &l) != nil || l.Msg != "start" {
			continue
		}
		if _, known := at[l.Phase]; !known {
			at[l.Phase] = float64(l.Time.Sub(began)) / float64(time.Millisecond)
		}
	}
	return at
}
