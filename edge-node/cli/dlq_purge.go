package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

// purged is the answer.
type purged struct {
	DryRun  bool  `json:"dry_run"`
	Letters int64 `json:"letters"`
	Bytes   int64 `json:"bytes"`
}

func (a *app) dlqPurge() *cobra.Command {
	d := &dlq{}
	var dry, yes, all, asJSON bool
	cmd := &cobra.Command{
		Use:   "purge FILE",
		Short: "Delete dead letters for good",
		Long: `Delete dead letters from ClickHouse: payload, key and detail. What tells them apart
and why they were rejected stays in weir_dead_letter_marks, so that 'weir audit' can
still account for every rejected record; it says how many were purged.

Without a filter it deletes all of the pipeline, and wants --all. It rewrites parts of
the table and waits for that. Files of the server have the bytes for some minutes more
(old_parts_lifetime), backups for as long as they are kept.
` + dlqFilterLong,
		Example: `  weir dlq purge --reason late --until 30d --dry-run pipeline.yaml
  weir dlq purge --reason late --until 30d --yes pipeline.yaml
  weir dlq purge --all pipeline.yaml`,
		Args: exactly(1, "a pipeline file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.purgeLetters(cmd.Context(), d, args[0], purged{DryRun: dry}, yes, asJSON)
		},
	}
	d.addFilter(cmd)
	f := cmd.Flags()
	f.BoolVar(&all, "all", false, "delete all there are")
	f.BoolVar(&dry, "dry-run", false, "say what would be deleted, and delete nothing")
	f.BoolVar(&yes, "yes", false, "do not ask")
	f.BoolVar(&asJSON, "json", false, "print what was done as JSON")
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		if err := d.parse(cmd); err != nil {
			return err
		}
		if all == (d.chosen() != "") {
			return usagef(cmd, "say which: either filters such as --reason, or --all")
		}
		if !yes && !dry && !terminal(a.stdin) {
			return usagef(cmd, "nobody can be asked here: give --yes, or --dry-run to see what would be deleted")
		}
		return nil
	}
	return cmd
}

func (a *app) purgeLetters(ctx context.Context, d *dlq, file string, answer purged, yes, asJSON bool) error {
	p, _, letters, err := d.open(a, file)
	if err != nil {
		return err
	}
	defer func() { _ = letters.Close() }()
	failed := func(err error) error { return fmt.Errorf("%s: %w", p.File, err) }
	counted, err := letters.Purgeable(ctx, &d.filter)
	if err != nil {
		return failed(err)
	}
	answer.Letters, answer.Bytes = counted.Letters, counted.Bytes
	what := func() string {
		return fmt.Sprintf("%s of %s with %s of payload", count(answer.Letters, "dead letter"), p.Name, count(answer.Bytes, "byte"))
	}
	if !answer.DryRun && !yes && counted.Letters > 0 {
		if err := a.confirm("delete " + what() + "?"); err != nil {
			return err
		}
	}
	said := "would delete "
	if !answer.DryRun {
		said = "deleted "
		// Also where there are none: a purge that was ended half-way has left some that are marked and there.
		gone, err := letters.Purge(ctx, &d.filter)
		if err != nil {
			return failed(fmt.Errorf("%w; it may be done again, what was deleted stays accounted for", err))
		}
		answer.Letters, answer.Bytes = gone.Letters, gone.Bytes
	}
	if asJSON {
		return a.printJSON(answer)
	}
	_, err = fmt.Fprintf(a.stdout, "%s%s\n", said, what())
	return err
}
