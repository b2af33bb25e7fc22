// Package pipeline turns a pipeline file into stages that run: it proves that types fit through every step, and wires
// source → decode → steps → window → sink. It is the only package that knows all of them.
package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/ingest/decode"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/operators/aggregate"
	"github.com/weir-stream/weir/operators/calendar"
	"github.com/weir-stream/weir/operators/wasm"
	"github.com/weir-stream/weir/operators/window"
	"github.com/weir-stream/weir/sink"
	"github.com/weir-stream/weir/sink/clickhouse"
)

// Plan is a pipeline that is proven to fit together. It holds compiled operators and must be closed.
type Plan struct {
	Spec     *config.Pipeline
	Node     config.Node
	Stages   []Stage // what every stage gives, for people
	Steps    []operators.Step
	Window   *window.Config
	widening operators.Widening // nil: windows are not merged
	Table    sink.Table
	Revision uint64 // names everything that decides what the results are
	Modules  []Module
	// Programs are the aggregates of the user's, by their name.
	Programs map[string]*wasm.Aggregate

	stepPrefix    string           // of the names of steps; empty for the pipeline's own
	outputSteps   map[string]*Plan // what plans the steps of an output, by its topic; nil once a runner has them
	outputStages  []Stage
	outputModules []Module

	decoder    func() (ingest.Decoder, error)
	slotSize   int
	plainPool  bool
	specDigest [32]byte // of the spec's canonical form
	batchRows  int      // of a batch that the engine cuts
	clickhouse clickhouse.Config
}

// Stage is a stage of the pipeline and the columns it gives.
type Stage struct {
	Name   string
	Schema *batch.Schema
	Does   []string         // what it does, a line each
	State  string           // what it keeps between batches; empty for nothing
	Module *ExplainedModule // that it runs, or nil
	// StateTable is the table the state is stored in: that of a stateful step. Empty where none is stored.
	StateTable string
}

// Module is a Wasm operator the plan uses.
type Module struct {
	Step     string `json:"step"`
	Function string `json:"function,omitempty"` // that the step calls; empty where the module is the step
	File     string `json:"file"`
	Digest   string `json:"sha256"`
}

// Options change how a plan is made, not what it computes.
type Options struct {
	// CopyTransport feeds sandboxes by copying even where memory can be shared: for tests and comparisons.
	CopyTransport bool
	// Interpreter runs Wasm operators in the interpreter: for verification.
	Interpreter bool
	// Modules keeps compiled Wasm operators, for all plans of a process. It must be closed after them. Without it each step
	// keeps its own.
	Modules *Modules
	// MaxBatch cuts batches smaller than the pipeline says, which the revision does not follow: for tests. 0 does not.
	MaxBatch int
	Log      *slog.Logger // for what operators log while they are planned
}

