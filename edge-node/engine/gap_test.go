package engine_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/weir-stream/weir/edge-node/engine"
	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

// script is a source that calls its handler as it is told, and then waits for the end of the run.
type script func(ctx context.Context, h ingest.Handler)

func (s script) Run(ctx context.Context, h ingest.Handler) error {
	s(ctx, h)
	<-ctx.Done()
	return nil
}

func (script) Pause(batch.Partition)                         {}
func (script) Resume(batch.Partition)                        {}
func (script) Commit(context.Context, []ingest.Commit) error { return nil }
func (script) LeaderEpoch(batch.Partition) int32             { return -1 }

// TestGapAfterGap has retention strike twice: before a partition is assigned, and again before any of its records was
// stored. The segment that begins at last must tell of all that is missing, since the one between was never heard of; and
// of no more than is missing behind that one, where a process that died had stored its beginning.
func TestGapAfterGap(t *testing.T) {
	t.Run("not stored", func(t *testing.T) { gapAfterGap(t, nil, 35) })
	t.Run("stored by a process that died", func(t *testing.T) {
		gapAfterGap(t, &sink.Coverage{Revision: 1, Segment: 1, Start: 60, Version: 60, RowsVersion: 60, Gap: 20, GapReason: "retention"}, 15)
	})
}

func gapAfterGap(t *testing.T, between *sink.Coverage, want int64) {
	p := batch.Partition{Topic: topic, TopicID: [16]byte{1}, ID: 0}
	c := newCentre()
	for _, step := range []struct {
		commit     string
		start, end int64 // of the log at the assignment
		gap        int64 // where it begins later
	}{
		{"", 0, 40, 0},
		{`{"v":1,"rev":"0000000000000001","tid":"01000000000000000000000000000000","seg":0,"start":0,"b":40,"at":[0,0,0],"reached":[0,0,0],"n":[40,40,0,0,0,0]}`, 60, 100, 75},
	} {
		source := script(func(ctx context.Context, h ingest.Handler) {
			a := ingest.Assignment{Partition: p, LogStart: step.start, LogEnd: step.end, Committed: -1, SameUpTo: -1}
			if step.commit != "" {
				a.Committed, a.Metadata = 0, step.commit
				if between != nil {
					between.Partition = p
					c.mu.Lock()
					c.storeCoverage(*between)
					c.mu.Unlock()
				}
			}
			begin := h.Assigned(ctx, []ingest.Assignment{a})[0]
			if begin.Err != nil {
				t.Error(begin.Err)
			}
			at := begin.Offset
			if step.gap > 0 {
				h.Gap(ctx, p, at, step.gap, ingest.GapRetention)
				at = step.gap
			}
			var records []batch.Record
			for ; at < step.end; at++ {
				records = append(records, batch.Record{Offset: at, Value: fmt.Appendf(nil, `{"ts":%d,"device":"d","v":1}`, 1000*at)})
			}
			h.Records(p, records, step.end)
		})
		l := &life{Source: source, centre: c}
		e, err := engine.New(t.Context(), engine.Config{
			Pipeline: "test", Node: "n1", Source: l, Generation: generation(t, 1, 500), Delivery: l, Coverage: c.readAll,
			FlushEvery: 10 * time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
		ended := make(chan error, 1)
		go func() { ended <- e.Run(ctx) }()
		for reached := int64(0); reached < step.end && ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
			if cov, _ := c.read(ctx, p); len(cov) > 0 {
				reached = cov[0].Version
			}
		}
		stop()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	cov, err := c.read(t.Context(), p)
	if err != nil || len(cov) < 2 || cov[0].Start != 75 || cov[0].Gap != want {
		t.Errorf("the newest segment must begin at 75 and tell of %d missing offsets: %+v, %v", want, cov, err)
	}
}
