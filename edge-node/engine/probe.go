package engine

import (
	"context"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
)

// Probe takes records through the stages of a pipeline without source and sink: to measure what they cost.
type Probe struct {
	gen    *Generation
	chain  *chain
	window operators.Window
	counts stageCounts

	aggregated operators.Counts
	rejected   map[string]map[batch.Reason]int64 // by stage
}

// NewProbe makes one chain and one window of a pipeline. Only the generation of the configuration is used.
func NewProbe(ctx context.Context, cfg Config) (*Probe, error) {
	cfg.setDefaults()
	gen := &cfg.Generation
	c, err := newChain(ctx, &cfg, gen, false)
	if err != nil {
		return nil, err
	}
	p := &Probe{gen: gen, chain: c, window: gen.Window(), counts: stageCounts{steps: make([]stepCount, len(gen.Steps))}, rejected: map[string]map[batch.Reason]int64{}}
	c.countAll(&p.counts)
	return p, nil
}

// Run processes records in batches, as a lane would.
func (p *Probe) Run(ctx context.Context, records []batch.Record) error {
	for resumed := false; len(records) > 0; {
		n := min(len(records), p.gen.BatchRows)
		if resumed {
			n = 1
		}
		b, err := p.chain.run(ctx, batch.Partition{}, records[:n], resumed, p.gen.Steps, &p.counts)
		if err != nil {
			return err
		}
		counts, err := p.chain.aggregate(ctx, p.window, &p.counts.window)
		if err != nil {
			return err
		}
		p.aggregated.Aggregated += counts.Aggregated
		p.aggregated.Late += counts.Late
		for i := range b.Rejects {
			r := &b.Rejects[i]
			if p.rejected[r.Step] == nil {
				p.rejected[r.Step] = map[batch.Reason]int64{}
			}
			p.rejected[r.Step][r.Reason]++
		}
		records, resumed = records[b.Finished():], b.Unfinished
		b.Release()
	}
	return nil
}

// Cut takes out what changed and closes final windows, as a lane does when it ships.
func (p *Probe) Cut(next int64) operators.Cut { return cut(p.window, next, &p.counts.window) }

// Steps is what the stages have done: decode, the steps, and the window.
func (p *Probe) Steps() []StepStatus { return p.counts.status(p.gen) }

// Counts is what became of the rows in the window.
func (p *Probe) Counts() operators.Counts { return p.aggregated }

// Rejected counts rejects by reason, for a stage by its name. The map is the probe's.
func (p *Probe) Rejected(stage string) map[batch.Reason]int64 { return p.rejected[stage] }

// Usage is what the operators have used.
func (p *Probe) Usage() operators.Usage {
	var u operators.Usage
	for i := range p.counts.steps {
		c := &p.counts.steps[i]
		u.BytesCopied += c.copied.Load()
		u.Instances += c.instances.Load()
		u.Traps += c.traps.Load()
		u.Fuel += c.fuel.Load()
	}
	for _, program := range p.gen.Programs {
		u = u.Plus(program.Of.Usage())
	}
	return u
}

// Close frees the chain.
func (p *Probe) Close() error { return p.chain.close() }
