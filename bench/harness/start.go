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

// coldStart measures from the start of a process until it has taken a record: of a node that has run before, with its group and tables,
// and of one that runs for the first time and makes them.
func (b *bench) coldStart(ctx context.Context) error {
	c := workload.Cases()[0]
	s, err := b.fill(ctx, c, workload.Size{Events: 1000})
	if err != nil {
		return err
	}
	var first, again starts
	for range max(3, b.opts.Rounds) {
		// What the node says of its start is asked of its log: to ask for metrics again and again would take what it needs itself.
		n, err := b.startNode(ctx, c, s, "start", "", 1, debugLog...)
		if err != nil {
			return err
		}
		if err := first.take(ctx, n); err != nil {
			return err
		}
		// The commits of the node that stopped in order are there. Windows are open, so there is something to read.
		task := n.task
		if n, err = b.startTask(ctx, task, debugLog...); err != nil {
			return err
		}
		if err := again.take(ctx, n); err != nil {
			return err
		}
		b.dropTables(ctx, task.Name)
	}
	b.say("start: first record after %.0f ms; %.0f ms where the node has not run before, and makes its tables", report.Median(again.took), report.Median(first.took))
	for _, p := range startPhases {
		if len(again.phases[p.phase]) > 0 {
			b.say("  %6.0f %6.0f ms  %s", report.Median(again.phases[p.phase]), report.Median(first.phases[p.phase]), p.what)
		}
	}
	b.figure("", "start_to_first_record", "ms", report.Time, false, again.took)
	b.figure("", "first_start_to_first_record", "ms", report.Time, false, first.took)
	return nil
}

var debugLog = []string{"--log-level", "debug"}

// starts are several of a kind, in milliseconds.
type starts struct {
	took   []float64
	phases map[string][]float64 // when each was over
}

// take waits for the first record of a node that has just been started, and stops it.
func (s *starts) take(ctx context.Context, n *node) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var at map[string]float64
	err := until(ctx, 5*time.Millisecond, "the node has read a record", func() bool {
		at = phasesOf(n.stderr.String(), n.began)
		_, ok := at[lastPhase]
		return ok
	})
	if r, stopped := n.interrupt(); stopped != nil && err == nil {
		return stopped
	} else if err != nil {
		return fmt.Errorf("%w\n%s", err, tail(r.stderr))
	}
	s.took = append(s.took, at[lastPhase])
	if s.phases == nil {
		s.phases = map[string][]float64{}
	}
	for phase, ms := range at {
		s.phases[phase] = append(s.phases[phase], ms)
	}
	return nil
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
