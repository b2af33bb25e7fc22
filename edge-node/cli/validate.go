package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/pipeline"
	"github.com/weir-stream/weir/sink"
)

// validated is the answer about one file.
type validated struct {
	File     string            `json:"file"`
	OK       bool              `json:"ok"`
	Pipeline string            `json:"pipeline,omitempty"`
	Revision string            `json:"revision,omitempty"`
	Stages   []stage           `json:"stages,omitempty"`
	Modules  []pipeline.Module `json:"modules,omitempty"`
	Errors   config.Errors     `json:"errors,omitempty"`
}

// stage is a stage and the columns it gives.
type stage struct {
	Name    string        `json:"name"`
	Columns []stageColumn `json:"columns"`
	// Stateful is a step that carries something from row to row. StateTable is where that is stored.
	Stateful   bool   `json:"stateful,omitempty"`
	StateTable string `json:"state_table,omitempty"`
}

type stageColumn struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Nullable bool   `json:"nullable"`
}

func (a *app) validateCommand() *cobra.Command {
	var node nodeFlags
	var schemaOf string
	asJSON := false
	cmd := &cobra.Command{
		Use:     "validate FILE...",
		Short:   "Prove that pipelines fit together, without starting anything",
		GroupID: "pipelines",
		Long: `Prove that pipelines fit together: every key and value, every expression, the
types through every step, the schemas of the Wasm operators. Nothing is started
and no server is asked. A folder stands for the *.yaml and *.yml files in it, and
- for stdin.

Errors are lines file:line:col: message, and the exit code is 3.`,
		Example: `  weir validate pipeline.yaml
  weir validate --json pipelines/
  weir validate --print-schema > weir.schema.json    # for editors`,
		Args: func(cmd *cobra.Command, args []string) error {
			if schemaOf != "" {
				return exactly(0, "")(cmd, args)
			}
			return atLeast(1, "a pipeline file")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if schemaOf != "" {
				return a.printSchema(cmd, schemaOf)
			}
			n, err := node.load(a)
			if err != nil {
				return err
			}
			return a.validate(cmd.Context(), args, n, asJSON)
		},
	}
	node.add(cmd, "site", "node")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array with an entry per file")
	cmd.Flags().StringVar(&schemaOf, "print-schema", "", "print the JSON Schema of pipeline files, or with =node that of node.yaml")
	cmd.Flags().Lookup("print-schema").NoOptDefVal = "pipeline"
	return cmd
}

func (a *app) printSchema(cmd *cobra.Command, of string) error {
	var b []byte
	var err error
	switch of {
	case "pipeline":
		b, err = config.Schema()
	case "node":
		b, err = config.NodeSchema()
	default:
		return usagef(cmd, "--print-schema: %q is neither pipeline nor node", of)
	}
	if err != nil {
		return err
	}
	_, err = a.stdout.Write(b)
	return err
}

func (a *app) validate(ctx context.Context, args []string, node config.Node, asJSON bool) error {
	files, err := pipelineFiles(args)
	if err != nil {
		return err
	}
	answers := make([]validated, 0, len(files))
	var invalid config.Errors
	for _, file := range files {
		v, err := a.validateFile(ctx, file, node)
		if err != nil {
			return err
		}
		invalid = append(invalid, v.Errors...)
		answers = append(answers, v)
		if !asJSON && v.OK {
			a.printValidated(v)
		}
	}
	if asJSON {
		if err := a.printJSON(answers); err != nil {
			return err
		}
		if len(invalid) > 0 {
			return &silentError{exitInvalid}
		}
		return nil
	}
	if len(invalid) > 0 {
		return invalid
	}
	return nil
}

// validateFile plans one file. The error is about reading it; what is wrong in it is in the answer.
func (a *app) validateFile(ctx context.Context, file string, node config.Node) (validated, error) {
	v := validated{File: file}
	p, err := a.planFile(ctx, file, node, noServers, pipeline.Options{Log: a.logger(node.Log)})
	if errors.As(err, &v.Errors) {
		return v, nil
	}
	if err != nil {
		return v, err
	}
	v.OK, v.Pipeline, v.Revision, v.Modules = true, p.Spec.Name, sink.RevisionText(p.Revision), p.AllModules()
	for _, s := range p.AllStages() {
		out := stage{Name: s.Name, Stateful: s.StateTable != "", StateTable: s.StateTable}
		for _, f := range s.Schema.Fields {
			out.Columns = append(out.Columns, stageColumn{f.Name, f.Type.String(), f.Nullable})
		}
		v.Stages = append(v.Stages, out)
	}
	return v, p.Close()
}

func (a *app) printValidated(v validated) {
	fmt.Fprintf(a.stdout, "%s: ok: pipeline %s, revision %s\n", v.File, v.Pipeline, v.Revision)
	width := 0
	for _, s := range v.Stages {
		width = max(width, len(s.Name))
	}
	for _, s := range v.Stages {
		fmt.Fprintf(a.stdout, "  %-*s ", width, printable(s.Name))
		for i, c := range s.Columns {
			if i > 0 {
				fmt.Fprint(a.stdout, ",")
			}
			null := ""
			if c.Nullable {
				null = "?"
			}
			fmt.Fprintf(a.stdout, " %s: %s%s", c.Name, c.Type, null)
		}
		if s.StateTable != "" {
			fmt.Fprintf(a.stdout, "; stateful, its state is stored in the table %s", s.StateTable)
		}
		fmt.Fprintln(a.stdout)
	}
}
