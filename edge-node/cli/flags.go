package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weir-stream/weir/edge-node/config"
)

// nodeFlags are the flags of commands that need to know the node: node.yaml and what goes over it.
type nodeFlags struct {
	file                                  string
	site, node, listen, kafka, clickhouse string
	wasmCache, stateDir                   string
}

func (f *nodeFlags) add(cmd *cobra.Command, names ...string) {
	fs := cmd.Flags()
	fs.StringVarP(&f.file, "config", "c", "", "node.yaml of this box (or WEIR_CONFIG)")
	completeFlagFiles(cmd, "config", "yaml", "yml")
	for _, name := range names {
		switch name {
		case "site":
			fs.StringVar(&f.site, "site", "", "name of the site, part of the identity of every row (or WEIR_SITE)")
		case "node":
			fs.StringVar(&f.node, "node", "", "name of the node (or WEIR_NODE)")
		case "listen":
			fs.StringVar(&f.listen, "listen", "", "address of metrics and health, default 127.0.0.1:9464 (or WEIR_LISTEN)")
		case "kafka":
			fs.StringVar(&f.kafka, "kafka", "", "brokers of pipelines that name none, host:port,... (or WEIR_KAFKA)")
		case "clickhouse":
			fs.StringVar(&f.clickhouse, "clickhouse", "", "ClickHouse URL of pipelines that name none (or WEIR_CLICKHOUSE)")
		case "wasm-cache":
			fs.StringVar(&f.wasmCache, "wasm-cache", "", "folder that keeps compiled operators from one start to the next (or WEIR_WASM_CACHE)")
			completeFolders(cmd, name)
		case "state-dir":
			fs.StringVar(&f.stateDir, "state-dir", "", "folder that keeps open windows and what waits for ClickHouse (or WEIR_STATE_DIR)")
			completeFolders(cmd, name)
		default:
			panic("cli: no node flag " + name)
		}
	}
}

// load reads node.yaml, the WEIR_ variables over it, and the flags over both.
func (f *nodeFlags) load(a *app) (config.Node, error) {
	file := f.file
	if file == "" && a.env.Lookup != nil {
		file, _ = a.env.Lookup("WEIR_CONFIG")
	}
	n, err := config.LoadNode(file)
	if err != nil {
		if config.IsInvalid(err) {
			return n, err
		}
		return n, fmt.Errorf("read the node's configuration (--config or WEIR_CONFIG): %w", err)
	}
	for _, v := range []struct {
		flag, value string
		set         func(string) error
	}{
		{"--site", f.site, n.SetSite},
		{"--node", f.node, n.SetNode},
		{"--listen", f.listen, n.SetListen},
		{"--kafka", f.kafka, n.SetKafka},
		{"--clickhouse", f.clickhouse, n.SetClickHouse},
		{"--wasm-cache", f.wasmCache, n.SetWasmCache},
		{"--state-dir", f.stateDir, n.SetStateDir},
		{"--log-level", a.logLevel, n.SetLogLevel},
		{"--log-format", a.logFormat, n.SetLogFormat},
	} {
		if v.value == "" {
			continue
		}
		if err := v.set(v.value); err != nil {
			return n, &usageError{msg: v.flag + ": " + err.Error()}
		}
	}
	return n, nil
}

// completeFiles makes the shell offer pipeline files as arguments.
func completeFiles(cmd *cobra.Command) *cobra.Command {
	cmd.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
	}
	return cmd
}

// completeWords makes the shell offer words as values of a flag.
func completeWords(cmd *cobra.Command, flag string, words ...string) {
	if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic("cli: " + err.Error()) // there is no such flag
	}
}

// completeFlagFiles makes the shell offer files of some kinds as the value of a flag.
func completeFlagFiles(cmd *cobra.Command, flag string, extensions ...string) {
	if err := cmd.MarkFlagFilename(flag, extensions...); err != nil {
		panic("cli: " + err.Error()) // there is no such flag
	}
}

// completeFolders makes the shell offer folders as the value of a flag.
func completeFolders(cmd *cobra.Command, flag string) {
	if err := cmd.MarkFlagDirname(flag); err != nil {
		panic("cli: " + err.Error()) // there is no such flag
	}
}

// onlyOne refuses flags that exclude each other.
func onlyOne(cmd *cobra.Command, names ...string) error {
	var given []string
	for _, n := range names {
		if cmd.Flags().Changed(n) {
			given = append(given, "--"+n)
		}
	}
	if len(given) > 1 {
		return usagef(cmd, "%s exclude each other", strings.Join(given, " and "))
	}
	return nil
}

func flagNames(cmd *cobra.Command) []string {
	var names []string
	add := func(f *pflag.Flag) { names = append(names, f.Name) }
	cmd.Flags().VisitAll(add)
	cmd.InheritedFlags().VisitAll(add)
	return append(names, "help")
}
