package authoring

import (
	"context"
	"errors"

	"github.com/weir-stream/weir/operators/wasm"
)

// Fuel is what a row costs: about Wasm instructions. limits.fuel_per_row of a step must be above it.
type Fuel struct {
	PerRow float64 `json:"per_row"`
	Rows   int     `json:"rows"` // of a batch, as it was measured
	From   string  `json:"from"` // what the rows are: a golden file, or "made up rows"
	// Problem says why nothing was measured; then the rest is zero.
	Problem string `json:"problem,omitempty"`
}

// fuelRows is the size of the batch that fuel is measured with, and fuelBatches how many there are: enough for what a call
// and a garbage collection cost to come down to their share.
const (
	fuelRows    = 1024
	fuelBatches = 16
)

// Measure adds to a report what a row costs, on the rows of input, repeated, or on made up ones. from is what it calls them.
// A module that fails on them is no error.
func (r *Report) Measure(ctx context.Context, module []byte, cols Columns, config []byte, input []string, from string) (err error) {
	if r.Kind == "aggregate" {
		return r.measureAggregate(ctx, module, cols, config, input, from)
	}
	b, err := newBenchChain(ctx, wasm.Config{Path: r.File, Module: module, Config: config, OnError: wasm.Stop, Deadline: patience},
		BenchOptions{Columns: cols, Input: input, Rows: fuelRows, Seed: 1})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	r.Fuel = &Fuel{From: from}
	if err := b.run(ctx); err != nil {
		return r.Fuel.failed(ctx, err)
	}
	before := b.c.usage().Fuel
	for range fuelBatches {
		if err := b.run(ctx); err != nil {
			return r.Fuel.failed(ctx, err)
		}
	}
	r.Fuel.Rows = b.rows
	r.Fuel.PerRow = float64(b.c.usage().Fuel-before) / float64(fuelBatches*b.rows)
	return nil
}

func (f *Fuel) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	f.Problem = "it fails on these rows: " + untraced(err.Error())
	return nil
}
