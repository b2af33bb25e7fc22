package output

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
)

// steps are one instance of every step of an output, and the pool their batches live in. Lanes take turns: windows become final seldom,
// and the instances would take memory for each core.
type steps struct {
	planned []operators.Step
	rows    int // of a batch at most
	log     *slog.Logger

	mu    sync.Mutex // held while a batch is in the steps, and while they are closed
	began time.Time  // guarded by mu: when the last batch came
	pool  *batch.Pool
	ops   []operators.Operator
	batch batch.Batch

	counting sync.Mutex               // taken behind mu
	done     []StepStatus             // guarded by counting
	told     map[complaint]*complaint // guarded by counting: nil values do not occur
}

// complaint is a kind of reject that the log has been told of.
type complaint struct {
	step   string
	reason batch.Reason
	at     time.Time // when the log was told last; zero in keys
	since  int       // rejects since then; 0 in keys
}

// StepStatus is what a step of an output has done since the output was opened. Rows are those of windows.
type StepStatus struct {
	Name   string // of the step
	Digest string // SHA-256 of its module in hexadecimal, or empty
	// Batches it was given, and the time it spent on them.
	Batches int64
	Time    time.Duration
	// Rows it was given, gave, and rejected, and the bytes of those given and taken as Arrow columns.
	In, Out, Rejected int64
	BytesIn, BytesOut int64
	Usage             operators.Usage
}

const (
	slotsPerRange = 2       // a step that fails and starts again need not wait for the slot of its first try
	slotSize      = 1 << 20 // of the windows that go in; more is on the heap, and copied
	tellEvery     = time.Minute
)

// openSteps makes the instances.
func openSteps(ctx context.Context, cfg *Config) (*steps, error) {
	s := &steps{planned: cfg.Steps, rows: atOnce, began: time.Now(), log: cfg.Log.With("topic", cfg.Topic), told: map[complaint]*complaint{}}
	if cfg.BatchRows > 0 {
		s.rows = min(s.rows, cfg.BatchRows)
	}
	specs := []batch.RangeSpec{{Slots: 1, SlotSize: slotSize}}
	for _, step := range cfg.Steps {
		size := batch.PageAlign
		if sized, ok := step.(operators.Sized); ok {
			size = max(size, sized.RangeSize(s.rows, slotSize))
		}
		specs = append(specs, batch.RangeSpec{Slots: slotsPerRange, SlotSize: size})
	}
	newPool := batch.NewPool
	if cfg.PlainPool {
		newPool = batch.NewPlainPool
	}
	var err error
	if s.pool, err = newPool(specs); err != nil {
		return nil, fmt.Errorf("make the batch pool of an output: %w", err)
	}
	for i, step := range cfg.Steps {
		op, err := step.Open(ctx, operators.Env{Pool: s.pool, Range: s.pool.Range(i + 1), Log: s.log})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open step %s: %w", step.Name(), err), s.close())
		}
		s.ops = append(s.ops, op)
		st := StepStatus{Name: step.Name()}
		if d, ok := step.(operators.Digested); ok {
			digest := d.Digest()
			st.Digest = hex.EncodeToString(digest[:])
		}
		if m, ok := op.(operators.Metered); ok {
			st.Usage = m.Usage() // what it took to start it
		}
		s.done = append(s.done, st)
	}
	return s, nil
}

// close frees the instances. Closing twice is fine.
func (s *steps) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	s.batch.Release()
	for _, op := range s.ops {
		errs = append(errs, op.Close())
	}
	if s.pool != nil {
		errs = append(errs, s.pool.Close())
	}
	s.ops, s.pool = nil, nil
	return errors.Join(errs...)
}

// rest has the instances give up what the next batch can make anew, where none came for so long.
func (s *steps) rest(idle time.Duration) {
	if !s.mu.TryLock() {
		return // a batch is in the steps
	}
	defer s.mu.Unlock()
	if time.Since(s.began) < idle {
		return
	}
	for i, op := range s.ops {
		if r, ok := op.(operators.Releaser); ok && r.Release() {
			s.count(i, op, func(*StepStatus) {})
		}
	}
}

// run takes rows of a batch of finished windows through the steps. take is called with what becomes of them, whose Origin says of which
// row of windows each is; it keeps nothing of it. dropped is how many rows the steps left out, and rejected how many they could not handle.
func (s *steps) run(ctx context.Context, p batch.Partition, windows *batch.Batch, rows []int32, take func(*batch.Batch)) (dropped, rejected int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pool == nil {
		return 0, 0, errors.New("the steps of the output are closed")
	}
	s.began = time.Now()
	b := &s.batch
	defer b.Release()
	b.Begin(windows.Schema, p, nil)
	slot, err := s.pool.Range(0).Acquire()
	if err != nil {
		return 0, 0, fmt.Errorf("take windows into the steps: %w", err) // nobody else uses this pool: a slot was leaked
	}
	b.Hold(slot)
	copy(b.Cols, windows.Cols)
	b.Rows, b.Origin = windows.Rows, b.Origins(windows.Rows)
	for i := range b.Origin {
		b.Origin[i] = int32(i)
	}
	arena := batch.NewArena(slot.Mem())
	b.Gather(rows, &arena) // into the pool, which sandboxes see
	for i, op := range s.ops {
		if b.Rows == 0 {
			break
		}
		began, in, bytesIn, before := time.Now(), b.Rows, b.Size(), len(b.Rejects)
		err := op.Process(ctx, b)
		s.count(i, op, func(st *StepStatus) {
			st.Batches++
			st.Time += time.Since(began)
			st.In += int64(in)
			st.BytesIn += bytesIn
			if err == nil {
				st.Out += int64(b.Rows)
				st.BytesOut += b.Size()
				st.Rejected += int64(len(b.Rejects) - before)
			}
		})
		if err != nil {
			return 0, 0, fmt.Errorf("step %s, windows of %s: %w", s.planned[i].Name(), p, err)
		}
	}
	if b.Rows > 0 && len(b.Origin) != b.Rows {
		return 0, 0, errors.New("a step does not say which window each of its rows is from")
	}
	s.complain(b.Rejects, windows)
	if b.Rows > 0 {
		take(b)
	}
	return b.Filtered, int64(len(b.Rejects)), nil
}

// count books what a step did with a batch.
func (s *steps) count(i int, op operators.Operator, add func(*StepStatus)) {
	s.counting.Lock()
	defer s.counting.Unlock()
	add(&s.done[i])
	if m, ok := op.(operators.Metered); ok {
		s.done[i].Usage = m.Usage()
	}
}

// status is what the steps have done.
func (s *steps) status() []StepStatus {
	s.counting.Lock()
	defer s.counting.Unlock()
	return slices.Clone(s.done)
}

// complain tells the log of rejects, the first of a step and reason, and from then on one in a minute with how many there were.
func (s *steps) complain(rejects []batch.Reject, windows *batch.Batch) {
	s.counting.Lock()
	defer s.counting.Unlock()
	now := time.Now()
	for i := range rejects {
		r := &rejects[i]
		key := complaint{step: r.Step, reason: r.Reason}
		c := s.told[key]
		if c == nil {
			c = &complaint{}
			s.told[key] = c
		}
		c.since++
		if !c.at.IsZero() && now.Sub(c.at) < tellEvery {
			continue
		}
		window := "unknown"
		if r.Record >= 0 {
			window = string(windows.RowJSON(int(r.Record)))
		}
		s.log.Warn("a step of an output cannot handle a window, which is not sent", "step", r.Step, "reason", r.Reason, "error", r.Detail,
			"window", window, "windows", c.since)
		c.at, c.since = now, 0
	}
}
