package window

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators/aggregate"
)

// TestTexts gives groups new texts, longer and shorter ones, and compares with a plain list.
func TestTexts(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 9))
	const groups = 200
	slab := &aggregate.Slab{Stride: 1 + textWords}
	slab.Grow(groups)
	x := texts{slab: slab, at: 1}
	want := make([][]byte, groups)
	compacted := 0
	for i := range 20_000 {
		g := uint32(rng.IntN(groups))
		want[g] = bytes.Repeat([]byte{byte(i)}, rng.IntN(300))
		if rng.IntN(2) == 0 { // about as long as those that lie in the slab
			want[g] = want[g][:min(len(want[g]), rng.IntN(2*shortText))]
		}
		before := len(x.data)
		x.set(g, want[g])
		if len(x.data) < before {
			compacted++
		}
		if len(x.data) > 2*(groups*300+sparseAbove) {
			t.Fatalf("%d bytes for %d groups", len(x.data), groups)
		}
	}
	for g := range want {
		if !bytes.Equal(x.get(uint32(g)), want[g]) {
			t.Fatalf("group %d has %q, want %q", g, x.get(uint32(g)), want[g])
		}
	}
	if compacted == 0 {
		t.Error("nothing was ever compacted")
	}
}

// TestTextsAreTold compares texts that differ in a byte or in length, whatever lies behind them in memory.
func TestTextsAreTold(t *testing.T) {
	slab := &aggregate.Slab{Stride: textWords}
	slab.Grow(1)
	x := texts{slab: slab}
	behind := bytes.Repeat([]byte{0xee}, 64)
	for n := range shortText + 20 {
		v := make([]byte, n)
		for i := range v {
			v[i] = byte(i + 1)
		}
		x.set(0, v)
		roomy := append(slices.Clone(v), behind...)[:n]
		if got := x.get(0); !bytes.Equal(got, v) || !x.is(0, v) || !x.is(0, slices.Clip(v)) || !x.is(0, roomy) {
			t.Fatalf("%d bytes: %x is not what was set", n, got)
		}
		for i := range v {
			v[i] ^= 0x80
			if x.is(0, v) {
				t.Errorf("%d bytes: a text with another byte %d is taken for it", n, i)
			}
			v[i] ^= 0x80
		}
		for _, other := range [][]byte{append(slices.Clone(v), 0), v[:max(n-1, 0)]} {
			if len(other) != n && x.is(0, other) {
				t.Errorf("%d bytes: a text of %d is taken for it", n, len(other))
			}
		}
	}
}

// BenchmarkGroups is count, sum, min, max and avg of a number, by one key.
func BenchmarkGroups(b *testing.B) {
	s := numbersSchema()
	for _, bb := range []struct {
		name   string
		key    int
		groups int
		zipf   bool // some keys come often
	}{
		{"int64/10000", 1, 10_000, false},
		{"int64/10000/zipf", 1, 10_000, true},
		{"string/10000", 2, 10_000, false},
		{"string/1000000", 2, 1_000_000, false},
		{"string/1000000/zipf", 2, 1_000_000, true},
	} {
		b.Run(bb.name, func(b *testing.B) {
			cfg := numbersOf(b, s, bb.key, "count", "sum", "min", "max", "avg")
			batches := manyKeys(s, bb.groups)
			w := New(cfg)
			for _, in := range batches { // every group is there, and memory is as large as it gets
				add(b, w, in, 0)
			}
			perGroup := float64(w.MemorySize()) / float64(w.Groups())
			reKey(batches, bb.groups, bb.zipf) // groups do not come in the order of their numbers
			b.ReportAllocs()
			rows, i := 0, 0
			began := cpuTime(b)
			for b.Loop() {
				add(b, w, batches[i%len(batches)], 0)
				rows += batches[0].Rows
				i++
			}
			b.ReportMetric(float64(cpuTime(b)-began)/float64(rows), "cpu-ns/row")
			b.ReportMetric(perGroup, "bytes/group")
		})
	}
}

// BenchmarkGroupsFromNothing is a window of a million names: it is opened, all its groups are made, met three times more, and shipped. Beside the
// time of a row it gives what memory a group takes in the end, and at the worst moment on the way there: behind a doubling, where half of
// what there is is free.
func BenchmarkGroupsFromNothing(b *testing.B) {
	s := numbersSchema()
	for _, zipf := range []bool{false, true} {
		b.Run(fmt.Sprintf("string/1000000/zipf=%t", zipf), func(b *testing.B) {
			cfg := numbersOf(b, s, 2, "count", "sum", "min", "max", "avg")
			batches := manyKeys(s, 1<<20)
			reKey(batches, 1_000_000, zipf)
			rows, most := 0, 0.0
			var made, met, cut time.Duration
			var last float64
			for b.Loop() {
				w := New(cfg)
				began := cpuTime(b)
				for _, in := range batches {
					add(b, w, in, 0)
					if n := w.Groups(); n > 100_000 { // before, what is there for a few groups counts
						last = float64(w.MemorySize()) / float64(n)
						most = max(most, last)
					}
				}
				was := began
				began = cpuTime(b)
				made += time.Duration(began - was)
				for range passes - 1 {
					for _, in := range batches {
						add(b, w, in, 0)
					}
				}
				was, began = began, cpuTime(b)
				met += time.Duration(began - was)
				if w.Cut(0).Rows == nil {
					b.Fatal("nothing to ship")
				}
				cut += time.Duration(cpuTime(b) - began)
				rows += passes * len(batches) * batches[0].Rows
			}
			perRow := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / float64(rows) }
			b.ReportMetric(perRow(made+met+cut), "cpu-ns/row")
			b.ReportMetric(perRow(made), "made-ns")
			b.ReportMetric(perRow(met), "met-ns")
			b.ReportMetric(perRow(cut), "cut-ns")
			b.ReportMetric(last, "bytes/group")
			b.ReportMetric(most, "most-bytes/group")
		})
	}
}

// cpuTime is what the process has used, in nanoseconds: it depends less than time does on what else runs.
func cpuTime(tb testing.TB) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// manyKeys are batches in which every key comes, in no order.
func manyKeys(s *batch.Schema, groups int) []*batch.Batch {
	const n = 8192
	rng := rand.New(rand.NewPCG(4, 4))
	order := rng.Perm(groups)
	var all []*batch.Batch
	for at := 0; at < groups; at += n {
		b := &batch.Batch{}
		ts, ids, vs := make([]int64, n), make([]int64, n), make([]float64, n)
		offsets, data := []int32{0}, []byte(nil)
		for i := range n {
			id := order[(at+i)%groups]
			ts[i], ids[i], vs[i] = 1_700_000_000_000+int64(i), int64(id)*7919, float64(id%100)
			data = fmt.Appendf(data, "device-%07d", id)
			offsets = append(offsets, int32(len(data)))
		}
		b.Begin(s, batch.Partition{Topic: "t"}, make([]batch.Record, 1))
		b.Rows = n
		b.Cols[0].Values, b.Cols[1].Values, b.Cols[3].Values = batch.Bytes(ts), batch.Bytes(ids), batch.Bytes(vs)
		b.Cols[2].Offsets, b.Cols[2].Values = batch.Bytes(offsets), data
		all = append(all, b)
	}
	return all
}
