package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir/sink/clickhouse"
)

func (a *app) dlqList() *cobra.Command {
	d := &dlq{}
	var by []string
	asJSON := false
	cmd := &cobra.Command{
		Use:   "ls FILE",
		Short: "Count dead letters by reason, step, partition, time",
		Long: `Count the dead letters of a pipeline. --by chooses what by; hour and day are of the
time of the record, in UTC.

LETTERS are those that are stored, REPLAYED those whose record was sent again, PURGED
those that 'weir dlq purge' deleted.
` + dlqFilterLong,
		Example: `  weir dlq ls pipeline.yaml
  weir dlq ls --by reason,hour --since 1d pipeline.yaml
  weir dlq ls --json --step decode pipeline.yaml | jq '.[].letters'`,
		Args: exactly(1, "a pipeline file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.listLetters(cmd.Context(), d, args[0], by, asJSON)
		},
	}
	d.add(cmd, 0, "lines to print at most; 0 is all")
	cmd.Flags().StringSliceVar(&by, "by", []string{"site", "topic", "partition", "step", "reason"},
		"what to count by: "+strings.Join(clickhouse.LetterDimensions, ", "))
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array of objects")
	completeWords(cmd, "by", clickhouse.LetterDimensions...)
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		for i, dim := range by {
			if !slices.Contains(clickhouse.LetterDimensions, dim) {
				return usagef(cmd, "--by: letters cannot be counted by %q; there are: %s", dim, strings.Join(clickhouse.LetterDimensions, ", "))
			}
			if slices.Contains(by[:i], dim) {
				return usagef(cmd, "--by: %s is named twice", dim)
			}
		}
		return d.parse(cmd)
	}
	return cmd
}

func (a *app) listLetters(ctx context.Context, d *dlq, file string, by []string, asJSON bool) error {
	p, _, letters, err := d.open(a, file)
	if err != nil {
		return err
	}
	defer func() { _ = letters.Close() }()
	counts, err := letters.Count(ctx, &d.filter, by, d.limit)
	if err != nil {
		return fmt.Errorf("%s: %w", p.File, err)
	}
	if len(counts) == 0 && !asJSON {
		_, err := fmt.Fprintf(a.stdout, "%s has no dead letters%s\n", p.Name, d.chosen())
		return err
	}
	var out sheet = newTableSheet(a.stdout)
	if asJSON {
		out = newJSONSheet(a.stdout, true)
	}
	var cols []column
	for _, dim := range by {
		c := newColumn(dim, "String")
		c.number = dim == "partition"
		cols = append(cols, c)
	}
	for _, name := range []string{"letters", "replayed", "purged", "bytes"} {
		cols = append(cols, newColumn(name, "Int64"))
	}
	cols = append(cols, newColumn("first", "DateTime64(3)"), newColumn("last", "DateTime64(3)"))
	if err := out.begin(cols); err != nil {
		return err
	}
	for i := range counts {
		c := &counts[i]
		var cells []any
		for i, v := range c.By {
			if n, err := strconv.Atoi(v); err == nil && by[i] == "partition" {
				cells = append(cells, n)
				continue
			}
			cells = append(cells, v)
		}
		cells = append(cells, c.Letters, c.Replayed, c.Purged, c.Bytes, c.First.UTC(), c.Last.UTC())
		if err := out.row(cells); err != nil {
			return err
		}
	}
	return out.end()
}

// chosen says that not all letters were asked for, for a message.
func (d *dlq) chosen() string {
	f := &d.filter
	if f.Site+f.Topic+f.Step+f.Reason != "" || len(f.Partitions)+len(f.Offsets)+len(f.Records) > 0 ||
		f.Since != (time.Time{}) || f.Until != (time.Time{}) {
		return " that fit"
	}
	return ""
}
