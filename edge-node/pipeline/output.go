package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/engine"
	"github.com/weir-stream/weir/edge-node/output"
	"github.com/weir-stream/weir/ingest/kafka"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/operators/expr"
	"github.com/weir-stream/weir/operators/window"
	"github.com/weir-stream/weir/sink"
)

// planOutputs finds out whether every output can be made of the windows.
func (p *Plan) planOutputs() config.Errors {
	var errs config.Errors
	for i := range p.Spec.Outputs {
		spec := &p.Spec.Outputs[i]
		path := fmt.Sprintf("outputs[%d]", i)
		if _, ok := any(window.New(p.Window)).(operators.Announcing); !ok {
			errs = append(errs, p.Spec.Errorf(spec.Kafka.Topic.Pos, "%s: windows of this kind are not told of on site yet", path))
			continue
		}
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
		}
	}
	return errs
}

func (p *Plan) outputConfig(spec *config.Output) output.Config {
	cfg := output.Config{
		Topic: spec.Kafka.Topic.Name, Site: p.Node.Site, Node: p.Node.Node, Pipeline: p.Spec.Name,
		Rows: p.Window.Schema(), Keys: len(p.Window.KeyFields()), Where: spec.Where.Value, Log: slog.New(slog.DiscardHandler),
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
}

// openOutputs makes them. It connects to nothing.
func (p *Plan) openOutputs(log *slog.Logger) (*outputs, error) {
	o := &outputs{}
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
				}
			}
		}
		if err != nil {
			o.close()
			return nil, fmt.Errorf("outputs[%d]: %w", i, err)
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
		from := output.Window{Partition: f.Partition, Revision: sink.RevisionText(f.Revision), Segment: f.Segment, Version: f.Version}
		for _, out := range o.all {
			if err := out.Send(ctx, &from, f.Rows); err != nil {
				return err
			}
		}
		return nil
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

func (o *outputs) close() {
	for _, p := range o.producers {
		p.Close()
	}
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
	}
	return out
}

// describeOutput says what an output does.
func describeOutput(o *config.Output) string {
	text := "tell of each window that is final in the topic " + o.Kafka.Topic.Name
	if o.Where.Value != "" {
		text += ", where " + oneLine(o.Where.Value)
	}
	return text
}
