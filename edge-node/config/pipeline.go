package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/weir-stream/weir/ingest/batch"
)

// Pipeline is what a pipeline file says, defaults filled in.
type Pipeline struct {
	// File is the file as it was named when loading; errors begin with it. Relative paths in it are relative to its folder.
	File string
	// Name is the pipeline's name: lower-case letters, digits and hyphens, at most 63. It is part of the identity of
	// every row shipped.
	Name string
	// Tags are labels for people and metrics, in the order written. They change nothing.
	Tags []Tag
	// Source is where records come from and what their columns are.
	Source Source
	// Time is where event time comes from and how late it may be.
	Time Time
	// Functions are the user's own, for the expressions of steps, in the order written.
	Functions []Function
	// Steps change the rows, in this order. There may be none.
	Steps []Step
	// Window says what is aggregated, by what, and how long.
	Window Window
	// Sink is where the aggregates go.
	Sink Sink
	// Late says what happens to rows behind the allowed lateness.
	Late Late
	// Outputs are where windows that are final are told of on site, in order. They change nothing of what is shipped.
	Outputs []Output
	// Batch bounds the batches the steps work on.
	Batch Batch

	at map[string]Pos
}

// Tag is a label.
type Tag struct {
	Key, Value string
}

// Late is the fate of rows that come after their window is final.
type Late struct {
	// To is where they go. They are counted either way. Default dead_letters.
	To LateTo
}

// LateTo is where late rows go.
type LateTo string

// Where late rows can go.
const (
	LateDeadLetters LateTo = "dead_letters"
	LateDrop        LateTo = "drop"
)

// Batch bounds the batches.
type Batch struct {
	// Rows is the most rows a batch has. Default 8192.
	Rows int64
}

const pipelineName = `^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`

var pipelineNameRE = regexp.MustCompile(pipelineName)

func pipelineTable() object[Pipeline] {
	return object[Pipeline]{
		what: "the pipeline",
		fields: []field[Pipeline]{
			at("pipeline", matching("the pipeline's name", pipelineName, func(s string) error {
				if pipelineNameRE.MatchString(s) {
					return nil
				}
				return fmt.Errorf("%s is not a pipeline name: use a-z, 0-9 and inner hyphens, at most 63 of them", quote(s))
			}), func(p *Pipeline) *string { return &p.Name },
				"Name of the pipeline: a-z, 0-9 and hyphens, at most 63. Part of the identity of every row shipped.").must(),
			at("tags", named("a mapping of labels", textKind("a label's text"),
				func(name string, _ Pos, v string) Tag { return Tag{name, v} }),
				func(p *Pipeline) *[]Tag { return &p.Tags }, "Labels for people and metrics."),
			at("source", sourceTable().kind(), func(p *Pipeline) *Source { return &p.Source },
				"Where records come from, their format, and the columns to read from them.").must(),
			at("time", timeTable().kind(), func(p *Pipeline) *Time { return &p.Time },
				"The column that holds event time, and how late rows may be.").must(),
			at("functions", functionsKind(), func(p *Pipeline) *[]Function { return &p.Functions },
				"Functions of your own to call in expressions: name: {wasm: file}."),
			at("steps", stepsKind(), func(p *Pipeline) *[]Step { return &p.Steps },
				"What happens to the rows, in order: filter, map, drop, rename, cast, wasm."),
			at("window", windowTable().kind(), func(p *Pipeline) *Window { return &p.Window },
				"What is aggregated, over how long, by which columns.").must(),
			at("sink", sinkTable().kind(), func(p *Pipeline) *Sink { return &p.Sink },
				"Where the aggregates go.").must(),
			at("late", object[Late]{what: "late", fields: []field[Late]{
				at("to", enum("a place for late rows", []LateTo{LateDeadLetters, LateDrop}), func(l *Late) *LateTo { return &l.To },
					"dead_letters keeps late rows to look at and replay; drop only counts them. Default dead_letters.").must(),
			}}.kind(), func(p *Pipeline) *Late { return &p.Late }, "What happens to rows behind the allowed lateness."),
			at("outputs", listOf("a list of outputs", outputTable().kind()), func(p *Pipeline) *[]Output { return &p.Outputs },
				"Topics that windows are sent to when they are final, for alarms on site."),
			at("batch", object[Batch]{what: "batch", fields: []field[Batch]{
				at("rows", intKind(1, 1<<20), func(b *Batch) *int64 { return &b.Rows }, "Most rows in a batch. Default 8192."),
			}}.kind(), func(p *Pipeline) *Batch { return &p.Batch }, "Bounds of the batches the steps work on."),
			later[Pipeline]("tests", "leave it out"),
		},
		check: func(r *reader, _ value, p *Pipeline) {
			p.at = r.at
			p.check(func(pos Pos, path, format string, args ...any) *Error { return r.addf(pos, path, format, args...) })
		},
	}
}

