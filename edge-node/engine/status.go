package engine

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

// stats are the counters of an engine. They only grow.
type stats struct {
	commits, commitErrors, sourceErrors atomic.Int64

	mu      sync.Mutex
	retired map[laneKey]LaneStatus // guarded by mu: counts of lanes that are gone
	shipped []ShippedBefore        // guarded by mu
	used    []Used                 // guarded by Engine.mu: of generations that are gone
}

func (s *stats) init() { s.retired = map[laneKey]LaneStatus{} }

// retire keeps the counts of a lane that ends, so that counters never go back when a partition returns.
func (s *stats) retire(l *lane) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.retired[keyOf(l.partition)]
	st.add(l.status())
	s.retired[keyOf(l.partition)] = st
}

// laneStats are the counters of a lane, written by its goroutine and read by everybody.
type laneStats struct {
	records, bytes, batches, busyNanos    atomic.Int64
	aggregated, late, filtered, expanded  atomic.Int64
	replayed, pauses, gaps                atomic.Int64
	cuts, rows, letters, ackNanos, saves  atomic.Int64
	overflowed                            atomic.Int64 // rows of keys beyond the limit
	early                                 atomic.Int64 // segments begun because open windows were over the budget
	dropped                               atomic.Int64 // rows of windows that were dropped
	lost                                  atomic.Int64 // rows of windows that were not final when a segment ended
	merged                                atomic.Int64 // rows of cuts that went when windows were merged
	backlog, oldest                       atomic.Int64 // rows that wait on the disk, and the start of their first window
	full                                  atomic.Bool  // the local store had no room
	rejects                               [maxReasons]atomic.Int64
	position, segment, watermark, windows atomic.Int64
	logEnd, groups, stateBytes            atomic.Int64
	acknowledged                          atomic.Int64 // position of the last cut that was
}

const maxReasons = 16

func (s *laneStats) init(l *lane) {
	s.position.Store(l.position)
	s.segment.Store(int64(l.segment))
	s.watermark.Store(l.window.Watermark())
	s.logEnd.Store(l.endAt)
	s.acknowledged.Store(-1)
}

func (s *laneStats) reject(r batch.Reason) {
	if i := slices.Index(batch.Reasons(), r); i >= 0 {
		s.rejects[i].Add(1)
	}
}

func (s *laneStats) batch(l *lane, n int, bytes int64, took time.Duration) {
	s.records.Add(int64(n))
	s.batches.Add(1)
	s.busyNanos.Add(int64(took))
	s.position.Store(l.position)
	s.segment.Store(int64(l.segment))
	s.watermark.Store(l.window.Watermark())
	s.windows.Store(int64(l.window.Windows()))
	s.groups.Store(int64(l.window.Groups()))
	s.bytes.Add(bytes)
}

func (s *laneStats) acked(c *sink.Cut, took time.Duration) {
	if c.Rows != nil {
		s.rows.Add(int64(c.Rows.Rows))
	}
	s.letters.Add(int64(len(c.DeadLetters)))
	s.ackNanos.Add(int64(took))
}

// LaneStatus is what is known of a partition. Counters grow as long as the process lives, whoever owned the partition
// in between; the rest is of this moment.
type LaneStatus struct {
	Partition batch.Partition

	Records, Bytes, Batches      int64
	Aggregated, Late             int64
	Filtered, Expanded, Replayed int64
	Rejected                     map[batch.Reason]int64
	Pauses, Gaps                 int64
	Cuts, Rows, DeadLetters      int64
	Overflowed                   int64         // of Aggregated, rows of keys beyond the limit of a window
	Early                        int64         // segments begun because open windows needed more memory than there may be
	Dropped                      int64         // rows of windows that were dropped for want of room
	Lost                         int64         // rows of windows that were not final when a segment ended, and that nobody can build any more
	Merged                       int64         // rows of cuts that became part of those of wider windows for want of room
	Backlog                      int64         // rows and dead letters on the disk that are not acknowledged, about
	Oldest                       time.Time     // start of the oldest closed window among them; zero where there is none
	Saves                        int64         // changes of the local store
	Busy, Ack                    time.Duration // time spent processing; time cuts took until acknowledged

	Owned            bool
	Position         int64
	Acknowledged     int64 // of Position, how much the destination has; -1 before it is known
	Lag              int64 // records not yet processed, as far as the broker has told
	Segment          int64
	Watermark        time.Time // zero before the first row
	Windows, Groups  int64
	StateBytes       int64
	Queued           int // records waiting
	Paused, InFlight bool
}

func (s *LaneStatus) add(o LaneStatus) {
	s.Partition = o.Partition
	s.Records += o.Records
	s.Bytes += o.Bytes
	s.Batches += o.Batches
	s.Aggregated += o.Aggregated
	s.Late += o.Late
	s.Filtered += o.Filtered
	s.Expanded += o.Expanded
	s.Replayed += o.Replayed
	s.Pauses += o.Pauses
	s.Gaps += o.Gaps
	s.Cuts += o.Cuts
	s.Rows += o.Rows
	s.DeadLetters += o.DeadLetters
	s.Saves += o.Saves
	s.Dropped += o.Dropped
	s.Lost += o.Lost
	s.Overflowed += o.Overflowed
	s.Early += o.Early
	s.Merged += o.Merged
	s.Acknowledged = max(s.Acknowledged, o.Acknowledged)
	s.Busy += o.Busy
	s.Ack += o.Ack
	if s.Rejected == nil {
		s.Rejected = map[batch.Reason]int64{}
	} else {
		s.Rejected = maps.Clone(s.Rejected)
	}
	for r, n := range o.Rejected {
		s.Rejected[r] += n
	}
}

