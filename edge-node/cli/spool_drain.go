package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/pipeline"
	"github.com/weir-stream/weir/edge-node/web"
)

// spoolDrain is one call of the command.
type spoolDrain struct {
	node    nodeFlags
	timeout time.Duration
	dry     bool
	json    bool
}

// drained is the answer: what became of each lane.
type drained struct {
	DryRun  bool          `json:"dry_run"`
	Running bool          `json:"running"`
	Lanes   []drainedLane `json:"lanes"`
}

type drainedLane struct {
	pipeline.StoredLane
	Result string `json:"result"`
}

// What becomes of a lane.
const (
	laneShipped   = "shipped"
	laneFinished  = "shipped and removed"
	laneGone      = "removed: the group has gone on without it"
	laneLeft      = "left: the node was not assigned the partition"
	laneNoFile    = "left: no file of the pipeline was given"
	laneWouldShip = "would be shipped"
)

func (a *app) spoolDrain() *cobra.Command {
	o := &spoolDrain{}
	cmd := &cobra.Command{
		Use:   "drain [FILE...]",
		Short: "Ship what the local store has to ClickHouse",
		Long: `Ship what the local store has to ClickHouse, and end when it is acknowledged: before a
box is switched off for long, or given away.

Where the node runs, it ships what it has by now and goes on; no files are needed.
Where it does not, the pipelines of the files are started without reading a record:
they join their groups, compare what is saved with the group's commits as a start
does, ship it, commit, and end. What another node has gone on with in the meantime is
left alone, or removed where it does not fit any more. Open windows stay in the store,
and the next start goes on with them; sending rows again changes nothing.

What is left says so, and the exit code is 1.`,
		Example: `  weir spool drain -c node.yaml
  weir spool drain -c node.yaml --timeout 10m pipelines/
  weir spool drain --dry-run pipelines/`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if o.timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, o.timeout)
				defer cancel()
			}
			err := a.drain(ctx, o, args)
			if o.timeout > 0 && errors.Is(err, context.DeadlineExceeded) {
				err = fmt.Errorf("not all was acknowledged within %v: %w", o.timeout, err)
			}
			return err
		},
	}
	o.node.add(cmd, "site", "node", "listen", "kafka", "clickhouse", "state-dir", "wasm-cache")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 0, "give up after this long; 0 is never")
	cmd.Flags().BoolVar(&o.dry, "dry-run", false, "say what would be shipped, and ship nothing")
	cmd.Flags().BoolVar(&o.json, "json", false, "print what became of each partition as JSON")
	return cmd
}

func (a *app) drain(ctx context.Context, o *spoolDrain, args []string) error {
	n, err := o.node.load(a)
	if err != nil {
		return err
	}
	before, err := a.spooled(ctx, n, args)
	if err != nil {
		return err
	}
	answer := &drained{DryRun: o.dry, Running: before.Running, Lanes: []drainedLane{}}
	var failed error
	switch {
	case before.Running:
		err = a.drainRunning(ctx, o, n, before, answer)
	case len(args) == 0 && len(before.Lanes) > 0:
		return &usageError{"the node does not run: give the files of its pipelines", "weir spool drain --help"}
	default:
		err = a.drainStopped(ctx, o, n, args, before, answer)
	}
	for _, l := range answer.Lanes {
		if l.Result == laneLeft || l.Result == laneNoFile {
			failed = &silentError{exitFailed}
		}
	}
	if o.json {
		return errors.Join(a.printJSON(answer), err, failed)
	}
	if len(answer.Lanes) == 0 && err == nil {
		fmt.Fprintf(a.stdout, "the local store in %s is empty\n", n.StateDir)
	}
	for i := range answer.Lanes {
		l := &answer.Lanes[i]
		fmt.Fprintf(a.stdout, "%s: %s to offset %d, %s, %s\n", printable(l.String()), l.Result, l.Position, count(l.Rows, "row"), count(l.Letters, "dead letter"))
	}
	return errors.Join(err, failed)
}

