package aggregate

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/weir-stream/weir/ingest/batch"
)

// Quantiles are estimated with DDSketch, after Masson, Rim and Lee, "DDSketch: A Fast and Fully-Mergeable Quantile Sketch with
// Relative-Error Guarantees" (VLDB 2019): values are counted in buckets whose bounds grow by a factor, so that an estimate is
// within accuracy of the value itself. The states are those of ClickHouse's quantilesDD.
//
// A sketch has at most maxBuckets buckets of either sign: beyond them the ones nearest to zero become one, and low quantiles of
// values that span more than 17 orders of magnitude lose their guarantee.

const (
	accuracy   = 0.01
	maxBuckets = 2048
	// Bytes of the state, see append.
	ddMapping, ddPositive, ddNegative, ddZeroes = 2, 1, 3, 4
	ddSparse                                    = 4
)

var (
	ddGamma      = (1 + accuracy) / (1 - accuracy)
	ddMultiplier = 1 / math.Log(ddGamma)
	// Values nearer to zero count as zero.
	ddLeast = math.SmallestNonzeroFloat64 * 0x1p52 * ddGamma
)

func newQuantile(s Spec) *Aggregate { return newQuantiles(s) }

func newMedian(s Spec) *Aggregate {
	s.Params = []float64{0.5}
	return newQuantiles(s)
}

func newQuantiles(s Spec) *Aggregate {
	levels := make([]string, len(s.Params))
	for i, p := range s.Params {
		levels[i] = strconv.FormatFloat(p, 'g', -1, 64)
	}
	function, answer := "quantileDD", float64Type
	if s.Func == "quantiles" {
		function, answer = "quantilesDD", batch.ListOf(float64Type)
	}
	if numbers(s.Args) == nil {
		return nil
	}
	// ClickHouse has no list that may be null: it is of NaNs.
	nullable := s.Args[0].Nullable && answer.Kind != batch.List
	of := []batch.Field{{Type: float64Type}}
	return ofState(fmt.Sprintf("%s(%v, %s)", function, accuracy, strings.Join(levels, ", ")), of, answer, nullable, func() Accumulator {
		return &ddSketches{ofFloat: ofFloat[ddSketch, *ddSketch]{values: numbers(s.Args)[0]}}
	})
}

// ddSketches finds the buckets of all rows first, and then counts: what waits for memory is apart from what computes.
type ddSketches struct {
	ofFloat[ddSketch, *ddSketch]
	index []int32
}

func (a *ddSketches) Add(groups []uint32, args []*batch.Column) {
	c, of := args[0], a.of
	values := a.values.read(c, len(groups))
	if cap(a.index) < len(values) {
		a.index = make([]int32, len(values)+len(values)/4)
	}
	index := a.index[:len(values)]
	for i, v := range values {
		index[i] = ddIndex(math.Abs(v))
	}
	for i, v := range values {
		g := groups[i]
		if g == Skip || c.Validity != nil && !c.Valid(i) {
			continue
		}
		d := &of[g]
		size := math.Abs(v)
		if !(size > ddLeast && size <= math.MaxFloat64) {
			d.add(v)
			continue
		}
		b := &d.side[math.Float64bits(v)>>63]
		if at := int(index[i]) - b.first; uint(at) < uint(len(b.counts)) {
			b.counts[at]++
		} else {
			a.extra += b.add(int(index[i]), 1)
		}
	}
}

// Take implements Accumulator.
func (a *ddSketches) Take(from Accumulator, src, dst uint32) {
	a.move(&from.(*ddSketches).states, src, dst)
}

func checkLevels(s Spec) error {
	if len(s.Params) > 100 {
		return fmt.Errorf("%d levels; at most 100", len(s.Params))
	}
	for _, p := range s.Params {
		if !(p >= 0 && p <= 1) {
			return fmt.Errorf("the level %v is not from 0 to 1", p)
		}
	}
	return nil
}

// ddSketch counts values in buckets. NaNs and infinities are left out.
type ddSketch struct {
	side   [2]buckets // of values above zero, and below
	zeroes float64
}

func (d *ddSketch) seen() bool {
	return d.zeroes > 0 || len(d.side[0].counts) > 0 || len(d.side[1].counts) > 0
}

func (d *ddSketch) size() int64 {
	return 8 * int64(cap(d.side[0].counts)+cap(d.side[1].counts))
}

