package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir/edge-node/pipeline"
)

// spoolDrop is one call of the command.
type spoolDrop struct {
	node               nodeFlags
	pipeline, revision string
	topic              string
	partitions         []int32
	orphaned           bool
	dry, yes, json     bool
}

func (a *app) spoolDrop() *cobra.Command {
	o := &spoolDrop{}
	cmd := &cobra.Command{
		Use:   "drop [FILE...]",
		Short: "Remove parts of the local store for good",
		Long: `Remove what the local store has of pipelines, revisions or topics that are no more.
The node must not run. Lines of 'weir spool ls' are removed that have all that the
flags say; --orphaned chooses those that none of the pipelines in the files goes on
with, and needs all files of the node.

What was not shipped is lost, unless Kafka still has the records: ship it first, with
'weir spool drain'. What a pipeline goes on with may be removed, too; it reads its
open windows from Kafka again.`,
		Example: `  weir spool drop -c node.yaml --orphaned --dry-run pipelines/
  weir spool drop -c node.yaml --pipeline old-name
  weir spool drop -c node.yaml --pipeline sensors --topic sensors-2024 --yes`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.dropSpool(cmd.Context(), o, args) },
	}
	o.node.add(cmd, "site", "state-dir")
	f := cmd.Flags()
	f.StringVar(&o.pipeline, "pipeline", "", "what is kept of a pipeline")
	f.StringVar(&o.revision, "revision", "", "what is kept of a revision, as 'weir spool ls' writes it")
	f.StringVar(&o.topic, "topic", "", "what is kept of a topic, by name or ID")
	f.Int32SliceVar(&o.partitions, "partition", nil, "what is kept of these partitions")
	f.BoolVar(&o.orphaned, "orphaned", false, "what no pipeline of the files goes on with")
	f.BoolVar(&o.dry, "dry-run", false, "say what would be removed, and remove nothing")
	f.BoolVar(&o.yes, "yes", false, "do not ask")
	f.BoolVar(&o.json, "json", false, "print what was removed as JSON")
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case o.pipeline+o.revision+o.topic == "" && len(o.partitions) == 0 && !o.orphaned:
			return usagef(cmd, "say what: --pipeline, --revision, --topic, --partition or --orphaned")
		case o.orphaned && len(args) == 0:
			return usagef(cmd, "--orphaned needs all pipeline files of the node")
		case !o.yes && !o.dry && !terminal(a.stdin):
			return usagef(cmd, "nobody can be asked here: give --yes, or --dry-run to see what would be removed")
		}
		return nil
	}
	return cmd
}

// dropped is the answer.
type dropped struct {
	DryRun bool                  `json:"dry_run"`
	Lanes  []pipeline.StoredLane `json:"lanes"`
}

func (o *spoolDrop) chooses(l *pipeline.StoredLane) bool {
	return (o.pipeline == "" || o.pipeline == l.Pipeline) && (o.revision == "" || o.revision == l.Revision) &&
		(o.topic == "" || o.topic == l.Topic || o.topic == l.TopicID) &&
		(len(o.partitions) == 0 || slices.Contains(o.partitions, l.Partition)) && (!o.orphaned || l.Orphaned())
}

func (a *app) dropSpool(ctx context.Context, o *spoolDrop, args []string) error {
	n, err := o.node.load(a)
	if err != nil {
		return err
	}
	log := a.logger(n.Log)
	look, err := pipeline.LookAtStore(n, log) // or it would be made
	if errors.Is(err, pipeline.ErrStoreInUse) {
		return fmt.Errorf("%w; stop the node first", err)
	}
	if err != nil {
		return err
	}
	if err := look.Close(); err != nil {
		return err
	}
	revisions, err := a.revisions(ctx, n, args)
	if err != nil {
		return err
	}
	store, err := pipeline.OpenStore(n, log, false)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	lanes, err := store.Lanes(revisions)
	if err != nil {
		return err
	}
	lanes = slices.DeleteFunc(lanes, func(l pipeline.StoredLane) bool { return !o.chooses(&l) })
	var rows, letters int64
	for i := range lanes {
		rows, letters = rows+lanes[i].Rows, letters+lanes[i].Letters
	}
	what := fmt.Sprintf("%s with %s and %s", count(len(lanes), "partition"), count(rows, "row"), count(letters, "dead letter"))
	if !o.dry && len(lanes) > 0 {
		if !o.yes {
			if err := a.confirm("remove " + what + " from " + n.StateDir + "?"); err != nil {
				return err
			}
		}
		if err := store.Drop(lanes); err != nil {
			return err
		}
	}
	if o.json {
		return a.printJSON(dropped{o.dry, lanes})
	}
	said := "removed "
	if o.dry {
		said = "would remove "
	}
	for i := range lanes {
		l := &lanes[i]
		fmt.Fprintf(a.stdout, "%s%s: to offset %d, %s, %s\n", said, printable(l.String()), l.Position, count(l.Rows, "row"), count(l.Letters, "dead letter"))
	}
	_, err = fmt.Fprintf(a.stdout, "%s%s\n", said, what)
	return err
}
