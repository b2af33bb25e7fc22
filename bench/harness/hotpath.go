package harness

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/weir-stream/weir/bench/workload"
	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/pipeline"
	"github.com/weir-stream/weir/ingest/batch"
)

// hot is what the stages between the broker and the sink cost beside time.
type hot struct {
	allocsPerRow float64
	bytesCopied  int64
}

// hotPath takes records of a workload through decode, steps and window in this process, and counts Go allocations and bytes
// copied between pool and sandbox: the one thing a process does not tell from outside. It counts once half of the
// stream has passed, which is longer than a window stays open, so that windows close as fast as they open and their
// memory is used again. Cuts, which allocate what they ship, are between the counts; late records, which become dead
// letters, are not in the stream.
func hotPath(ctx context.Context, c workload.Case, events int64, lookup func(string) (string, bool)) (_ hot, err error) {
	chunk := int((16<<10)/rowsOf(c) + 1)
	spec, err := config.ParseEnv(c.Name+".yaml", []byte(c.Pipeline), config.Env{Lookup: lookup})
	if err != nil {
		return hot{}, err
	}
	plan, err := pipeline.New(ctx, spec, config.DefaultNode(), pipeline.Options{})
	if err != nil {
		return hot{}, err
	}
	defer func() { err = errors.Join(err, plan.Close()) }()
	gen, err := c.Stream(workload.Size{Seed: 2, Events: events, Span: 4 * time.Minute, Partitions: 1, Clean: true})
	if err != nil {
		return hot{}, err
	}
	probe, err := plan.NewProbe(ctx)
	if err != nil {
		return hot{}, err
	}
	defer func() { err = errors.Join(err, probe.Close()) }()
	var h hot
	counted := 0
	for done := 0; ; {
		records := make([]batch.Record, 0, chunk)
		for len(records) < chunk {
			var r workload.Record
			if !gen.Next(&r) {
				break
			}
			records = append(records, batch.Record{Offset: r.Offset, Time: r.Time, Key: r.Key, Value: r.Value})
		}
		if len(records) == 0 {
			break
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := probe.Run(ctx, records); err != nil {
			return hot{}, fmt.Errorf("hot path: %w", err)
		}
		runtime.ReadMemStats(&after)
		if done += len(records); int64(done) > events/2 {
			h.allocsPerRow += float64(after.Mallocs - before.Mallocs)
			counted += len(records)
		}
		probe.Cut(int64(done))
	}
	if counted > 0 {
		h.allocsPerRow /= float64(int64(counted) * rowsOf(c))
	}
	h.bytesCopied = probe.Usage().BytesCopied
	return h, nil
}