func (l *lane) status() LaneStatus {
	s := &l.stats
	st := LaneStatus{
		Partition: l.partition, Records: s.records.Load(), Bytes: s.bytes.Load(), Batches: s.batches.Load(),
		Aggregated: s.aggregated.Load(), Late: s.late.Load(), Filtered: s.filtered.Load(), Expanded: s.expanded.Load(),
		Replayed: s.replayed.Load(), Rejected: map[batch.Reason]int64{}, Pauses: s.pauses.Load(), Gaps: s.gaps.Load(),
		Cuts: s.cuts.Load(), Rows: s.rows.Load(), DeadLetters: s.letters.Load(), Saves: s.saves.Load(), Dropped: s.dropped.Load(), Lost: s.lost.Load(), Overflowed: s.overflowed.Load(), Early: s.early.Load(), Merged: s.merged.Load(), Backlog: s.backlog.Load(),
		Busy: time.Duration(s.busyNanos.Load()), Ack: time.Duration(s.ackNanos.Load()),
		Owned: true, Position: s.position.Load(), Acknowledged: s.acknowledged.Load(), Lag: max(0, s.logEnd.Load()-s.position.Load()), Segment: s.segment.Load(), Watermark: microTime(s.watermark.Load()),
		Windows: s.windows.Load(), Groups: s.groups.Load(), StateBytes: s.stateBytes.Load(), InFlight: l.inFlight.Load(),
	}
	if ms := s.oldest.Load(); ms != 0 {
		st.Oldest = time.UnixMilli(ms).UTC()
	}
	for i, r := range batch.Reasons() {
		st.Rejected[r] = s.rejects[i].Load()
	}
	l.mu.Lock()
	for i := range l.queue {
		st.Queued += len(l.queue[i].records)
	}
	st.Paused = l.paused
	l.mu.Unlock()
	return st
}

// ShippedBefore is a partition of which something was saved under another revision, and shipped.
type ShippedBefore struct {
	Partition batch.Partition
	Revision  uint64
}

// Status is what an engine is doing.
type Status struct {
	Revision                            uint64       // of what runs
	Lanes                               []LaneStatus // by topic and partition
	Steps                               []StepStatus // decode, the steps, and the window
	Commits, CommitErrors, SourceErrors int64
	QueuedBytes, StateBytes             int64
	// ShippedBefore lists what was saved under other revisions and shipped.
	ShippedBefore []ShippedBefore
	// Problems is why the pipeline is not doing its work, a line each; empty when it is.
	Problems []string
	// Held says that nothing is read because there is no room for more window state; empty while there is, or where it has not
	// been so for long.
	Held string
	// Moving counts partitions that are not in the newest generation yet.
	Moving int
	// Assigned tells whether the group has given this node its partitions, which may be none.
	Assigned bool
}

// Status takes a picture. It may be called at any time, from any goroutine.
func (e *Engine) Status() Status {
	st := Status{
		Commits: e.stats.commits.Load(), CommitErrors: e.stats.commitErrors.Load(), SourceErrors: e.stats.sourceErrors.Load(),
		QueuedBytes: e.queued.Load(), StateBytes: e.state.Load(),
	}
	st.Revision = e.current.Load().Revision
	st.Steps, st.Moving = e.stepStatus()
	live := map[laneKey]LaneStatus{}
	e.eachLane(func(l *lane) {
		live[keyOf(l.partition)] = l.status()
		if l.heldFor() > heldQuietly {
			st.Held = fmt.Sprintf("open windows and what waits to be shipped take %d of %d MiB (limits.state in node.yaml): nothing more is read until ClickHouse has taken some of it",
				st.StateBytes>>20, e.cfg.MaxState>>20)
		}
	})
	e.stats.mu.Lock()
	for key, old := range e.stats.retired {
		now := live[key]
		sum := old
		sum.add(now)
		if now.Owned {
			sum.Acknowledged = now.Acknowledged
			sum.Owned, sum.Position, sum.Segment, sum.Watermark, sum.Lag = true, now.Position, now.Segment, now.Watermark, now.Lag
			sum.Windows, sum.Groups, sum.StateBytes = now.Windows, now.Groups, now.StateBytes
			sum.Queued, sum.Paused, sum.InFlight = now.Queued, now.Paused, now.InFlight
		} else {
			sum.Partition = old.Partition
		}
		live[key] = sum
	}
	st.ShippedBefore = slices.Clone(e.stats.shipped)
	e.stats.mu.Unlock()
	for _, s := range live {
		st.Lanes = append(st.Lanes, s)
	}
	slices.SortFunc(st.Lanes, func(a, b LaneStatus) int {
		if a.Partition.Topic != b.Partition.Topic {
			if a.Partition.Topic < b.Partition.Topic {
				return -1
			}
			return 1
		}
		return int(a.Partition.ID - b.Partition.ID)
	})
	e.mu.Lock()
	st.Assigned = e.seen
	for key, err := range e.failing {
		p := batch.Partition{Topic: key.topic, ID: key.id}
		if key.topic == "" {
			st.Problems = append(st.Problems, err.Error())
		} else {
			st.Problems = append(st.Problems, p.String()+": "+err.Error())
		}
	}
	if e.fatal != nil {
		st.Problems = append(st.Problems, e.fatal.Error())
	}
	e.mu.Unlock()
	slices.Sort(st.Problems)
	return st
}
