package harness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/weir-stream/weir/bench/contender"
	"github.com/weir-stream/weir/bench/report"
	"github.com/weir-stream/weir/bench/workload"
)

// runTimeout is the longest a contender may take for a workload.
const runTimeout = 10 * time.Minute

// contenders are all that run a workload, weir last: what comes before it has warmed the broker up.
func (b *bench) contenders() []contender.Contender {
	out := []contender.Contender{contender.Bare(b.opts.Self), contender.Hand(b.opts.Self)}
	out = append(out, b.opts.Contenders...)
	return append(out, contender.Weir(b.opts.Weir, b.operators()))
}

func (b *bench) isPeer(c contender.Contender) bool {
	return slices.ContainsFunc(b.opts.Contenders, func(o contender.Contender) bool { return o.Name == c.Name })
}

// entry is a contender that takes part in a workload.
type entry struct {
	contender contender.Contender
	result    *report.Result
	slice     *slice // what it has of the processor; nil is all of its cores
}

// throughput lets all contenders read a workload's topic from its beginning to its end, in turn.
func (b *bench) throughput(ctx context.Context, c workload.Case) error {
	s, err := b.fill(ctx, c, workload.Size{})
	if err != nil {
		return err
	}
	rows := s.size.Events * rowsOf(c)
	t := report.Throughput{
		Workload: c.Name, About: c.About, Note: c.Note, Events: rows, RecordSize: float64(s.bytes) / float64(rows),
		Partitions: s.size.Partitions, Rows: len(s.rows),
	}
	entries, uplink, err := b.qualify(ctx, c, s, &t)
	if err != nil {
		return err
	}
	copied, err := b.turns(ctx, c, s, entries)
	if err != nil {
		if ctx.Err() != nil && len(entries[len(entries)-1].result.Rounds) > 0 {
			b.doc.Throughput = append(b.doc.Throughput, t) // a round of each at least: better than nothing
			b.figures(&t, nil, copied, uplink)
		}
		return err
	}
	h, err := hotPath(ctx, c, b.counted(c), b.lookup("hot", s.topic))
	if err != nil {
		return err
	}
	for i := range t.Results {
		r := &t.Results[i]
		if r.Contender == "weir" && r.LeftOut == "" {
			r.AllocsPerEvent, r.UplinkBytes = &h.allocsPerRow, uplink
		}
	}
	if b.opts.Profile != "" {
		if err := b.profile(ctx, c, s, &t); err != nil {
			return err
		}
	}
	b.doc.Throughput = append(b.doc.Throughput, t)
	b.figures(&t, &h, copied, uplink)
	return b.dropTopic(ctx, s.topic)
}

// counted is how many records allocations are counted over. It does not follow from the number of events that are measured: memory
// is used again only after some 100,000 rows, and what was taken until then, a few hundred allocations, is much beside few rows.
func (b *bench) counted(c workload.Case) int64 {
	rows := int64(600_000)
	if b.opts.Events > 0 && b.opts.Events < 100_000 {
		rows = 200_000 // somebody is in a hurry
	}
	return min(c.Events, rows/rowsOf(c))
}

// turns lets the contenders read the topic in turn, round by round, and gives the bytes that weir copied for its operators.
func (b *bench) turns(ctx context.Context, c workload.Case, s *stream, entries []entry) (copied int64, err error) {
	rounds := b.rounds(c)
	for round := range rounds {
		for _, e := range entries {
			if e.result.Wrong != "" || e.result.LeftOut != "" {
				continue
			}
			r, err := b.round(ctx, c, s, e, &copied)
			if err != nil && ctx.Err() == nil && b.isPeer(e.contender) {
				// A program of others that breaks must not keep the rest from being measured.
				e.result.LeftOut, e.result.Rounds = fmt.Sprintf("it failed: %v", err), nil
				b.say("%s: %s: %s", c.Name, e.contender.Name, e.result.LeftOut)
				continue
			}
			if err != nil {
				return copied, err
			}
			events := float64(s.size.Events * rowsOf(c))
			b.say("%s: round %d of %d: %-13s %d core%s  %6.2f CPU-s/M  %9.0f events/s  %4.0f MiB", c.Name, round+1, rounds,
				e.contender.Name, e.result.Cores, plural(e.result.Cores), r.CPU/events*1e6, events/cmp.Or(r.Busy, r.Wall), float64(r.PeakRSS)/(1<<20))
		}
	}
	return copied, nil
}

