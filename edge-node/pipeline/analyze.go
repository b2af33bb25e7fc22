package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weir-stream/weir/edge-node/engine"
	"github.com/weir-stream/weir/ingest/batch"
)

// Analysis is what the stages of a plan did with some records.
type Analysis struct {
	Records    int64           `json:"records"`
	Aggregated int64           `json:"rows_aggregated"`
	Late       int64           `json:"rows_late"`
	Answers    int64           `json:"answers"` // rows the window would ship
	Copied     int64           `json:"bytes_copied"`
	Stages     []AnalyzedStage `json:"stages"`
}

// AnalyzedStage is what a stage did. Times are of this machine, and dear for few rows; fuel is the same on every machine.
type AnalyzedStage struct {
	Name       string                 `json:"name"`
	RowsIn     int64                  `json:"rows_in"`
	RowsOut    int64                  `json:"rows_out"`
	Rejected   map[batch.Reason]int64 `json:"rejected,omitempty"`
	BytesIn    int64                  `json:"bytes_in"`
	BytesOut   int64                  `json:"bytes_out"`
	Copied     int64                  `json:"bytes_copied"`
	NanosByRow float64                `json:"ns_per_row"`
	FuelByRow  float64                `json:"fuel_per_row"`
	Traps      int64                  `json:"traps"`
	Retries    int64                  `json:"retries"`
	Instances  int64                  `json:"instances"` // started, the first included
}

// Analyze takes records through decode, steps and window in this process, and tells what each stage did. next gives some
// records at a time, which it may use again once it is called for more, and none at the end.
func (p *Plan) Analyze(ctx context.Context, next func() ([]batch.Record, error)) (a *Analysis, err error) {
	probe, err := p.NewProbe(ctx)
	if err != nil {
		return nil, fmt.Errorf("make the stages: %w", err)
	}
	defer func() { err = errors.Join(err, probe.Close()) }()
	start := probe.Steps() // what it took to start is not the rows'
	offset := int64(0)
	for {
		records, err := next()
		if err != nil {
			return nil, err
		}
		if len(records) == 0 {
			break
		}
		for i := range records {
			records[i].Offset = offset
			offset++
		}
		if err := probe.Run(ctx, records); err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	probe.Cut(offset)
	counts := probe.Counts()
	a = &Analysis{Records: offset, Aggregated: counts.Aggregated, Late: counts.Late}
	steps := probe.Steps()
	for i := range steps {
		s := &steps[i]
		a.Stages = append(a.Stages, analyzed(s, &start[i], probe.Rejected(s.Name)))
		a.Copied += s.Usage.BytesCopied
	}
	last := len(steps) - 1
	a.Answers = a.Stages[last].RowsOut
	for i := last - len(p.Programs); i < last && steps[last].In > 0; i++ { // aggregates of the user's are given the window's rows
		a.Stages[i].FuelByRow = float64(steps[i].Usage.Fuel-start[i].Usage.Fuel) / float64(steps[last].In)
	}
	return a, nil
}

func analyzed(s, start *engine.StepStatus, rejected map[batch.Reason]int64) AnalyzedStage {
	a := AnalyzedStage{
		Name: s.Name, RowsIn: s.In, RowsOut: s.Out, Rejected: rejected, BytesIn: s.BytesIn, BytesOut: s.BytesOut,
		Copied: s.Usage.BytesCopied, Traps: s.Usage.Traps, Retries: s.Usage.Retries, Instances: s.Usage.Instances,
	}
	if s.In > 0 {
		a.NanosByRow = float64(s.Time) / float64(time.Nanosecond) / float64(s.In)
		a.FuelByRow = float64(s.Usage.Fuel-start.Usage.Fuel) / float64(s.In)
	}
	return a
}
