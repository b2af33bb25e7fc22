package aggregate

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/weir-stream/weir/ingest/batch"
)

// Quantiles by t-digest, after Dunning and Ertl, "Computing Extremely Accurate Quantiles Using t-Digests" (2019): values that are near
// each other become a centroid, their mean and how many they are. Those in the middle may be many, those at the ends few, so that an
// estimate is nearest there. The states are those of ClickHouse's quantileTDigest, which
// puts centroids together by the same rule.

const (
	digestEpsilon = 0.01
	// digestEntries is how many centroids, and values that are none yet, there are before they are put together: about 300 then. ClickHouse
	// reads up to 2,048.
	digestEntries = 1024
)

func newQuantileTDigest(s Spec) *Aggregate { return newTDigest(s, "quantileTDigest", float32Type) }

func newQuantilesTDigest(s Spec) *Aggregate {
	return newTDigest(s, "quantilesTDigest", batch.ListOf(float32Type))
}

var float32Type = batch.Type{Kind: batch.Float32}

func newTDigest(s Spec, function string, answer batch.Type) *Aggregate {
	levels := make([]string, len(s.Params))
	for i, p := range s.Params {
		levels[i] = strconv.FormatFloat(p, 'g', -1, 64)
	}
	a := floatAggregate[tDigest](s, fmt.Sprintf("%s(%s)", function, strings.Join(levels, ", ")), answer)
	if a == nil {
		return nil
	}
	a.make = func() Accumulator {
		return &digests{ofFloat: ofFloat[tDigest, *tDigest]{values: numbers(s.Args)[0]}}
	}
	if answer.Kind == batch.List {
		a.Nullable = false // there is no list that may be null: it is of NaNs
	}
	return a
}

// tDigest keeps centroids, and values that are not among them yet, in any order: what becomes of them when there are too many is a function
// of what they are, so that a state that was written and read goes on as it would have. NaNs and infinities are left out.
type tDigest struct{ centroids []centroid }

// centroid is what a state has of it.
type centroid struct{ mean, count float32 }

func (d *tDigest) seen() bool  { return len(d.centroids) > 0 }
func (d *tDigest) size() int64 { return 8 * int64(cap(d.centroids)) }

func (d *tDigest) add(v float64) int64 {
	mean := float32(v)
	if mean-mean != 0 {
		return 0
	}
	before := cap(d.centroids)
	d.put(centroid{mean, 1})
	return 8 * int64(cap(d.centroids)-before)
}

func (d *tDigest) put(c centroid) {
	switch n := len(d.centroids); {
	case n == digestEntries:
		d.compress()
	case n == cap(d.centroids):
		d.move(make([]centroid, 0, digestRoom(n)))
	}
	d.centroids = append(d.centroids, c)
}

// move takes other memory for the centroids, and gives what they had.
func (d *tDigest) move(to []centroid) (was []centroid) {
	was = d.centroids
	d.centroids = append(to, was...)
	return was
}

// compress puts neighbours together while the part of all values that they are is small for where they are: while their count is at most
// 4 ε q (1-q) of the total, where q is the part of all that lies before the middle of either. Nothing is divided but the mean of what has
// become one: the total is on both sides, squared.
func (d *tDigest) compress() {
	c := d.centroids
	var room [2][digestEntries]uint64
	values := valuesOf(c)
	keys := sorted(c, values, &room)
	total := float64(len(c) - values) // exact, as all counts are whole numbers
	for _, x := range c[:values] {
		total += float64(x.count)
	}
	most := 4 * digestEpsilon / total
	before, last := 0.0, 0
	first := centroidOf(keys[0])
	count := float64(first.count)
	sum := float64(first.mean) * count // in float64, so that means of neighbours stay in order when they are rounded
	for _, k := range keys[1:] {
		r := centroidOf(k)
		n := float64(r.count)
		left, right := before+count*0.5, before+count+n*0.5
		bound := left * (total - left)
		if b := right * (total - right); b < bound { // min minds NaNs, which takes longer
			bound = b
		}
		if count+n <= most*bound {
			count += n
			sum += n * float64(r.mean)
			continue
		}
		c[last] = centroid{float32(sum / count), float32(count)}
		last++
		before += count
		sum, count = n*float64(r.mean), n
	}
	c[last] = centroid{float32(sum / count), float32(count)}
	d.centroids = c[:last+1]
	if len(d.centroids) > digestEntries/2 {
		d.halve()
	}
}

// halve puts each two neighbours together, where counts are such that hardly any became one otherwise.
func (d *tDigest) halve() {
	c := d.centroids
	out := 0
	for i := 0; i < len(c); i += 2 {
		x := c[i]
		if i+1 < len(c) {
			n, m := float64(x.count), float64(c[i+1].count)
			x = centroid{float32((float64(x.mean)*n + float64(c[i+1].mean)*m) / (n + m)), float32(n + m)}
		}
		c[out] = x
		out++
	}
	d.centroids = c[:out]
}

func (d *tDigest) merge(from *tDigest, _ cells, _ int) {
	for _, c := range from.centroids {
		d.put(c)
	}
}

// append writes: varint n, and of each centroid float32 mean and float32 count, in order.
func (d *tDigest) append(dst []byte, _ cells) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(d.centroids)))
	inOrder(d.centroids)
	for _, c := range d.centroids {
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(c.mean))
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(c.count))
	}
	return dst
}

func (d *tDigest) load(src []byte, _ cells) error {
	r := reader{src: src}
	n := r.count(8)
	if n == 0 || n > digestEntries {
		return errState
	}
	d.centroids = make([]centroid, n)
	for i := range d.centroids {
		c := centroid{math.Float32frombits(r.uint32()), math.Float32frombits(r.uint32())}
		if c.mean-c.mean != 0 || c.count-c.count != 0 || !(c.count >= 1) || i > 0 && c.mean < d.centroids[i-1].mean {
			return errState
		}
		d.centroids[i] = c
	}
	return r.end()
}
