package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/engine"
	"github.com/weir-stream/weir/edge-node/output"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/ingest/kafka"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/operators/expr"
	"github.com/weir-stream/weir/sink"
)

// planOutputs finds out whether every output can be made of the windows.
func (p *Plan) planOutputs(ctx context.Context, opts Options) config.Errors {
	var errs config.Errors
	for i := range p.Spec.Outputs {
		spec := &p.Spec.Outputs[i]
		path := fmt.Sprintf("outputs[%d]", i)
		before := len(errs)
		cfg := p.outputConfig(spec)
		for _, c := range spec.Columns {
			if !slices.ContainsFunc(p.Spec.Window.Aggregates, func(a config.Aggregate) bool { return a.Name == c.Name }) {
				errs = append(errs, p.Spec.Errorf(c.Pos, "%s.columns: %q is no aggregate of the window", path, c.Name))
			}
		}
		for _, a := range cfg.Aggregates {
			if a.Omit {
				continue
			}
			if err := a.CheckAnswer(); err != nil {
				errs = append(errs, p.Spec.Errorf(spec.Kafka.Topic.Pos, "%s: the answer of %s is not known on site: %v", path, a.Name, err).
					WithHint("list the others as columns of the output"))
			}
		}
		if len(errs) > before {
			continue
		}
		if _, err := output.New(cfg); err != nil {
			off := 0
			var e *expr.Error
			if errors.As(err, &e) {
				off = e.Offset
			}
			errs = append(errs, p.Spec.Errorf(spec.Where.PosAt(off), "%s.where: %v", path, err))
			continue
		}
		p.outputStages = append(p.outputStages, Stage{Name: "output " + spec.Kafka.Topic.Name, Schema: cfg.Schema(), Does: []string{describeOutput(spec)}})
		if err := p.planOutputSteps(ctx, path, spec, cfg.Schema(), opts); err != nil {
			var e *config.Error
			if !errors.As(err, &e) {
				e = p.Spec.Errorf(spec.Kafka.Topic.Pos, "%s.steps: %v", path, err)
			}
			errs = append(errs, e)
		}
	}
	return errs
}

// planOutputSteps plans the steps of an output as those of a pipeline are, by a plan that has nothing else.
func (p *Plan) planOutputSteps(ctx context.Context, path string, spec *config.Output, in *batch.Schema, opts Options) error {
	if len(spec.Steps) == 0 {
		return nil
	}
	for _, s := range spec.Steps {
		if s.Wasm != nil && s.Wasm.Shadow != nil {
			return p.Spec.Errorf(s.Wasm.Shadow.ModulePos, "%s.steps: a step of an output has no shadow", path).
				WithHint("compare the two with 'weir op test', or in a pipeline of its own that reads the topic")
		}
	}
	own := *p.Spec
	own.Steps = spec.Steps
	sub := &Plan{Spec: &own, Node: p.Node, plainPool: p.plainPool, stepPrefix: "output " + spec.Kafka.Topic.Name + " "}
	if p.outputSteps == nil {
		p.outputSteps = map[string]*Plan{}
	}
	p.outputSteps[spec.Kafka.Topic.Name] = sub // whoever closes the plan closes it
	out, err := sub.planSteps(ctx, in, opts)
	if err != nil {
		return err
	}
	for i, s := range spec.Steps {
		if s.Wasm != nil && slices.ContainsFunc(sub.Steps, func(step operators.Step) bool {
			return step.Name() == sub.stepName(i)+" "+s.Wasm.Name && operators.IsStateful(step)
		}) {
			return p.Spec.Errorf(s.Wasm.ModulePos, "%s.steps: %s keeps state from row to row, and windows are sent once more after a restart: its state would be of other rows", path, s.Wasm.Name).
				WithHint("use an operator without state, or a pipeline of its own that reads the topic")
		}
	}
	for _, name := range output.SourceNames() {
		if out.Index(name) >= 0 {
			return p.Spec.Errorf(spec.Steps[len(spec.Steps)-1].Pos, "%s.steps: they leave a column %q, and records have a member of that name that says where they are from", path, name).
				WithHint("give it another name")
		}
	}
	p.outputStages = append(p.outputStages, sub.Stages...)
	p.outputModules = append(p.outputModules, sub.Modules...)
	return nil
}

// AllStages are the stages, and behind them those of outputs.
func (p *Plan) AllStages() []Stage { return slices.Concat(p.Stages, p.outputStages) }

// AllModules are the modules, and behind them those of outputs, which the revision does not follow.
func (p *Plan) AllModules() []Module { return slices.Concat(p.Modules, p.outputModules) }

func (p *Plan) outputConfig(spec *config.Output) output.Config {
	cfg := output.Config{
		Topic: spec.Kafka.Topic.Name, Site: p.Node.Site, Node: p.Node.Node, Pipeline: p.Spec.Name,
		Rows: p.Window.Schema(), Keys: len(p.Window.KeyFields()), Where: spec.Where.Value, Log: slog.New(slog.DiscardHandler),
		BatchRows: p.batchRows, PlainPool: p.plainPool,
	}
	if p.Window.Count != nil {
		cfg.Full = p.Window.Count.Rows
	}
	if steps := p.outputSteps[spec.Kafka.Topic.Name]; steps != nil {
		cfg.Steps = steps.Steps
	}
	for _, a := range p.Window.Aggregate {
		omit := len(spec.Columns) > 0 && !slices.ContainsFunc(spec.Columns, func(c config.Ident) bool { return c.Name == a.Name })
		cfg.Aggregates = append(cfg.Aggregates, output.Aggregate{Aggregate: a.Aggregate, Name: a.Name, Omit: omit})
	}
	return cfg
}

