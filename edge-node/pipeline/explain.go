package pipeline

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/engine"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/sink"
)

// Explanation is a plan in the terms people ask about: what comes in, what each stage does and gives, what runs it, what
// memory that takes, and where it goes.
type Explanation struct {
	Pipeline  string            `json:"pipeline"`
	File      string            `json:"file"`
	Revision  string            `json:"revision"`
	Tags      map[string]string `json:"tags,omitempty"`
	Source    ExplainedSource   `json:"source"`
	Stages    []ExplainedStage  `json:"stages"`
	Execution Execution         `json:"execution"`
	Sink      ExplainedSink     `json:"sink"`
}

// ExplainedSource is where records come from.
type ExplainedSource struct {
	Brokers []string `json:"brokers"` // empty where neither the pipeline nor the node names any
	Topics  []string `json:"topics"`
	Group   string   `json:"group"`
	Start   string   `json:"start"`
	OnGap   string   `json:"on_gap"`
}

// ExplainedStage is a stage: decode, a step, the window, an output, or a step of that.
type ExplainedStage struct {
	Name  string   `json:"name"`
	Does  []string `json:"does"`  // a line each
	State string   `json:"state"` // what it keeps between batches; empty for nothing
	// Stateful is a step whose operators carry something from row to row. StateTable is where that is stored.
	Stateful   bool              `json:"stateful"`
	StateTable string            `json:"state_table,omitempty"`
	Module     *ExplainedModule  `json:"module,omitempty"`
	Columns    []ExplainedColumn `json:"columns"` // that it gives
}

// ExplainedColumn is a column and its Arrow type.
type ExplainedColumn struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Nullable bool   `json:"nullable"`
}

// ExplainedModule is the module of a stage and what it may use.
type ExplainedModule struct {
	File       string `json:"file"`
	Digest     string `json:"sha256"`
	Config     string `json:"config"`
	OnError    string `json:"on_error"`
	Memory     int64  `json:"memory_bytes"`
	FuelPerRow int64  `json:"fuel_per_row"`
	Deadline   string `json:"deadline"`
}

// Execution is how a plan runs on this machine.
type Execution struct {
	BatchRows int64 `json:"batch_rows"` // at most
	Chains    int   `json:"chains"`     // as many batches are processed at a time
	// ChainPerPartition is where a step keeps state: then every partition has a chain, and a pool, of its own.
	ChainPerPartition bool   `json:"chain_per_partition"`
	Transport         string `json:"transport"` // "shared memory" or "copy"
	Why               string `json:"why"`
	// Pool is the memory of the batches of one chain. It is there from the start and does not grow.
	PoolBytes int64           `json:"pool_bytes"`
	Pool      []ExplainedPool `json:"pool"`
	// StateLimit and QueueLimit bound what windows keep and what waits to be processed, over all partitions.
	StateLimit int64 `json:"state_limit_bytes"`
	QueueLimit int64 `json:"queue_limit_bytes"`
}

// ExplainedPool is a stage's part of the pool.
type ExplainedPool struct {
	Stage     string `json:"stage"`
	Slots     int    `json:"slots"`
	SlotBytes int    `json:"slot_bytes"`
}

// ExplainedSink is where the answers go.
type ExplainedSink struct {
	Server     string            `json:"server"` // empty where none is known yet
	View       string            `json:"view"`   // to read
	Tables     []string          `json:"tables"`
	Rollups    []ExplainedRollup `json:"rollups,omitempty"`
	FlushEvery string            `json:"flush_every"`
	UsageEvery string            `json:"usage_every"` // "0" for never
	TTL        string            `json:"ttl"`         // "0" for ever
	Schema     string            `json:"schema"`
	WhenFull   string            `json:"when_full"` // what happens when the local store is full and the server away
	Coarsest   string            `json:"coarsest,omitempty"`
}

// ExplainedRollup is a view of wider windows or fewer keys.
type ExplainedRollup struct {
	View    string   `json:"view"`
	Windows string   `json:"windows"` // for people
	By      []string `json:"by"`
}

