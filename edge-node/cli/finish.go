package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/spf13/cobra"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/pipeline"
	"github.com/weir-stream/weir/sink"
	"github.com/weir-stream/weir/sink/clickhouse"
)

// finish is one call of the command.
type finish struct {
	node                nodeFlags
	url, where, into    string
	rollup              string
	since, until        string
	mixed               bool
	query               query // how the answer is printed
	sinceTime, untilEnd time.Time
}

func (a *app) finishCommand() *cobra.Command {
	f := &finish{}
	cmd := &cobra.Command{
		Use:     "finish FILE",
		Short:   "Finish aggregates of your own that ClickHouse cannot",
		GroupID: "answers",
		Long: `Read the view of a pipeline, merge and finish the states of its WebAssembly
aggregates in their own modules, and print complete rows or store them.

An aggregate whose 'merge' names a function of ClickHouse is finished there, and
in the view already. This is for the others: the view has their states as the
column NAME_states, which becomes NAME. The module is the one that the pipeline
names. States of all revisions are merged, where the same module made them of the
same arguments with the same config; where another did, the command says which
windows that is about and ends, since it may take them for something else. --mixed
merges them all the same: for a module that was changed and whose states were not.

--rollup reads a view of wider windows that the pipeline has.

--since and --until choose windows by their start and end, as 2026-11-21T10:00:00Z
or as a span before now such as 2h. --into inserts into a table that is there,
by the names of its columns.`,
		Example: `  weir finish --since 1h pipeline.yaml
  weir finish --csv --where "symbol = 'ACME'" pipeline.yaml > acme.csv
  weir finish --since 1d --into daily pipeline.yaml`,
		Args: exactly(1, "a pipeline file"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.finish(cmd.Context(), f, args[0]) },
	}
	f.node.add(cmd, "clickhouse")
	flags := cmd.Flags()
	flags.StringVar(&f.url, "url", "", "ClickHouse URL, instead of the pipeline's")
	flags.StringVar(&f.since, "since", "", "windows that start at this time or later")
	flags.StringVar(&f.until, "until", "", "windows that end at this time or before")
	flags.StringVar(&f.where, "where", "", "a condition in SQL on the view's columns")
	flags.StringVar(&f.rollup, "rollup", "", "one of the pipeline's roll-ups, instead of its view")
	flags.BoolVar(&f.mixed, "mixed", false, "merge states that another module, or another config of it, made, too")
	flags.StringVar(&f.into, "into", "", "table to insert the rows into, instead of printing them")
	flags.BoolVar(&f.query.json, "json", false, "print a JSON array of objects")
	flags.BoolVar(&f.query.jsonl, "jsonl", false, "print one JSON object per line")
	flags.BoolVar(&f.query.csv, "csv", false, "print CSV with a header")
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		var err error
		if f.sinceTime, err = momentOf(f.since); err != nil {
			return usagef(cmd, "--since: %v", err)
		}
		if f.untilEnd, err = momentOf(f.until); err != nil {
			return usagef(cmd, "--until: %v", err)
		}
		return errors.Join(onlyOne(cmd, "json", "jsonl", "csv", "into"), onlyOne(cmd, "url", "clickhouse"))
	}
	return cmd
}

// momentOf reads a time, or a span before now; empty is the zero time.
func momentOf(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	d, err := config.ParseDuration(s)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is neither a time such as 2026-11-21T10:00:00Z nor a span such as 2h", s)
	}
	return time.Now().Add(-d), nil
}

func (a *app) finish(ctx context.Context, f *finish, file string) error {
	n, err := f.node.load(a)
	if err != nil {
		return err
	}
	if f.url != "" {
		if err := config.CheckClickHouseURL(f.url); err != nil {
			return &usageError{msg: "--url: " + err.Error()}
		}
	}
	p, err := a.planFile(ctx, file, n, noServers, pipeline.Options{Log: a.logger(n.Log)})
	if err != nil {
		return err
	}
	return closePlans([]*pipeline.Plan{p}, a.finishPlan(ctx, f, p))
}