func (d *ddSketch) add(v float64) int64 {
	switch {
	case v > ddLeast && v <= math.MaxFloat64:
		return d.side[0].add(int(ddIndex(v)), 1)
	case v < -ddLeast && v >= -math.MaxFloat64:
		return d.side[1].add(int(ddIndex(-v)), 1)
	case v >= -ddLeast && v <= ddLeast:
		d.zeroes++
	}
	return 0
}

// buckets are counts of the indexes from first on.
type buckets struct {
	counts []float64
	first  int
}

func (b *buckets) add(index int, n float64) int64 {
	if i := index - b.first; i >= 0 && i < len(b.counts) {
		b.counts[i] += n
		return 0
	}
	before := cap(b.counts)
	b.extend(index)
	b.counts[max(0, index-b.first)] += n
	return 8 * int64(cap(b.counts)-before)
}

// extend makes room for an index: there are buckets from the lowest to the highest, but at most maxBuckets.
func (b *buckets) extend(index int) {
	if len(b.counts) == 0 {
		b.first = index
		b.counts = append(b.counts[:0], 0)
		return
	}
	lo, hi := min(index, b.first), max(index, b.first+len(b.counts)-1)
	lo = max(lo, hi-maxBuckets+1)
	if lo > b.first { // the lowest become one
		gone := min(lo-b.first, len(b.counts))
		sum := 0.0
		for _, n := range b.counts[:gone] {
			sum += n
		}
		b.counts = append(b.counts[:0], b.counts[gone:]...)
		if len(b.counts) == 0 {
			b.counts = append(b.counts, 0)
		}
		b.counts[0] += sum
		b.first = lo
	}
	if front := b.first - lo; front > 0 {
		n := len(b.counts)
		b.counts = slices.Grow(b.counts, front)[:n+front]
		copy(b.counts[front:], b.counts[:n])
		clear(b.counts[:front])
		b.first = lo
	}
	for b.first+len(b.counts)-1 < hi {
		b.counts = append(b.counts, 0)
	}
}

func (d *ddSketch) merge(from *ddSketch, _ cells, _ int) {
	d.zeroes += from.zeroes
	d.side[0].merge(&from.side[0])
	d.side[1].merge(&from.side[1])
}

// merge goes from the highest down, so that the lowest become one once.
func (b *buckets) merge(from *buckets) {
	for i, n := range slices.Backward(from.counts) {
		if n != 0 {
			b.add(from.first+i, n)
		}
	}
}

// append writes: the mapping (a byte 2, float64 factor, float64 offset of indexes), the buckets of values above zero (a byte 1)
// and below (3), and how many are zero (4, float64).
func (d *ddSketch) append(dst []byte, _ cells) []byte {
	dst = appendFloat(appendFloat(append(dst, ddMapping), ddGamma), 0)
	dst = d.side[0].append(append(dst, ddPositive))
	dst = d.side[1].append(append(dst, ddNegative))
	return appendFloat(append(dst, ddZeroes), d.zeroes)
}

// append writes those that are not empty: a byte 4, varint how many, and of each the zigzag varint distance from the one before
// and the float64 count.
func (b *buckets) append(dst []byte) []byte {
	used := 0
	for _, n := range b.counts {
		if n != 0 {
			used++
		}
	}
	dst = binary.AppendUvarint(append(dst, ddSparse), uint64(used))
	before := 0
	for i, n := range b.counts {
		if n != 0 {
			dst = appendFloat(binary.AppendVarint(dst, int64(b.first+i-before)), n)
			before = b.first + i
		}
	}
	return dst
}

func (d *ddSketch) load(src []byte, _ cells) error {
	r := reader{src: src}
	if r.byte() != ddMapping || r.float() != ddGamma || r.float() != 0 {
		return errState
	}
	if r.byte() != ddPositive || !d.side[0].load(&r) || r.byte() != ddNegative || !d.side[1].load(&r) || r.byte() != ddZeroes {
		return errState
	}
	d.zeroes = r.float()
	return r.end()
}

func (b *buckets) load(r *reader) bool {
	if r.byte() != ddSparse {
		return false
	}
	index := int64(0)
	const most = 1 << 17 // indexes of float64 are from -37,000 to 37,000
	for range r.count(9) {
		index += r.varint()
		if n := r.float(); r.bad || index < -most || index > most || !(n > 0) {
			return false
		} else {
			b.add(int(index), n)
		}
	}
	return !r.bad
}
