package engine

import (
	"context"
	"sync"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

// preload reads what the node's disk has of partitions while the client joins its group, as many at once as there are chains.
// After a crash they are most likely assigned again, and nothing is fetched before the last of them is ready. What is not
// assigned after all is forgotten when the first assignment is complete; a partition that comes later is read when it comes.
//
// All of it is a guess: after an error, or where the pipeline was swapped meanwhile, a partition is read again as it is assigned.
type preload struct {
	gen     *generation // whose windows are loaded; the preload keeps it open
	stop    func()      // ends the readers and leaves the generation, once; nil where nothing is preloaded
	readers sync.WaitGroup

	mu    sync.Mutex
	kept  map[partKey]*preloaded // guarded by mu: what nobody has taken
	state int64                  // guarded by mu: bytes of the windows that are loaded
}

// partKey names a partition of a topic whatever the topic's name.
type partKey struct {
	topic [16]byte
	id    int32
}

// preloaded is what the disk has of a partition. It is read from when done is closed.
type preloaded struct {
	partition batch.Partition
	done      chan struct{}
	saved     *remembered // nil: nothing of use
	disk      sink.Local  // nil: it was not read
}

// preloadKept begins to read what is kept.
func (e *Engine) preloadKept(ctx context.Context) {
	if e.cfg.Local == nil || e.cfg.Kept == nil {
		return
	}
	p, gen := &e.preload, e.enter()
	parts, err := e.cfg.Kept(gen.Revision)
	if err != nil || len(parts) == 0 {
		e.leave(gen) // what is wrong is told by whoever needs it
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	p.gen, p.kept = gen, map[partKey]*preloaded{}
	p.stop = sync.OnceFunc(func() {
		cancel()
		p.readers.Wait()
		e.leave(gen)
	})
	queue := make(chan *preloaded, len(parts))
	for _, part := range parts {
		one := &preloaded{partition: part, done: make(chan struct{})}
		p.kept[partKey{part.TopicID, part.ID}] = one
		queue <- one
	}
	close(queue)
	for range min(e.cfg.Chains, len(parts)) {
		p.readers.Go(func() {
			for one := range queue {
				e.preloadOne(ctx, one)
				close(one.done)
			}
		})
	}
}

// preloadOne reads one partition, unless there is no memory for more.
func (e *Engine) preloadOne(ctx context.Context, one *preloaded) {
	p := &e.preload
	p.mu.Lock()
	full := p.state > e.cfg.MaxState
	p.mu.Unlock()
	if full || ctx.Err() != nil {
		return
	}
	disk := e.localOf(one.partition, p.gen.Revision)
	saved, err := readSaved(ctx, disk, p.gen)
	if err != nil {
		return
	}
	one.saved, one.disk = saved, disk
	if saved != nil {
		p.mu.Lock()
		p.state += saved.window.MemorySize()
		p.mu.Unlock()
	}
}

// preloaded is savedOf of a partition that is assigned, which may have been read already.
func (e *Engine) preloaded(ctx context.Context, part batch.Partition, g *generation) (*remembered, sink.Local) {
	p := &e.preload
	key := partKey{part.TopicID, part.ID}
	p.mu.Lock()
	one := p.kept[key]
	delete(p.kept, key)
	p.mu.Unlock()
	if one != nil && p.gen == g {
		select {
		case <-one.done:
		case <-ctx.Done():
			return nil, nil
		}
		if one.disk != nil {
			return one.saved, one.disk
		}
	}
	return e.savedOf(ctx, part, g.Revision, g)
}

// end forgets what nobody has taken. Ending twice is fine.
func (p *preload) end() {
	if p.stop == nil {
		return
	}
	p.mu.Lock()
	p.kept = nil
	p.mu.Unlock()
	p.stop()
}
