package pipeline

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/engine"
	"github.com/weir-stream/weir/edge-node/replay"
	"github.com/weir-stream/weir/ingest/kafka"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/operators/window"
	"github.com/weir-stream/weir/sink"
	"github.com/weir-stream/weir/sink/clickhouse"
)

// ReplayOptions change how a pipeline is replayed.
type ReplayOptions struct {
	URL      string        // of ClickHouse, instead of the pipeline's
	Timeout  time.Duration // of one statement
	Most     int           // differences that are listed for a segment
	Progress func(replay.Progress)
	Log      *slog.Logger
}

// Replayer builds stretches of a pipeline's log again. It is made by Plan.OpenReplay.
type Replayer struct {
	cfg     replay.Config
	target  clickhouse.Config
	plan    *Plan
	sink    *clickhouse.Sink
	reader  *kafka.Reader
	rebuild *engine.Rebuild
	log     *slog.Logger
}

// OpenReplay makes the stages between the log and what is stored. It connects to nothing. The plan must stay open meanwhile.
func (p *Plan) OpenReplay(ctx context.Context, opts ReplayOptions) (_ *Replayer, err error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	r := &Replayer{plan: p, target: p.clickhouse, log: opts.Log}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	if opts.URL != "" {
		r.target.URL = opts.URL
	}
	r.target.QueryTimeout = opts.Timeout
	if r.sink, err = clickhouse.New(r.target, p.Table, r.log); err != nil {
		return nil, fmt.Errorf("sink: %w", err)
	}
	source, err := p.kafka()
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	if r.reader, err = kafka.NewReader(source, r.log); err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	of := p.generation()
	of.Window = p.Window.OpenInOrder
	if r.rebuild, err = engine.NewRebuild(ctx, engine.Config{Generation: of, PlainPool: p.plainPool, Log: r.log}); err != nil {
		return nil, err
	}
	r.cfg = replay.Config{
		Widening: p.widest(),
		Rebuild:  r.rebuild, Revision: p.Revision, Log: r.reader, Stored: r.sink, Table: p.Table,
		MaxOutOfOrder: p.Window.MaxOutOfOrder, AllowedLateness: p.Window.AllowedLateness + p.Window.Gap,
		LateLetters: p.Spec.Late.To == config.LateDeadLetters, Jumps: p.Window.MaxJump > 0,
		MaxState: p.Node.Limits.State, Most: opts.Most, Progress: opts.Progress,
	}
	for _, s := range p.Steps {
		r.cfg.Stateful = r.cfg.Stateful || operators.IsStateful(s)
	}
	return r, nil
}

// widest merges windows to whatever width a node may have merged them, also one whose file says otherwise since; nil where none can
// have.
func (p *Plan) widest() operators.Widening {
	w, err := window.NewWidening(p.Window, window.MaxWidth)
	if err != nil {
		return nil
	}
	return w
}

// Compare builds what was chosen again and compares it with what is stored; see replay.Config.
func (r *Replayer) Compare(ctx context.Context, choice replay.Choice) (*replay.Report, error) {
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	report, err := r.cfg.Compare(ctx, choice)
	return report, r.explainRevision(ctx, err)
}

// explainRevision adds to an error about another revision in what the file differs from it.
func (r *Replayer) explainRevision(ctx context.Context, err error) error {
	var other *replay.RevisionError
	if !errors.As(err, &other) {
		return err
	}
	recorded, why := r.recorded(ctx, other.Others[0].Revision)
	if why == nil {
		digests, functions := r.plan.digests()
		other.Differs, why = replay.SpecDifferences(recorded.Spec, string(r.plan.Spec.Shown(digests, functions)))
	}
	if why != nil {
		other.Why = why.Error()
	}
	return err
}

// recorded is what ClickHouse knows of a revision.
func (r *Replayer) recorded(ctx context.Context, revision string) (*sink.Revision, error) {
	all, err := r.sink.Revisions(ctx, r.plan.Spec.Name)
	if err != nil {
		return nil, err
	}
	for i := range all {
		if sink.RevisionText(all[i].Revision.Revision) == revision {
			return &all[i].Revision, nil
		}
	}
	return nil, fmt.Errorf("weir_revisions has nothing of revision %s", revision)
}

// Resend stores again what ClickHouse lost; see replay.Config. A dry run stores nothing.
func (r *Replayer) Resend(ctx context.Context, choice replay.Choice, dry bool) (*replay.Report, error) {
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	if dry {
		report, err := r.cfg.Resend(ctx, choice, nil)
		return report, r.explainRevision(ctx, err)
	}
	// The server may remember the inserts of what it has lost.
	again := r.target
	again.InsertTag = "-" + rand.Text()
	to, err := clickhouse.New(again, r.plan.Table, r.log)
	if err != nil {
		return nil, fmt.Errorf("sink: %w", err)
	}
	defer func() { _ = to.Close() }()
	report, err := r.cfg.Resend(ctx, choice, to.Write)
	return report, r.explainRevision(ctx, err)
}

// prepare asks what the tables keep.
func (r *Replayer) prepare(ctx context.Context) error {
	if err := r.sink.Check(ctx); err != nil {
		return err
	}
	expiry, err := r.sink.Expiry(ctx)
	if err != nil {
		return err
	}
	r.cfg.Windows, r.cfg.DeadLetters, r.cfg.Now = expiry.Windows, expiry.DeadLetters, time.Now()
	return nil
}

// Close frees everything but the plan. Closing twice is fine.
func (r *Replayer) Close() error {
	var errs []error
	if r.rebuild != nil {
		errs = append(errs, r.rebuild.Close())
		r.rebuild = nil
	}
	if r.reader != nil {
		r.reader.Close()
	}
	if r.sink != nil {
		errs = append(errs, r.sink.Close())
	}
	return errors.Join(errs...)
}
