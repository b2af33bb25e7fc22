package engine

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/operators"
)

// Generation is what one version of a pipeline consists of: everything about an engine that can be replaced while it runs.
type Generation struct {
	Revision  uint64                         // names everything that decides what the results are
	Decoder   func() (ingest.Decoder, error) // one per chain
	Steps     []operators.Step
	Window    func() operators.Window // one per lane
	Longest   time.Duration           // no window is longer
	EmitFinal bool                    // cuts of windows have Final, which alone is shipped while the lane goes on
	Undivided string                  // why a window must not be in the rows of two segments of a revision; empty where the parts add up in any order
	// Widening merges windows that wait on the disk where WhenFull is Coarsen; nil: they cannot be merged.
	Widening  operators.Widening
	Programs  []Program // what the windows run of the user's
	BatchRows int       // rows per batch; 0: 8192
	SlotSize  int       // bytes of the decoder's slots, as its package says; 0: 4 MiB
	// OwnWindows says that windows run what Close frees, so that none outlives its generation.
	OwnWindows bool
	// Close frees the steps when nothing runs them any more; nil leaves that to the caller. It is called once.
	Close func() error
}

// Program is an aggregate of the user's that all windows of a generation share: what it has used is counted beside the window.
type Program struct {
	Name string // as StepStatus and dead letters have it: "window vwap"
	Of   interface {
		operators.Metered
		operators.Digested
	}
}

func (g *Generation) setDefaults() {
	if g.BatchRows == 0 {
		g.BatchRows = 8192
	}
	if g.SlotSize == 0 {
		g.SlotSize = 4 << 20
	}
}

// generation is a Generation with the chains that run it, shared by the lanes that are in it.
type generation struct {
	Generation
	chains chan *chain
	counts stageCounts
	lanes  int          // guarded by Engine.mu: lanes that are in it, or about to be
	ending bool         // guarded by Engine.mu: somebody closes it
	opened atomic.Int64 // segments begun because a lane came from another revision

	stateful []int         // steps that carry something from row to row: where there are any, every lane has a chain of its own
	turns    chan struct{} // of such lanes: as many run at once as there would be chains

	resting sync.Mutex // held while rest has a chain; close waits for it
	closing sync.Once
	closed  chan struct{} // closed when the chains and steps are
	err     error         // of closing; read after closed
}

// newGeneration makes the chains of a generation.
func newGeneration(ctx context.Context, cfg *Config, spec Generation) (*generation, error) {
	spec.setDefaults()
	g := &generation{
		Generation: spec, chains: make(chan *chain, cfg.Chains), counts: stageCounts{steps: make([]stepCount, len(spec.Steps))},
		closed: make(chan struct{}),
	}
	for i, s := range spec.Steps {
		if operators.IsStateful(s) {
			g.stateful = append(g.stateful, i)
		}
	}
	shared := cfg.Chains
	if len(g.stateful) > 0 {
		g.turns = make(chan struct{}, cfg.Chains)
		shared = 1 // the first lane's
	}
	for i := range shared {
		c, err := newChain(ctx, cfg, &spec, i > 0) // the first shows that it works
		if err != nil {
			g.Generation.Close = nil // the caller keeps what could not be used
			return nil, errors.Join(err, g.close())
		}
		c.countAll(&g.counts)
		g.chains <- c
	}
	return g, nil
}

// close frees the chains and then the steps. No lane is in the generation. Closing twice is fine.
func (g *generation) close() error {
	g.closing.Do(func() {
		g.resting.Lock()
		defer g.resting.Unlock()
		defer close(g.closed)
		var errs []error
		for len(g.chains) > 0 {
			c := <-g.chains
			errs = append(errs, c.close())
			c.countAll(&g.counts)
		}
		if g.Generation.Close != nil {
			errs = append(errs, g.Generation.Close())
		}
		g.err = errors.Join(errs...)
	})
	<-g.closed
	return g.err
}