// New plans a pipeline. What does not fit is config.Errors with file, line and column. The URL of ClickHouse and the
// brokers need not be known yet.
func New(ctx context.Context, spec *config.Pipeline, node config.Node, opts Options) (*Plan, error) {
	p := &Plan{Spec: spec, Node: node, plainPool: opts.CopyTransport, batchRows: int(spec.Batch.Rows)}
	if opts.MaxBatch > 0 {
		p.batchRows = min(p.batchRows, opts.MaxBatch)
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	var errs config.Errors
	schema, err := p.planSource()
	if err != nil {
		return nil, asErrors(spec, err)
	}
	if err := p.checkFunctions(); err != nil {
		return nil, err
	}
	schema, err = p.planSteps(ctx, schema, opts)
	if err != nil {
		return nil, errors.Join(asErrors(spec, err), p.Close())
	}
	errs = append(errs, p.planWindow(ctx, schema, opts)...)
	if err := errs.Err(); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	if err := p.planOutputs(ctx, opts).Err(); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	p.planSink(ctx)
	if err := p.planCompute().Err(); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	p.revise()
	return p, nil
}

// Close frees compiled operators. Closing twice is fine.
func (p *Plan) Close() error {
	var errs []error
	for _, s := range p.Steps {
		errs = append(errs, s.Close())
	}
	for _, a := range p.Programs {
		errs = append(errs, a.Close())
	}
	for _, o := range p.outputSteps {
		errs = append(errs, o.Close())
	}
	p.Steps, p.Programs, p.outputSteps = nil, nil, nil
	return errors.Join(errs...)
}

func asErrors(spec *config.Pipeline, err error) error {
	var one *config.Error
	if errors.As(err, &one) {
		return config.Errors{one}
	}
	return fmt.Errorf("plan %s: %w", spec.File, err)
}

// planSource plans decoding.
func (p *Plan) planSource() (*batch.Schema, error) {
	src := p.Spec.Source
	opts := decode.Options{MaxRecord: int(src.Kafka.MaxRecord), MaxRows: int(p.Spec.Batch.Rows)}
	p.decoder = func() (ingest.Decoder, error) {
		return decode.New(string(src.Format), src.Columns, opts)
	}
	d, err := p.decoder()
	if err != nil {
		return nil, p.Spec.ErrorAt("source.columns", "%v", err)
	}
	p.slotSize = decode.SlotSize(src.Columns, int(p.Spec.Batch.Rows), int(src.Kafka.MaxRecord))
	p.Stages = append(p.Stages, Stage{
		Name: "decode " + string(src.Format), Schema: d.Schema(),
		Does: []string{"records of at most " + config.FormatSize(src.Kafka.MaxRecord) + " become rows"},
	})
	return d.Schema(), nil
}

// planWindow plans the window over the last step's columns.
func (p *Plan) planWindow(ctx context.Context, in *batch.Schema, opts Options) config.Errors {
	spec := p.Spec
	need := computedBy(&spec.Window, in)
	in, err := p.planArguments(ctx, in, opts)
	if err != nil {
		return config.Errors{err}
	}
	var errs config.Errors
	column := func(id config.Ident, what string) int {
		i := in.Index(id.Name)
		if i < 0 {
			e := spec.Errorf(id.Pos, "%s: no column %q after the steps", what, id.Name)
			errs = append(errs, e.WithHint("%s", columnsHint(id.Name, in)))
		}
		return i
	}
	w := &window.Config{
		In: in, Size: spec.Window.Size, Every: spec.Window.Every, Offset: spec.Window.Offset, MaxKeys: int(spec.Window.MaxKeys),
		MaxOutOfOrder: spec.Time.MaxOutOfOrder, AllowedLateness: spec.Time.AllowedLateness, MaxJump: spec.Time.MaxJump,
		LateRows: spec.Late.To == config.LateDeadLetters, EmitFinal: spec.Window.Emit == config.EmitFinal,
	}
	if s := spec.Window.Session; s != nil {
		w.Gap = s.Gap
	}
	if c := spec.Window.Count; c != nil {
		w.Count = &window.Count{Rows: uint64(c.Rows)}
	}
	if c := spec.Window.Calendar; c != nil {
		w.Calendar = &calendar.Calendar{Unit: c.Every.Unit(), Zone: c.Timezone}
	}
	if w.Time = column(spec.Time.Column, "time.column"); w.Time >= 0 {
		if f := in.Fields[w.Time]; f.Type.Kind != batch.Timestamp {
			errs = append(errs, spec.Errorf(spec.Time.Column.Pos, "time.column: the event time must be a timestamp, but %q is %s", f.Name, f.Type).
				WithHint("declare it as timestamp[ms], or cast it in a step"))
		}
	}
	for _, k := range spec.Window.GroupBy {
		i := column(k, "window.group_by")
		if i < 0 {
			continue
		}
		if err := window.CheckKey(in.Fields[i]); err != nil {
			errs = append(errs, spec.Errorf(k.Pos, "window.group_by: %v", err))
			continue
		}
		w.Keys = append(w.Keys, i)
	}
	names := map[string]bool{}
	for _, k := range spec.Window.GroupBy {
		names[k.Name] = true
	}
	for _, a := range spec.Window.Aggregates {
		if names[a.Name] {
			errs = append(errs, spec.Errorf(a.Pos, "aggregate %q has the name of a group_by column", a.Name).WithHint("give it another name"))
			continue
		}
		if a.Wasm != nil {
			planned, problems := p.planProgram(ctx, &a, in, column, opts)
			errs = append(errs, problems...)
			if planned != nil {
				w.Aggregate = append(w.Aggregate, *planned)
			}
			continue
		}
		planned, problems := p.planAggregate(&a, in, need, w.Time)
		errs = append(errs, problems...)
		if planned != nil {
			w.Aggregate = append(w.Aggregate, *planned)
		}
	}
	if len(errs) > 0 {
		return errs
	}
	if err := w.Validate(); err != nil {
		return config.Errors{spec.ErrorAt("window", "%v", err)}
	}
	if coarsest := spec.Sink.Spool.Coarsest; coarsest > 0 {
		widening, err := window.NewWidening(w, coarsest)
		if err != nil {
			return config.Errors{spec.ErrorAt("sink.spool.when_full", "%v", err)}
		}
		p.widening = widening
	}
	if w.Count != nil {
		of, err := p.planNumbering(w)
		if err != nil {
			return config.Errors{spec.ErrorAt("window.count", "%v", err)}
		}
		w = of
	}
	p.Window = w
	p.Stages = append(p.Stages, Stage{
		Name: "window " + spec.Window.Length(), Schema: w.Schema(), Does: p.describeWindow(),
		State: p.windowState(),
	})
	return nil
}

// columnsHint names the column that was most likely meant, or lists what there is.
func columnsHint(name string, in *batch.Schema) string {
	if near := config.Nearest(name, in.Names()); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return "there are: " + strings.Join(in.Names(), ", ")
}

// planSink describes the table that follows from the window.
func (p *Plan) planSink(ctx context.Context) {
	t := sink.Table{Site: p.Node.Site, Node: p.Node.Node, Pipeline: p.Spec.Name, Window: p.Window.Longest(), Final: p.Window.EmitFinal}
	if p.Window.Gap > 0 {
		t.Sessions, t.Offset = true, p.Window.Offset
	}
	if p.Window.Count != nil {
		t.Full = p.Window.Count.Rows
	}
	t.Keys = p.Window.KeyFields()
	for _, a := range p.Window.Aggregate {
		out := sink.Aggregate{Name: a.Name, Type: a.Type}
		for _, s := range a.States {
			out.States = append(out.States, sink.State{
				Field: batch.Field{Name: window.StateName(a.Name, s), Type: s.Type, Nullable: s.Nullable},
				Merge: merges[s.Merge],
			})
		}
		out.Finish = finishes[a.Finish]
		if a.Finish == aggregate.Function {
			out.Nullable, out.Function, out.Args, out.Map, out.Sample = a.Nullable, a.Function, a.Of, a.Map, a.Sample()
		}
		if a.States[0].Type.Kind == batch.Decimal && a.States[0].Merge == aggregate.Sum {
			out.Nullable = a.Nullable // a total can overflow, and is then null
		}
		if program := p.Programs[a.Name]; program != nil {
			p.planFinish(ctx, &out, program)
		}
		t.Aggregates = append(t.Aggregates, out)
	}
	t.Stateful = slices.ContainsFunc(p.Steps, operators.IsStateful)
	t.Rollups = p.rollups()
	p.Table = t
	ch := p.Spec.Sink.ClickHouse
	p.clickhouse = clickhouse.Config{URL: ch.URL.Reveal(), Table: ch.Table, TTL: ch.TTL, NoUsage: p.Node.UsageEvery == 0}
}

// rollups are the views of wider windows, as the sink names them.
func (p *Plan) rollups() []sink.Rollup {
	var out []sink.Rollup
	for i := range p.Spec.Window.Rollups {
		spec := &p.Spec.Window.Rollups[i]
		r := sink.Rollup{Name: spec.Name, Every: spec.Every, Offset: spec.Offset}
		if c := spec.Calendar; c != nil {
			r.Calendar = &sink.Calendar{Unit: string(c.Every), Zone: c.Timezone.Name()}
		}
		for _, k := range spec.By {
			r.Keys = append(r.Keys, k.Name)
		}
		if p.Window.MaxKeys > 0 {
			r.Keys = append(r.Keys, sink.Overflow)
		}
		out = append(out, r)
	}
	return out
}

// The window and the sink do not know each other: each names merges and finishes in its own terms.
var (
	merges = map[aggregate.Merge]sink.Merge{
		aggregate.Sum: sink.MergeSum, aggregate.Min: sink.MergeMin, aggregate.Max: sink.MergeMax, aggregate.Opaque: sink.MergeOpaque,
	}
	finishes = map[aggregate.Finish]sink.Finish{
		aggregate.First: sink.FinishFirst, aggregate.Ratio: sink.FinishRatio, aggregate.Outside: sink.FinishNone,
		aggregate.Function: sink.FinishFunction,
	}
)

// revise computes the revision from the spec and the operators' digests.
func (p *Plan) revise() {
	digests, functions := p.digests()
	p.specDigest = sha256.Sum256(p.Spec.Canonical(digests, functions))
	p.Revision = binary.BigEndian.Uint64(p.specDigest[:8])
}

// digests are those of the modules, as config.Pipeline.Canonical takes them.
func (p *Plan) digests() (steps []string, functions map[string]string) {
	functions = map[string]string{}
	for _, m := range p.Modules {
		if m.Function != "" {
			functions[m.Function] = m.Digest
			continue
		}
		steps = append(steps, m.Digest)
	}
	return steps, functions
}

// Describe says what the revision consists of, for people who ask where a row is from. weir is the version that runs it.
func (p *Plan) Describe(weir string) sink.Revision {
	r := sink.Revision{
		Revision: p.Revision, Spec: string(p.Spec.Shown(p.digests())), SpecDigest: digestText(p.specDigest), Weir: weir, Started: time.Now(),
	}
	for _, m := range p.Modules {
		step := m.Step
		if m.Function != "" {
			step += " " + m.Function + "()"
		}
		r.Operators = append(r.Operators, sink.Operator{Step: step, File: m.File, Digest: m.Digest})
	}
	return r
}

// DDL is the statements that make the tables.
func (p *Plan) DDL() ([]string, error) { return clickhouse.DDL(p.clickhouse, p.Table) }

// ClickHouse is where the pipeline ships to.
func (p *Plan) ClickHouse() clickhouse.Config { return p.clickhouse }

func digestText(d [32]byte) string { return hex.EncodeToString(d[:]) }
