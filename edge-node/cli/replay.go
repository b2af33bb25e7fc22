package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/pipeline"
	"github.com/weir-stream/weir/edge-node/replay"
	"github.com/weir-stream/weir/sink"
)

// replaying is one call of replay or resend.
type replaying struct {
	node         nodeFlags
	url          string
	timeout      time.Duration
	since, until string
	most         int
	json, dry    bool
	resend       bool
	recorded     bool
	operators    []string
	choice       replay.Choice
}

func (a *app) replayCommand() *cobra.Command {
	o := &replaying{}
	cmd := &cobra.Command{
		Use:     "replay FILE",
		Short:   "Read the log again and compare with what ClickHouse has",
		GroupID: "answers",
		Long: `Read a pipeline's records again from Kafka, take them through the same stages as a
node does, and compare every row and every dead letter that comes out with what
ClickHouse has. It joins no group, commits nothing and stores nothing, and may run
beside the node.

Without a choice, every segment of the file's revision is read, of every partition,
from its beginning to where its account in weir_coverage ends. --partition and
--segment choose; --from and --to, or --since by the records' timestamps, choose
offsets. A range that begins in the middle of a segment leaves out the windows that
began before it, and says how many. A segment of another revision is refused: its
results may differ, and it says in what. With --recorded it runs the revisions that
ClickHouse has recorded, if their modules are found by their digests.

It says the place of every difference, the first --differences of them for a
segment. A difference is exit code 5; what could not be compared is 1; a Kafka or a
ClickHouse that cannot be reached is 4.`,
		Example: `  weir replay pipeline.yaml
  weir replay --partition 3 --since 2h pipeline.yaml
  weir replay --partition 0 --from 120000 --to 140000 pipeline.yaml
  weir replay --json pipeline.yaml | jq '.segments[].differences'`,
		Args: exactly(1, "a pipeline file"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.replay(cmd.Context(), o, args[0]) },
	}
	o.add(cmd)
	f := cmd.Flags()
	f.Int64Var(&o.choice.From, "from", -1, "first offset, of the partition chosen with --partition")
	f.Int64Var(&o.choice.To, "to", -1, "offset behind the last one")
	f.StringVar(&o.since, "since", "", "records with this timestamp or a later one, as 2026-11-21T10:00:00Z or as a span before now such as 2h")
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		if (o.choice.From >= 0 || o.choice.To >= 0) && o.choice.Partition < 0 {
			return usagef(cmd, "--from and --to need --partition: every partition has offsets of its own")
		}
		if o.choice.From >= 0 && o.choice.To >= 0 && o.choice.From >= o.choice.To {
			return usagef(cmd, "--from must be before --to")
		}
		return errors.Join(o.check(cmd), onlyOne(cmd, "from", "since"))
	}
	return cmd
}

// add makes the flags that both commands have.
func (o *replaying) add(cmd *cobra.Command) {
	o.node.add(cmd, "site", "kafka", "clickhouse")
	f := cmd.Flags()
	f.StringVar(&o.url, "url", "", "ClickHouse URL, instead of the pipeline's")
	f.DurationVar(&o.timeout, "timeout", 10*time.Minute, "most time one statement may take")
	f.Int32Var(&o.choice.Partition, "partition", -1, "this partition alone")
	f.Int64Var(&o.choice.Segment, "segment", -1, "this segment alone")
	f.IntVar(&o.most, "differences", 20, "most differences to list for a segment")
	f.BoolVar(&o.recorded, "recorded", false, "segments of other revisions, too, each as it is recorded in weir_revisions")
	f.StringArrayVar(&o.operators, "operators", nil, "folder with modules of recorded revisions, found by their digests")
	f.BoolVar(&o.json, "json", false, "print what became of every segment as JSON")
}

// check reads the flags that both commands have.
func (o *replaying) check(cmd *cobra.Command) error {
	if o.timeout <= 0 {
		return usagef(cmd, "--timeout must be more than 0")
	}
	if len(o.operators) > 0 && !o.recorded {
		return usagef(cmd, "--operators is for --recorded")
	}
	if o.most < 0 {
		return usagef(cmd, "--differences may not be negative")
	}
	var err error
	if o.choice.Since, err = momentOf(o.since); err != nil {
		return usagef(cmd, "--since: %v", err)
	}
	if o.choice.Until, err = momentOf(o.until); err != nil {
		return usagef(cmd, "--until: %v", err)
	}
	if o.url != "" {
		if err := config.CheckClickHouseURL(o.url); err != nil {
			return usagef(cmd, "--url: %v", err)
		}
	}
	return onlyOne(cmd, "url", "clickhouse")
}

