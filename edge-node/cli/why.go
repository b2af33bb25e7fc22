package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/pipeline"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
	"github.com/weir-stream/weir/sink/clickhouse"
)

// why is one call of the command.
type why struct {
	node        nodeFlags
	url, window string
	keys, nulls []string
	row         string
	timeout     time.Duration
	json        bool
}

func (a *app) whyCommand() *cobra.Command {
	o := &why{}
	cmd := &cobra.Command{
		Use:     "why FILE",
		Short:   "What a finished row was made from",
		GroupID: "answers",
		Long: `Ask ClickHouse what a finished row was made from: sites, nodes, revisions of the
pipeline with the digests of their operators, topics, partitions, segments and
offsets, how many rows each gave, what became of the other records there, and
whether anything may still change.

The row is named by a moment in its window and by its keys; keys that are not needed
to tell it from others may be left out. Or give it as 'weir query --jsonl' prints it,
with --row; '-' reads it from stdin.

The offsets of a source are those between which all of its records lie: from the
beginning of the segment to the version of the row. Which of the records there have
the key and the time is not stored; the line with 'weir replay' reads them again and
compares.

No such row, or several that fit, is exit code 1.`,
		Example: `  weir why --window 2026-11-21T10:00:00Z --key device=dev-7 pipeline.yaml
  weir why --window '2026-11-21 10:00:03' --key site=north --null device pipeline.yaml
  weir query --jsonl 'SELECT * FROM line_temperature LIMIT 1' | weir why --row - pipeline.yaml
  weir why --json --window 2026-11-21T10:00:00Z pipeline.yaml | jq '.sources[].node'`,
		Args: exactly(1, "a pipeline file"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.why(cmd.Context(), o, args[0]) },
	}
	o.node.add(cmd, "site", "clickhouse")
	f := cmd.Flags()
	f.StringVar(&o.url, "url", "", "ClickHouse URL, instead of the pipeline's")
	f.StringVarP(&o.window, "window", "w", "", "a moment in the window, such as 2026-11-21T10:00:00Z; without a zone it is UTC")
	f.StringArrayVarP(&o.keys, "key", "k", nil, "column=value of a key; once for each")
	f.StringArrayVar(&o.nulls, "null", nil, "column of a key that is null; once for each")
	f.StringVar(&o.row, "row", "", "the row as JSON, instead of --window and --key; - is stdin")
	f.DurationVar(&o.timeout, "timeout", time.Minute, "most time one statement may take")
	f.BoolVar(&o.json, "json", false, "print JSON")
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		if o.timeout <= 0 {
			return usagef(cmd, "--timeout must be more than 0")
		}
		if o.window == "" && o.row == "" {
			return usagef(cmd, "--window is missing: say which row is meant, or give it with --row")
		}
		return errors.Join(onlyOne(cmd, "row", "window"), onlyOne(cmd, "row", "key"), onlyOne(cmd, "row", "null"), onlyOne(cmd, "url", "clickhouse"))
	}
	return cmd
}

func (a *app) why(ctx context.Context, o *why, file string) error {
	n, err := o.node.load(a)
	if err != nil {
		return err
	}
	if o.url != "" {
		if err := config.CheckClickHouseURL(o.url); err != nil {
			return &usageError{msg: "--url: " + err.Error()}
		}
	}
	log := a.logger(n.Log)
	p, err := a.planFile(ctx, file, n, noServers, pipeline.Options{Log: log})
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }()
	at, err := o.address(a, p.Table.Keys)
	if err != nil {
		return err
	}
	cfg, err := (&audit{url: o.url, timeout: o.timeout}).target(p)
	if err != nil {
		return err
	}
	s, err := clickhouse.New(cfg, p.Table, log)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	l, err := s.Lineage(ctx, at)
	if err != nil {
		return whyError(err, p, at)
	}
	answer := traced{Lineage: l, Replay: make([]string, len(l.Sources))}
	for i := range l.Sources {
		answer.Replay[i] = replayLine(&l.Sources[i], p)
	}
	if o.json {
		return a.printJSON(answer)
	}
	return a.printLineage(&answer)
}

// traced is the answer.
type traced struct {
	*clickhouse.Lineage
	// Replay is, for each source, the command that reads its records again and compares.
	Replay []string `json:"replay"`
}

// whyError says what to do about an address that is not that of one row.
func whyError(err error, p *pipeline.Plan, at clickhouse.RowAddress) error {
	var many *clickhouse.ManyRows
	switch {
	case errors.As(err, &many):
		var b strings.Builder
		fmt.Fprintf(&b, "several rows of %s fit; name one:", p.Table.Pipeline)
		for _, row := range many.Keys {
			b.WriteString("\n  --window " + shownJSON(row[0].JSON))
			for _, v := range row[1:] {
				if text := shownJSON(v.JSON); string(v.JSON) == "null" {
					b.WriteString(" --null " + v.Name)
				} else {
					b.WriteString(" --key " + shellWord(v.Name+"="+text))
				}
			}
		}
		if many.More {
			b.WriteString("\n  and more")
		}
		return errors.New(b.String())
	case errors.Is(err, clickhouse.ErrNoRow):
		return fmt.Errorf("there is no row of %s whose window holds %s and whose keys are these; 'weir query' shows those there are",
			p.Spec.Sink.ClickHouse.Table, at.At.UTC().Format(time.RFC3339Nano))
	}
	return fmt.Errorf("%s: %w", p.Spec.File, err)
}

