package authoring

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/ingest/decode"
	"github.com/weir-stream/weir/operators/aggregate"
	"github.com/weir-stream/weir/operators/wasm"
)

// AggregateBench is what an aggregate of a window costs. Fuel and ratio hold from machine to machine, about; the rest is this
// machine's.
type AggregateBench struct {
	Rows       int      `json:"rows"`   // of a call of accumulate
	Groups     int      `json:"groups"` // they belong to; merge and finish get a state of each
	Input      []string `json:"input"`
	Output     string   `json:"output"`
	StateBytes float64  `json:"state_bytes"` // of a group's state, on average

	Native     AggregateTime `json:"native"`     // Go that gathers the same rows and computes nothing, per row
	Accumulate AggregateTime `json:"accumulate"` // of groups that have no state yet, per row
	Merge      AggregateTime `json:"merge"`      // per pair of states
	Finish     AggregateTime `json:"finish"`     // per state
}

// AggregateTime is what a row or a state takes in one of the calls. The time is a median.
type AggregateTime struct {
	Ns      float64 `json:"ns"`
	Fuel    float64 `json:"fuel"`            // about Wasm instructions
	Ratio   float64 `json:"ratio,omitempty"` // of its time to the native one, where both are per row
	Samples int     `json:"samples"`         // times it was measured
}

// benchFuelCalls is how often a call is made to learn its fuel.
const benchFuelCalls = 4

// BenchAggregate measures an aggregate: rows of a batch into states of groups that are equally large, states into states, and
// states into answers. opt.Columns are its arguments.
func BenchAggregate(ctx context.Context, module []byte, label string, groups int, opt BenchOptions) (_ *AggregateBench, err error) {
	if opt.Rows < 1 || opt.Rows > MaxBenchRows {
		return nil, fmt.Errorf("%d rows: a batch has from 1 to %d", opt.Rows, MaxBenchRows)
	}
	cache := wasm.NewCache().KeepUnused()
	defer func() { err = errors.Join(err, cache.Close()) }()
	a, err := wasm.NewAggregate(ctx, wasm.Config{Path: label, Module: module, Config: opt.Config, Cache: cache}, opt.Columns.Schema())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, a.Close()) }()

	longest := 0
	for _, line := range opt.Input {
		longest = max(longest, len(line))
	}
	size := decode.SlotSize(opt.Columns, opt.Rows, max(longest, 1<<10))
	arena := batch.NewArena(make([]byte, size))
	var cols []batch.Column
	rows := opt.Rows
	if len(opt.Input) == 0 {
		cols = generate(opt.Columns, rows, opt.Seed, &arena)
	} else if cols, rows, err = decodeRows(opt.Columns, opt.Input, rows, &arena); err != nil {
		return nil, err
	}
	groups = max(1, min(groups, rows))
	fold := aggregate.Fold{Cols: cols, States: make([][]byte, groups)}
	for i := range rows {
		fold.Rows, fold.Groups = append(fold.Rows, int32(i)), append(fold.Groups, int32(i*groups/rows))
	}

	var next, merged aggregate.States
	accumulate := func() error { next.Reset(); return a.Accumulate(ctx, &fold, &next) }
	if err := accumulate(); err != nil {
		return nil, fmt.Errorf("the aggregate fails on the rows it is measured with; give rows that it takes as input: %w", err)
	}
	r := &AggregateBench{Rows: rows, Groups: groups, Input: columnLines(opt.Columns.Schema()), Output: a.Answer().String()}
	states := make([][]byte, groups)
	for i := range states {
		states[i] = bytes.Clone(next.At(i))
		r.StateBytes += float64(len(states[i])) / float64(groups)
	}
	merge := func() error { merged.Reset(); return a.Merge(ctx, states, states, &merged) }
	finish := func() error { _, err := a.Finish(ctx, states); return err }
	room := make([]byte, size)
	all := batch.Batch{Schema: opt.Columns.Schema()}
	native := func() error {
		heap := batch.NewArena(room)
		all.Cols, all.Rows = append(all.Cols[:0], cols...), rows
		all.Gather(fold.Rows, &heap)
		return nil
	}

	calls := []struct {
		to   *AggregateTime
		call func() error
		per  int
	}{{&r.Native, native, rows}, {&r.Accumulate, accumulate, rows}, {&r.Merge, merge, groups}, {&r.Finish, finish, groups}}
	var ways []func() error
	for _, c := range calls {
		var before int64
		for i := range 3 * benchFuelCalls { // the host makes the first calls twice: they are not counted
			if i == 2*benchFuelCalls {
				before = a.Usage().Fuel
			}
			if err := c.call(); err != nil {
				return nil, err
			}
		}
		c.to.Fuel = float64(a.Usage().Fuel-before) / float64(benchFuelCalls*c.per)
		ways = append(ways, c.call)
	}
	times, _, err := interleave(ctx, opt.Time, ways)
	if err != nil {
		return nil, err
	}
	for i, c := range calls {
		c.to.Ns, c.to.Samples = times[i].median/float64(c.per), times[i].samples
	}
	r.Native.Ratio, r.Accumulate.Ratio = 1, times[1].median/times[0].median
	return r, nil
}
