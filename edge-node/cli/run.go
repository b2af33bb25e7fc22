package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir/edge-node/engine"
	"github.com/weir-stream/weir/edge-node/pipeline"
	"github.com/weir-stream/weir/edge-node/web"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

func (a *app) runCommand() *cobra.Command {
	var node nodeFlags
	var watch bool
	var profiles profiling
	opts := pipeline.RunOptions{Version: buildVersion().String()}
	cmd := &cobra.Command{
		Use:     "run FILE...",
		Short:   "Run pipelines",
		GroupID: "pipelines",
		Long: `Run pipelines until interrupted. A folder stands for the *.yaml and *.yml files
in it. All files are validated before any of them starts; after that each goes on
without the others.

Metrics are on http://127.0.0.1:9464/metrics, health on /healthz, and what is
missing, if anything, on /readyz; --listen changes the address. With --pprof, profiles
of the process are on /debug/pprof/ of an address of their own, for go tool pprof.

A hangup (kill -HUP) makes running pipelines take over what their files say now:
steps and modules change at a batch boundary of each partition, without a stop and
without a wrong total. With --watch they do so by themselves, about a second after
the file of a pipeline or of a module was written. What does not validate, or needs
a restart, is refused and logged, and the running version goes on.

The first Ctrl-C ships what there is and stops, the second stops at once. Either
way, and after a crash, the next run goes on with exact totals.`,
		Example: `  weir run pipeline.yaml
  weir run -c node.yaml pipelines/
  weir run --kafka localhost:9092 --clickhouse clickhouse://localhost:9000/default pipeline.yaml
  weir run --stop-at-end pipeline.yaml      # read what there is, then stop`,
		Args: atLeast(1, "a pipeline file"),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if err := profiles.check(cmd); err != nil {
				return err
			}
			hangups := make(chan os.Signal, 1) // from the start: one that nobody takes would end the process
			signal.Notify(hangups, syscall.SIGHUP)
			defer signal.Stop(hangups)
			n, err := node.load(a)
			if err != nil {
				return err
			}
			files, err := pipelineFiles(args)
			if err != nil {
				return err
			}
			opts.Log = a.logger(n.Log)
			opts.Log.Debug("start", "phase", "configured")
			stopProfiles, err := profiles.start(opts.Log)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, stopProfiles()) }()
			free := int64(heapFree)
			if n.StateDir != "" {
				free = heapFreeStore
			}
			defer boundHeap(free)()
			modules, err := pipeline.OpenModules(n, opts.Log)
			if err != nil {
				return err
			}
			if opts.Store, err = pipeline.OpenStore(n, opts.Log, true); err != nil {
				return errors.Join(err, modules.Close())
			}
			opts.Uplink = pipeline.NewUplink(n)
			planning := pipeline.Options{Modules: modules, Log: opts.Log}
			plans, err := a.planFiles(cmd.Context(), files, n, withServers, planning)
			if err == nil {
				opts.Log.Debug("start", "phase", "planned")
				err = runPlans(cmd.Context(), plans, opts, &reloader{app: a, node: n, opts: planning, signals: hangups, watch: watch})
			}
			return errors.Join(closePlans(plans, err), opts.Store.Close(), modules.Close())
		},
	}
	node.add(cmd, "site", "node", "listen", "kafka", "clickhouse", "state-dir", "wasm-cache")
	profiles.add(cmd)
	cmd.Flags().BoolVar(&opts.StopAtEnd, "stop-at-end", false, "stop when everything that was there at the start has been read")
	cmd.Flags().BoolVar(&watch, "watch", false, "reload pipelines when their files or modules change")
	cmd.Flags().IntVar(&opts.Chains, "cores", 0, "most cores a pipeline uses at a time; 0 is all")
	return cmd
}

