package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/pipeline"
	"github.com/weir-stream/weir/ingest/batch"
)

// explained is the answer of explain as JSON.
type explained struct {
	*pipeline.Explanation
	Analysis *pipeline.Analysis `json:"analysis,omitempty"`
}

func (a *app) explainCommand() *cobra.Command {
	var node nodeFlags
	var analyze, asJSON bool
	var input string
	cores := 0
	cmd := &cobra.Command{
		Use:     "explain FILE",
		Short:   "Show what a pipeline does, stage by stage, and what it costs",
		GroupID: "pipelines",
		Long: `Show what a pipeline does: the columns after every stage, what runs it, the memory
of its batches and how they reach sandboxes, the rules of its windows, and where
the answers go. No server is asked.

With --analyze, records are taken through decode, steps and window in this
process, and every stage says how many rows it got, gave and rejected, what a row
cost in time and in fuel (WebAssembly instructions, about), and how many bytes
were copied. Nothing is stored. The records are the lines of --input, each the
value of a record. Times are of this machine, and dear for a few rows; fuel is
the same everywhere.`,
		Example: `  weir explain pipeline.yaml
  weir explain --analyze --input readings.jsonl pipeline.yaml
  kcat -C -b localhost -t sensors -c 10000 -e | weir explain --analyze --input - pipeline.yaml`,
		Args: exactly(1, "a pipeline file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if analyze != (input != "") {
				return usagef(cmd, "--analyze and --input go together: --analyze --input readings.jsonl, or - for stdin")
			}
			if input == "-" && args[0] == "-" {
				return usagef(cmd, "the pipeline and the input cannot both be stdin")
			}
			n, err := node.load(a)
			if err != nil {
				return err
			}
			p, err := a.planFile(cmd.Context(), args[0], n, noServers, pipeline.Options{Log: a.logger(n.Log)})
			if err != nil {
				return err
			}
			return closePlans([]*pipeline.Plan{p}, a.explain(cmd.Context(), p, cores, input, asJSON))
		},
	}
	node.add(cmd, "site", "node", "kafka", "clickhouse")
	cmd.Flags().BoolVar(&analyze, "analyze", false, "run records through the stages, and say what each did")
	cmd.Flags().StringVar(&input, "input", "", "file with a record's value per line; - is stdin")
	cmd.Flags().IntVar(&cores, "cores", 0, "cores the pipeline would use; 0 is all of this machine")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) explain(ctx context.Context, p *pipeline.Plan, cores int, input string, asJSON bool) error {
	e, err := p.Explain(cores)
	if err != nil {
		return err
	}
	out := explained{Explanation: e}
	if input != "" {
		in := a.stdin
		if input != "-" {
			f, err := os.Open(input)
			if err != nil {
				return err
			}
			defer func() { _ = f.Close() }()
			in = f
		}
		if out.Analysis, err = p.Analyze(ctx, recordLines(in)); err != nil {
			return err
		}
	}
	if asJSON {
		return a.printJSON(out)
	}
	if out.Analysis != nil {
		return writeAnalysis(a.stdout, out.Analysis)
	}
	return writeExplanation(a.stdout, e)
}

// Bounds of what is read of the input at a time.
const (
	inputRecords = 16 << 10
	inputBytes   = 16 << 20
	inputLine    = 64 << 20 // the longest line
)

// recordLines makes a record of every line that is not empty.
func recordLines(in io.Reader) func() ([]batch.Record, error) {
	s := bufio.NewScanner(in)
	s.Buffer(make([]byte, 0, 64<<10), inputLine)
	var records []batch.Record
	n := 0
	return func() ([]batch.Record, error) {
		clear(records)
		records = records[:0]
		now := time.Now().UnixMilli()
		for size := 0; len(records) < inputRecords && size < inputBytes && s.Scan(); {
			n++
			if len(s.Bytes()) == 0 {
				continue
			}
			records = append(records, batch.Record{Time: now, Value: slices.Clone(s.Bytes())})
			size += len(s.Bytes())
		}
		if err := s.Err(); err != nil {
			if errors.Is(err, bufio.ErrTooLong) {
				err = fmt.Errorf("it is longer than %s", config.FormatSize(inputLine))
			}
			return nil, fmt.Errorf("read line %d of the input: %w", n+1, err)
		}
		return records, nil
	}
}

