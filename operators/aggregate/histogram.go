package aggregate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/weir-stream/weir/ingest/batch"
)

// maxBounds is how many bounds a histogram may have.
const maxBounds = 1000

func checkBounds(s Spec) error {
	if len(s.Params) > maxBounds {
		return fmt.Errorf("%d bounds; at most %d", len(s.Params), maxBounds)
	}
	for i, p := range s.Params {
		if math.IsNaN(p) || math.IsInf(p, 0) {
			return errors.New("a bound is a number")
		}
		if i > 0 && p <= s.Params[i-1] {
			return fmt.Errorf("the bound %v is not above %v, which is before it", p, s.Params[i-1])
		}
	}
	return nil
}

// newHistogram counts values between bounds: those below the first, those from each bound up to the next, those from the last on. NaNs
// are left out. The states are those of ClickHouse's sumForEach over lists of 0 and 1.
func newHistogram(s Spec) *Aggregate {
	if numbers(s.Args) == nil {
		return nil
	}
	counts := batch.ListOf(batch.Type{Kind: batch.Uint64})
	return ofState("sumForEach", []batch.Field{{Type: counts}}, counts, false, func() Accumulator {
		return &histograms{values: numbers(s.Args)[0], bounds: slices.Clone(s.Params)}
	})
}

type histograms struct {
	states[tally, *tally]
	values floats
	bounds []float64
}

// tally has one number more than there are bounds, or none before the first value.
type tally struct{ counts []uint64 }

func (t *tally) seen() bool  { return t.counts != nil }
func (t *tally) size() int64 { return 8 * int64(cap(t.counts)) }

// append writes: uint64 n, n times uint64.
func (t *tally) append(dst []byte, _ cells) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(len(t.counts)))
	for _, n := range t.counts {
		dst = binary.LittleEndian.AppendUint64(dst, n)
	}
	return dst
}

func (a *histograms) Add(groups []uint32, args []*batch.Column) {
	c, of, bounds := args[0], a.of, a.bounds
	for i, v := range a.values.read(c, len(groups)) {
		g := groups[i]
		if g == Skip || v != v || c.Validity != nil && !c.Valid(i) {
			continue
		}
		t := &of[g]
		if t.counts == nil {
			t.counts = make([]uint64, len(bounds)+1)
			a.extra += t.size()
		}
		t.counts[bucketOf(bounds, v)]++
	}
}

// bucketOf is how many bounds are at or below v. It halves what is left without asking which half it is, so that there is nothing to guess wrong.
func bucketOf(bounds []float64, v float64) int {
	at := 0
	for n := len(bounds); n > 0; {
		half := (n + 1) / 2
		if bounds[at+half-1] <= v {
			at += half
		}
		n -= half
	}
	return at
}

func (a *histograms) Take(from Accumulator, src, dst uint32) {
	a.move(&from.(*histograms).states, src, dst)
}

func (a *histograms) Load(groups []uint32, in []batch.Column) error {
	return a.loadEach(groups, in, a.load)
}

func (a *histograms) load(t *tally, src []byte) error {
	r := reader{src: src}
	if r.uint64() != uint64(len(a.bounds)+1) {
		return errState
	}
	t.counts = make([]uint64, len(a.bounds)+1)
	for i := range t.counts {
		t.counts[i] = r.uint64()
	}
	return r.end()
}

func (a *histograms) Merge(groups []uint32, in []batch.Column) error {
	return a.mergeEach(groups, in, a.load, func(to, from *tally) {
		for i, n := range from.counts {
			to.counts[i] += n
		}
	})
}