func (a *app) finishPlan(ctx context.Context, f *finish, p *pipeline.Plan) error {
	open := p.Unfinished()
	if len(open) == 0 {
		return fmt.Errorf("%s: there is nothing to finish: ClickHouse finishes every aggregate of %s, ask its view with 'weir query -p %s'", p.Spec.File, p.Spec.Name, p.Spec.File)
	}
	o := audit{url: f.url, timeout: time.Hour}
	cfg, err := o.target(p)
	if err != nil {
		return err
	}
	view := cfg.Table
	if f.rollup != "" {
		if view = f.rollup; !slices.ContainsFunc(p.Table.Rollups, func(r sink.Rollup) bool { return r.Name == view }) {
			return &usageError{msg: fmt.Sprintf("--rollup: %s has no roll-up %q", p.Spec.File, view)}
		}
	}
	if !f.mixed {
		if err := f.sameMakers(ctx, p, cfg, a.logger(p.Node.Log)); err != nil {
			return err
		}
	}
	target := config.NewSecret(cfg.URL)
	conn, err := openClickHouse(target)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	rows, err := conn.Query(ctx, f.statement(view))
	if err != nil {
		return queryError(err, target)
	}
	defer func() { _ = rows.Close() }()
	out := f.query.sheet(a)
	if f.into != "" {
		// One connection is asked, another one is told.
		to, err := openClickHouse(target)
		if err != nil {
			return err
		}
		defer func() { _ = to.Close() }()
		out = &insertSheet{ctx: ctx, conn: to, table: f.into}
	}
	w := finisher{plan: p, open: open, out: out}
	if err := w.run(ctx, rows); w.err != nil {
		return w.err
	} else if err != nil {
		return queryError(err, target)
	}
	if f.into != "" {
		_, err = fmt.Fprintf(a.stderr, "%s into %s\n", count(w.rows, "row"), f.into)
	}
	return err
}

// sameMakers refuses windows of which not all states are made as the pipeline's module makes them.
func (f *finish) sameMakers(ctx context.Context, p *pipeline.Plan, cfg clickhouse.Config, log *slog.Logger) error {
	s, err := clickhouse.New(cfg, p.Table, log)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	revisions, err := s.RowRevisions(ctx, f.sinceTime, f.untilEnd, p.Revision)
	if err != nil {
		return fmt.Errorf("%s: %w", p.Spec.File, err)
	}
	others := p.OtherMakers(revisions)
	if len(others) == 0 {
		return nil
	}
	text := fmt.Sprintf("%s: not all states in these windows are such as its module makes, and merging them may give wrong answers:", p.Spec.File)
	const most = 10
	for i, o := range others {
		if i == most {
			text += fmt.Sprintf("\n  and %d more", len(others)-most)
			break
		}
		text += fmt.Sprintf("\n  %s: %s in revision %s of %s, site %s, windows from %s to %s; %s in the file", o.Aggregate, o.Made, o.Text(), o.Pipeline, o.Site,
			o.First.Format(time.RFC3339Nano), o.Last.Format(time.RFC3339Nano), o.Makes)
	}
	return errors.New(text + "\nchoose other windows with --since and --until, finish those with the file of their revision, or say --mixed if the states are of one form all the same")
}

// statement asks the view for the rows that are wanted.
func (f *finish) statement(view string) string {
	var conditions []string
	if !f.sinceTime.IsZero() {
		conditions = append(conditions, fmt.Sprintf("window_start >= fromUnixTimestamp64Milli(%d, 'UTC')", f.sinceTime.UnixMilli()))
	}
	if !f.untilEnd.IsZero() {
		conditions = append(conditions, fmt.Sprintf("window_end <= fromUnixTimestamp64Milli(%d, 'UTC')", f.untilEnd.UnixMilli()))
	}
	if f.where != "" {
		conditions = append(conditions, "("+f.where+"\n)")
	}
	sql := "SELECT * FROM `" + view + "`"
	if len(conditions) > 0 {
		sql += " WHERE " + strings.Join(conditions, " AND ")
	}
	return sql + " ORDER BY ALL"
}

// What is finished at once.
const (
	finishRows  = 4096
	finishBytes = 16 << 20
)

