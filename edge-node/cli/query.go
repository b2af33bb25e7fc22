package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/spf13/cobra"

	"github.com/weir-stream/weir/edge-node/config"
)

// maxSQL is the most that is read as a statement.
const maxSQL = 1 << 20

// query is one call of the command.
type query struct {
	node             nodeFlags
	url, pipeline    string
	json, jsonl, csv bool
}

func (a *app) queryCommand() *cobra.Command {
	q := &query{}
	cmd := &cobra.Command{
		Use:     "query 'SQL'",
		Short:   "Ask ClickHouse and print the answer",
		GroupID: "answers",
		Long: `Ask ClickHouse and print the answer as an aligned table, JSON or CSV.

The server is the first of: --url, the sink of --pipeline, WEIR_CLICKHOUSE,
clickhouse.url of node.yaml, clickhouse://localhost:9000/default. A '-' reads the
statement from stdin.

In JSON, times are RFC 3339 and 64-bit integers are plain numbers.`,
		Example: `  weir query 'SELECT site, device, temp_avg FROM line_temperature ORDER BY window_start DESC LIMIT 10'
  weir query --pipeline pipeline.yaml 'SELECT count() FROM line_temperature'
  weir query --json 'SELECT 1 AS one' | jq '.[0].one'
  weir query --csv - < report.sql > report.csv
  weir query --url clickhouse://weir:secret@central:9000/weir 'SHOW TABLES'`,
		Args: exactly(1, "the SQL"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.query(cmd.Context(), q, args[0]) },
	}
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	q.node.add(cmd)
	cmd.Flags().StringVar(&q.url, "url", "", "ClickHouse URL")
	cmd.Flags().StringVarP(&q.pipeline, "pipeline", "p", "", "pipeline file whose sink is asked")
	completeFlagFiles(cmd, "pipeline", "yaml", "yml")
	cmd.Flags().BoolVar(&q.json, "json", false, "print a JSON array of objects")
	cmd.Flags().BoolVar(&q.jsonl, "jsonl", false, "print one JSON object per line")
	cmd.Flags().BoolVar(&q.csv, "csv", false, "print CSV with a header")
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		return errors.Join(onlyOne(cmd, "json", "jsonl", "csv"), onlyOne(cmd, "url", "pipeline"))
	}
	return cmd
}

func (a *app) query(ctx context.Context, q *query, sql string) error {
	if sql == "-" {
		b, err := io.ReadAll(io.LimitReader(a.stdin, maxSQL+1))
		if err != nil {
			return fmt.Errorf("read the SQL from stdin: %w", err)
		}
		if len(b) > maxSQL {
			return &usageError{msg: fmt.Sprintf("the SQL is larger than %d bytes", maxSQL)}
		}
		sql = string(b)
	}
	sql = strings.TrimRight(strings.TrimSpace(sql), "; \t\n")
	if sql == "" {
		return &usageError{"the SQL is empty", "weir query --help"}
	}
	target, err := q.target(a)
	if err != nil {
		return err
	}
	conn, err := openClickHouse(target)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if answersNothing(sql) {
		if err := conn.Exec(ctx, sql); err != nil {
			return queryError(err, target)
		}
		return nil
	}
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return queryError(err, target)
	}
	defer func() { _ = rows.Close() }()
	if err := a.writeRows(rows, q.sheet(a)); err != nil {
		return queryError(err, target)
	}
	return nil
}

// silentWords begin statements that have no answer: the native protocol ends those without a block, which the client
// takes for a lost connection when it waits for one.
var silentWords = []string{
	"ALTER", "ATTACH", "CREATE", "DELETE", "DETACH", "DROP", "EXCHANGE", "GRANT", "INSERT", "OPTIMIZE", "RENAME",
	"REVOKE", "SET", "SYSTEM", "TRUNCATE", "UNDROP", "UPDATE", "USE",
}

// answersNothing tells whether a statement is one of those, by its first word.
func answersNothing(sql string) bool {
	for {
		sql = strings.TrimSpace(sql)
		var ok bool
		switch {
		case strings.HasPrefix(sql, "--"), strings.HasPrefix(sql, "#"):
			_, sql, ok = strings.Cut(sql, "\n")
		case strings.HasPrefix(sql, "/*"):
			_, sql, ok = strings.Cut(sql, "*/")
		default:
			word, _, _ := strings.Cut(sql, " ")
			word, _, _ = strings.Cut(word, "\n")
			return slices.Contains(silentWords, strings.ToUpper(strings.TrimSpace(word)))
		}
		if !ok {
			return false
		}
	}
}

// localClickHouse is asked where nothing names a server: the address the example pipelines have, too.
const localClickHouse = "clickhouse://localhost:9000/default"