func defaults(file string) Pipeline {
	return Pipeline{
		File: file,
		Source: Source{
			Kafka:  Kafka{Start: Start{At: StartEarliest}, Protocol: ProtocolAuto, OnGap: GapContinue, MaxRecord: 1 << 20},
			Format: FormatJSON,
		},
		Sink:  Sink{ClickHouse: ClickHouse{FlushEvery: defaultFlush, Schema: SchemaCheck}, Spool: Spool{WhenFull: WhenFullBlock}},
		Late:  Late{To: LateDeadLetters},
		Batch: Batch{Rows: 8192},
	}
}

// Load reads a pipeline file. "-" is not special: use Parse for what does not come from a file. Errors about the
// contents are Errors.
func Load(path string) (*Pipeline, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, data)
}

// readFile reads a configuration file, refusing ones too large to be one.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, fmt.Errorf("read %s: it is a folder, not a file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return data, nil
}

// Parse reads a pipeline from the contents of a file called name, with references to the process's environment.
func Parse(name string, data []byte) (*Pipeline, error) { return ParseEnv(name, data, OSEnv()) }

// ParseEnv is Parse with an environment of the caller's.
func ParseEnv(name string, data []byte, env Env) (*Pipeline, error) {
	p := defaults(name)
	r := newReader(name, env)
	if n := r.document(data); n != nil {
		pipelineTable().read(r, r.value(n, ""), &p)
	}
	if err := r.errs.Err(); err != nil {
		return nil, err
	}
	p.at = r.at
	p.fill()
	return &p, nil
}

// fill sets the defaults that depend on other values.
func (p *Pipeline) fill() {
	if p.Source.Kafka.Group == "" {
		p.Source.Kafka.Group = "weir-" + p.Name
	}
	p.Sink.ClickHouse.Table = p.tableName()
	if s := &p.Sink.Spool; s.WhenFull == WhenFullCoarsen && s.Coarsest == 0 {
		s.Coarsest = min(defaultCoarsest*p.Window.Size, MaxCoarsest)
	}
	nameModules(p.Steps)
	for i := range p.Outputs {
		nameModules(p.Outputs[i].Steps)
	}
	for i := range p.Window.Aggregates {
		if w := p.Window.Aggregates[i].Wasm; w != nil {
			w.Name = moduleName(w.Module)
		}
	}
}

// nameModules names operators that have no name by their modules.
func nameModules(steps []Step) {
	for i := range steps {
		if w := steps[i].Wasm; w != nil && w.Name == "" {
			w.Name = moduleName(w.Module)
		}
	}
}

// tableName is the name of the finished view: the one that is written, or the pipeline's.
func (p *Pipeline) tableName() string {
	if p.Sink.ClickHouse.Table != "" {
		return p.Sink.ClickHouse.Table
	}
	table := strings.ReplaceAll(p.Name, "-", "_")
	if c := p.Name[:min(1, len(p.Name))]; c >= "0" && c <= "9" {
		table = "p" + table
	}
	return table
}

// moduleName is how messages call a module of which nothing else is said.
func moduleName(path string) string { return strings.TrimSuffix(filepath.Base(path), ".wasm") }

// Use takes from node.yaml what the pipeline left open: brokers and the ClickHouse URL. An error says what is still missing.
func (p *Pipeline) Use(n Node) error {
	var errs Errors
	k, c := &p.Source.Kafka, &p.Sink.ClickHouse
	if len(k.Brokers) == 0 {
		k.Brokers = n.Kafka.Brokers
		if k.SASL == nil {
			k.SASL = n.Kafka.SASL
		}
		if k.TLS == nil {
			k.TLS = n.Kafka.TLS
		}
	}
	if c.URL.IsZero() {
		c.URL = n.ClickHouse.URL
	}
	if len(k.Brokers) == 0 {
		errs = append(errs, p.ErrorAt("source.kafka", "no Kafka brokers are known").WithHint(
			`write brokers: ["host:9092"] here, kafka.brokers in node.yaml, or set WEIR_KAFKA`))
	}
	if c.URL.IsZero() {
		errs = append(errs, p.ErrorAt("sink.clickhouse", "no ClickHouse URL is known").WithHint(
			`write url: "clickhouse://user@host:9000/database" here, clickhouse.url in node.yaml, or set WEIR_CLICKHOUSE`))
	}
	return errs.Err()
}

// Errorf is an error about a place in the file.
func (p *Pipeline) Errorf(pos Pos, format string, args ...any) *Error {
	return &Error{File: p.File, Line: pos.Line, Col: pos.Col, Msg: fmt.Sprintf(format, args...)}
}