// drainRunning has the running node ship.
func (a *app) drainRunning(ctx context.Context, o *spoolDrain, n config.Node, before *spooled, answer *drained) error {
	fate := laneWouldShip
	var problems []error
	if !o.dry {
		var done web.Drained
		if err := askNode(ctx, n, http.MethodPost, "/spool/drain", &done); err != nil {
			return err
		}
		for _, p := range done.Pipelines {
			if p.Error != "" {
				problems = append(problems, fmt.Errorf("%s: %s", p.Pipeline, p.Error))
			}
		}
		fate = laneShipped
	}
	for _, l := range before.Lanes {
		result := fate
		if l.State != pipeline.LaneCurrent {
			result = laneLeft
		}
		answer.Lanes = append(answer.Lanes, drainedLane{l, result})
	}
	if len(problems) > 0 {
		answer.Lanes = answer.Lanes[:0] // which of them are shipped is not known
	}
	return errors.Join(problems...)
}

// drainStopped runs the pipelines of the files over what is saved of them.
func (a *app) drainStopped(ctx context.Context, o *spoolDrain, n config.Node, args []string, before *spooled, answer *drained) error {
	wanted := func(p *pipeline.Plan) bool {
		return slices.ContainsFunc(before.Lanes, func(l pipeline.StoredLane) bool { return l.Pipeline == p.Spec.Name })
	}
	if o.dry || len(before.Lanes) == 0 {
		for _, l := range before.Lanes {
			result := laneWouldShip
			if l.State == pipeline.LaneUnconfigured {
				result = laneNoFile
			}
			answer.Lanes = append(answer.Lanes, drainedLane{l, result})
		}
		return nil
	}
	files, err := pipelineFiles(args)
	if err != nil {
		return err
	}
	log := a.logger(n.Log)
	modules, err := pipeline.OpenModules(n, log)
	if err != nil {
		return err
	}
	defer func() { _ = modules.Close() }()
	store, err := pipeline.OpenStore(n, log, false)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	plans, err := a.planFiles(ctx, files, n, withServers, pipeline.Options{Modules: modules, Log: log})
	var ran []pipeline.Status
	for i := 0; err == nil && i < len(plans); i++ {
		if !wanted(plans[i]) {
			continue
		}
		var status pipeline.Status
		status, err = a.drainOne(ctx, plans[i], pipeline.RunOptions{Log: log, Store: store, ShipSaved: true})
		ran = append(ran, status)
	}
	if err = closePlans(plans, err); err != nil {
		return err
	}
	after, err := store.Lanes(nil)
	if err != nil {
		return err
	}
	for _, l := range before.Lanes {
		answer.Lanes = append(answer.Lanes, drainedLane{l, fateOf(&l, ran, after)})
	}
	return nil
}

// fateOf tells what became of a lane, from what ran and from what the store has afterwards.
func fateOf(l *pipeline.StoredLane, ran []pipeline.Status, after []pipeline.StoredLane) string {
	i := slices.IndexFunc(ran, func(s pipeline.Status) bool { return s.Pipeline == l.Pipeline })
	if i < 0 {
		return laneNoFile
	}
	still := slices.ContainsFunc(after, func(o pipeline.StoredLane) bool {
		return o.Pipeline == l.Pipeline && o.Revision == l.Revision && o.TopicID == l.TopicID && o.Partition == l.Partition
	})
	switch acknowledged := l.AcknowledgedBy(&ran[i]); {
	case acknowledged && still:
		return laneShipped
	case acknowledged:
		return laneFinished
	case !still:
		return laneGone
	}
	return laneLeft
}

// drainOne runs a pipeline until what is saved of it is shipped.
func (a *app) drainOne(ctx context.Context, p *pipeline.Plan, opts pipeline.RunOptions) (status pipeline.Status, err error) {
	r, err := p.Open(ctx, opts)
	if err != nil {
		return status, fmt.Errorf("pipeline %s: %w", p.Spec.Name, err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	stop := a.drainProgress(p.Spec.Name, r)
	err = r.Run(ctx)
	stop()
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return r.Status(), fmt.Errorf("pipeline %s: %w", p.Spec.Name, err)
	}
	return r.Status(), nil
}

// drainProgress draws a line over and over on a terminal. What it returns ends that.
func (a *app) drainProgress(name string, r *pipeline.Runner) func() {
	if !terminal(a.stderr) {
		return func() {}
	}
	tick, end, ended := time.NewTicker(200*time.Millisecond), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-end:
				fmt.Fprint(a.stderr, "\r\x1b[2K")
				return
			case <-tick.C:
				s := r.Status()
				fmt.Fprintf(a.stderr, "\r\x1b[2K%s: %s shipped", name, count(s.Delivery.Rows, "row"))
			}
		}
	}()
	return func() {
		tick.Stop()
		close(end)
		<-ended
	}
}
