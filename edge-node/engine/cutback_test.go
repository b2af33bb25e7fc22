package engine_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-stream/weir/edge-node/engine"
	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

// epochs is a script that knows leader epochs, and remembers commits.
type epochs struct {
	script
	epoch atomic.Int32

	mu      sync.Mutex
	commits []ingest.Commit
}

func (s *epochs) LeaderEpoch(batch.Partition) int32 { return s.epoch.Load() }

func (s *epochs) Commit(_ context.Context, commits []ingest.Commit) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commits = append(s.commits, commits...)
	return nil
}

// lastEpoch is that of the last commit.
func (s *epochs) lastEpoch() int32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.commits) == 0 {
		return 0
	}
	return s.commits[len(s.commits)-1].Epoch
}

// commitOf is the metadata of a commit of the test's topic.
func commitOf(revision, segment, position int) string {
	return fmt.Sprintf(`{"v":1,"rev":"%016x","tid":"01000000000000000000000000000000","seg":%d,"start":0,"b":%d,"at":[0,0,0],"reached":[0,0,0],"n":[%d,%d,0,0,0,0]}`,
		revision, segment, position, position, position)
}

// playScript runs an engine over a script until it ends.
func playScript(t *testing.T, source ingest.Source, c *centre, onGapStop bool, until func() bool) {
	t.Helper()
	l := &life{Source: source, centre: c}
	e, err := engine.New(t.Context(), engine.Config{
		Pipeline: "test", Node: "n1", Source: l, Generation: generation(t, 1, 500), Delivery: l, Coverage: c.readAll,
		FlushEvery: 10 * time.Millisecond, OnGapStop: onGapStop,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	for !until() && ctx.Err() == nil {
		time.Sleep(2 * time.Millisecond)
	}
	if !until() {
		t.Error("it did not come to its end")
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

// recordsOf are records of offsets.
func recordsOf(from, to int64) []batch.Record {
	var records []batch.Record
	for at := from; at < to; at++ {
		records = append(records, batch.Record{Offset: at, Value: fmt.Appendf(nil, `{"ts":%d,"device":"d","v":1}`, 1000*at)})
	}
	return records
}

// TestCutBackSince has a log cut back below what the destination has of a partition, while nobody was reading it, and in each way in which
// a node may come to it then. It goes on exactly where other records begin, or does not, and says what to do.
func TestCutBackSince(t *testing.T) {
	p := batch.Partition{Topic: topic, TopicID: [16]byte{1}, ID: 0}
	counted := func(change func(c *sink.Coverage)) sink.Coverage {
		c := sink.Coverage{Partition: p, Revision: 1, Version: 290, Counters: sink.Counters{RecordsIn: 290, Aggregated: 290}, Epoch: 4}
		if change != nil {
			change(&c)
		}
		return c
	}
	unknown := counted(func(c *sink.Coverage) { c.Epoch = 0 })
	older := counted(func(c *sink.Coverage) { c.Revision = 2 })
	type want struct {
		at      int64
		refused []string // parts of the error
		segment uint64
		gap     int64
		lost    int64
		why     string
	}
	truncated := want{at: 84, segment: 1, why: "truncated"}
	none := ingest.Assignment{LogEnd: 84, Committed: -1, SameUpTo: -1}
	long := ingest.Assignment{LogEnd: 400, Committed: -1, SameUpTo: -1}
	hand := func(at int64) ingest.Assignment {
		return ingest.Assignment{LogEnd: 84, Committed: at, SameUpTo: -1}
	}
	for name, c := range map[string]struct {
		stored    []sink.Coverage
		a         ingest.Assignment
		ends      int64 // of the records of the account; -1: nobody can tell
		onGapStop bool
		want      want
	}{
		"no commit, and a log that ends before":  {stored: []sink.Coverage{counted(nil)}, a: none, ends: 84, want: truncated},
		"no commit, and a log that is longer":    {stored: []sink.Coverage{counted(nil)}, a: long, ends: 84, want: truncated},
		"no commit, and a log that has them all": {stored: []sink.Coverage{counted(nil)}, a: long, ends: 400, want: want{at: 0}},
		"an account of another revision":         {stored: []sink.Coverage{older}, a: long, ends: 84, want: truncated},
		"a commit of another revision": {
			stored: []sink.Coverage{older}, ends: 84, want: truncated,
			a: ingest.Assignment{LogEnd: 400, Committed: 50, SameUpTo: 84, Metadata: commitOf(2, 0, 50)},
		},
		"a commit of another revision that has all of it": {
			stored: []sink.Coverage{older}, ends: -1, want: want{at: 290, segment: 1},
			a: ingest.Assignment{LogEnd: 400, Committed: 290, SameUpTo: 400, Metadata: commitOf(2, 0, 290)},
		},
		"a commit of records that retention deleted": {
			stored: []sink.Coverage{counted(nil)}, ends: 84, want: truncated,
			a: ingest.Assignment{LogStart: 60, LogEnd: 400, Committed: 50, SameUpTo: 84, Metadata: commitOf(1, 0, 50)},
		},
		"a commit behind the end of the log, without a leader epoch": {
			stored: []sink.Coverage{counted(nil)}, ends: 84, want: truncated,
			a: ingest.Assignment{LogEnd: 84, Committed: 290, SameUpTo: -1, Metadata: commitOf(1, 0, 290)},
		},
		"a commit of a segment that begins behind the cut, and of which nothing is stored": {
			stored: []sink.Coverage{older}, ends: 84, want: want{at: 84, segment: 2, why: "truncated"},
			a: ingest.Assignment{LogEnd: 400, Committed: 84, SameUpTo: 400, Metadata: strings.Replace(commitOf(2, 1, 84), `"start":0`, `"start":84`, 1)},
		},
		"somebody went on behind the cut, and died before the commit": {
			stored: []sink.Coverage{counted(nil), {Partition: p, Revision: 1, Segment: 1, Start: 84, Version: 100, GapReason: "truncated", Epoch: 5}},
			ends:   400, want: truncated,
			a: ingest.Assignment{LogEnd: 400, Committed: 290, SameUpTo: 84, Metadata: commitOf(1, 0, 290)},
		},
		"retention deleted the first of the others": {
			stored: []sink.Coverage{counted(nil)}, ends: 84, want: want{at: 100, segment: 1, why: "truncated"},
			a: ingest.Assignment{LogStart: 100, LogEnd: 400, Committed: -1, SameUpTo: -1},
		},
		"retention deleted all that was counted": {
			stored: []sink.Coverage{counted(nil)}, ends: 84, want: want{at: 300, segment: 1, gap: 10, why: "retention"},
			a: ingest.Assignment{LogStart: 300, LogEnd: 400, Committed: -1, SameUpTo: -1},
		},
		"a commit, and retention deleted all that was counted": {
			stored: []sink.Coverage{counted(nil)}, ends: 84, want: want{at: 300, segment: 1, gap: 10, why: "retention"},
			a: ingest.Assignment{LogStart: 300, LogEnd: 400, Committed: 290, SameUpTo: 84, Metadata: commitOf(1, 0, 290)},
		},
		"open rows": {
			stored: []sink.Coverage{counted(func(c *sink.Coverage) { c.Counters.Aggregated, c.Counters.Open = 283, 7 })}, a: long, ends: 84,
			want: want{at: 84, segment: 1, lost: 7, why: "truncated"},
		},
		"on_gap is stop": {
			stored: []sink.Coverage{counted(nil)}, a: long, ends: 84, onGapStop: true,
			want: want{refused: []string{"cut back from 290 to 84, and on_gap is stop", "set the group's offset to 84"}},
		},
		"on_gap is stop, and somebody has set the offset": {
			stored: []sink.Coverage{counted(nil)}, a: hand(84), ends: 84, onGapStop: true, want: truncated,
		},
		"an account without a leader epoch": {
			stored: []sink.Coverage{unknown}, a: none, ends: 84,
			want: want{refused: []string{"below 290 were counted, but the log ends at 84", "at most 84"}},
		},
		"a broker that does not know": {
			stored: []sink.Coverage{counted(nil)}, a: none, ends: -1, want: want{refused: []string{"below 290 were counted, but the log ends at 84"}},
		},
		"an account without a leader epoch, and somebody has set the offset": {
			stored: []sink.Coverage{unknown}, a: hand(80), want: want{at: 80, segment: 1, why: "truncated"},
		},
		"an account without a leader epoch, of another revision, and somebody has set the offset": {
			stored: []sink.Coverage{counted(func(c *sink.Coverage) { c.Revision, c.Epoch = 2, 0 })}, a: hand(80), want: want{at: 80, segment: 1, why: "truncated"},
		},
		"somebody has set the offset to one that was deleted": {
			stored: []sink.Coverage{unknown}, want: want{at: 40, segment: 1, why: "truncated"},
			a: ingest.Assignment{LogStart: 40, LogEnd: 84, Committed: 20, SameUpTo: -1},
		},
		"somebody has set the offset behind the end": {
			stored: []sink.Coverage{unknown}, a: hand(85), want: want{refused: []string{"below 290 were counted, but the log ends at 84"}},
		},
		"somebody has set the offset where nothing was cut off": {
			stored: []sink.Coverage{older}, ends: 400, want: want{at: 290, segment: 1},
			a: ingest.Assignment{LogEnd: 400, Committed: 80, SameUpTo: 400},
		},
		"rows without an account": {
			stored: []sink.Coverage{counted(func(c *sink.Coverage) { c.Version, c.RowsVersion, c.Epoch = 50, 290, 0 })}, a: none,
			want: want{refused: []string{"below 290 were counted, but the log ends at 84"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			destination := newCentre()
			for _, cov := range c.stored {
				destination.storeCoverage(cov)
			}
			var first ingest.Start
			var refused atomic.Bool
			s := &epochs{}
			s.epoch.Store(7)
			s.script = func(ctx context.Context, h ingest.Handler) {
				a := c.a
				a.Partition = p
				a.EpochEnd = func(_ context.Context, epoch int32) (int64, error) {
					if newest := slices.MaxFunc(c.stored, func(x, y sink.Coverage) int { return int(x.Segment) - int(y.Segment) }); epoch != newest.Epoch-1 {
						t.Errorf("asked for leader epoch %d, and the account has %d", epoch, newest.Epoch-1)
					}
					return c.ends, nil
				}
				first = h.Assigned(ctx, []ingest.Assignment{a})[0]
				if first.Err != nil {
					refused.Store(true)
					return
				}
				h.Records(p, recordsOf(first.Offset, a.LogEnd), a.LogEnd)
			}
			newest := func() sink.Coverage {
				covs, err := destination.read(t.Context(), p)
				if err != nil {
					t.Fatal(err)
				}
				return covs[0]
			}
			playScript(t, s, destination, c.onGapStop, func() bool {
				got := newest()
				return refused.Load() || got.Version == c.a.LogEnd && got.Epoch == 8 && s.lastEpoch() == 8
			})
			if c.want.refused != nil {
				for _, part := range c.want.refused {
					if first.Err == nil || !strings.Contains(first.Err.Error(), part) {
						t.Errorf("it begins at %d (%v), want an error that says %q", first.Offset, first.Err, part)
					}
				}
				return
			}
			got := newest()
			if first.Offset != c.want.at || got.Start != c.want.at || got.Segment != c.want.segment || got.Gap != c.want.gap || got.Lost != c.want.lost || got.GapReason != c.want.why {
				t.Errorf("it begins at %d (%v), and the newest account is %+v; want %+v", first.Offset, first.Err, got, c.want)
			}
		})
	}
}

// TestEpochOfRecords has a log cut back while it is read. What was counted before has the leader epoch of its own records, and not that of
// those that are waiting behind the cut.
func TestEpochOfRecords(t *testing.T) {
	p := batch.Partition{Topic: topic, TopicID: [16]byte{1}, ID: 0}
	c := newCentre()
	s := &epochs{}
	s.epoch.Store(3)
	s.script = func(ctx context.Context, h ingest.Handler) {
		if start := h.Assigned(ctx, []ingest.Assignment{{Partition: p, LogEnd: 10, Committed: -1, SameUpTo: -1}})[0]; start.Err != nil {
			t.Error(start.Err)
		}
		h.Records(p, recordsOf(0, 10), 10)
		s.epoch.Store(4)
		h.Gap(ctx, p, 10, 5, ingest.GapTruncated)
		h.Records(p, recordsOf(5, 20), 20)
	}
	newest := func() []sink.Coverage {
		covs, err := c.read(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		return covs
	}
	playScript(t, s, c, false, func() bool {
		covs := newest()
		return len(covs) == 2 && covs[0].Version == 20
	})
	covs := newest()
	if len(covs) != 2 || covs[1].Version != 10 || covs[1].Epoch != 4 || covs[0].Start != 5 || covs[0].Epoch != 5 {
		t.Errorf("the accounts are %+v, want offsets 0 to 10 of leader epoch 3, and 5 to 20 of 4", covs)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, commit := range s.commits {
		want := int32(4)
		if strings.Contains(commit.Metadata, `"seg":1`) {
			want = 5
		}
		if commit.Epoch != want && !strings.Contains(commit.Metadata, `"b":0`) {
			t.Errorf("commit %s has the leader epoch %d, want %d", commit.Metadata, commit.Epoch-1, want-1)
		}
	}
}
