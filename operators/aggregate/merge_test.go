package aggregate

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
)

// mergeInto takes the states of group 0 of one accumulator into group 0 of another.
func mergeInto(t testing.TB, a *Aggregate, to, from Accumulator) {
	t.Helper()
	if err := to.(Mergeable).Merge([]uint32{0}, states0(a, from)); err != nil {
		t.Fatalf("%s: %v", a.Func, err)
	}
}

// TestMerge cuts rows into windows that follow one another, and merges what became of each: it must be what becomes of all of them
// together.
func TestMerge(t *testing.T) {
	rows := makeRows(rand.New(rand.NewPCG(15, 16)), 2000, 90)
	var all []*Aggregate
	for _, info := range Functions() {
		all = append(all, planAny(t, info))
	}
	for _, a := range append(all, opaque(t)...) {
		if !a.CanMerge() {
			t.Errorf("%s is not merged", a.Func)
			continue
		}
		merged := a.Accumulator()
		merged.Grow(1)
		for _, part := range [][2]int{{0, 0}, {0, 1}, {1, 20}, {20, 20}, {20, 1000}, {1000, 1001}, {1001, 2000}} {
			mergeInto(t, a, merged, rows.fill(a, part[0], part[1]))
		}
		if s, ok := merged.(Sized); ok {
			if size := s.MemorySize(); size < 0 {
				t.Errorf("%s takes %d bytes", a.Func, size)
			}
		}
		if a.Func == "topk" || strings.HasSuffix(a.Func, "_tdigest") {
			continue // see TestMergeTopK, TestTDigest
		}
		want, got := states0(a, rows.fill(a, 0, rows.n)), states0(a, merged)
		for i := range want {
			if !same0(want[i], got[i]) && !nearly(want[i], got[i]) {
				t.Errorf("%s(%s): state %d is %x, and %x where nothing was merged", a.Func, a.input[0].Name, i, head(got[i].Values), head(want[i].Values))
			}
		}
		again := a.Accumulator()
		again.Grow(1)
		if err := again.Load([]uint32{0}, got); err != nil {
			t.Errorf("%s: what was merged cannot be read: %v", a.Func, err)
		}
	}
}

// nearly compares states of floats: a varint, where there is one, and then floats, or floats alone.
func nearly(a, b batch.Column) bool {
	x, y := a.Values, b.Values
	if a.Offsets != nil && len(x)%8 != 0 {
		n, k := binary.Uvarint(x)
		m, l := binary.Uvarint(y)
		if n != m || k <= 0 || l <= 0 {
			return false
		}
		x, y = x[k:], y[l:]
	}
	if len(x) != len(y) || len(x) == 0 || len(x)%8 != 0 {
		return false
	}
	most := 0.0
	for i := 0; i < len(x); i += 8 {
		v, w := math.Float64frombits(binary.LittleEndian.Uint64(x[i:])), math.Float64frombits(binary.LittleEndian.Uint64(y[i:]))
		most = max(most, math.Abs(v))
		if math.Abs(v-w) > 1e-9*max(1, most) {
			return false
		}
	}
	return true
}

// TestMergeTopK counts exactly where there are counters for all values, and else never too little, nor more than it says.
func TestMergeTopK(t *testing.T) {
	for _, distinct := range []int{4, 9, 40, 2000} {
		rows := makeRows(rand.New(rand.NewPCG(17, uint64(distinct))), 3000, distinct)
		a, err := plan("topk", []float64{3}, "s")
		if err != nil {
			t.Fatal(err)
		}
		merged := a.Accumulator()
		merged.Grow(1)
		for lo := 0; lo < rows.n; lo += 500 {
			mergeInto(t, a, merged, rows.fill(a, lo, lo+500))
		}
		truth := map[string]uint64{}
		for i := range rows.n {
			truth[string(rows.cols["s"].Bytes(i))]++
		}
		counters := merged.(*ofValue[topK, *topK]).of[0].counters
		if want := min(distinct, 9); len(counters) != want {
			t.Errorf("%d counters, want %d", len(counters), want)
		}
		for _, c := range counters {
			if n := truth[c.value]; c.count < n || c.count > n+c.error || distinct <= 9 && c.error > 0 {
				t.Errorf("of %d values, %s was there %d times, and counts %d, of which %d may be wrong", distinct, c.value, n, c.count, c.error)
			}
		}
	}
}

// TestMergeOverTime has a counter that begins anew at the border of two windows, and within one.
func TestMergeOverTime(t *testing.T) {
	values, times := []float64{10, 15, 3, 7, 2, 2, 9}, []int64{0, 1000, 2000, 4000, 7000, 8000, 16000}
	for _, fn := range []string{"delta", "rate", "time_avg"} {
		a, err := plan(fn, nil, "f", "t")
		if err != nil {
			t.Fatal(err)
		}
		fill := func(lo, hi int) Accumulator {
			acc := a.Accumulator()
			acc.Grow(1)
			acc.Add(make([]uint32, hi-lo), []*batch.Column{{Values: batch.Bytes(values[lo:hi])}, {Values: batch.Bytes(times[lo:hi])}})
			return acc
		}
		want := states0(a, fill(0, len(values)))
		for first := range len(values) {
			for second := first; second <= len(values); second++ {
				merged := fill(0, first)
				mergeInto(t, a, merged, fill(first, second))
				mergeInto(t, a, merged, fill(second, len(values)))
				for i, got := range states0(a, merged) {
					if !same0(want[i], got) {
						t.Errorf("%s, cut at %d and %d: state %d is %x, want %x", fn, first, second, i, got.Values, want[i].Values)
					}
				}
			}
		}
	}
}

// TestMergeDamaged gives accumulators bytes that are no state.
func TestMergeDamaged(t *testing.T) {
	for _, a := range opaque(t) {
		acc := a.Accumulator()
		acc.Grow(1)
		bad := batch.Column{Offsets: batch.Bytes([]int32{0, 3}), Values: []byte{0xff, 0xff, 0xff}}
		if err := acc.(Mergeable).Merge([]uint32{0}, []batch.Column{bad}); err == nil {
			t.Errorf("%s takes anything", a.Func)
		}
	}
}