// ErrorAt is an error about the value at a path such as "source.columns.temp".
func (p *Pipeline) ErrorAt(path, format string, args ...any) *Error {
	e := p.Errorf(p.At(path), format, args...)
	e.Path = path
	return e
}

// At is where the value of a path such as "steps[2].wasm.module" stands, or the value around it where the file leaves
// it out.
func (p *Pipeline) At(path string) Pos {
	for path != "" {
		if pos, ok := p.at[path]; ok {
			return pos
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return p.at[""]
}

// Validate checks what concerns more than one value, and what a spec built in code could get wrong. Parse has done it.
func (p *Pipeline) Validate() error {
	var errs Errors
	add := func(pos Pos, path, format string, args ...any) *Error {
		e := p.Errorf(pos, format, args...)
		e.Path = path
		errs = append(errs, e)
		return e
	}
	switch {
	case !pipelineNameRE.MatchString(p.Name):
		add(p.At("pipeline"), "pipeline", "%s is not a pipeline name", quote(p.Name))
	case len(p.Source.Kafka.Topics) == 0:
		add(p.At("source"), "source.kafka.topics", "no topics")
	case p.Window.Size <= 0 && p.Window.Calendar == nil:
		add(p.At("window"), "window", "the window has no length")
	case len(p.Window.Aggregates) == 0:
		add(p.At("window"), "window.aggregates", "nothing is aggregated")
	case p.Batch.Rows <= 0:
		add(p.At("batch"), "batch.rows", "a batch has no rows")
	}
	p.check(add)
	return errs.Err()
}

// check finds what concerns more than one value.
func (p *Pipeline) check(add func(Pos, string, string, ...any) *Error) {
	if err := p.Source.Columns.Validate(); err != nil {
		add(p.At("source.columns"), "source.columns", "source.columns: %v", err)
	}
	if len(p.Steps) == 0 { // with steps, the planner knows which columns there are
		s := p.Source.Columns.Schema()
		if i := s.Index(p.Time.Column.Name); i < 0 {
			hint := noColumn(p.Time.Column.Name, s.Names())
			_ = add(p.Time.Column.Pos, "time.column", "time.column: there is no column %s", quote(p.Time.Column.Name)).WithHint("%s", hint)
		} else if f := s.Fields[i]; f.Type.Kind != batch.Timestamp {
			_ = add(p.Time.Column.Pos, "time.column", "time.column: %s is %s, not a timestamp", f.Name, f.Type).WithHint("declare it as timestamp[ms]")
		}
	}
	seen := map[string]string{}
	for _, k := range p.Window.GroupBy {
		seen[k.Name] = "a column of group_by"
	}
	for _, a := range p.Window.Aggregates {
		if what, dup := seen[a.Name]; dup {
			add(a.Pos, "window.aggregates."+a.Name, "window.aggregates.%s: the name is taken by %s", a.Name, what)
		}
		seen[a.Name] = "an aggregate"
	}
	for _, c := range p.Window.Compute {
		if what, dup := seen[c.Name]; dup {
			add(c.Pos, "window.compute."+c.Name, "window.compute.%s: the name is taken by %s", c.Name, what)
		}
		seen[c.Name] = "another column of compute"
	}
	p.checkSpool(add)
	p.checkRollupSink(add)
	p.checkOutputs(add)
}

func noColumn(name string, have []string) string {
	if near := Nearest(name, have); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return "columns: " + strings.Join(have, ", ")
}

// reservedWords are names that an expression could not use.
var reservedWords = []string{"true", "false", "nil", "null", "and", "or", "not", "in", "contains", "matches", "startsWith", "endsWith", "let", "if", "else"}

const columnName = `^[A-Za-z][A-Za-z0-9_]{0,126}$`

var columnNameRE = regexp.MustCompile(columnName)

// CheckName tells why a name cannot be that of a column or an aggregate of the user's.
func CheckName(name string) error {
	switch {
	case strings.HasPrefix(name, "_"):
		return fmt.Errorf("%s is reserved: names that begin with _ are weir's own", quote(name))
	case name == "window_start" || name == "window_end":
		return fmt.Errorf("%s is reserved: every finished row has it", quote(name))
	case !columnNameRE.MatchString(name):
		return fmt.Errorf("%s is not a name: use letters, digits and _, beginning with a letter, at most 127", quote(name))
	}
	for _, w := range reservedWords {
		if name == w {
			return fmt.Errorf("%s is reserved: it is a word of the expression language", quote(name))
		}
	}
	return nil
}

// IsInvalid tells whether an error is about what a file says, as opposed to one about reading it.
func IsInvalid(err error) bool {
	var es Errors
	var e *Error
	return errors.As(err, &es) || errors.As(err, &e)
}
