package cli

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir/edge-node/authoring"
)

func (a *app) opNew() *cobra.Command {
	lang, kind := "", ""
	cmd := &cobra.Command{
		Use:   "new --lang LANGUAGE [--kind KIND] NAME",
		Short: "Make the folder of a new operator",
		Long: `Make a folder with a first operator that builds and passes its tests: the source,
the library for its language, golden files and a README. NAME may be a path; its
last part is the operator's name. A folder that has anything in it is not touched.

Nothing is fetched: the library is a copy, from this program. For C that is
weir.h, and weir_aggregate.h on top of it. For the others it is the folder sdk;
go.mod says how to follow weir's releases instead.

Languages: ` + strings.Join(authoring.Languages(), ", ") + `. C makes the smallest operators, of some 4 KB,
AssemblyScript some 20 KB, Rust some 25 KB. Go brings its runtime, some 2.3 MB, and is
slower. Others work by the ABI alone: operators/abi/ABI.md.

Kinds:
` + kindLines(),
		Example: "  weir op new --lang c scale\n  weir op new --lang go operators/dedupe\n  weir op new --lang c --kind function dewpoint",
		Args:    exactly(1, "the operator's name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if lang == "" {
				return usagef(cmd, "--lang is missing: it is one of %s", strings.Join(authoring.Languages(), ", "))
			}
			if !slices.Contains(authoring.Languages(), lang) {
				return usagef(cmd, "--lang is %q: it must be one of %s", lang, strings.Join(authoring.Languages(), ", "))
			}
			if !slices.Contains(kindNames(), kind) {
				return usagef(cmd, "--kind is %q: it must be one of %s", kind, strings.Join(kindNames(), ", "))
			}
			dir := filepath.Clean(args[0])
			files, err := authoring.New(kind, authoring.Language(lang), dir, buildVersion().Version)
			if err != nil {
				return fmt.Errorf("make a new operator: %w", err)
			}
			for _, f := range files {
				fmt.Fprintln(a.stdout, filepath.Join(dir, f))
			}
			fmt.Fprintf(a.stderr, "next: weir op build %s && weir op test %s\n", dir, dir)
			return nil
		},
	}
	cmd.Flags().StringVar(&lang, "lang", "", "language: "+strings.Join(authoring.Languages(), ", "))
	cmd.Flags().StringVar(&kind, "kind", kindNames()[0], "kind of operator: "+strings.Join(kindNames(), ", "))
	completeWords(cmd, "lang", authoring.Languages()...)
	completeWords(cmd, "kind", kindNames()...)
	return cmd
}

func kindNames() []string {
	var names []string
	for _, k := range authoring.Kinds() {
		names = append(names, k.Name)
	}
	return names
}

// kindLines is a line about each kind of operator, for the help.
func kindLines() string {
	var b strings.Builder
	for _, k := range authoring.Kinds() {
		fmt.Fprintf(&b, "\n  %-12s %s", k.Name, k.About)
	}
	return b.String()
}
