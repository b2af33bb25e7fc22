// Package cli is the command line of weir: one file per command.
//
// main calls Main. The package promises that stdout carries the answer and stderr everything else, that a command with
// --json writes one JSON document and nothing more, that errors are lines a person can act on, and that exit codes mean
// what "weir help exit-codes" says.
package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/weir-stream/weir/edge-node/config"
)

// app is one call of the program.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	env            config.Env

	logLevel, logFormat string
}

// Main runs a command line and returns the exit code. Ending ctx asks the command to stop.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	a := &app{stdin: os.Stdin, stdout: stdout, stderr: stderr, env: config.OSEnv()}
	return a.main(ctx, args)
}

func (a *app) main(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	checkShell(root)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	return a.report(ctx, err)
}

const rootLong = `weir turns an edge box into a small analytics engine: it reads Kafka topics, runs
WebAssembly operators over them, aggregates in event-time windows, and ships
totals to ClickHouse that stay exact through crashes, retries and outages.

Begin with 'weir demo'. Then write a pipeline file ('weir help pipeline' shows
one), check it with 'weir validate', and start it with 'weir run'.`

// root builds the tree of commands.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "weir",
		Short: "Exact edge analytics from Kafka to ClickHouse",
		Long:  rootLong,
		Args:  unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.PersistentFlags().StringVar(&a.logLevel, "log-level", "", "lowest level that is logged: debug, info, warn, error (default info)")
	root.PersistentFlags().StringVar(&a.logFormat, "log-format", "", "form of logs: text, json, auto (default auto: text on a terminal)")
	completeWords(root, "log-level", "debug", "info", "warn", "error")
	completeWords(root, "log-format", "text", "json", "auto")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef(cmd, "%s", flagProblem(cmd, err))
	})
	root.AddGroup(
		&cobra.Group{ID: "pipelines", Title: "Pipelines:"},
		&cobra.Group{ID: "answers", Title: "Answers:"},
		&cobra.Group{ID: "other", Title: "Other:"},
	)
	root.AddCommand(a.commands()...)
	root.AddCommand(helpTopics()...)
	root.SetHelpCommandGroupID("other")
	root.SetCompletionCommandGroupID("other")
	return root
}

// commands lists the commands in the order help shows them.
func (a *app) commands() []*cobra.Command {
	return []*cobra.Command{
		a.demoCommand(), completeFiles(a.runCommand()), completeFiles(a.validateCommand()), completeFiles(a.explainCommand()), a.schemaCommand(),
		a.produceCommand(),
		a.queryCommand(), completeFiles(a.auditCommand()), completeFiles(a.whyCommand()), completeFiles(a.replayCommand()), completeFiles(a.resendCommand()), completeFiles(a.finishCommand()),
		a.dlqCommand(), a.spoolCommand(),
		a.opCommand(), a.benchCommand(), a.embeddedCommand(), a.versionCommand(),
	}
}

// unknownCommand refuses arguments of a command that only has subcommands.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() || c.Name() == "help" {
			names = append(names, c.Name())
		}
	}
	slices.Sort(names)
	hint := "commands: " + strings.Join(names, ", ")
	if near := config.Nearest(args[0], names); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	return usagef(cmd, "unknown command %q; %s", args[0], hint)
}

// checkShell has the command that cobra makes refuse shells that it does not know, and not show its help as if all were well. It is called
// when the streams are set: the command keeps the one that it finds.
func checkShell(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() != "completion" {
			continue
		}
		var shells []string
		for _, shell := range c.Commands() {
			shells = append(shells, shell.Name())
			shell.Args = exactly(0, "")
		}
		slices.Sort(shells)
		c.Args = func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef(cmd, "there is no script for %q; shells: %s", args[0], strings.Join(shells, ", "))
			}
			return nil
		}
		c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
}

// flagProblem says what is wrong with a flag, and which was meant.
func flagProblem(cmd *cobra.Command, err error) string {
	msg := err.Error()
	name, unknown := strings.CutPrefix(msg, "unknown flag: --")
	if !unknown {
		return msg
	}
	if strings.ContainsAny(name, " \n") {
		return "an argument begins with --, as flags do; put a -- of its own before it"
	}
	if near := config.Nearest(name, flagNames(cmd)); near != "" {
		msg += fmt.Sprintf("; did you mean --%s?", near)
	}
	return msg
}

// atLeast wants n arguments or more; what names one.
func atLeast(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < n {
			return usagef(cmd, "%s is missing", what)
		}
		return nil
	}
}

// exactly wants n arguments; what names one.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > n {
			return usagef(cmd, "unexpected argument %q", args[n])
		}
		return atLeast(n, what)(cmd, args)
	}
}

// terminal tells whether a stream is one.
func terminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