// Explain describes the plan as it runs with so many chains; 0 is one per core. It asks no server.
func (p *Plan) Explain(chains int) (*Explanation, error) {
	if chains == 0 {
		chains = runtime.GOMAXPROCS(0)
	}
	spec := p.Spec
	e := &Explanation{
		Pipeline: spec.Name, File: spec.File, Revision: sink.RevisionText(p.Revision), Tags: map[string]string{},
		Source: ExplainedSource{
			Brokers: spec.Source.Kafka.Brokers, Group: spec.Source.Kafka.Group,
			Start: string(spec.Source.Kafka.Start.At), OnGap: string(spec.Source.Kafka.OnGap),
		},
	}
	for _, t := range spec.Tags {
		e.Tags[t.Key] = t.Value
	}
	for _, t := range spec.Source.Kafka.Topics {
		name := t.Name
		if t.Regex != nil {
			name = "re:" + name
		}
		e.Source.Topics = append(e.Source.Topics, name)
	}
	for _, s := range p.AllStages() {
		out := ExplainedStage{Name: s.Name, Does: s.Does, State: s.State, Stateful: s.StateTable != "", StateTable: s.StateTable, Module: s.Module}
		for _, f := range s.Schema.Fields {
			out.Columns = append(out.Columns, ExplainedColumn{f.Name, f.Type.String(), f.Nullable})
		}
		e.Stages = append(e.Stages, out)
	}
	var err error
	if e.Execution, err = p.execution(chains); err != nil {
		return nil, err
	}
	e.Sink = p.explainSink()
	return e, nil
}

func (p *Plan) execution(chains int) (Execution, error) {
	x := Execution{
		BatchRows: p.Spec.Batch.Rows, Chains: chains,
		StateLimit: p.Node.Limits.State, QueueLimit: p.Node.Limits.Queue,
	}
	for i, r := range engine.Layout(p.generation()) {
		x.Pool = append(x.Pool, ExplainedPool{p.Stages[i].Name, r.Slots, r.SlotSize})
		x.PoolBytes += int64(r.Slots) * int64(r.SlotSize)
	}
	shared, err := p.shares()
	if err != nil {
		return x, err
	}
	sandboxed := 0
	for _, s := range p.Steps {
		if _, ok := s.(operators.Digested); ok {
			sandboxed++
		}
		x.ChainPerPartition = x.ChainPerPartition || operators.IsStateful(s)
	}
	switch {
	case sandboxed == 0:
		x.Transport, x.Why = "none", "no step runs in a sandbox: batches stay in the memory of the node"
	case shared:
		x.Transport, x.Why = "shared memory", "every sandbox has the pool mapped for its life: batches are not copied, bytes_copied is 0"
		if len(p.Programs) > 0 {
			x.Why = "every sandbox of a step has the pool mapped for its life: batches are not copied; rows and states of aggregates in modules are"
		}
	case p.plainPool:
		x.Transport, x.Why = "copy", "asked for: batches are copied into every sandbox, and new columns out of it"
	default:
		x.Transport, x.Why = "copy", "this system has no sealed memory files (memfd): batches are copied into every sandbox, and new columns out of it"
	}
	if len(p.outputModules) > 0 {
		x.Why += "; the steps of an output have a pool of their own"
	}
	return x, nil
}

// shares tells whether the memory of a pool can be mapped into sandboxes on this system.
func (p *Plan) shares() (bool, error) {
	if p.plainPool {
		return false, nil
	}
	pool, err := batch.NewPool([]batch.RangeSpec{{Slots: 1, SlotSize: batch.PageAlign}})
	if err != nil {
		return false, fmt.Errorf("make a batch pool: %w", err)
	}
	_, shared := pool.FD()
	return shared, pool.Close()
}

func (p *Plan) explainSink() ExplainedSink {
	ch := p.Spec.Sink.ClickHouse
	s := ExplainedSink{
		View: ch.Table, Tables: []string{ch.Table + "_partials", "weir_coverage", "weir_dead_letters", "weir_revisions"},
		FlushEvery: config.FormatDuration(ch.FlushEvery), TTL: "0", UsageEvery: "0", Schema: string(ch.Schema),
		WhenFull: string(p.Spec.Sink.Spool.WhenFull),
	}
	for i := range p.Table.Rollups {
		s.Rollups = append(s.Rollups, ExplainedRollup{p.Table.Rollups[i].Name, p.Spec.Window.Rollups[i].String(), slices.Concat([]string{}, p.Table.Rollups[i].Keys)})
	}
	if coarsest := p.Spec.Sink.Spool.Coarsest; coarsest > 0 {
		s.Coarsest = config.FormatDuration(coarsest)
	}
	if !ch.URL.IsZero() {
		s.Server = p.clickhouse.Target()
	}
	if ch.TTL > 0 {
		s.TTL = config.FormatDuration(ch.TTL)
	}
	if p.Node.UsageEvery > 0 {
		s.UsageEvery = config.FormatDuration(p.Node.UsageEvery)
		s.Tables = append(s.Tables, "weir_usage")
	}
	if p.Table.Stateful {
		s.Tables = append(s.Tables, stateTable)
	}
	return s
}

// stateTable is the table of sink/clickhouse that has the state of stateful steps.
const stateTable = "weir_state"

