package pipeline

import (
	"context"
	"errors"
	"fmt"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/operators/builtin"
	"github.com/weir-stream/weir/operators/wasm"
)

// planSteps plans the steps in order, each over the columns the one before gives.
func (p *Plan) planSteps(ctx context.Context, in *batch.Schema, opts Options) (*batch.Schema, error) {
	for i := range p.Spec.Steps {
		spec := &p.Spec.Steps[i]
		name := p.stepName(i)
		step, err := p.planStep(ctx, name, spec, in, opts)
		if err != nil {
			return nil, err
		}
		p.Steps = append(p.Steps, step)
		in = step.Out()
		state, table := stateOf(spec, step)
		p.Stages = append(p.Stages, Stage{
			Name: step.Name(), Schema: in, Does: describe(spec), State: state, StateTable: table, Module: explainModule(spec.Wasm, step),
		})
	}
	return in, nil
}

// stepName is how a step is called: its position and kind, and in front of them whose it is where it is not the pipeline's.
func (p *Plan) stepName(i int) string {
	return fmt.Sprintf("%s%d %s", p.stepPrefix, i+1, p.Spec.Steps[i].Kind)
}

func (p *Plan) planStep(ctx context.Context, name string, spec *config.Step, in *batch.Schema, opts Options) (operators.Step, error) {
	switch spec.Kind {
	case config.StepFilter:
		f := p.newCalls(ctx, name, in, opts)
		s, err := builtin.NewFilterIn(f.scope, name, spec.Filter.Value)
		return f.before(s, err), p.stepError(err, spec, func(string) (config.Pos, *config.Text) { return spec.Pos, spec.Filter })
	case config.StepMap:
		assigns := make([]builtin.Assign, len(spec.Map))
		for i, a := range spec.Map {
			assigns[i] = builtin.Assign{Name: a.Name, Src: a.Expr.Value}
		}
		f := p.newCalls(ctx, name, in, opts)
		s, err := builtin.NewMapIn(f.scope, name, assigns)
		return f.before(s, err), p.stepError(err, spec, func(key string) (config.Pos, *config.Text) {
			for i := range spec.Map {
				if a := &spec.Map[i]; a.Name == key {
					return a.Pos, &a.Expr
				}
			}
			return spec.Pos, nil
		})
	case config.StepDrop:
		names := make([]string, len(spec.Drop))
		for i, d := range spec.Drop {
			names[i] = d.Name
		}
		s, err := builtin.NewDrop(name, in, names)
		return s, p.stepError(err, spec, func(key string) (config.Pos, *config.Text) {
			for _, d := range spec.Drop {
				if d.Name == key {
					return d.Pos, nil
				}
			}
			return spec.Pos, nil
		})
	case config.StepRename:
		pairs := make([]builtin.Rename, len(spec.Rename))
		for i, r := range spec.Rename {
			pairs[i] = builtin.Rename{From: r.From, To: r.To.Name}
		}
		s, err := builtin.NewRename(name, in, pairs)
		return s, p.stepError(err, spec, func(key string) (config.Pos, *config.Text) {
			for _, r := range spec.Rename {
				if r.From == key {
					return r.Pos, nil
				}
				if r.To.Name == key {
					return r.To.Pos, nil
				}
			}
			return spec.Pos, nil
		})
	case config.StepCast:
		casts := make([]builtin.Cast, len(spec.Cast))
		for i, c := range spec.Cast {
			casts[i] = builtin.Cast{Column: c.Column, Type: c.Type, Nullable: c.Nullable}
		}
		s, err := builtin.NewCast(name, in, casts)
		return s, p.stepError(err, spec, func(key string) (config.Pos, *config.Text) {
			for _, c := range spec.Cast {
				if c.Column == key {
					return c.Pos, nil
				}
			}
			return spec.Pos, nil
		})
	case config.StepWasm:
		return p.planWasm(ctx, name, spec.Wasm, in, opts)
	default:
		return nil, p.Spec.Errorf(spec.Pos, "unknown step %q", spec.Kind)
	}
}

func (p *Plan) planWasm(ctx context.Context, name string, spec *config.Wasm, in *batch.Schema, opts Options) (operators.Step, error) {
	s, err := wasm.New(ctx, p.wasmConfig(name+" "+spec.Name, spec, opts), in)
	if err != nil {
		return nil, p.Spec.Errorf(spec.ModulePos, "%v", err)
	}
	p.Modules = append(p.Modules, Module{Step: s.Name(), File: spec.File, Digest: digestText(s.Digest())})
	if spec.Shadow == nil || spec.Shadow.Sample == 0 {
		return s, nil
	}
	shadow, err := p.planShadow(ctx, s, spec, opts)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return shadow, nil
}

// planShadow puts the candidate beside the live operator. It changes nothing of what the pipeline gives, so it is not in the
// revision.
func (p *Plan) planShadow(ctx context.Context, live *wasm.Step, spec *config.Wasm, opts Options) (operators.Step, error) {
	candidate := *spec.Shadow
	if candidate.Config == nil {
		candidate.Config = spec.Config
	}
	cfg := p.wasmConfig(live.Name()+" shadow", &candidate, opts)
	cfg.Transport, cfg.OnError = wasm.Copy, wasm.Reject
	c, err := wasm.New(ctx, cfg, live.In())
	if err != nil {
		return nil, p.Spec.Errorf(candidate.ModulePos, "shadow: %v", err)
	}
	s, err := wasm.NewShadow(live, c, int(candidate.Sample))
	if err != nil {
		return nil, errors.Join(p.Spec.Errorf(candidate.ModulePos, "shadow: %v", err), c.Close())
	}
	return s, nil
}

// wasmConfig is how a module is used, as the pipeline's file has it.
func (p *Plan) wasmConfig(name string, spec *config.Wasm, opts Options) wasm.Config {
	cfg := wasm.Config{
		Name: name, Path: spec.File, Config: spec.Config, OnError: wasm.OnError(spec.OnError),
		MemoryLimit: int(spec.Memory), FuelPerRow: spec.FuelPerRow, Stack: int(spec.Stack), MaxFunctions: int(spec.Functions), CompileTime: spec.CompileTime,
		BatchRows: int(p.Spec.Batch.Rows), ModuleLimit: int(spec.ModuleSize),
		PartitionState: int(spec.State),
		TableLimit:     int(spec.Tables), MaxExpansion: int(spec.Expansion), OutputLimit: int(spec.Output), LogLines: int(spec.LogLines),
		LogRate: int(spec.LogRate), Deadline: spec.Deadline, Verify: int(spec.Verify),
		Interpreter: opts.Interpreter, Log: opts.Log,
	}
	if opts.Modules != nil {
		cfg.Cache = opts.Modules.cache
	}
	if opts.CopyTransport {
		cfg.Transport = wasm.Copy
	}
	return cfg
}

// stepError places what a built-in step complains about; place finds a key of the step, and its scalar if it has one.
func (p *Plan) stepError(err error, spec *config.Step, place func(key string) (config.Pos, *config.Text)) error {
	if err == nil {
		return nil
	}
	at := spec.Pos
	var e *builtin.Error
	if errors.As(err, &e) {
		pos, text := place(e.Key)
		if at = pos; text != nil && !e.Name {
			at = text.PosAt(e.Offset)
		}
		err = e.Err
	}
	return p.Spec.Errorf(at, "%v", err)
}
