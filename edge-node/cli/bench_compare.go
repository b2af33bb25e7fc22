package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir/bench/report"
)

func (a *app) benchCompareCommand() *cobra.Command {
	threshold, asJSON := 5.0, false
	cmd := &cobra.Command{
		Use:   "compare A.json B.json",
		Short: "Set two runs side by side",
		Long: `Compare what two runs wrote with --json, A the one before and B the one after. Each
figure is the median of its rounds, with the interval that the median lies in: between
which two rounds, and how sure that is, follows from their number alone.

A figure is worse when its median moved by more than --threshold and the intervals do
not overlap. Ratios and counts are judged; times depend on the machine and are shown.
Exit code 5 means that a figure is worse, or that an answer of B was wrong.`,
		Example: "  weir bench compare before.json now.json",
		Args:    exactly(2, "a file of --json"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !(threshold >= 0 && threshold <= 1000) {
				return usagef(cmd, "--threshold is %v: it must be from 0 to 1000 percent", threshold)
			}
			var docs [2]*report.Document
			for i, name := range args {
				f, err := os.Open(name)
				if err != nil {
					return err
				}
				docs[i], err = report.Read(f)
				_ = f.Close()
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
			}
			c := report.Compare(docs[0], docs[1], threshold/100)
			if asJSON {
				if err := a.printJSON(c); err != nil {
					return err
				}
			} else if err := c.WriteTable(a.stdout); err != nil {
				return err
			}
			if c.Regression {
				return &differsError{"the second run is worse than the first"}
			}
			return nil
		},
	}
	cmd.Flags().Float64Var(&threshold, "threshold", 5, "the least change of a median that counts, in percent")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