// stateOf says what a step keeps between batches, and in which table that is stored.
func stateOf(spec *config.Step, step operators.Step) (state, table string) {
	if !operators.IsStateful(step) {
		return "", ""
	}
	table = stateTable
	return fmt.Sprintf("state of its own for each partition, at most %s; it is stored in the table %s", config.FormatSize(spec.Wasm.State), table), table
}

// describe says what a step does.
func describe(spec *config.Step) (does []string) {
	switch spec.Kind {
	case config.StepFilter:
		does = append(does, "keep rows where "+oneLine(spec.Filter.Value))
	case config.StepMap:
		for _, a := range spec.Map {
			does = append(does, a.Name+" = "+oneLine(a.Expr.Value))
		}
	case config.StepDrop:
		names := make([]string, len(spec.Drop))
		for i, d := range spec.Drop {
			names[i] = d.Name
		}
		does = append(does, "without "+strings.Join(names, ", "))
	case config.StepRename:
		for _, r := range spec.Rename {
			does = append(does, r.From+" is called "+r.To.Name)
		}
	case config.StepCast:
		for _, c := range spec.Cast {
			null := ""
			if c.Nullable {
				null = "?"
			}
			does = append(does, fmt.Sprintf("%s becomes %s%s", c.Column, c.Type, null))
		}
	case config.StepWasm:
		does = append(does, "run "+spec.Wasm.Module)
		if s := spec.Wasm.Shadow; s != nil && s.Sample > 0 {
			does = append(does, fmt.Sprintf("compare with %s on 1/%d of the batches", s.Module, s.Sample))
		}
	}
	return does
}

// explainModule describes the module of a step that has just been planned; nil where it has none.
func explainModule(w *config.Wasm, step operators.Step) *ExplainedModule {
	if w == nil {
		return nil
	}
	m := &ExplainedModule{
		File: w.File, Config: string(w.Config), OnError: string(w.OnError),
		Memory: w.Memory, FuelPerRow: w.FuelPerRow, Deadline: config.FormatDuration(w.Deadline),
	}
	if d, ok := step.(operators.Digested); ok {
		m.Digest = digestText(d.Digest())
	}
	return m
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// describeWindow says what the window does.
func (p *Plan) describeWindow() []string {
	t, w := &p.Spec.Time, &p.Spec.Window
	by := "no key"
	if len(w.GroupBy) > 0 {
		names := make([]string, len(w.GroupBy))
		for i, k := range w.GroupBy {
			names[i] = k.Name
		}
		by = strings.Join(names, ", ")
	}
	late := "late rows become dead letters"
	if p.Spec.Late.To == config.LateDrop {
		late = "late rows are counted and dropped"
	}
	kind := "windows of " + w.Length()
	if w.Calendar != nil {
		kind = "windows of " + w.Calendar.String()
	}
	if s := w.Session; s != nil {
		kind = fmt.Sprintf("sessions that end %s behind their last row, cut at multiples of %s,", config.FormatDuration(s.Gap), config.FormatDuration(s.MaxLength))
	}
	if c := w.Count; c != nil {
		kind = fmt.Sprintf("windows of %d rows of a key in a partition, which end %s behind their first at the latest,", c.Rows, config.FormatDuration(c.Timeout))
	}
	if w.Every < w.Size {
		kind += " every " + config.FormatDuration(w.Every)
	}
	if w.Offset > 0 {
		kind += " from " + config.FormatDuration(w.Offset) + " on"
	}
	does := []string{fmt.Sprintf("%s by %s, in the time of %s", kind, by, t.Column.Name)}
	if w.MaxKeys > 0 {
		does = append(does, fmt.Sprintf("rows of all but the first %d keys of a partition count in one row, whose %s is true", w.MaxKeys, p.Window.KeyFields()[len(w.GroupBy)].Name))
	}
	for _, a := range w.Aggregates {
		if a.Wasm != nil {
			does = append(does, a.Name+" = "+describeProgram(&a))
			continue
		}
		does = append(does, a.Name+" = "+oneLine(a.Expr.Value))
	}
	for _, c := range w.Compute {
		does = append(does, "in the view, "+c.Name+" = "+oneLine(c.Expr.Value))
	}
	does = append(does, fmt.Sprintf("the watermark trails the newest row of a partition by %s; windows take rows %s longer; %s",
		config.FormatDuration(t.MaxOutOfOrder), config.FormatDuration(t.AllowedLateness), late))
	if w.Emit == config.EmitFinal {
		does = append(does, "a window is shipped once, when it takes no more rows")
	}
	if t.MaxJump > 0 {
		does = append(does, "a row ahead by more than "+config.FormatDuration(t.MaxJump)+" moves the watermark only when others confirm it")
	}
	return does
}