// maxRow is the most that is read as a row.
const maxRow = 1 << 20

// address is the row that is meant.
func (o *why) address(a *app, keys []batch.Field) (clickhouse.RowAddress, error) {
	at := clickhouse.RowAddress{Keys: map[string]*string{}}
	set := func(flag, name string, value *string) error {
		names := make([]string, len(keys))
		for i, k := range keys {
			names[i] = k.Name
		}
		switch i := slices.Index(names, name); {
		case len(names) == 0:
			return &usageError{msg: fmt.Sprintf("%s: the pipeline groups by nothing", flag)}
		case i < 0:
			return &usageError{msg: fmt.Sprintf("%s: no key %q; keys: %s", flag, name, strings.Join(names, ", "))}
		case value == nil && !keys[i].Nullable:
			return &usageError{msg: fmt.Sprintf("%s: the key %q is never null", flag, name)}
		}
		if _, twice := at.Keys[name]; twice {
			return &usageError{msg: fmt.Sprintf("%s: the key %q is given twice", flag, name)}
		}
		at.Keys[name] = value
		return nil
	}
	if o.row != "" {
		return at, o.readRow(a, &at, keys, set)
	}
	var err error
	if at.At, err = windowTime(o.window); err != nil {
		return at, &usageError{msg: "--window: " + err.Error()}
	}
	for _, k := range o.keys {
		name, value, ok := strings.Cut(k, "=")
		if !ok {
			return at, &usageError{msg: fmt.Sprintf("--key: %q is not column=value", k)}
		}
		if err := set("--key", name, &value); err != nil {
			return at, err
		}
	}
	for _, name := range o.nulls {
		if err := set("--null", name, nil); err != nil {
			return at, err
		}
	}
	return at, nil
}

// readRow takes the address out of a row as JSON: window_start and the keys it has.
func (o *why) readRow(a *app, at *clickhouse.RowAddress, keys []batch.Field, set func(flag, name string, value *string) error) error {
	text := []byte(o.row)
	if o.row == "-" {
		var err error
		if text, err = io.ReadAll(io.LimitReader(a.stdin, maxRow+1)); err != nil {
			return fmt.Errorf("read the row from stdin: %w", err)
		}
	}
	if len(text) > maxRow {
		return &usageError{msg: fmt.Sprintf("the row is larger than %d bytes", maxRow)}
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var row map[string]any
	if err := dec.Decode(&row); err != nil {
		return &usageError{msg: fmt.Sprintf("--row is not an object of JSON: %v", err)}
	}
	if dec.More() {
		return &usageError{msg: "--row: there are several rows; give one"}
	}
	start, _ := row["window_start"].(string)
	var err error
	if at.At, err = windowTime(start); err != nil {
		return &usageError{msg: "--row: window_start: " + err.Error()}
	}
	for _, k := range keys {
		v, there := row[k.Name]
		if !there {
			continue
		}
		var value *string
		switch v := v.(type) {
		case nil:
		case string:
			value = &v
		case json.Number, bool:
			text := fmt.Sprint(v)
			value = &text
		default:
			return &usageError{msg: fmt.Sprintf("--row: %s is not a value of a key", k.Name)}
		}
		if err := set("--row", k.Name, value); err != nil {
			return err
		}
	}
	return nil
}

// windowTime reads a moment. Without a zone it is UTC, as 'weir query' prints times.
func windowTime(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02T15:04", "2006-01-02 15:04"} {
		if t, err := time.ParseInLocation(layout, s, time.UTC); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a moment such as 2026-11-21T10:00:00Z or '2026-11-21 10:00:00'", s)
}

// replayLine is the command that reads the records of a source again, for whoever has the file of its revision.
func replayLine(src *clickhouse.Source, p *pipeline.Plan) string {
	if src.Account == nil {
		return ""
	}
	line := fmt.Sprintf("weir replay --partition %d --segment %d --from %d --to %d", src.Partition, src.Segment, src.From, src.To)
	if src.Site != p.Table.Site {
		line += " --site " + shellWord(src.Site)
	}
	if src.Revision != sink.RevisionText(p.Revision) {
		return line + " FILE-OF-REVISION-" + src.Revision
	}
	return line + " " + shellWord(p.Spec.File)
}

// shellWord quotes a word for a shell where it must be.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./=:,@%+", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
