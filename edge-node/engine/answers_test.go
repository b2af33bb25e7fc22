package engine_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/edge-node/engine"
	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

// TestOneQuestion asks the destination once about all partitions of an assignment, however many there are, and about none whose commit
// says where it goes on. Each begins by the answer about itself.
func TestOneQuestion(t *testing.T) {
	none := func(int32) (int64, string) { return -1, "" }
	commit := func(revision string) func(int32) (int64, string) {
		return func(id int32) (int64, string) {
			return int64(id), fmt.Sprintf(`{"v":1,"rev":%q,"tid":"01000000000000000000000000000000","seg":0,"start":0,"b":%d,"at":[0,0,0],"reached":[0,0,0],"n":[0,0,0,0,0,0]}`, revision, id)
		}
	}
	const own = "0000000000000001"
	same, other := commit(own), commit("0000000000000002")
	half := func(id int32) (int64, string) {
		if id%2 == 0 {
			return same(id)
		}
		return none(id)
	}
	for name, c := range map[string]struct {
		commit     func(id int32) (int64, string)
		partitions int32
		asked      int // partitions that are asked about
	}{
		"one without a commit":          {none, 1, 1},
		"many without a commit":         {none, 64, 64},
		"many of another revision":      {other, 64, 64},
		"every second without a commit": {half, 64, 32},
		"all with a commit":             {same, 64, 0},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
			defer stop()
			var questions [][]batch.Partition
			e, err := engine.New(t.Context(), engine.Config{
				Pipeline: "test", Node: "n1", Generation: generation(t, 1, 500), Delivery: &life{centre: newCentre()},
				Coverage: func(_ context.Context, ps []batch.Partition) ([][]sink.Coverage, error) {
					questions = append(questions, slices.Clone(ps))
					all := make([][]sink.Coverage, len(ps))
					for i, p := range ps {
						end := 100 + int64(p.ID)
						all[i] = []sink.Coverage{{Partition: p, Revision: 3, Version: end, RowsVersion: end}}
					}
					return all, nil
				},
				Source: script(func(ctx context.Context, h ingest.Handler) {
					defer stop()
					as := make([]ingest.Assignment, c.partitions)
					for i := range as {
						p := batch.Partition{Topic: topic, TopicID: [16]byte{1}, ID: int32(i)}
						as[i] = ingest.Assignment{Partition: p, LogEnd: 1000, SameUpTo: -1}
						as[i].Committed, as[i].Metadata = c.commit(p.ID)
					}
					asked := 0
					for i, start := range h.Assigned(ctx, as) {
						want := 100 + int64(i)
						if at, metadata := c.commit(int32(i)); strings.Contains(metadata, own) {
							want = at
						}
						if start.Err != nil || start.Offset != want {
							t.Errorf("partition %d begins at %d (%v), want %d", i, start.Offset, start.Err, want)
						}
					}
					for _, q := range questions {
						asked += len(q)
					}
					if len(questions) != min(1, c.asked) || asked != c.asked {
						t.Errorf("%d questions about %d partitions, want %d about %d", len(questions), asked, min(1, c.asked), c.asked)
					}
				}),
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := e.Run(ctx); err != nil {
				t.Error(err)
			}
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
