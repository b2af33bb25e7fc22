package simulation

import (
	"context"
	"encoding/json"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
)

// running is a step with state: v becomes the sum of all v of the device so far. It stands in for an operator in a sandbox, which
// costs too much here; what keeps its state, and has others take it up, is the engine.
type running struct {
	w      *world
	schema *batch.Schema
}

func (s *running) Name() string       { return "2 running" }
func (s *running) In() *batch.Schema  { return s.schema }
func (s *running) Out() *batch.Schema { return s.schema }
func (s *running) Close() error       { return nil }
func (s *running) Stateful() bool     { return true }
func (s *running) Open(context.Context, operators.Env) (operators.Operator, error) {
	return &runningSums{w: s.w, sums: map[string]int64{}}, nil
}

type runningSums struct {
	w    *world
	sums map[string]int64
}

// Process implements operators.Operator.
func (o *runningSums) Process(_ context.Context, b *batch.Batch) error {
	values := append([]int64(nil), batch.As[int64](b.Cols[2].Values)[:b.Rows]...)
	for i, v := range values {
		device := string(b.Cols[1].Bytes(i))
		o.sums[device] += v
		values[i] = o.sums[device]
	}
	b.Cols[2].Values = batch.Bytes(values)
	return nil
}

// Snapshot implements operators.Stateful.
func (o *runningSums) Snapshot(dst []byte) ([]byte, error) {
	if len(o.sums) == 0 {
		return dst, nil
	}
	text, err := json.Marshal(o.sums)
	return append(dst, text...), err
}

// Restore implements operators.Stateful.
func (o *runningSums) Restore(_ context.Context, state []byte) error {
	o.sums = map[string]int64{}
	if len(state) == 0 {
		return nil
	}
	o.w.hit(faultState)
	if o.w.plan.mutant == mutantAmnesia {
		return nil
	}
	return json.Unmarshal(state, &o.sums)
}

// Close implements operators.Operator.
func (o *runningSums) Close() error { return nil }
