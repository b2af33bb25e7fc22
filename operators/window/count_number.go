package window

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
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
	open  places // of the windows whose keys have one
	of    []numbered
	free  []uint32
	bytes int // that the state takes at most
	sweep int // windows that have timed out are looked for when it takes more
	max   int // and there must not be more than that

	// Of the rows that are looked up together: their keys, where these end, their tags, and what the first slots have.
	keys  []byte
	ends  []int
	tags  []uint64
	first []uint32
}

// numbered is a window that is open, or was when its key was last seen.
type numbered struct {
	number, rows uint64
	start        int64 // microseconds
	tag          uint64
	key          []byte // nil, or to be used again, where number is 0
}

// clear forgets everything but the clock.
func (o *numberer) clear() {
	o.next, o.open, o.of, o.free, o.bytes, o.max = 1, places{}, nil, nil, 0, maxNumbers
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
		if i%lookAhead == 0 {
			o.lookUp(b, i, min(i+lookAhead, b.Rows))
		}
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
		at := o.windowOf(i%lookAhead, start, watermark)
		w := &o.of[at]
		w.rows++
		numbers[i], nths[i], starts[i] = w.number, w.rows, w.start/1000
		if w.rows == o.cfg.Count.Rows {
			o.drop(at)
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

// lookUp writes the keys of the rows from one to another, of which there are at most lookAhead, and has a look at where their windows are: so
// the processor waits for the memory of many at a time, and not of each in turn.
func (o *numberer) lookUp(b *batch.Batch, from, to int) {
	o.keys, o.ends, o.tags = o.keys[:0], o.ends[:0], o.tags[:0]
	for i := from; i < to; i++ {
		begin := len(o.keys)
		o.keys = o.appendKey(o.keys, b, i)
		o.ends, o.tags = append(o.ends, len(o.keys)), append(o.tags, o.tagOf(o.keys[begin:]))
	}
	if o.open.n == 0 {
		return
	}
	o.first = grow(o.first, len(o.tags))
	mask := uint64(len(o.open.slots) - 1)
	for i, tag := range o.tags {
		o.first[i] = uint32(o.open.slots[tag&mask])
	}
	seen := uint64(0)
	for _, at := range o.first {
		if at != 0 {
			w := &o.of[at-1]
			seen ^= w.tag ^ w.number
		}
	}
	for _, at := range o.first {
		if at != 0 && len(o.of[at-1].key) > 0 {
			seen ^= uint64(o.of[at-1].key[0])
		}
	}
	o.groups.seen = seen
}

// appendKey writes the key of row i.
func (o *numberer) appendKey(key []byte, b *batch.Batch, i int) []byte {
	for k, col := range o.groups.cols {
		c := &b.Cols[col]
		valid := c.Valid(i)
		switch {
		case o.groups.high[k]:
			if valid {
				key = binary.LittleEndian.AppendUint64(key, o.groups.bitsN[k][i])
			}
		case !valid:
			key = append(key, 0)
		case o.groups.types[k].Variable():
			text := c.Bytes(i)
			key = append(binary.AppendUvarint(append(key, 1), uint64(len(text))), text...)
		default:
			key = binary.LittleEndian.AppendUint64(append(key, 1), o.groups.bitsN[k][i])
		}
	}
	return key
}

// windowOf finds the open window of the key of row i of those that were looked up, or begins one.
func (o *numberer) windowOf(i int, start, watermark int64) uint32 {
	begin := 0
	if i > 0 {
		begin = o.ends[i-1]
	}
	key, tag := o.keys[begin:o.ends[i]], o.tags[i]
	at, known := o.find(key, tag)
	if !known {
		at = o.add(key, tag)
	} else if !o.timedOut(o.of[at].start, watermark) {
		return at
	}
	w := &o.of[at]
	w.number, w.start, w.rows = o.next, start, 0
	o.next++
	return at
}

// tagOf is the tag of a key in open.
func (o *numberer) tagOf(key []byte) uint64 { return maphash.Bytes(o.groups.seed, key) >> 32 }

// find looks for the window of a key, which may have timed out.
func (o *numberer) find(key []byte, tag uint64) (at uint32, known bool) {
	for at, next, ok := o.open.probe(tag, tag); ok; at, next, ok = o.open.probe(tag, next) {
		if bytes.Equal(o.of[at].key, key) {
			return at, true
		}
	}
	return 0, false
}

// add makes room for the window of a key.
func (o *numberer) add(key []byte, tag uint64) uint32 {
	var at uint32
	if n := len(o.free); n > 0 {
		at, o.free = o.free[n-1], o.free[:n-1]
	} else {
		at = uint32(len(o.of))
		o.of = append(o.of, numbered{})
	}
	w := &o.of[at]
	w.key, w.tag = append(w.key[:0], key...), tag
	o.open.put(tag, at)
	o.bytes += len(key) + perNumber
	return at
}

// drop forgets a window. The memory of its key is for the next, unless it is much.
func (o *numberer) drop(at uint32) {
	w := &o.of[at]
	o.open.remove(w.tag, at)
	o.bytes -= len(w.key) + perNumber
	w.number = 0
	if cap(w.key) > 256 {
		w.key = nil
	}
	o.free = append(o.free, at)
}

// forgetOver forgets windows that have timed out. Nothing depends on when that is done: no row joins them any more.
func (o *numberer) forgetOver() {
	watermark := o.Watermark()
	for at := range o.of {
		if w := &o.of[at]; w.number != 0 && o.timedOut(w.start, watermark) {
			o.drop(uint32(at))
		}
	}
}

// makeRoom forgets windows that have timed out, and refuses to go on where there are too many others.
func (o *numberer) makeRoom() error {
	o.forgetOver()
	if o.bytes > o.max-o.max/8 {
		return fmt.Errorf("%d keys of a partition have windows that are neither full nor timed out: to number their rows takes %d KiB, and %d KiB are the most; "+
			"make the timeout shorter, or group by fewer keys", o.open.n, o.bytes>>10, o.max>>10)
	}
	o.sweep = min(max(1<<16, 2*o.bytes), o.max)
	return nil
}

var errNumbers = errors.New("the stored numbers of count windows are damaged")
