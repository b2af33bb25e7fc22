package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir/edge-node/authoring"
)

// opInput are the flags that say what an operator is given.
type opInput struct{ schema, config string }

func (o *opInput) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.schema, "schema", "", "input columns, as in 'a: int64, b: string?'")
	cmd.Flags().StringVar(&o.config, "config", "", "the operator's configuration, JSON")
}

func (o *opInput) parse(cmd *cobra.Command) (cols authoring.Columns, config []byte, err error) {
	if o.schema != "" {
		if cols, err = authoring.ParseColumns(o.schema); err != nil {
			return nil, nil, usagef(cmd, "--schema: %v", err)
		}
	}
	if o.config != "" && !json.Valid([]byte(o.config)) {
		return nil, nil, usagef(cmd, "--config: not JSON")
	}
	return cols, []byte(o.config), nil
}

func (a *app) opInspect() *cobra.Command {
	var in opInput
	asJSON := false
	cmd := &cobra.Command{
		Use:   "inspect MODULE|DIR",
		Short: "Show what is in a module, and whether a node would run it",
		Long: `Show what is in a module: its digest, what it exports and wants of its host, how
much memory it begins with. With --schema and --config it is also opened and run:
the columns that come out are shown, and what a row costs, in fuel (about
instructions), on made up rows. Without --schema, the first golden file in testdata
beside the module that does not expect a refusal gives columns, config and rows.

An aggregate of a window is judged as one: the columns are its arguments, and what
comes out is its answer.

A module that a node would refuse is exit code 1, with the reason. The module may
be anybody's: it runs in the sandbox, and no more of it than that.`,
		Example: `  weir op inspect scale
  weir op inspect scale.wasm --schema 'id: string, value: float64?' --config '{"factor": 2}'
  weir op inspect --json scale.wasm | jq -r .digest`,
		Args: exactly(1, "a module"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cols, config, err := in.parse(cmd)
			if err != nil {
				return err
			}
			file, err := moduleOf(args[0])
			if err != nil {
				return err
			}
			module, err := authoring.ReadModule(file)
			if err != nil {
				return err
			}
			var rows, groupBy []string
			from := "made up rows"
			if g := sample(file); in.schema == "" && g != nil {
				cols, rows, from, groupBy = g.Columns, g.Input, g.File, g.GroupBy
				if in.config == "" {
					config = g.Config
				}
			}
			r, err := authoring.Inspect(cmd.Context(), file, module, cols, config, groupBy...)
			if err == nil {
				r.FindFeatures(cmd.Context(), module)
			}
			if err == nil && r.Refused == "" && len(cols) > 0 {
				err = r.Measure(cmd.Context(), module, cols, config, rows, from)
			}
			if err != nil {
				return err
			}
			if asJSON {
				err = a.printJSON(r)
			} else {
				err = writeReport(a.stdout, r)
			}
			if err == nil && r.Refused != "" {
				return &silentError{exitFailed}
			}
			return err
		},
	}
	in.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// sample is the first golden file beside a module that gives it rows, or nil.
func sample(module string) *authoring.Golden {
	files, err := goldenFiles(filepath.Dir(module))
	if err != nil {
		return nil
	}
	for _, f := range files {
		if g, err := authoring.ReadGolden(f); err == nil && g.Want.Error == "" && len(g.Input) > 0 {
			return g
		}
	}
	return nil
}

func writeReport(to io.Writer, r *authoring.Report) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) { fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	line("module", "%s", r.File)
	line("digest", "%s", r.Digest)
	line("kind", "%s", r.Kind)
	names := "no names of functions"
	if r.NameBytes > 0 {
		names = bytesText(r.NameBytes) + " names of functions"
	}
	line("size", "%s: %d functions, %s code, %s data, %s", bytesText(r.Size), r.Functions, bytesText(r.CodeBytes), bytesText(r.DataBytes), names)
	if r.ABI > 0 {
		line("abi", "%d", r.ABI)
	}
	if r.Stateful {
		line("stateful", "%s", "it exports weir_snapshot and weir_restore: a node keeps its state, for each partition")
	}
	if m := r.Memory; m != nil {
		line("memory", "begins with %d KiB, %s", int64(m.Min)*64, most(m.Max, 64, " KiB"))
	}
	if len(r.Features) > 0 {
		line("uses", "%s", strings.Join(r.Features, ", "))
	}
	line("limits", "module %s, memory %s, %d fuel per row; a pipeline may say otherwise in limits", bytesText(r.Allowed.Module),
		bytesText(r.Allowed.Memory), r.Allowed.FuelPerRow)
	for _, t := range r.Tables {
		line("table", "%d entries, %s", t.Min, most(t.Max, 1, ""))
	}
	for _, i := range r.Imports {
		verdict := "offered"
		if !i.Offered {
			verdict = "NOT OFFERED: " + i.Why
		}
		what := i.Type
		if what == "" {
			what = i.Kind
		}
		line("import", "%s.%s\t%s\t%s", i.Module, i.Name, what, verdict)
	}
	for _, e := range r.Exports {
		what, role := e.Type, e.Role
		if what == "" {
			what = e.Kind
		}
		if role == "" {
			role = "not used"
		}
		line("export", "%s\t%s\t%s", e.Name, what, role)
	}
	if len(r.GroupBy) > 0 {
		line("group by", "%s", strings.Join(r.GroupBy, ", "))
	}
	if len(r.Input) > 0 {
		line("in", "%s", strings.Join(r.Input, ", "))
	}
	if len(r.Output) > 0 {
		line("out", "%s", strings.Join(r.Output, ", "))
	}
	if f := r.Fuel; f != nil && f.Problem != "" {
		line("fuel", "not measured on %s: %s", f.From, oneLine(f.Problem))
	} else if f != nil {
		line("fuel", "%.1f per row, on batches of %d: %s", f.PerRow, f.Rows, f.From)
	}
	if r.Refused != "" {
		line("REFUSED", "%s", oneLine(r.Refused))
	}
	if r.Hint != "" {
		line("hint", "%s", oneLine(r.Hint))
	}
	return w.Flush()
}

// most is the maximum of a memory or table, in units of each entry.
func most(n *uint32, unit int64, name string) string {
	if n == nil {
		return "no maximum of its own"
	}
	return fmt.Sprintf("at most %d%s", int64(*n)*unit, name)
}

// oneLine is text that came from a module, without line ends and control characters.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}
