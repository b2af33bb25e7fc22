package engine

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/sink"
)

// Rebuild takes records of one segment through the stages of a pipeline once more, as a lane does, and hands out what a lane
// would have shipped: to compare with what is stored, or to store it again. It reads and commits nothing by itself. One
// goroutine uses it.
type Rebuild struct {
	gen    *Generation
	keep   int
	chain  *chain
	window operators.Window
	counts stageCounts

	of       sink.DeadLetter // the segment, as dead letters name it
	counters sink.Counters
	letters  []sink.DeadLetter
	letterB  int64
	unplaced map[LetterKind]int64
	jumped   int64
	unnamed  bool
}

// LetterKind is the step and the reason of dead letters.
type LetterKind struct {
	Step   string
	Reason batch.Reason
}

// RebuildFrom is where a rebuild begins.
type RebuildFrom struct {
	Partition batch.Partition
	Segment   uint64
	Clock     operators.Clock // before the first record
	// States are what the stateful steps carried there; none where they had nothing yet.
	States []sink.StepState
}

// NewRebuild makes one chain of a pipeline. Only the generation, PlainPool, KeepPayload and Log of the configuration are used.
func NewRebuild(ctx context.Context, cfg Config) (*Rebuild, error) {
	cfg.setDefaults()
	r := &Rebuild{gen: &cfg.Generation, keep: cfg.KeepPayload, counts: stageCounts{steps: make([]stepCount, len(cfg.Generation.Steps))}}
	var err error
	if r.chain, err = newChain(ctx, &cfg, r.gen, false); err != nil {
		return nil, err
	}
	return r, nil
}

// Begin forgets everything and begins at a place of a segment.
func (r *Rebuild) Begin(ctx context.Context, from RebuildFrom) error {
	for i, s := range r.gen.Steps {
		if !operators.IsStateful(s) {
			continue
		}
		var state []byte
		for _, have := range from.States {
			if have.Step == s.Name() {
				state = have.Bytes
			}
		}
		if err := r.chain.steps[i].(operators.Stateful).Restore(ctx, state); err != nil {
			return fmt.Errorf("step %s: %w", s.Name(), err)
		}
		setClock(r.chain.steps[i], from.Clock)
	}
	r.window = r.gen.Window()
	r.window.Restore(from.Clock, operators.Clock{Max: operators.Unset})
	r.of = sink.DeadLetter{Partition: from.Partition, Revision: r.gen.Revision, Segment: from.Segment}
	r.counters, r.letters, r.letterB, r.jumped, r.unnamed = sink.Counters{}, nil, 0, 0, false
	r.unplaced = map[LetterKind]int64{}
	return nil
}

// Add takes records, in offset order, and returns how many of them it took: as many as fit into a batch, or one that fills several.
func (r *Rebuild) Add(ctx context.Context, records []batch.Record) (int, error) {
	b, err := r.addBatch(ctx, records[:min(len(records), r.gen.BatchRows)], false)
	if err != nil {
		return 0, err
	}
	defer b.Release()
	n := len(b.Records)
	for b.Unfinished {
		if b, err = r.addBatch(ctx, records[:1], true); err != nil {
			return 0, err
		}
	}
	return n, nil
}

func (r *Rebuild) addBatch(ctx context.Context, records []batch.Record, resumed bool) (*batch.Batch, error) {
	b, err := r.chain.run(ctx, r.of.Partition, records, resumed, r.gen.Steps, &r.counts)
	if err != nil {
		return nil, err
	}
	r.unnamed = r.unnamed || b.Rows > 0 && b.Origin == nil
	counts, err := r.chain.aggregate(ctx, r.window, &r.counts.window)
	if err != nil {
		return nil, fmt.Errorf("window, %s offsets %d to %d: %w", r.of.Partition, b.Records[0].Offset, b.Records[len(b.Records)-1].Offset, err)
	}
	for i := range b.Rejects {
		reject := &b.Rejects[i]
		if reject.Reason == batch.ReasonFuture {
			r.jumped++
		}
		if reject.Record < 0 {
			r.unplaced[LetterKind{reject.Step, reject.Reason}]++
			continue
		}
		var size int64
		r.letters, size = appendLetter(r.letters, r.of, b, i, r.keep)
		r.letterB += size
	}
	countBatch(&r.counters, b, counts)
	return b, nil
}