func plural(n int) string {
	if n == 1 {
		return " "
	}
	return "s"
}

// qualify runs weir once over a link that counts its bytes, which also warms up the page cache, and finds out which of the contenders take part.
func (b *bench) qualify(ctx context.Context, c workload.Case, s *stream, t *report.Throughput) (entries []entry, uplink int64, err error) {
	cores := b.cores(c)
	contenders := b.contenders()
	// Results are pointed to by entries, so the slice must not grow afterwards.
	t.Results = make([]report.Result, 0, len(contenders)*len(cores))
	for _, n := range cores {
		for _, k := range contenders {
			task, err := b.task(c, s.size, s.topic, k.Name, n)
			if err != nil {
				return nil, 0, err
			}
			_, err = k.Command(ctx, task)
			t.Results = append(t.Results, report.Result{Contender: k.Name, About: k.About, Ceiling: k.Ceiling, Cores: n})
			r := &t.Results[len(t.Results)-1]
			switch {
			case errors.Is(err, contender.ErrCannot):
				r.LeftOut = err.Error()
				if n == 1 {
					b.say("%s: %s: %s", c.Name, k.Name, err)
				}
			case err != nil:
				return nil, 0, fmt.Errorf("prepare %s: %w", k.Name, err)
			default:
				entries = append(entries, entry{contender: k, result: r})
			}
			if err := os.RemoveAll(task.Dir); err != nil {
				return nil, 0, fmt.Errorf("clean up after %s: %w", k.Name, err)
			}
		}
	}
	uplink, err = b.uplink(ctx, c, s)
	return entries, uplink, err
}

// uplink runs weir over a link that counts what passes.
func (b *bench) uplink(ctx context.Context, c workload.Case, s *stream) (int64, error) {
	k, err := newLink(b.base.Host)
	if err != nil {
		return 0, err
	}
	defer k.close()
	task, err := b.task(c, s.size, s.topic, "uplink", 1)
	if err != nil {
		return 0, err
	}
	task.ClickHouse = b.clickhouse(k.addr())
	cmd, err := contender.Weir(b.opts.Weir, b.operators()).Command(ctx, task)
	if err != nil {
		return 0, err
	}
	if _, err := b.timed(ctx, cmd, b.place(1)); err != nil {
		return 0, err
	}
	b.dropTables(ctx, task.Name)
	return k.bytes.Load(), nil
}

// timed runs a command within the longest time there is.
func (b *bench) timed(ctx context.Context, cmd contender.Command, at place) (ran, error) {
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	return run(ctx, cmd, at)
}

// round runs a contender once. Its result has one more round, or says that the answer was wrong.
func (b *bench) round(ctx context.Context, c workload.Case, s *stream, e entry, copied *int64) (report.Round, error) {
	task, err := b.task(c, s.size, s.topic, e.contender.Name, e.result.Cores)
	if err != nil {
		return report.Round{}, err
	}
	defer func() { _ = os.RemoveAll(task.Dir) }() // the whole folder goes at the end
	cmd, err := e.contender.Command(ctx, task)
	if err != nil {
		return report.Round{}, fmt.Errorf("prepare %s: %w", e.contender.Name, err)
	}
	at := b.place(e.result.Cores)
	at.slice = e.slice
	r, err := b.timed(ctx, cmd, at)
	if err != nil {
		return r.round, err
	}
	if e.contender.Ceiling {
		e.result.Rounds = append(e.result.Rounds, r.round)
		return r.round, nil
	}
	var wrong string
	if cmd.Finish != nil {
		if err := cmd.Finish(); err != nil {
			wrong = fmt.Sprintf("it left no answer: %v", err) // a program of others may fail and say so nowhere
		}
	}
	if wrong == "" {
		if wrong, err = b.check(ctx, c, s, cmd.Answer); err != nil {
			return r.round, fmt.Errorf("%s: %w", e.contender.Name, err)
		}
	}
	if e.contender.Name == "weir" && wrong == "" {
		var sum summary
		if sum, wrong, err = account(r.stderr, s.counts); err != nil {
			return r.round, err
		}
		*copied += sum.BytesCopied
	}
	if cmd.Answer.Table != "" {
		b.dropTables(ctx, task.Name)
	}
	if wrong != "" {
		e.result.Wrong, e.result.Rounds = wrong, nil
		b.say("%s: %s: WRONG: %s", c.Name, e.contender.Name, wrong)
		return r.round, nil
	}
	e.result.Rounds, e.result.Memory = append(e.result.Rounds, r.round), r.memory
	return r.round, nil
}

