package pipeline

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators/aggregate"
	"github.com/weir-stream/weir/operators/wasm"
	"github.com/weir-stream/weir/operators/window"
	"github.com/weir-stream/weir/sink"
)

// planProgram plans an aggregate of the user's: its module is asked whether it takes the columns. column finds a column and
// notes the error where there is none.
func (p *Plan) planProgram(ctx context.Context, a *config.Aggregate, in *batch.Schema, column func(config.Ident, string) int, opts Options) (*window.Aggregate, config.Errors) {
	spec := a.Wasm
	planned := &window.Aggregate{Name: a.Name, Stop: spec.OnError == config.OnErrorStop}
	args := &batch.Schema{}
	for _, id := range spec.Args {
		i := column(id, "window.aggregates."+a.Name+".args")
		if i < 0 {
			return nil, nil
		}
		planned.Args = append(planned.Args, i)
		args.Fields = append(args.Fields, in.Fields[i])
	}
	cfg := p.wasmConfig("window "+a.Name, &spec.Wasm, opts)
	cfg.StateLimit = int(spec.State)
	program, err := wasm.NewAggregate(ctx, cfg, args)
	if err != nil {
		return nil, config.Errors{p.Spec.Errorf(spec.ModulePos, "%v", err)}
	}
	if p.Programs == nil {
		p.Programs = map[string]*wasm.Aggregate{}
	}
	p.Programs[a.Name] = program
	p.Modules = append(p.Modules, Module{Step: "window " + a.Name, File: spec.File, Digest: digestText(program.Digest())})
	planned.Aggregate = aggregate.NewExternal(program, program.Answer())
	return planned, nil
}

// planFinish says how the answer of a program comes from its states: by a function of the destination, where the pipeline
// names one, or by nobody there.
func (p *Plan) planFinish(ctx context.Context, out *sink.Aggregate, program *wasm.Aggregate) {
	out.Nullable = program.Answer().Nullable
	for _, a := range p.Spec.Window.Aggregates {
		if a.Name != out.Name || a.Wasm == nil || a.Wasm.Merge == "" {
			continue
		}
		out.Finish, out.Function, out.Args = sink.FinishFunction, a.Wasm.Merge, program.Args().Fields
		out.Sample = sample(ctx, program)
	}
}

// sampleRows is how many rows a sample state is made of.
const sampleRows = 3

// sample is a state of rows of zeroes and empty text, or nil where the program takes none.
func sample(ctx context.Context, program *wasm.Aggregate) []byte {
	fold := aggregate.Fold{Rows: []int32{0, 1, 2}, Groups: make([]int32, sampleRows), States: make([][]byte, 1)}
	for _, f := range program.Args().Fields {
		c := batch.Column{Values: make([]byte, 8*sampleRows)}
		if f.Type.Variable() {
			c = batch.Column{Offsets: batch.Bytes(make([]int32, sampleRows+1)), Values: []byte{}}
		}
		fold.Cols = append(fold.Cols, c)
	}
	var next aggregate.States
	if err := program.Accumulate(ctx, &fold, &next); err != nil {
		return nil
	}
	return slices.Clone(next.At(0))
}

// describeProgram says what an aggregate of the user's does.
func describeProgram(a *config.Aggregate) string {
	names := make([]string, len(a.Wasm.Args))
	for i, id := range a.Wasm.Args {
		names[i] = id.Name
	}
	text := fmt.Sprintf("%s(%s)", a.Wasm.Name, strings.Join(names, ", "))
	if a.Wasm.Merge == "" {
		return text + ", finished by 'weir finish'"
	}
	return text + ", merged by ClickHouse as " + a.Wasm.Merge
}