// Cut takes out the rows of all windows that are open, and closes those that are final: the others are given again by the
// next one.
func (r *Rebuild) Cut(next int64) operators.Cut {
	c := cut(r.window, next, &r.counts.window)
	r.window.Touch()
	return c
}

// ForgetWindows forgets all windows and the clock, and keeps what steps carry.
func (r *Rebuild) ForgetWindows() { r.window = r.gen.Window() }

// Letters hands out the dead letters since the last call. Those whose record no step could name are not among them: Unplaced
// counts them.
func (r *Rebuild) Letters() []sink.DeadLetter {
	letters := r.letters
	r.letters, r.letterB = nil, 0
	return letters
}

// LetterBytes is about what the letters that wait take.
func (r *Rebuild) LetterBytes() int64 { return r.letterB }

// Unplaced counts the dead letters since Begin whose record is not known. Their identity depends on how batches were cut. The map
// is the rebuild's.
func (r *Rebuild) Unplaced() map[LetterKind]int64 { return r.unplaced }

// Counters account for the records since Begin.
func (r *Rebuild) Counters() sink.Counters { return r.counters }

// Jumped counts the rows since Begin that were rejected because they jump ahead.
func (r *Rebuild) Jumped() int64 { return r.jumped }

// Unnamed tells whether there were rows whose record no step could name.
func (r *Rebuild) Unnamed() bool { return r.unnamed }

// Window is the state of the windows, to ask it for its clock and size. It is the rebuild's.
func (r *Rebuild) Window() operators.Window { return r.window }

// Steps is what the stages have done.
func (r *Rebuild) Steps() []StepStatus { return r.counts.status(r.gen) }

// Close frees the chain.
func (r *Rebuild) Close() error { return r.chain.close() }

// Committed is what a commit of the group says about a partition.
type Committed struct {
	Revision uint64
	TopicID  [16]byte
	Offset   int64 // where a successor reads from
	At       operators.Clock
	State    int64 // the offset under which the state of stateful steps before Offset is stored; 0: there is none
	// Coverage is the account of the segment up to the position that is acknowledged. Partition, Watermark and Final are not set:
	// Reached is the clock they follow from.
	Coverage sink.Coverage
	Reached  operators.Clock
	Node     string
}

// ErrNoCommit says that an offset of the group was not committed by weir.
var ErrNoCommit = errors.New("not a commit of weir")

// ReadCommit reads the metadata of a commit.
func ReadCommit(offset int64, metadata string) (*Committed, error) {
	var m commitMetadata
	if metadata == "" || json.Unmarshal([]byte(metadata), &m) != nil {
		return nil, ErrNoCommit
	}
	if m.Format != commitFormat {
		return nil, fmt.Errorf("the commit was written by another version of weir (format %d, this one knows %d)", m.Format, commitFormat)
	}
	rev, err := strconv.ParseUint(m.Revision, 16, 64)
	id, idErr := hex.DecodeString(m.TopicID)
	if err != nil || idErr != nil || len(id) != 16 || m.Position < offset || m.Start > m.Position {
		return nil, fmt.Errorf("the commit is damaged: %s", metadata)
	}
	spans, err := sink.FlatSpans(m.Spans)
	if err != nil {
		return nil, fmt.Errorf("the commit: %w", err)
	}
	counters := arrayCounters(m.Counters)
	counters.Aggregated -= m.Open
	counters.Open = m.Open
	return &Committed{
		Revision: rev, TopicID: [16]byte(id), Offset: offset, At: arrayClock(m.At), State: m.State, Reached: arrayClock(m.Reached), Node: m.Node,
		Coverage: sink.Coverage{
			Revision: rev, Segment: m.Segment, Start: m.Start, Version: m.Position,
			Counters: counters, Content: m.Content.sink(), Spans: spans, Gap: m.Gap, Lost: m.Lost, GapReason: m.Why,
		},
	}, nil
}
