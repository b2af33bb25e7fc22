package window

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
)

// The columns that a numbering adds. The number of a window is a key of the rows of cuts.
const (
	NumberColumn = "_window"
	nthColumn    = "_nth"
	startColumn  = "_start"
)

// Numbering is a step that says of every row which count window it is in, by the rules of [Counted]. It is stateful: what it has to know of
// the rows before is, of each key whose window is open, the window's number, its start, and how many rows it has; besides, how many
// windows there were, and where the stream may have jumped to. All of it is a function of the rows of the segment in order.
type Numbering struct {
	name    string
	cfg     Config // of the columns that come in
	in, out *batch.Schema
}

// NewNumbering makes the step for the count windows of a configuration whose columns are those that the step gets, and the configuration of
// the windows behind it, over what the step gives.
func NewNumbering(name string, cfg *Config) (*Numbering, *Config, error) {
	in := cfg.In
	s := &Numbering{name: name, cfg: *cfg, in: in, out: &batch.Schema{Fields: slices.Clone(in.Fields)}}
	s.cfg.Aggregate = nil
	count, n := *cfg.Count, len(in.Fields)
	count.Number, count.Nth, count.Start = n, n+1, n+2
	for _, f := range []batch.Field{
		{Name: NumberColumn, Type: batch.Type{Kind: batch.Uint64}},
		{Name: nthColumn, Type: batch.Type{Kind: batch.Uint64}},
		{Name: startColumn, Type: batch.TimestampOf(batch.Millisecond)},
	} {
		if in.Index(f.Name) >= 0 {
			return nil, nil, fmt.Errorf("the column %s is weir's own where windows are of so many rows: give yours another name", f.Name)
		}
		s.out.Fields = append(s.out.Fields, f)
	}
	of := *cfg
	of.In, of.Count, of.MaxJump = s.out, &count, 0
	of.Keys = append(slices.Clone(cfg.Keys), count.Number)
	return s, &of, nil
}

// Name implements operators.Step.
func (s *Numbering) Name() string { return s.name }

// In implements operators.Step.
func (s *Numbering) In() *batch.Schema { return s.in }

// Out implements operators.Step.
func (s *Numbering) Out() *batch.Schema { return s.out }

// Close implements operators.Step.
func (s *Numbering) Close() error { return nil }

// Stateful implements operators.StatefulStep.
func (s *Numbering) Stateful() bool { return true }

// RangeSize implements operators.Sized: the columns it adds.
func (s *Numbering) RangeSize(rows, _ int) int { return 3 * (8*rows + batch.Align) }

// Open implements operators.Step.
func (s *Numbering) Open(_ context.Context, env operators.Env) (operators.Operator, error) {
	n := &numberer{step: s, rng: env.Range, partition: newPartition(&s.cfg)}
	n.clear()
	return n, nil
}

// maxNumbers bounds about how many bytes the state of a partition's numbering takes when it is stored. A variable so that a test need not
// have as many keys.
const maxNumbers = 32 << 20

// perNumber is the most bytes that a window takes in the state beside its key.
const perNumber = 4 * binary.MaxVarintLen64

// numberer numbers the rows of one partition.
type numberer struct {
	partition
	step *Numbering
	rng  *batch.Range

	next  uint64 // number of the next window
	open  map[string]uint32
	of    []numbered // by what open has
	free  []uint32
	bytes int // that the state takes at most
	sweep int // windows that have timed out are looked for when it takes more
	max   int // and there must not be more than that
	key   []byte
}

// numbered is a window that is open, or was when its key was last seen.
type numbered struct {
	number, rows uint64
	start        int64 // microseconds
}

// clear forgets everything but the clock.
func (o *numberer) clear() {
	o.next, o.open, o.of, o.free, o.bytes, o.max = 1, map[string]uint32{}, nil, nil, 0, maxNumbers
	o.sweep = 1 << 16
	o.clock.Jump, o.clock.JumpN = 0, 0
}

// SetClock implements operators.Clocked. How far the stream may have jumped is part of the state.
func (o *numberer) SetClock(c operators.Clock) { o.clock.Max = c.Max }

// Close implements operators.Operator.
func (o *numberer) Close() error { return nil }

