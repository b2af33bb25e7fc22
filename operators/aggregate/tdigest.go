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

// tDigest keeps centroids, and values that are not among them yet: what becomes of them when there are too many is a function of what they
// are, so that a state that was written and read goes on as it would have. NaNs and infinities are left out.
//
//	words    2 of each centroid: keyOf its mean, and the bits of its count, which are in order but for those that were put there
//	         1 of each value behind them: keyOf it, in any order
//
// So a row touches four bytes, and what is sorted is values alone. A value is a centroid whose count is 1, whichever way it is kept.
type tDigest struct {
	words     []uint32
	centroids uint16
	limit     uint16  // how many words there may be before room is made
	loose     bool    // centroids are in no order
	weight    float64 // the count of all centroids
}

// one is the bits of a count of 1.
const one = 0x3f800000

func (d *tDigest) seen() bool  { return len(d.words) > 0 }
func (d *tDigest) size() int64 { return 4 * int64(cap(d.words)) }

// full tells whether there are as many centroids and values as there may be.
func (d *tDigest) full() bool { return len(d.words)-int(d.centroids) == digestEntries }

func (d *tDigest) add(v float64) int64 {
	mean := float32(v)
	if mean-mean != 0 {
		return 0
	}
	before := cap(d.words)
	d.put(keyOf(mean), one)
	return 4 * int64(cap(d.words)-before)
}

// put adds a centroid.
func (d *tDigest) put(key, count uint32) {
	if d.full() {
		d.compress()
	}
	n, at := len(d.words), 2*int(d.centroids)
	if n+2 > cap(d.words) {
		d.move(make([]uint32, 0, sizeOf(digestSize(n+2))))
	}
	if count == one {
		d.words = append(d.words, key)
		return
	}
	d.words = d.words[:n+2]
	copy(d.words[max(n, at+2):], d.words[at:min(n, at+2)]) // values that were there go to the end
	d.words[at], d.words[at+1] = key, count
	d.loose = d.loose || at > 0 && (key < d.words[at-2] || key == d.words[at-2] && count < d.words[at-1])
	d.weight += float64(math.Float32frombits(count))
	d.centroids++
	d.measure()
}

// move takes other memory, and gives what it had.
func (d *tDigest) move(to []uint32) (was []uint32) {
	was = d.words
	d.words = append(to, was...)
	d.measure()
	return was
}

// measure finds the limit.
func (d *tDigest) measure() { d.limit = uint16(min(cap(d.words), digestEntries+int(d.centroids))) }

// compress puts neighbours together while the part of all values that they are is small for where they are: while their count is at most
// 4 ε q (1-q) of the total, where q is the part of all that lies before the middle of either. Nothing is divided but the mean of what has
// become one: the total is on both sides, squared.
//
// Values and centroids are in order each, and are merged as they are read. Most need no look at the bound: see sure.
func (d *tDigest) compress() {
	var sorted [digestEntries + 1]uint32
	var out [2 * digestEntries]uint32
	at := 2 * int(d.centroids)
	centroids, values := d.words[:at], sortKeys(d.words[at:], out[:], sorted[:])
	sorted[len(values)] = noKey
	d.order()
	total := d.weight + float64(len(values))
	most := bound{total, 4 * digestEpsilon / total}
	var before, count, sum, sure float64 // sum is not rounded to float32, so that means of neighbours stay in order when they are
	value, next := 0, uint32(noKey-1)
	if at > 0 {
		next = centroids[0]
	}
	if sorted[0] <= next {
		count, sum = 1, float64(ofKey(sorted[0]))
		value = 1
	} else {
		count, sum, next, centroids = take(centroids)
	}
	n := 0 // words of out
	for {
		more, of := 1.0, 0.0
		if k := sorted[value]; k <= next {
			of = float64(ofKey(k))
			value++
		} else if len(centroids) == 0 {
			break
		} else {
			more, of, next, centroids = take(centroids)
		}
		if count+more <= sure || most.fits(before, count, more) {
			count += more
			sum += of
			continue
		}
		to := (*[2]uint32)(out[n:])
		to[0], to[1] = keyOf(float32(sum/count)), math.Float32bits(float32(count))
		n += 2
		before += count
		count, sum, sure = more, of, most.sure(before)
	}
	out[n], out[n+1] = keyOf(float32(sum/count)), math.Float32bits(float32(count))
	n += 2
	if n > digestEntries {
		n = halve(out[:n])
	}
	d.words = append(d.words[:0], out[:n]...)
	d.centroids = uint16(n / 2)
	d.weigh()
	d.measure()
}