// runPlans runs pipelines side by side. One that fails leaves the others running; the first failure is the error in the
// end.
func runPlans(ctx context.Context, plans []*pipeline.Plan, opts pipeline.RunOptions, reloads *reloader) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	log := opts.Log
	runners := make([]*pipeline.Runner, 0, len(plans))
	watched := make([]web.Pipeline, 0, len(plans))
	defer func() {
		for _, r := range runners {
			err = errors.Join(err, r.Close())
		}
	}()
	for _, p := range plans {
		r, err := p.Open(ctx, opts)
		if err != nil {
			return fmt.Errorf("pipeline %s: %w", p.Spec.Name, err)
		}
		runners, watched = append(runners, r), append(watched, r)
	}
	server, err := web.New(reloads.node.Listen, buildVersion().Version, watched, reloads.opts.Modules, opts.Store, log)
	if err != nil {
		return err
	}
	log.Info("serving metrics and health", "address", "http://"+server.Addr())
	served := make(chan error, 1)
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	go func() { served <- server.Run(serving) }()

	for i, r := range runners {
		reloads.running = append(reloads.running, newRunning(plans[i], r, log))
	}
	reloading, stopReloading := context.WithCancel(ctx)
	var reloader sync.WaitGroup
	reloader.Go(func() { reloads.run(reloading) })

	errs := make([]error, len(runners))
	var wg sync.WaitGroup
	for i, r := range runners {
		wg.Go(func() { errs[i] = runOne(ctx, plans[i], r, log) })
	}
	wg.Wait()
	stopReloading()
	reloader.Wait()
	stopServing()
	return errors.Join(errors.Join(errs...), <-served)
}

// runOne runs one pipeline and says how it ended.
func runOne(ctx context.Context, p *pipeline.Plan, r *pipeline.Runner, log *slog.Logger) error {
	log = log.With("pipeline", p.Spec.Name)
	log.Info("starting", "file", p.Spec.File, "revision", sink.RevisionText(p.Revision),
		"brokers", p.Spec.Source.Kafka.Brokers, "group", p.Spec.Source.Kafka.Group, "clickhouse", p.Spec.Sink.ClickHouse.URL.URL())
	err := r.Run(ctx)
	if err != nil && ctx.Err() == nil {
		log.Error("failed", "error", err)
		return fmt.Errorf("pipeline %s: %w", p.Spec.Name, err)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		log.Error("stopped with an error", "error", err)
		return fmt.Errorf("stop pipeline %s: %w", p.Spec.Name, err)
	}
	for _, step := range r.Status().Engine.Steps {
		if step.In > 0 && step.Rejected >= step.In {
			log.Warn("this step rejected all it was given: see 'weir dlq ls'", "step", step.Name, "rows_in", step.In)
		}
		log.Info("used", used(step)...)
	}
	log.Info("stopped", summary(r.Status())...)
	return nil
}

// used is what a step has used, for the end of a run.
func used(s engine.StepStatus) []any {
	attrs := []any{
		"step", s.Name, "rows_in", s.In, "rows_out", s.Out, "rejected", s.Rejected, "time", s.Time.Round(time.Microsecond),
		"bytes_in", s.BytesIn, "bytes_out", s.BytesOut,
	}
	if s.Digest != "" {
		u := s.Usage
		attrs = append(attrs, "fuel", u.Fuel, "bytes_copied", u.BytesCopied, "instances", u.Instances, "traps", u.Traps,
			"retries", u.Retries, "log_lines_dropped", u.LogDropped)
	}
	return attrs
}

// summary is what a pipeline has done, for its last log line.
func summary(s pipeline.Status) []any {
	var records, aggregated, late, filtered, rejected, copied, fuel int64
	for _, l := range s.Engine.Lanes {
		records += l.Records
		aggregated += l.Aggregated
		late += l.Late
		filtered += l.Filtered
		for reason, n := range l.Rejected {
			if reason != batch.ReasonLate {
				rejected += n
			}
		}
	}
	for _, step := range s.Engine.Steps {
		copied += step.Usage.BytesCopied
		fuel += step.Usage.Fuel
	}
	return []any{
		"records", records, "aggregated", aggregated, "late", late, "filtered", filtered, "rejected", rejected,
		"rows_shipped", s.Delivery.Rows, "dead_letters", s.Delivery.DeadLetters, "bytes_copied", copied, "fuel", fuel,
	}
}
