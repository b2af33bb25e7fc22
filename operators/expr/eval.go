package expr

import (
	"cmp"
	"errors"
	"math"
	"math/bits"
	"slices"

	"github.com/weir-stream/weir/ingest/batch"
)

// Failure is a row on which an expression has no value.
type Failure struct {
	Row    int32
	Reason batch.Reason
	Text   string // for people; bounded in length
}

// Evaluator is the scratch memory of one user of a program. It is not safe for concurrent use.
type Evaluator struct {
	prog *Program
	b    *batch.Batch

	start, n int  // the current chunk
	active   mask // rows of the chunk whose value is wanted; bits behind row n are 0
	failed   mask
	fails    []Failure
	nulled   int64

	regs []*reg
	out  []byte // string results of a batch, before their size is known
}

// NewEvaluator makes scratch memory for the program. It grows with the first batch: about 12 KB for each level of
// nesting, and what the longest strings of 1024 rows take.
func (p *Program) NewEvaluator() *Evaluator { return &Evaluator{prog: p} }

// Failures are the rows of the last Eval or Filter that have no value, in ascending order, each once. The slice is valid
// until the next call.
func (e *Evaluator) Failures() []Failure { return e.fails }

// Nulled is how many values a cast to a nullable type has turned into null since the evaluator was made.
func (e *Evaluator) Nulled() int64 { return e.nulled }

var errTooLarge = errors.New("evaluate expression: string results of one batch exceed 2 GiB: make batches smaller")

// Eval computes the program for every row. The column's buffers are taken from the arena, or from the heap when it is
// full; a program that is a bare column shares that column's buffers. Rows in [Evaluator.Failures] hold an unspecified
// value.
func (e *Evaluator) Eval(b *batch.Batch, a *batch.Arena) (batch.Column, error) {
	e.begin(b)
	defer e.end()
	root, t, rows := e.prog.root, e.prog.Type(), b.Rows
	if c, ok := root.(*colNode); ok {
		return b.Cols[c.index], nil
	}
	var out batch.Column
	switch {
	case t.Kind == batch.Bool:
		out.Values = a.AllocOrHeap(batch.BitmapLen(rows))
	case t.Variable():
		out.Offsets = a.AllocOrHeap(4 * (rows + 1))
		batch.As[int32](out.Offsets)[0] = 0
		e.out = e.out[:0]
	default:
		out.Values = a.AllocOrHeap(t.Width() * rows)
	}
	for start := 0; start < rows; start += chunk {
		e.next(start)
		v := e.dense(root.eval(e, 0), 0)
		if v.valid != nil {
			e.storeValidity(&out, v.valid, a)
		} else if out.Validity != nil {
			var m mask
			m.ones(e.n)
			m.store(out.Validity, start, e.n)
		}
		switch {
		case t.Kind == batch.Bool:
			v.bits.store(out.Values, start, e.n)
		case t.Variable():
			if err := e.storeText(&out, v); err != nil {
				return batch.Column{}, err
			}
		case t.Kind == batch.Decimal:
			copy(out.Decimals()[start:], v.dec)
		default:
			narrowNum(out.Values, t, v.num, start)
		}
	}
	if t.Variable() {
		out.Values = a.AllocOrHeap(len(e.out))
		copy(out.Values, e.out)
		if cap(e.out) > 8*maxScratch {
			e.out = nil
		}
	}
	return out, nil
}

// storeValidity adds a chunk's nulls, and makes the column's bitmap when it meets the first one.
func (e *Evaluator) storeValidity(out *batch.Column, valid *mask, a *batch.Arena) {
	nulls := 0
	for w := range (e.n + 63) >> 6 {
		x := ^valid[w]
		if rest := e.n - w*64; rest < 64 {
			x &= 1<<rest - 1
		}
		nulls += bits.OnesCount64(x)
	}
	if nulls == 0 && out.Validity == nil {
		return
	}
	if out.Validity == nil {
		out.Validity = a.AllocOrHeap(batch.BitmapLen(e.b.Rows))
		batch.FillBits(out.Validity, e.start)
	}
	valid.store(out.Validity, e.start, e.n)
	out.Nulls += nulls
}

func (e *Evaluator) storeText(out *batch.Column, v vec) error {
	to := batch.As[int32](out.Offsets)[e.start:]
	if v.scalar {
		if (len(e.out)+len(v.data)*e.n)>>31 != 0 {
			return errTooLarge
		}
		for i := range e.n {
			e.out = append(e.out, v.data...)
			to[i+1] = int32(len(e.out))
		}
		return nil
	}
	from := v.off[:e.n+1]
	first, last := from[0], from[e.n]
	if len(e.out)+int(last-first) > math.MaxInt32 {
		return errTooLarge
	}
	shift := int32(len(e.out)) - first
	for i, o := range from {
		to[i] = o + shift
	}
	e.out = append(e.out, v.data[first:last]...)
	return nil
}

// Filter appends the numbers of the rows for which a bool program is true, in ascending order. Rows that are false or
// null, or that failed, are left out.
func (e *Evaluator) Filter(b *batch.Batch, keep []int32) []int32 {
	e.begin(b)
	defer e.end()
	keep = slices.Grow(keep, b.Rows+64)
	for start := 0; start < b.Rows; start += chunk {
		e.next(start)
		v := e.prog.root.eval(e, 0)
		for w := range (e.n + 63) >> 6 {
			x := v.bits[w] & e.active[w] &^ e.failed[w]
			if v.valid != nil {
				x &= v.valid[w]
			}
			keep = appendBits(keep, x, int32(start+w*64))
		}
	}
	return keep
}

// appendBits appends the numbers of the set bits. The slice has room for 64 more.
func appendBits(keep []int32, x uint64, base int32) []int32 {
	n, count := len(keep), bits.OnesCount64(x)
	dst := (*[64]int32)(keep[n : n+64])
	switch {
	case count == 64:
		for i := range dst {
			dst[i] = base + int32(i)
		}
	case count > 12:
		// Every number is written, and overwritten by the next unless its bit is set: no branch, no search.
		k := uint64(0)
		for i := range int32(64) {
			dst[k&63] = base + i
			k += x & 1
			x >>= 1
		}
	default:
		for i := range count {
			dst[i] = base + int32(bits.TrailingZeros64(x))
			x &= x - 1
		}
	}
	return keep[:n+count]
}

func (e *Evaluator) begin(b *batch.Batch) {
	e.b = b
	clear(e.fails)
	e.fails = e.fails[:0]
	for _, r := range e.regs {
		if cap(r.data) > maxScratch {
			r.data = nil
		}
	}
}

// end sorts what failed: nodes run one after the other, so that a chunk's failures are not in row order.
func (e *Evaluator) end() {
	e.b = nil
	if len(e.fails) > 1 {
		slices.SortFunc(e.fails, func(x, y Failure) int { return cmp.Compare(x.Row, y.Row) })
	}
}

func (e *Evaluator) next(start int) {
	e.start, e.n = start, min(e.b.Rows-start, chunk)
	e.active.ones(e.n)
	e.failed = mask{}
}

// fails tells whether a failure of row i matters, and marks the row as failed.
func (e *Evaluator) fail(i int, valid *mask) bool {
	if !e.active.get(i) || e.failed.get(i) || valid != nil && !valid.get(i) {
		return false
	}
	e.failed.set(i)
	return true
}

// failText records that row i has no value, unless it is null or not wanted.
func (e *Evaluator) failText(i int, valid *mask, text string) {
	if e.fail(i, valid) {
		e.fails = append(e.fails, Failure{Row: int32(e.start + i), Reason: batch.ReasonExpression, Text: text})
	}
}