// lookup is the environment of a pipeline of this process.
func (b *bench) lookup(name, topic string) func(string) (string, bool) {
	env := contender.WeirEnv(contender.Task{Brokers: b.brokers, ClickHouse: b.clickhouse(""), Name: name, Topic: topic}, b.operators())
	return func(key string) (string, bool) {
		for _, e := range env {
			if len(e) > len(key) && e[:len(key)] == key && e[len(key)] == '=' {
				return e[len(key)+1:], true
			}
		}
		return "", false
	}
}

// limits are what figures must not exceed, by name. The ratios are 40 to 60 % above what bench-smoke finds today on a
// machine that is busy otherwise, so that noise does not cross them and a clear regression does.
var limits = map[string]float64{
	"cpu_ratio_to_bare_consumer":        4,
	"cpu_ratio_to_hand_written":         2.5,
	"project.cpu_ratio_to_hand_written": 2.3,
	"allocs_per_row":                    0.01,
	"bytes_copied_by_transport":         0,
	"rss_at_rest":                       60,
	"binary_size":                       60,
}

// figure adds a figure to the report, and gives it, or nil where there are no samples. Those of the first workload have no prefix.
// The figure may be changed until the next one is added.
func (b *bench) figure(workload, name, unit string, kind report.Kind, more bool, samples []float64) *report.Figure {
	if len(samples) == 0 {
		return nil
	}
	if workload != "" && workload != "sensors" {
		name = workload + "." + name
	}
	f := report.Figure{Name: name, Unit: unit, Kind: kind, More: more, Samples: samples}
	if limit, ok := limits[name]; ok {
		f.Limit = &limit
	}
	b.doc.Figures = append(b.doc.Figures, f)
	return &b.doc.Figures[len(b.doc.Figures)-1]
}

// figures derives what can be compared from the results of a workload.
func (b *bench) figures(t *report.Throughput, h *hot, copied, uplink int64) {
	weir, bare, hand := t.Find("weir", 1), t.Find("bare", 1), t.Find("hand", 1)
	if weir == nil || len(weir.Rounds) == 0 {
		return
	}
	w := t.Workload
	cpu := weir.CPUPerMillion(t.Events)
	if bare != nil {
		b.figure(w, "cpu_ratio_to_bare_consumer", "x", report.Ratio, false, ratios(cpu, bare.CPUPerMillion(t.Events)))
	}
	if hand != nil {
		b.figure(w, "cpu_ratio_to_hand_written", "x", report.Ratio, false, ratios(cpu, hand.CPUPerMillion(t.Events)))
	}
	if two := t.Find("weir", 2); two != nil {
		b.twoCoreFigures(t, two)
	}
	b.figure(w, "cpu_s_per_million", "CPU-s", report.Time, false, cpu)
	b.figure(w, "events_per_s", "events/s, one core", report.Time, true, weir.PerSecond(t.Events))
	if copying := b.doc.Machine.CopyBytesPerS; copying > 0 {
		var share []float64
		for _, v := range weir.PerSecond(t.Events) {
			share = append(share, v*t.RecordSize/copying*100)
		}
		b.figure(w, "input_to_memory_copy", "% of the bytes a second that a copy of memory moves", report.Time, true, share)
	}
	b.figure(w, "peak_memory", "MiB", report.Count, false, weir.PeakMiB())
	b.figure(w, "joules_per_million", "J, the whole package", report.Time, false, weir.Joules(t.Events))
	if h != nil {
		b.figure(w, "allocs_per_row", "allocations in decode, steps and window", report.Count, false, []float64{h.allocsPerRow})
		b.figure(w, "bytes_copied_by_transport", "bytes", report.Count, false, []float64{float64(copied + h.bytesCopied)})
	}
	b.figure(w, "uplink_bytes_per_event", "bytes to and from ClickHouse", report.Count, false, []float64{float64(uplink) / float64(t.Events)})
}

// ratios divides round by round.
func ratios(a, b []float64) []float64 {
	out := make([]float64, min(len(a), len(b)))
	for i := range out {
		out[i] = a[i] / b[i]
	}
	return slices.Clip(out)
}
