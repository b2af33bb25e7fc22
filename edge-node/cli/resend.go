package cli

import (
	"github.com/spf13/cobra"
)

func (a *app) resendCommand() *cobra.Command {
	o := &replaying{resend: true}
	cmd := &cobra.Command{
		Use:     "resend FILE --since TIME",
		Short:   "Store again what ClickHouse has lost",
		GroupID: "answers",
		Long: `Build again, from Kafka, every window that took a record since a time, and store
what ClickHouse does not have of it, or has less of: after it was restored from a
backup, lost power, or lost a partition of a table. Dead letters and lost accounts
in weir_coverage are stored again, too.

It is always safe, also twice, and beside a node that runs. A row is stored under
its own identity and with the version up to which the account, or the group's
commit, vouches for it: it replaces an equal or less complete row and nothing else.
Nothing is stored before all of a segment was read once and came to what the account
says. Windows that the table's TTL drops are left out.

--since and --until are timestamps of records, as 2026-11-21T10:00:00Z or as a span
before now such as 2h: take the time of the backup, or some minutes before the loss.
Windows that took records which the log no longer has are listed, and stay as they
are. So do segments of other revisions: run it with their file.

Everything that was lost being there again is exit code 0; what could not be stored
again is 1; what is stored and the log does not give is 5; a Kafka or a ClickHouse
that cannot be reached is 4.`,
		Example: `  weir resend --since 2h --dry-run pipeline.yaml
  weir resend --since 2026-11-21T10:00:00Z pipeline.yaml
  weir resend --since 30d --partition 3 --json pipeline.yaml
  weir audit pipeline.yaml`,
		Args: exactly(1, "a pipeline file"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.replay(cmd.Context(), o, args[0]) },
	}
	o.choice.From, o.choice.To = -1, -1
	o.add(cmd)
	f := cmd.Flags()
	f.StringVar(&o.since, "since", "", "windows that took records with this timestamp or a later one")
	f.StringVar(&o.until, "until", "", "leave out windows that began behind records with this timestamp")
	f.BoolVar(&o.dry, "dry-run", false, "say what is missing, and store nothing")
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		if o.since == "" {
			return usagef(cmd, "--since is missing: the time of the backup, or some minutes before the loss")
		}
		if err := o.check(cmd); err != nil {
			return err
		}
		if !o.choice.Until.IsZero() && !o.choice.Until.After(o.choice.Since) {
			return usagef(cmd, "--until must be after --since")
		}
		return nil
	}
	return cmd
}