// target finds out which server is meant.
func (q *query) target(a *app) (config.Secret, error) {
	switch {
	case q.url != "":
		if err := config.CheckClickHouseURL(q.url); err != nil {
			return config.Secret{}, &usageError{msg: "--url: " + err.Error()}
		}
		return config.NewSecret(q.url), nil
	case q.pipeline != "":
		p, err := config.Load(q.pipeline)
		if err != nil {
			return config.Secret{}, err
		}
		if !p.Sink.ClickHouse.URL.IsZero() {
			return p.Sink.ClickHouse.URL, nil
		}
	}
	n, err := q.node.load(a)
	if err != nil {
		return config.Secret{}, err
	}
	if n.ClickHouse.URL.IsZero() {
		return config.NewSecret(localClickHouse), nil
	}
	return n.ClickHouse.URL, nil
}

// openClickHouse prepares a connection; it is made with the first statement.
func openClickHouse(target config.Secret) (driver.Conn, error) {
	opt, err := clickhouse.ParseDSN(target.Reveal())
	if err != nil {
		return nil, fmt.Errorf("the ClickHouse URL %s is not one the client understands", target.URL())
	}
	opt.DialTimeout = 5 * time.Second
	opt.MaxOpenConns, opt.MaxIdleConns = 1, 1
	opt.ClientInfo.Products = append(opt.ClientInfo.Products, struct{ Name, Version string }{"weir", buildVersion().Version})
	conn, err := clickhouse.Open(opt)
	if err != nil {
		return nil, fmt.Errorf("open ClickHouse %s: %w", target.URL(), err)
	}
	return conn, nil
}

// queryError says who refused and why: the server's own errors with their code, or that there is no server.
func queryError(err error, target config.Secret) error {
	var server *clickhouse.Exception
	if errors.As(err, &server) {
		// The message names the error's symbol by itself.
		msg := strings.TrimSpace(strings.TrimPrefix(server.Message, "DB::Exception: "))
		said := fmt.Errorf("ClickHouse error %d: %s%w", server.Code, msg, hidden{err})
		hint, _ := advice(err, target)
		if refusesLogin(server.Code) {
			return &unreachableError{said, hint}
		}
		if server.Code == accessDenied {
			return fmt.Errorf("%w\nhint: %s", said, hint)
		}
		return said // of other codes the hints are for weir's own statements
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, errOutput) {
		return err
	}
	if u := (*url.Error)(nil); errors.As(err, &u) { // it quotes the URL
		err = u.Err
	}
	if hint, must := advice(err, target); must {
		return fmt.Errorf("ask ClickHouse at %s: %w\nhint: %s", target.URL(), err, hint)
	} else if hint != "" {
		return &unreachableError{fmt.Errorf("ask ClickHouse at %s: %w", target.URL(), err), hint}
	}
	return &unreachableError{fmt.Errorf("ask ClickHouse at %s: %w", target.URL(), err), "is it running, and is this its native port (usually 9000) or its HTTP port (8123) with http://?"}
}

// hidden keeps an error in the chain without repeating its text.
type hidden struct{ err error }

func (hidden) Error() string   { return "" }
func (h hidden) Unwrap() error { return h.err }

// errOutput marks errors of our own stdout.
var errOutput = errors.New("write the answer")

// writeRows streams the answer into a sheet.
func (a *app) writeRows(rows driver.Rows, s sheet) error {
	types := rows.ColumnTypes()
	cols := make([]column, len(types))
	values := make([]any, len(types))
	for i, t := range types {
		cols[i] = newColumn(rows.Columns()[i], t.DatabaseTypeName())
		values[i] = reflect.New(t.ScanType()).Interface()
	}
	wrap := func(err error) error {
		if err != nil {
			return fmt.Errorf("%w: %w", errOutput, err)
		}
		return nil
	}
	if err := wrap(s.begin(cols)); err != nil {
		return err
	}
	cells := make([]any, len(cols))
	for rows.Next() {
		for i := range values { // a NULL leaves the last row's value in place
			reflect.ValueOf(values[i]).Elem().SetZero()
		}
		if err := rows.Scan(values...); err != nil {
			return fmt.Errorf("read a row: %w", err)
		}
		for i := range values {
			cells[i] = reflect.ValueOf(values[i]).Elem().Interface()
		}
		if err := wrap(s.row(cells)); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return wrap(s.end())
}

func (q *query) sheet(a *app) sheet {
	switch {
	case q.json:
		return newJSONSheet(a.stdout, true)
	case q.jsonl:
		return newJSONSheet(a.stdout, false)
	case q.csv:
		return newCSVSheet(a.stdout)
	default:
		return newTableSheet(a.stdout)
	}
}