// outputs are those of a pipeline that runs.
type outputs struct {
	all       []*output.Output
	producers []*kafka.Producer
	plans     []*Plan // of their steps: they stay when another plan takes the place of the one that they were made by
	revision  uint64  // of the plan that they were made by
}

// openOutputs makes them. It connects to nothing. What the plan has of steps for them is theirs from then on.
func (p *Plan) openOutputs(ctx context.Context, log *slog.Logger) (*outputs, error) {
	o := &outputs{revision: p.Revision, plans: slices.Collect(maps.Values(p.outputSteps))}
	defer func() { p.outputSteps = nil }()
	for i := range p.Spec.Outputs {
		spec := &p.Spec.Outputs[i]
		to, err := p.outputKafka(&spec.Kafka)
		if err == nil {
			var producer *kafka.Producer
			if producer, err = kafka.NewProducer(to, spec.Kafka.Topic.Name, log); err == nil {
				o.producers = append(o.producers, producer)
				cfg := p.outputConfig(spec)
				cfg.Send, cfg.Log = producer.Send, log
				var out *output.Output
				if out, err = output.New(cfg); err == nil {
					o.all = append(o.all, out)
					err = out.Open(ctx)
				}
			}
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("outputs[%d]: %w", i, err), o.close())
		}
	}
	return o, nil
}

// outputKafka is how to reach the brokers of an output.
func (p *Plan) outputKafka(spec *config.OutputKafka) (kafka.Config, error) {
	cfg, err := p.kafka()
	if err != nil || len(spec.Brokers) == 0 {
		return cfg, err
	}
	cfg.Brokers, cfg.SASL, cfg.TLS = spec.Brokers, nil, nil
	if s := spec.SASL; s != nil {
		cfg.SASL = &kafka.SASL{Mechanism: string(s.Mechanism), User: s.User, Password: s.Password.Reveal()}
	}
	if spec.TLS != nil {
		cfg.TLS, err = tlsConfig(spec.TLS)
	}
	return cfg, err
}

// announce is what the engine tells of final windows; nil where nobody is told.
func (o *outputs) announce() func(context.Context, *engine.Finals) error {
	if len(o.all) == 0 {
		return nil
	}
	return func(ctx context.Context, f *engine.Finals) error {
		from := output.Window{Partition: f.Partition, Revision: sink.RevisionText(f.Revision), Segment: f.Segment, Start: f.Start, Version: f.Version}
		for _, out := range o.all {
			if err := out.Send(ctx, &from, f.Rows); err != nil {
				return err
			}
		}
		return nil
	}
}

// rest has the steps of outputs give up their sandboxes when they had nothing to do for so long.
func (o *outputs) rest(idle time.Duration) {
	for _, out := range o.all {
		out.Rest(idle)
	}
}

// OutputStatus is how an output does.
type OutputStatus = output.Status

func (o *outputs) status() []OutputStatus {
	var all []OutputStatus
	for _, out := range o.all {
		all = append(all, out.Status())
	}
	return all
}

// problems is why windows are not told of, a line each.
func (o *outputs) problems() []string {
	var all []string
	for _, s := range o.status() {
		if s.Err != nil {
			all = append(all, fmt.Sprintf("output %s: %v", s.Topic, s.Err))
		}
	}
	return all
}

func (o *outputs) close() error {
	var errs []error
	for _, out := range o.all {
		errs = append(errs, out.Close())
	}
	for _, p := range o.producers {
		p.Close()
	}
	for _, p := range o.plans {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}

// steps is what the steps of outputs have done, as the engine says it of others.
func (o *outputs) steps() []engine.StepStatus {
	var all []engine.StepStatus
	for _, out := range o.all {
		for _, s := range out.Status().Steps {
			all = append(all, engine.StepStatus{
				Name: s.Name, Digest: s.Digest, Batches: s.Batches, Time: s.Time, In: s.In, Out: s.Out, Rejected: s.Rejected,
				BytesIn: s.BytesIn, BytesOut: s.BytesOut, Usage: s.Usage,
			})
		}
	}
	return all
}

// used adds what the steps of outputs have used to what the stages of revisions have: to the revision that they were opened with.
func (o *outputs) used(all []engine.Used) []engine.Used {
	steps := o.steps()
	if len(steps) == 0 {
		return all
	}
	i := slices.IndexFunc(all, func(u engine.Used) bool { return u.Revision == o.revision })
	if i < 0 {
		return append(all, engine.Used{Revision: o.revision, Steps: steps})
	}
	all[i].Steps = append(all[i].Steps, steps...)
	return all
}

// outputSettings leaves out where things stand in the file.
func outputSettings(spec *config.Pipeline) []config.Output {
	out := slices.Clone(spec.Outputs)
	for i := range out {
		out[i].Kafka.Topic.Pos = config.Pos{}
		out[i].Where = config.Text{Value: out[i].Where.Value}
		out[i].Columns = slices.Clone(out[i].Columns)
		for j := range out[i].Columns {
			out[i].Columns[j].Pos = config.Pos{}
		}
		out[i].Steps = config.WithoutPlaces(out[i].Steps)
	}
	return out
}

// describeOutput says what an output does.
func describeOutput(o *config.Output) string {
	text := "tell of each window that is final in the topic " + o.Kafka.Topic.Name
	if o.Where.Value != "" {
		text += ", where " + oneLine(o.Where.Value)
	}
	if len(o.Steps) > 0 {
		text += ", as its steps leave it"
	}
	return text
}
