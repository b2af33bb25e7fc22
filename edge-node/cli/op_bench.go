package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir/edge-node/authoring"
)

// maxBenchInput bounds the rows of --input, in bytes.
const maxBenchInput = 64 << 20

func (a *app) opBench() *cobra.Command {
	var in opInput
	var input string
	opt := authoring.BenchOptions{}
	groups, asJSON := 64, false
	cmd := &cobra.Command{
		Use:   "bench MODULE|DIR [--schema COLUMNS]",
		Short: "Measure an operator beside native Go",
		Long: `Measure what an operator costs, on made up rows or those of --input. Three ways run
in turn, so that what else the machine does hits all of them:

  native  Go that moves the same rows and columns and computes nothing. What the
          operator passes by pointer costs nothing here either.
  pool    the operator in shared memory, as nodes run it on Linux
  copy    the operator with its columns copied in and out, as elsewhere

A ratio is the time beside native's: compare ratios, not nanoseconds, across machines.
Fuel is about Wasm instructions; limits.fuel_per_row of a step must be above it. The
start is that of an instance whose code is compiled.

Of an aggregate of a window it is what a row takes into the state of a group, what
merging two states takes, and finishing one. --groups is how many groups the rows
are of. All columns of --schema are arguments; of a golden file those that it does
not group by.

Without --schema, the first golden file in testdata beside the module that does not
expect a refusal gives columns, config and rows; the rows are repeated.

Made up rows have numbers from 0 to 100, strings item-0 to item-999, times a second
apart, and nulls in one row of 20 where there may be any. An operator that drops most
of them is better measured with rows of its own.`,
		Example: `  weir op bench scale
  weir op bench scale.wasm --schema 'id: string, value: float64?' --config '{"factor": 2}'
  weir op bench scale --schema 'id: string, value: float64' --input rows.jsonl --time 10s
  weir op bench scale --schema 'value: float64' --json | jq .pool.ratio`,
		Args: exactly(1, "a module"),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if opt.Rows < 1 || opt.Rows > authoring.MaxBenchRows {
				return usagef(cmd, "--rows is %d: it must be from 1 to %d", opt.Rows, authoring.MaxBenchRows)
			}
			if opt.Time <= 0 || opt.Time > time.Hour {
				return usagef(cmd, "--time is %v: it must be above 0, and an hour at most", opt.Time)
			}
			if groups < 1 {
				return usagef(cmd, "--groups is %d: it must be above 0", groups)
			}
			if opt.Columns, opt.Config, err = in.parse(cmd); err != nil {
				return err
			}
			file, err := moduleOf(args[0])
			if err != nil {
				return err
			}
			if in.schema == "" {
				g := sample(file)
				if g == nil {
					return usagef(cmd, "no columns: give --schema, as in --schema 'a: int64, b: string?'")
				}
				opt.Columns, opt.Input = g.Args(), g.Input
				if in.config == "" {
					opt.Config = g.Config
				}
			}
			if input != "" {
				if opt.Input, err = readRows(input); err != nil {
					return err
				}
			}
			module, err := authoring.ReadModule(file)
			if err != nil {
				return err
			}
			if authoring.IsAggregate(module) {
				r, err := authoring.BenchAggregate(cmd.Context(), module, filepath.Base(file), groups, opt)
				if err != nil {
					return err
				}
				if asJSON {
					return a.printJSON(r)
				}
				return writeAggregateBench(a.stdout, r)
			}
			r, err := authoring.Bench(cmd.Context(), module, filepath.Base(file), opt)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(r)
			}
			return writeBench(a.stdout, r)
		},
	}
	in.add(cmd)
	f := cmd.Flags()
	f.IntVar(&opt.Rows, "rows", 8192, "rows of a batch")
	f.IntVar(&groups, "groups", groups, "groups that the rows of an aggregate are of")
	f.DurationVar(&opt.Time, "time", 2*time.Second, "about how long to measure")
	f.StringVar(&input, "input", "", "file of rows to measure with, a JSON object per line; repeated until there are enough")
	f.Uint64Var(&opt.Seed, "seed", 1, "seed of the rows that are made up")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// readRows reads the lines of a file.
func readRows(file string) ([]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var rows []string
	s := bufio.NewScanner(io.LimitReader(f, maxBenchInput))
	s.Buffer(nil, 1<<20)
	for s.Scan() && len(rows) < authoring.MaxBenchRows {
		if line := strings.TrimSpace(s.Text()); line != "" {
			rows = append(rows, line)
		}
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	if len(rows) == 0 {
		return nil, errors.New(file + " has no rows")
	}
	return rows, nil
}

func writeBench(to io.Writer, r *authoring.BenchResult) error {
	fmt.Fprintf(to, "%d rows of %s\nbecome %d rows of %s\n\n", r.Rows, strings.Join(r.Input, ", "), r.RowsOut, strings.Join(r.Output, ", "))
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tns/row\tMB/s\tratio\tcopied bytes/row\t")
	row := func(name string, t authoring.BenchTime) {
		fmt.Fprintf(w, "%s\t%.2f\t%.0f\t%.2f\t%.1f\t\n", name, t.NsPerRow, t.MBPerS, t.Ratio, t.Copied)
	}
	row("native", r.Native)
	if r.Pool != nil {
		row("pool", *r.Pool)
	}
	row("copy", r.Copy)
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(to, "\nfuel   %.1f per row\n", r.FuelPerRow)
	_, err := fmt.Fprintf(to, "start  p50 %.0f us, p99 %.0f us\n", r.StartP50, r.StartP99)
	return err
}

func writeAggregateBench(to io.Writer, r *authoring.AggregateBench) error {
	fmt.Fprintf(to, "%d rows of %s\n%d groups with a state of %.1f bytes\nanswer %s\n\n", r.Rows, strings.Join(r.Input, ", "), r.Groups, r.StateBytes, r.Output)
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tns\tratio\tfuel\tper\t")
	row := func(name, ratio, per string, t authoring.AggregateTime) {
		fmt.Fprintf(w, "%s\t%.2f\t%s\t%.1f\t%s\t\n", name, t.Ns, ratio, t.Fuel, per)
	}
	ratio := func(t authoring.AggregateTime) string { return fmt.Sprintf("%.2f", t.Ratio) }
	row("native", ratio(r.Native), "row", r.Native)
	row("accumulate", ratio(r.Accumulate), "row", r.Accumulate)
	row("merge", "", "pair of states", r.Merge)
	row("finish", "", "state", r.Finish)
	return w.Flush()
}