// take reads the first centroid, and the key of the next.
func take(centroids []uint32) (count, sum float64, next uint32, behind []uint32) {
	count = float64(math.Float32frombits(centroids[1]))
	sum = count * float64(ofKey(centroids[0]))
	if behind = centroids[2:]; len(behind) == 0 {
		return count, sum, noKey - 1, behind
	}
	return count, sum, behind[0], behind
}

// weigh finds the count of all centroids, and puts those in order that are out of place: of one mean they may be, which values that have few
// digits make. Where there are more it gives up, and they are loose.
func (d *tDigest) weigh() {
	weight, before, moves := 0.0, uint64(0), 4*int(d.centroids)
	words := d.words[:2*d.centroids]
	for i := 0; i+1 < len(words); i += 2 {
		key, count := words[i], words[i+1]
		weight += float64(math.Float32frombits(count))
		k := uint64(key)<<32 | uint64(count)
		if k >= before {
			before = k
			continue
		}
		at := i
		for ; at > 0 && uint64(words[at-2])<<32|uint64(words[at-1]) > k && moves > 0; at -= 2 {
			words[at], words[at+1] = words[at-2], words[at-1]
			moves--
		}
		words[at], words[at+1] = key, count
	}
	d.weight, d.loose = weight, moves == 0
}

// bound is on the counts of centroids.
type bound struct {
	total float64
	most  float64 // 4 ε / total
}

// fits tells whether n more belong to what becomes one, where so many are before it.
func (b bound) fits(before, count, n float64) bool {
	left, right := before+count*0.5, before+count+n*0.5
	most := left * (b.total - left)
	if r := right * (b.total - right); r < most { // min minds NaNs, which takes longer
		most = r
	}
	return count+n <= b.most*most
}

// sure is up to which count all fits that comes behind so many. The bound rises up to the middle and falls behind it: over all places where a
// centroid that begins here can end it is the least at one end, so that with less than that no place is looked at. Conversions keep
// processors that multiply and add at once from rounding otherwise than others; and rounding is less than the part that is left out.
func (b bound) sure(before float64) float64 {
	first := float64(b.most * (before * (b.total - before)))
	end := before + first
	if last := float64(b.most * (end * (b.total - end))); last < first {
		first = last
	}
	return first * (1 - 1e-6)
}

// halve puts each two neighbours together, where counts are such that hardly any became one otherwise.
func halve(c []uint32) (words int) {
	out := c[:0]
	for ; len(c) >= 4; c = c[4:] {
		n, m := float64(math.Float32frombits(c[1])), float64(math.Float32frombits(c[3]))
		mean := float32((float64(ofKey(c[0]))*n + float64(ofKey(c[2]))*m) / (n + m))
		out = append(out, keyOf(mean), math.Float32bits(float32(n+m)))
	}
	return len(append(out, c...))
}

func (d *tDigest) merge(from *tDigest, _ cells, _ int) {
	at := 2 * int(from.centroids)
	for i := 0; i < at; i += 2 {
		d.put(from.words[i], from.words[i+1])
	}
	for _, v := range from.words[at:] {
		d.put(v, one)
	}
}

// append writes: varint n, and of each centroid float32 mean and float32 count, in order.
func (d *tDigest) append(dst []byte, _ cells) []byte {
	var sorted, room [digestEntries]uint32
	at := 2 * int(d.centroids)
	d.order()
	c, values := d.words[:at], sortKeys(d.words[at:], room[:], sorted[:])
	dst = binary.AppendUvarint(dst, uint64(len(c)/2+len(values)))
	for len(c) > 0 || len(values) > 0 {
		key, count := uint32(0), uint32(one)
		if len(c) == 0 || len(values) > 0 && values[0] <= c[0] {
			key, values = values[0], values[1:]
		} else {
			key, count, c = c[0], c[1], c[2:]
		}
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(ofKey(key)))
		dst = binary.LittleEndian.AppendUint32(dst, count)
	}
	return dst
}

func (d *tDigest) load(src []byte, _ cells) error {
	r := reader{src: src}
	n := r.count(8)
	if n == 0 || n > digestEntries {
		return errState
	}
	d.words, d.centroids = make([]uint32, 0, 2*n), uint16(n)
	before := float32(math.Inf(-1))
	for range n {
		mean, count := math.Float32frombits(r.uint32()), math.Float32frombits(r.uint32())
		if mean-mean != 0 || count-count != 0 || !(count >= 1) || mean < before {
			return errState
		}
		d.words = append(d.words, keyOf(mean), math.Float32bits(count))
		before = mean
	}
	d.weigh()
	d.measure()
	return r.end()
}
