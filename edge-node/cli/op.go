package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir/edge-node/authoring"
)

func (a *app) opCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "op",
		Short:   "Write, build, test and measure operators",
		GroupID: "pipelines",
		Long: `The tools of those who write operators: small programs, compiled to WebAssembly,
that change batches of rows inside a node. From nothing to a measured operator:

  weir op new --lang c scale      a folder with a first operator that works
  weir op build scale             scale/scale.wasm
  weir op test scale              what must come out, in every way a node may run it
  weir op inspect scale           what is in it, and what a row costs
  weir op bench scale             how fast it is, beside native Go

Then name it in a pipeline: steps: [{wasm: {module: scale.wasm, config: {factor: 2}}}]

All of them run on the author's machine: no node, no Kafka, no ClickHouse. Modules
are judged by the host that nodes run; what it accepts here, it accepts there.`,
		Args: unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.opNew(), a.opBuild(), a.opTest(), completeModules(a.opInspect()), completeModules(a.opBench()))
	return cmd
}

// completeModules makes the shell offer modules as arguments.
func completeModules(cmd *cobra.Command) *cobra.Command {
	cmd.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return []string{"wasm"}, cobra.ShellCompDirectiveFilterFileExt
	}
	return cmd
}

// folderOr is the first argument, or else the current folder.
func folderOr(args []string) string {
	if len(args) > 0 {
		return args[0]
	}
	return "."
}

// noneOrOne wants at most one argument.
func noneOrOne(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usagef(cmd, "unexpected argument %q", args[1])
	}
	return nil
}

// buildModule builds the operator of a folder, and says on stderr what the compiler does.
func (a *app) buildModule(cmd *cobra.Command, dir, out string) (authoring.Language, error) {
	lang, err := authoring.Build(cmd.Context(), dir, out, a.stderr)
	if err != nil {
		return lang, fmt.Errorf("build %s: %w", dir, err)
	}
	return lang, nil
}

// moduleOf is the module that an argument means: a file, or what the operator in a folder is built to.
func moduleOf(arg string) (string, error) {
	st, err := os.Stat(arg)
	if err != nil {
		return "", err
	}
	if !st.IsDir() {
		return arg, nil
	}
	file, err := authoring.ModuleFile(arg)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(file); err != nil {
		return "", fmt.Errorf("%s has no module %s yet: run 'weir op build %s'", arg, file, arg)
	}
	return file, nil
}