func (a *app) replay(ctx context.Context, o *replaying, file string) error {
	n, err := o.node.load(a)
	if err != nil {
		return err
	}
	if o.url != "" {
		if err := n.SetClickHouse(o.url); err != nil { // for a pipeline that names none
			return &usageError{msg: "--url: " + err.Error()}
		}
	}
	log := a.logger(n.Log)
	p, err := a.planFile(ctx, file, n, withServers, pipeline.Options{Log: log})
	if err != nil {
		return err
	}
	progress := newReadProgress(a.stderr)
	opts := pipeline.ReplayOptions{URL: o.url, Timeout: o.timeout, Most: o.most, Progress: progress.show, Log: log}
	report, err := o.run(ctx, p, opts)
	progress.end()
	if err = errors.Join(err, p.Close()); err != nil {
		return fmt.Errorf("%s: %w", p.Spec.File, err)
	}
	if len(report.Segments) == 0 && len(report.Others) == 0 {
		chosen := "that was chosen"
		if !o.choice.Since.IsZero() {
			chosen = fmt.Sprintf("with records of %s or later, by the timestamps that Kafka has of them, as --since says", o.choice.Since.UTC().Format(time.RFC3339))
		}
		return fmt.Errorf("%s: there is nothing to read again: neither ClickHouse nor group %s knows a segment of pipeline %s %s",
			p.Spec.File, p.Spec.Source.Kafka.Group, p.Spec.Name, chosen)
	}
	verdict := replayVerdict(report)
	if o.json {
		return errors.Join(a.printJSON(report), verdict)
	}
	return errors.Join(a.printReplay(o, report), verdict)
}

// run replays a pipeline, and the recorded revisions of it.
func (o *replaying) run(ctx context.Context, p *pipeline.Plan, opts pipeline.ReplayOptions) (_ *replay.Report, err error) {
	r, err := p.OpenReplay(ctx, opts)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	report, err := o.once(ctx, r)
	var other *replay.RevisionError
	switch {
	case !o.recorded:
		return report, err
	case errors.As(err, &other):
		report = &replay.Report{Pipeline: p.Spec.Name, Revision: sink.RevisionText(p.Revision), OK: true, Others: other.Others}
	case err != nil:
		return nil, err
	}
	file, err := os.ReadFile(p.Spec.File)
	if err != nil {
		return nil, fmt.Errorf("read the pipeline once more for --recorded: %w", err)
	}
	for len(report.Others) > 0 {
		if err := o.runRecorded(ctx, r, report, file, opts); err != nil {
			return nil, err
		}
	}
	return report, nil
}

func (o *replaying) once(ctx context.Context, r *pipeline.Replayer) (*replay.Report, error) {
	if o.resend {
		return r.Resend(ctx, o.choice, o.dry)
	}
	return r.Compare(ctx, o.choice)
}

// runRecorded replays the revision of the first of the other segments, and moves what came out to the report.
func (o *replaying) runRecorded(ctx context.Context, r *pipeline.Replayer, report *replay.Report, file []byte, opts pipeline.ReplayOptions) (err error) {
	revision := report.Others[0].Revision
	p, err := r.Recorded(ctx, revision, file, o.operators)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	again, err := p.OpenReplay(ctx, opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, again.Close()) }()
	more, err := o.once(ctx, again)
	if err != nil {
		return err
	}
	for _, s := range more.Segments {
		if s.Revision == revision {
			report.Segments = append(report.Segments, s)
			report.OK = report.OK && !s.Differs() && s.Refused == "" && s.Gone == nil
		}
	}
	report.Others = slices.DeleteFunc(report.Others, func(s replay.Other) bool { return s.Revision == revision })
	return nil
}

// replayVerdict is the exit code: a difference tells more than what could not be compared.
func replayVerdict(r *replay.Report) error {
	code := exitOK
	for _, s := range r.Segments {
		switch {
		case s.Differs():
			return &silentError{exitDiffers}
		case s.Refused != "" || s.Gone != nil:
			code = exitFailed
		}
	}
	if code != exitOK {
		return &silentError{code}
	}
	return nil
}