func writeExplanation(to io.Writer, e *pipeline.Explanation) error {
	w := bufio.NewWriter(to)
	line := func(name, format string, args ...any) {
		if name != "" {
			name = printable(name)
		}
		fmt.Fprintf(w, "%-11s %s\n", name, printable(fmt.Sprintf(format, args...)))
	}
	line("pipeline", "%s, revision %s", e.Pipeline, e.Revision)
	if len(e.Tags) > 0 {
		var tags []string
		for k, v := range e.Tags {
			tags = append(tags, k+"="+v)
		}
		slices.Sort(tags)
		line("tags", "%s", strings.Join(tags, ", "))
	}
	brokers := "not known yet"
	if len(e.Source.Brokers) > 0 {
		brokers = strings.Join(e.Source.Brokers, ", ")
	}
	line("source", "topics %s, group %s, from the %s record; brokers %s", strings.Join(e.Source.Topics, ", "), e.Source.Group, e.Source.Start, brokers)

	var before []pipeline.ExplainedColumn
	for _, s := range e.Stages {
		fmt.Fprintf(w, "\n%s\n", printable(s.Name))
		for _, d := range s.Does {
			line("", "%s", d)
		}
		if m := s.Module; m != nil {
			line("", "sha256 %s, config %s", m.Digest, m.Config)
			line("", "at most %s of memory, %d fuel a row, %s a call; rows it fails on: %s", config.FormatSize(m.Memory), m.FuelPerRow, m.Deadline, m.OnError)
		}
		if s.Stateful {
			line("", "stateful")
		}
		if s.State != "" {
			line("", "keeps %s", s.State)
		}
		writeColumns(line, before, s.Columns)
		before = s.Columns
	}

	x := e.Execution
	fmt.Fprintln(w)
	chains, inAll := fmt.Sprintf("%d chains", x.Chains), ", "+mib(x.PoolBytes*int64(x.Chains))+" in all"
	if x.ChainPerPartition {
		chains, inAll = "each with a chain", ""
	}
	line("runs", "a lane per partition, in offset order; %s of decoder and steps, batches of at most %d rows", chains, x.BatchRows)
	line("transport", "%s: %s", x.Transport, x.Why)
	line("pool", "%s a chain%s", mib(x.PoolBytes), inAll)
	for _, r := range x.Pool {
		line("", "%s: %d slots of %s", r.Stage, r.Slots, mib(int64(r.SlotBytes)))
	}
	line("limits", "%s of window state, %s of records that wait", config.FormatSize(x.StateLimit), config.FormatSize(x.QueueLimit))
	s := e.Sink
	server := "a server that is not known yet"
	if s.Server != "" {
		server = s.Server
	}
	line("sink", "%s; read the view %s", server, s.View)
	for _, r := range s.Rollups {
		by := "no key"
		if len(r.By) > 0 {
			by = strings.Join(r.By, ", ")
		}
		line("", "and %s: %s by %s, of the same rows", r.View, r.Windows, by)
	}
	line("", "tables %s; schema: %s", strings.Join(s.Tables, ", "), s.Schema)
	times := "every " + s.FlushEvery
	if s.TTL != "0" {
		times += ", kept for " + s.TTL
	}
	if s.UsageEvery != "0" {
		times += "; usage every " + s.UsageEvery
	}
	line("", "%s", times)
	if s.WhenFull != string(config.WhenFullBlock) {
		until := ""
		if s.Coarsest != "" {
			until = ", to windows of " + s.Coarsest + " at most"
		}
		line("", "when the local store is full and ClickHouse away: %s%s", s.WhenFull, until)
	}
	return w.Flush()
}

// writeColumns shows the columns of a stage: all of the first, then what each changes.
func writeColumns(line func(string, string, ...any), before, after []pipeline.ExplainedColumn) {
	text := func(c pipeline.ExplainedColumn) string {
		if c.Nullable {
			return c.Name + ": " + c.Type + "?"
		}
		return c.Name + ": " + c.Type
	}
	has := func(cols []pipeline.ExplainedColumn, name string) bool {
		return slices.ContainsFunc(cols, func(c pipeline.ExplainedColumn) bool { return c.Name == name })
	}
	var all, added, changed, gone []string
	for _, c := range after {
		all = append(all, text(c))
		switch {
		case !has(before, c.Name):
			added = append(added, text(c))
		case !slices.Contains(before, c):
			changed = append(changed, text(c))
		}
	}
	for _, c := range before {
		if !has(after, c.Name) {
			gone = append(gone, c.Name)
		}
	}
	differ := len(added) + len(changed) + len(gone)
	switch {
	case before == nil || differ > len(after)/2+1:
		line("", "columns %s", strings.Join(all, ", "))
		return
	case differ == 0:
		line("", "columns as before")
	}
	for _, what := range []struct {
		how   string
		names []string
	}{{"new", added}, {"changed", changed}, {"gone", gone}} {
		if len(what.names) > 0 {
			line("", "columns %s: %s", what.how, strings.Join(what.names, ", "))
		}
	}
}

// mib is a number of bytes for people.
func mib(n int64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%.0f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

func writeAnalysis(to io.Writer, a *pipeline.Analysis) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "stage\trows in\trows out\trejected\tns/row\tfuel/row\tbytes in\tbytes out\tbytes copied\t")
	for _, s := range a.Stages {
		rejected := int64(0)
		for _, n := range s.Rejected {
			rejected += n
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%.0f\t%.0f\t%s\t%s\t%s\t\n", printable(s.Name), thousands(s.RowsIn), thousands(s.RowsOut), thousands(rejected),
			s.NanosByRow, s.FuelByRow, thousands(s.BytesIn), thousands(s.BytesOut), thousands(s.Copied))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(to, "\n%s records: %s rows in windows, %s late, %s answers to ship\n", thousands(a.Records), thousands(a.Aggregated), thousands(a.Late), thousands(a.Answers))
	for _, s := range a.Stages {
		var reasons []string
		for r, n := range s.Rejected {
			reasons = append(reasons, fmt.Sprintf("%s %s", thousands(n), r))
		}
		slices.Sort(reasons)
		if len(reasons) > 0 {
			fmt.Fprintf(to, "rejected by %s: %s\n", printable(s.Name), strings.Join(reasons, ", "))
		}
		if s.Traps > 0 {
			fmt.Fprintf(to, "%s trapped %d times, was tried again %d times, and was started %d times\n", printable(s.Name), s.Traps, s.Retries, s.Instances)
		}
	}
	_, err := fmt.Fprintf(to, "bytes_copied %s\n", thousands(a.Copied))
	return err
}
