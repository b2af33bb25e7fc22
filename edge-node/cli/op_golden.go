package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir/edge-node/authoring"
)

// goldenResult is the answer about one golden file.
type goldenResult struct {
	File    string `json:"file"`
	OK      bool   `json:"ok"`
	Updated bool   `json:"updated,omitempty"`
	Problem string `json:"problem,omitempty"`
	// FuelPerRow is what a row of the input took, about Wasm instructions; what a call costs by itself is in it.
	FuelPerRow float64 `json:"fuel_per_row,omitempty"`
	Diff       string  `json:"diff,omitempty"` // lines that begin with - were expected, with + came out
}

// opTest is in a file of another name, since Go takes *_test.go for its own.
func (a *app) opTest() *cobra.Command {
	update, build, asJSON := false, false, false
	cmd := &cobra.Command{
		Use:   "test [MODULE|DIR] [GOLDEN...]",
		Short: "Hold an operator to its golden files",
		Long: `Run golden files over an operator and show where the result differs. The operator
is a module, or the one in a folder; the golden files are testdata/*.txtar beside
it, or those that are named. One looks like this:

  Cold readings are dropped, the others become Fahrenheit.
  -- config --
  {"from": 0}
  -- schema --
  device: string
  temp: float64?
  -- input --
  {"device": "a", "temp": 20}
  {"device": "b", "temp": -3}
  -- output --
  {"device": "a", "temp": 68}

The schema is as in a pipeline, and the input is decoded as in a pipeline. Beside
output there may be

  columns      the columns that come out, as in schema
  rejects      rows that fail by themselves: {"line":2,"detail":"error: too cold"}
  error        instead of all that: why the operator refuses schema or config, or
               a part of the reason

For an aggregate of a window there may be group_by, the names of key columns; the
others are its arguments. The output is a row per group: key and answer. Every file
is then aggregated row by row, at once, and merged from two halves.

Every file runs in the compiler and in the interpreter, as one batch and one row
per batch, mapped and copied: the results must agree. A difference is exit code 1.
Beside each file stands what its rows took on average: fuel is about WebAssembly
instructions, and with few rows most of it is what the call costs by itself.
With --update the results are written into the files: read them before you commit.`,
		Example: `  weir op test
  weir op test --build scale
  weir op test scale.wasm cases/*.txtar --update`,
		RunE: func(cmd *cobra.Command, args []string) error {
			arg := folderOr(args)
			if build {
				if err := a.buildForTest(cmd, arg); err != nil {
					return err
				}
			}
			module, err := moduleOf(arg)
			if err != nil {
				return err
			}
			files := args[min(len(args), 1):]
			if len(files) == 0 {
				if files, err = goldenFiles(filepath.Dir(module)); err != nil {
					return err
				}
			}
			results, err := a.runGolden(cmd, module, files, update)
			if err != nil {
				return err
			}
			if asJSON {
				err = a.printJSON(results)
			} else {
				err = a.printGolden(results)
			}
			if err == nil && slices.ContainsFunc(results, func(r goldenResult) bool { return !r.OK }) {
				return &silentError{exitFailed}
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&update, "update", false, "write what comes out into the golden files")
	cmd.Flags().BoolVar(&build, "build", false, "build the operator first; it must be in a folder")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array with an entry per file")
	cmd.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return []string{"wasm", "txtar"}, cobra.ShellCompDirectiveFilterFileExt
	}
	return cmd
}

func (a *app) buildForTest(cmd *cobra.Command, dir string) error {
	if st, err := os.Stat(dir); err == nil && !st.IsDir() {
		return usagef(cmd, "--build needs a folder, and %s is a file", dir)
	}
	out, err := authoring.ModuleFile(dir)
	if err != nil {
		return err
	}
	_, err = a.buildModule(cmd, dir, out)
	return err
}

// goldenFiles lists the golden files that belong to the modules of a folder.
func goldenFiles(dir string) ([]string, error) {
	data := filepath.Join(dir, "testdata")
	entries, err := os.ReadDir(data)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if !e.IsDir() && filepath.Ext(e.Name()) == ".txtar" {
			files = append(files, filepath.Join(data, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no golden files: %s is empty or not there; 'weir op test --help' shows one", filepath.Join(data, "*.txtar"))
	}
	return files, nil
}

func (a *app) runGolden(cmd *cobra.Command, file string, goldens []string, update bool) (_ []goldenResult, err error) {
	module, err := authoring.ReadModule(file)
	if err != nil {
		return nil, err
	}
	suite := authoring.NewSuite(module, filepath.Base(file))
	defer func() { err = errors.Join(err, suite.Close()) }()
	results := []goldenResult{}
	for _, name := range goldens {
		r := goldenResult{File: name}
		g, err := authoring.ReadGolden(name)
		if err != nil {
			r.Problem = err.Error()
			results = append(results, r)
			continue
		}
		got, err := suite.Run(cmd.Context(), g)
		r.FuelPerRow = got.FuelPerRow
		var disagree *authoring.DisagreeError
		switch {
		case cmd.Context().Err() != nil:
			return nil, cmd.Context().Err()
		case errors.As(err, &disagree):
			r.Problem, r.Diff = err.Error(), disagree.Diff
		case err != nil:
			r.Problem = err.Error()
		case update:
			r.OK, r.Updated = true, g.Pending() || g.Diff(got) != ""
			if r.Updated {
				if err := g.Update(got); err != nil {
					return nil, err
				}
			}
		case g.Pending():
			r.Problem = "says nothing about what comes out: run with --update, then read what it wrote"
		default:
			r.Diff = g.Diff(got)
			r.OK = r.Diff == ""
		}
		results = append(results, r)
	}
	return results, nil
}

func (a *app) printGolden(results []goldenResult) error {
	failed := 0
	for _, r := range results {
		word := "ok"
		switch {
		case r.Updated:
			word = "updated"
		case !r.OK:
			word = "FAIL"
			failed++
		}
		line := fmt.Sprintf("%-8s%s", word, r.File)
		if r.Problem != "" {
			line += ": " + strings.TrimPrefix(r.Problem, r.File+": ")
		} else if r.Diff != "" {
			line += ": expected (-) is not what came out (+)"
		} else if r.FuelPerRow > 0 {
			line += fmt.Sprintf("  (%.0f fuel/row)", r.FuelPerRow)
		}
		if _, err := fmt.Fprintln(a.stdout, line); err != nil {
			return err
		}
		for d := range strings.Lines(r.Diff) {
			fmt.Fprint(a.stdout, "    ", d)
		}
	}
	if failed > 0 {
		fmt.Fprintf(a.stdout, "%d of %d golden files failed\n", failed, len(results))
	}
	return nil
}
