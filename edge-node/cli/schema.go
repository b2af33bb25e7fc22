package cli

import (
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir/edge-node/pipeline"
	"github.com/weir-stream/weir/sink/clickhouse"
)

func (a *app) schemaCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "schema",
		Short:   "The ClickHouse tables of a pipeline",
		GroupID: "pipelines",
		Long: `The ClickHouse tables and views of a pipeline. They follow from its file: nothing
is declared twice. A run checks them and does not touch them, unless the pipeline
says 'schema: apply'.`,
		Args: unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(completeFiles(a.schemaPrint()), completeFiles(a.schemaApply()))
	return cmd
}

func (a *app) schemaPrint() *cobra.Command {
	var node nodeFlags
	asJSON := false
	cmd := &cobra.Command{
		Use:     "print FILE",
		Short:   "Print the statements that make the tables",
		Long:    "Print the statements that make the tables, ready for clickhouse-client. No server\nis asked.",
		Example: "  weir schema print pipeline.yaml\n  weir schema print pipeline.yaml | clickhouse-client --multiquery",
		Args:    exactly(1, "a pipeline file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := node.load(a)
			if err != nil {
				return err
			}
			p, err := a.planFile(cmd.Context(), args[0], n, noServers, pipeline.Options{Log: a.logger(n.Log)})
			if err != nil {
				return err
			}
			ddl, err := p.DDL()
			if err = closePlans([]*pipeline.Plan{p}, err); err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(ddl)
			}
			for _, s := range ddl {
				fmt.Fprintf(a.stdout, "%s;\n\n", s)
			}
			return nil
		},
	}
	node.add(cmd, "site", "clickhouse")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array of statements")
	return cmd
}

func (a *app) schemaApply() *cobra.Command {
	var node nodeFlags
	cmd := &cobra.Command{
		Use:   "apply FILE...",
		Short: "Create the tables that are missing",
		Long: `Create the tables, columns and views that are missing. A column that is there is
never changed; what cannot be mended without losing data is an error.`,
		Example: "  weir schema apply pipeline.yaml",
		Args:    atLeast(1, "a pipeline file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := node.load(a)
			if err != nil {
				return err
			}
			files, err := pipelineFiles(args)
			if err != nil {
				return err
			}
			log := a.logger(n.Log)
			plans, err := a.planFiles(cmd.Context(), files, n, withServers, pipeline.Options{Log: log})
			for i := 0; err == nil && i < len(plans); i++ {
				err = a.applySchema(cmd, plans[i], log)
			}
			return closePlans(plans, err)
		},
	}
	node.add(cmd, "site", "kafka", "clickhouse")
	return cmd
}

func (a *app) applySchema(cmd *cobra.Command, p *pipeline.Plan, log *slog.Logger) error {
	s, err := clickhouse.New(p.ClickHouse(), p.Table, log)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	if err := s.Apply(cmd.Context(), nil); err != nil {
		return fmt.Errorf("%s: %w", p.Spec.File, err)
	}
	fmt.Fprintf(a.stdout, "%s: the tables of %s are there\n", p.Spec.File, p.Spec.Name)
	return nil
}