// Process implements operators.Operator. Rows that are rejected stay in the batch, and are in no window.
func (o *numberer) Process(_ context.Context, b *batch.Batch) error {
	var a batch.Arena
	if len(b.Cols) != len(o.step.in.Fields) {
		return fmt.Errorf("step %s: the batch has %d columns, expected %d", o.step.name, len(b.Cols), len(o.step.in.Fields))
	}
	if o.rng != nil && b.Rows > 0 {
		slot, err := o.rng.Acquire()
		if err != nil {
			return fmt.Errorf("step %s: take memory for a batch: %w", o.step.name, err)
		}
		b.Hold(slot)
		a = batch.NewArena(slot.Mem())
	}
	columns := [3][]byte{a.AllocOrHeap(8 * b.Rows), a.AllocOrHeap(8 * b.Rows), a.AllocOrHeap(8 * b.Rows)}
	numbers, nths, starts := batch.As[uint64](columns[0])[:b.Rows], batch.As[uint64](columns[1])[:b.Rows], batch.As[int64](columns[2])[:b.Rows]
	o.times = grow(o.times, b.Rows)
	o.readTimes(b)
	o.groups.readFixed(b)
	for i, t := range o.times {
		numbers[i], nths[i], starts[i] = 0, 0, 0
		if t == operators.Unset {
			o.rejectTime(b, i, &b.Cols[o.cfg.Time])
			continue
		}
		start, watermark := floorTo(t, 1000), o.Watermark() // what is stored is in milliseconds
		if o.timedOut(start, watermark) {
			nths[i] = lateRow
			o.late(b, i, t, watermark, "a window that begins with it is final")
			continue
		}
		if o.jump > 0 && !o.plausible(b, i, t) {
			continue
		}
		o.clock.Max = max(o.clock.Max, t)
		w := o.windowOf(b, i, start, watermark)
		w.rows++
		numbers[i], nths[i], starts[i] = w.number, w.rows, w.start/1000
		if w.rows == o.cfg.Count.Rows {
			o.drop(o.key)
		}
		if o.bytes > o.sweep {
			if err := o.makeRoom(); err != nil {
				return fmt.Errorf("step %s: %w", o.step.name, err)
			}
		}
	}
	b.SetWidth(len(o.step.out.Fields))
	for k := range columns {
		b.Cols[len(o.step.in.Fields)+k] = batch.Column{Values: columns[k]}
	}
	b.Schema = o.step.out
	return nil
}

// timedOut tells whether a window with that start takes no more rows by a watermark.
func (o *numberer) timedOut(start, watermark int64) bool {
	return watermark != operators.Unset && start+o.size+o.allow <= watermark
}

// windowOf finds the open window of row i's key, or begins one. The key is in o.key.
func (o *numberer) windowOf(b *batch.Batch, i int, start, watermark int64) *numbered {
	o.key = o.key[:0]
	for k, col := range o.groups.cols {
		c := &b.Cols[col]
		valid := c.Valid(i)
		switch {
		case o.groups.high[k]:
			if valid {
				o.key = binary.LittleEndian.AppendUint64(o.key, o.groups.bitsN[k][i])
			}
		case !valid:
			o.key = append(o.key, 0)
		case o.groups.types[k].Variable():
			text := c.Bytes(i)
			o.key = append(binary.AppendUvarint(append(o.key, 1), uint64(len(text))), text...)
		default:
			o.key = binary.LittleEndian.AppendUint64(append(o.key, 1), o.groups.bitsN[k][i])
		}
	}
	at, known := o.open[string(o.key)]
	if known {
		if w := &o.of[at]; !o.timedOut(w.start, watermark) {
			return w
		}
	} else {
		at = o.add(string(o.key))
	}
	o.of[at] = numbered{number: o.next, start: start}
	o.next++
	return &o.of[at]
}

// add makes room for the window of a key.
func (o *numberer) add(key string) uint32 {
	var at uint32
	if n := len(o.free); n > 0 {
		at, o.free = o.free[n-1], o.free[:n-1]
	} else {
		at = uint32(len(o.of))
		o.of = append(o.of, numbered{})
	}
	o.open[key] = at
	o.bytes += len(key) + perNumber
	return at
}

// drop forgets the window of a key.
func (o *numberer) drop(key []byte) {
	o.free = append(o.free, o.open[string(key)])
	delete(o.open, string(key))
	o.bytes -= len(key) + perNumber
}

// forgetOver forgets windows that have timed out. Nothing depends on when that is done: no row joins them any more.
func (o *numberer) forgetOver() {
	watermark := o.Watermark()
	for key, at := range o.open {
		if o.timedOut(o.of[at].start, watermark) {
			o.drop([]byte(key))
		}
	}
}

// makeRoom forgets windows that have timed out, and refuses to go on where there are too many others.
func (o *numberer) makeRoom() error {
	o.forgetOver()
	if o.bytes > o.max-o.max/8 {
		return fmt.Errorf("%d keys of a partition have windows that are neither full nor timed out: to number their rows takes %d KiB, and %d KiB are the most; "+
			"make the timeout shorter, or group by fewer keys", len(o.open), o.bytes>>10, o.max>>10)
	}
	o.sweep = min(max(1<<16, 2*o.bytes), o.max)
	return nil
}

var errNumbers = errors.New("the stored numbers of count windows are damaged")
