package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir/bench/workload"
	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/pipeline"
)

func (a *app) produceArrow() *cobra.Command {
	p := &producer{a: a}
	rows := 1000
	cmd := &cobra.Command{
		Use:   "arrow PIPELINE [FILE]",
		Short: "Lines of JSON as Arrow streams, for pipelines that read Arrow",
		Long: `Send the lines of a file, or of stdin, as records that are Arrow IPC streams of
--rows lines each, for a pipeline with format: arrow. Fields and types are those of
its columns; a line that does not fit them ends the command.

Records have no key and go to all partitions in turn.`,
		Example: `  weir produce arrow readings.yaml readings.jsonl --topic readings
  weir produce arrow readings.yaml --rows 5000 -t readings < readings.jsonl`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef(cmd, "say which pipeline's columns the records are to have")
			}
			return atMost(2)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if rows < 1 {
				return usagef(cmd, "--rows must be at least 1")
			}
			spec, err := config.Load(args[0])
			if err != nil {
				return err
			}
			streams, err := pipeline.NewArrowLines(spec, maxLine)
			if err != nil {
				return err
			}
			in, closeIn, err := a.openLines(args[1:])
			if err != nil {
				return err
			}
			defer closeIn()
			return p.run(cmd.Context(), 1, func(n int32) (workload.Generator, error) {
				g := newArrowLines(cmd.Context(), in, n, streams, rows)
				return &firstOf{Generator: g, limit: p.events}, nil
			})
		},
	}
	p.add(cmd, "", "records to send at most; default all", 1)
	cmd.Flags().IntVar(&rows, "rows", rows, "lines that make a record")
	return cmd
}

// openLines opens the file that is named, or else stdin.
func (a *app) openLines(args []string) (io.Reader, func(), error) {
	if len(args) > 0 && args[0] != "-" {
		file, err := os.Open(args[0])
		if err != nil {
			return nil, nil, fmt.Errorf("read the lines: %w", err)
		}
		return file, func() { _ = file.Close() }, nil
	}
	if terminal(a.stdin) {
		fmt.Fprintln(a.stderr, "reading lines from the terminal; Ctrl-D ends")
	}
	return a.stdin, func() {}, nil
}

// arrowLines makes a record of every few lines; see workload.Generator.
type arrowLines struct {
	lines   *lines
	streams *pipeline.ArrowLines
	batch   [][]byte
	read    int64 // lines
	err     error
}

func newArrowLines(ctx context.Context, in io.Reader, partitions int32, streams *pipeline.ArrowLines, rows int) *arrowLines {
	return &arrowLines{lines: newLines(ctx, in, partitions, ""), streams: streams, batch: make([][]byte, 0, rows)}
}

// Partitions implements workload.Generator.
func (g *arrowLines) Partitions() int32 { return g.lines.partitions }

// Err implements workload.Generator.
func (g *arrowLines) Err() error { return g.err }

// Next implements workload.Generator.
func (g *arrowLines) Next(r *workload.Record) bool {
	g.batch = g.batch[:0]
	for more := g.err == nil; more && len(g.batch) < cap(g.batch); {
		var text []byte
		if text, more = g.lines.take(); more {
			g.batch = append(g.batch, text)
		}
	}
	if g.err = errors.Join(g.err, g.lines.err); g.err != nil || len(g.batch) == 0 {
		return false
	}
	value, err := g.streams.Stream(g.batch)
	if err != nil {
		var bad *pipeline.LineError
		if errors.As(err, &bad) {
			err = fmt.Errorf("line %d (empty ones not counted) does not fit the columns: %w", g.read+int64(bad.Line)+1, err)
		}
		g.err = err
		return false
	}
	g.read += int64(len(g.batch))
	r.Time, r.Key, r.Value = 0, r.Key[:0], append(r.Value[:0], value...)
	g.lines.place(r)
	return true
}