// finisher turns rows with states into rows with answers.
type finisher struct {
	plan *pipeline.Plan
	open []pipeline.Unfinished
	out  sheet
	rows int
	err  error // of a module, or of what the rows go to: ClickHouse was asked in vain, but is not to blame

	of     []int        // by column: which of open it is, or -1
	cells  [][]any      // of the rows at hand
	states [][][]string // of the rows at hand, by open
	bytes  int
}

func (w *finisher) run(ctx context.Context, rows driver.Rows) error {
	types := rows.ColumnTypes()
	cols, values := make([]column, len(types)), make([]any, len(types))
	w.states = make([][][]string, len(w.open))
	for i, t := range types {
		name := rows.Columns()[i]
		k := slices.IndexFunc(w.open, func(u pipeline.Unfinished) bool { return u.Column == name })
		w.of = append(w.of, k)
		if cols[i] = newColumn(name, t.DatabaseTypeName()); k >= 0 {
			cols[i] = newColumn(w.open[k].Name, w.open[k].Type)
			if t.DatabaseTypeName() != "Array(String)" {
				return fmt.Errorf("column %s of the view is %s and should be Array(String): run 'weir schema apply'", name, t.DatabaseTypeName())
			}
		}
	}
	for k, u := range w.open {
		if !slices.Contains(w.of, k) {
			return fmt.Errorf("the view has no column %s: run 'weir schema apply'", u.Column)
		}
	}
	if w.err = w.out.begin(cols); w.err != nil {
		return w.err
	}
	for rows.Next() {
		for i, t := range types { // new ones: the rows are kept for a while
			values[i] = reflect.New(t.ScanType()).Interface()
		}
		if err := rows.Scan(values...); err != nil {
			return fmt.Errorf("read a row: %w", err)
		}
		cells := make([]any, len(values))
		for i := range values {
			v := reflect.ValueOf(values[i]).Elem().Interface()
			if k := w.of[i]; k >= 0 {
				list, _ := v.([]string)
				w.states[k] = append(w.states[k], list)
				for _, s := range list {
					w.bytes += len(s)
				}
				continue
			}
			cells[i] = v
		}
		w.cells = append(w.cells, cells)
		if len(w.cells) >= finishRows || w.bytes >= finishBytes {
			if err := w.flush(ctx); err != nil {
				return err
			}
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if err := w.flush(ctx); err != nil {
		return err
	}
	w.err = w.out.end()
	return w.err
}

// flush finishes the rows at hand and gives them on.
func (w *finisher) flush(ctx context.Context) error {
	for k, u := range w.open {
		answers, err := w.plan.Finish(ctx, u.Name, w.states[k])
		if err != nil {
			w.err = err
			return err
		}
		for i, v := range answers {
			w.cells[i][slices.Index(w.of, k)] = v
		}
		w.states[k] = nil
	}
	for _, c := range w.cells {
		if w.err = w.out.row(c); w.err != nil {
			return w.err
		}
	}
	w.rows += len(w.cells)
	w.cells, w.bytes = nil, 0
	return nil
}

// insertSheet inserts rows into a table, as many at once as are finished together.
type insertSheet struct {
	ctx   context.Context // of the command; a sheet has none
	conn  driver.Conn
	table string
	batch driver.Batch
	sql   string
	n     int
}

func (s *insertSheet) begin(cols []column) error {
	names := make([]string, len(cols))
	for i, c := range cols {
		names[i] = "`" + c.name + "`"
	}
	s.sql = fmt.Sprintf("INSERT INTO %s (%s)", s.table, strings.Join(names, ", "))
	return nil
}

func (s *insertSheet) row(cells []any) error {
	if s.batch == nil {
		var err error
		if s.batch, err = s.conn.PrepareBatch(s.ctx, s.sql); err != nil {
			return fmt.Errorf("insert into %s: %w", s.table, err)
		}
	}
	if err := s.batch.Append(cells...); err != nil {
		return fmt.Errorf("insert into %s: %w", s.table, err)
	}
	if s.n++; s.n%finishRows == 0 {
		return s.end()
	}
	return nil
}

func (s *insertSheet) end() error {
	if s.batch == nil {
		return nil
	}
	b := s.batch
	s.batch = nil
	if err := b.Send(); err != nil {
		return fmt.Errorf("insert into %s: %w", s.table, err)
	}
	return nil
}
