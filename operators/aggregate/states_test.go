package aggregate

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
)

// opaque plans every aggregate whose state is bytes, over a column that it takes.
func opaque(t testing.TB) []*Aggregate {
	t.Helper()
	var all []*Aggregate
	for _, c := range compatibles {
		a, err := plan(c.fn, c.params, c.args...)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, a)
	}
	return all
}

// TestLoadAggregates goes on with a state that was written and read: the end must be the same as without that.
func TestLoadAggregates(t *testing.T) {
	rows := makeRows(rand.New(rand.NewPCG(5, 6)), 2000, 300)
	for _, info := range Functions() {
		a := planAny(t, info)
		for _, cut := range []int{0, 1, 20, 1000} {
			whole := rows.fill(a, 0, rows.n)
			first := rows.fill(a, 0, cut)
			second := a.Accumulator()
			second.Grow(1)
			if err := second.Load([]uint32{0}, states0(a, first)); err != nil {
				t.Fatalf("%s: %v", info.Name, err)
			}
			rows.add(a, second, cut, rows.n)
			want, got := states0(a, whole), states0(a, second)
			for i := range want {
				if !same0(want[i], got[i]) {
					t.Errorf("%s, cut at %d: state %d is %x, and %x without the cut", info.Name, cut, i, head(got[i].Values), head(want[i].Values))
				}
			}
		}
	}
}

// params are the numbers behind the arguments of functions that need some.
var params = map[string][]float64{"quantile": {0.9}, "quantiles": {0.1, 0.9}, "quantile_tdigest": {0.9}, "quantiles_tdigest": {0.1, 0.9}, "histogram": {-1, 0, 0.5, 7}, "topk": {50}, "group_array": {50}}

// planAny plans a function over the first columns of the tests that it takes.
func planAny(t testing.TB, info Info) *Aggregate {
	t.Helper()
	for _, x := range []string{"n", "i", "b"} {
		args := []string{x}
		if info.Time {
			args = append(args, "t")
		} else if info.Name == "sum_map" {
			args = append(args, "w") // whose sums are the same in any order
		} else if info.Args == 2 {
			args = append(args, "f")
		}
		if a, err := plan(info.Name, params[info.Name], args...); err == nil {
			return a
		}
	}
	t.Fatalf("%s takes no column of the test", info.Name)
	return nil
}

// states0 are the states of group 0.
func states0(a *Aggregate, acc Accumulator) []batch.Column {
	out := make([]batch.Column, len(a.States))
	acc.Emit([]uint32{0}, out)
	return out
}

// same0 compares the states of one group. Sets are written in any order.
func same0(a, b batch.Column) bool {
	if a.Valid(0) != b.Valid(0) || len(a.Values) != len(b.Values) {
		return false
	}
	return bytes.Equal(a.Values, b.Values) || len(a.Values) > 100 && total(a.Values) == total(b.Values)
}

func total(v []byte) (n int) {
	for _, b := range v {
		n += int(b)
	}
	return n
}

func head(v []byte) []byte { return v[:min(len(v), 40)] }

// TestGroups takes rows of several groups in batches, and moves one: groups know nothing of each other.
func TestGroups(t *testing.T) {
	rows := makeRows(rand.New(rand.NewPCG(7, 8)), 999, 50)
	for _, a := range opaque(t) {
		acc := a.Accumulator()
		acc.Grow(3)
		groups := make([]uint32, rows.n)
		for i := range groups {
			groups[i] = uint32(i) * 3 / uint32(rows.n)
		}
		var args []*batch.Column
		for _, f := range a.input {
			args = append(args, rows.cols[f.Name])
		}
		acc.Add(groups, args)
		moved := a.Accumulator()
		moved.Grow(2)
		moved.Take(acc, 1, 1)
		want, got := states0(a, rows.fill(a, rows.n/3, rows.n*2/3)), make([]batch.Column, 1)
		moved.Emit([]uint32{1}, got)
		if !same0(want[0], got[0]) {
			t.Errorf("%s(%s): a group among others has the state %x, and alone %x", a.Func, a.input[0].Name, head(got[0].Values), head(want[0].Values))
		}
		acc.Emit([]uint32{1}, got)
		if len(got[0].Values) != 0 {
			t.Errorf("%s: a group that was moved away has the state %x", a.Func, head(got[0].Values))
		}
		if s, ok := moved.(Sized); ok {
			before := s.MemorySize()
			s.Reset(1)
			after := s.MemorySize()
			if d, ok := s.(*digests); ok {
				after -= d.spared // kept, within bounds, for groups to come
			}
			if after > before || after > 1024 {
				t.Errorf("%s: %d bytes of memory, after the reset %d", a.Func, before, after)
			}
		}
	}
}

// TestExtremes are numbers that a sketch has no bucket for.
func TestExtremes(t *testing.T) {
	inf := math.Inf(1)
	nan := math.NaN()
	values := []float64{nan, inf, -inf, 0, 5e-324, -5e-324, 1.7e308, -1.7e308, 1e-300, 1e300}
	for range 5000 {
		values = append(values, rand.ExpFloat64())
	}
	a, err := plan("quantiles", []float64{0, 0.5, 1}, "f")
	if err != nil {
		t.Fatal(err)
	}
	acc := a.Accumulator()
	acc.Grow(1)
	groups := make([]uint32, len(values))
	acc.Add(groups, []*batch.Column{{Values: batch.Bytes(values)}})
	state := emitted(acc)
	if most := 2 * maxBuckets * 12; len(state) > most || acc.(Sized).MemorySize() > 3*8*2*maxBuckets {
		t.Errorf("a state of %d bytes in %d bytes of memory", len(state), acc.(Sized).MemorySize())
	}
	again := a.Accumulator()
	again.Grow(1)
	if err := again.Load(groups[:1], []batch.Column{{Offsets: batch.Bytes([]int32{0, int32(len(state))}), Values: state}}); err != nil {
		t.Fatal(err)
	}
	if got := emitted(again); !bytes.Equal(got, state) {
		t.Errorf("state %x, read and written %x", head(state), head(got))
	}
}

// TestRefuses is what no aggregate can be made of.
func TestRefuses(t *testing.T) {
	for want, s := range map[string]Spec{
		`unknown aggregate "nope"`:               {Func: "nope"},
		"sum needs a column":                     {Func: "sum"},
		"covar is written covar(x, y)":           {Func: "covar", Args: []batch.Field{field("f")}},
		"sum of s: a column of type string":      {Func: "sum", Args: []batch.Field{field("s")}},
		"the level 1.5 is not from 0 to 1":       {Func: "quantile", Args: []batch.Field{field("f")}, Params: []float64{1.5}},
		"quantile is written quantile(x, 0.99)":  {Func: "quantile", Args: []batch.Field{field("f")}},
		"must be a whole number from 1 to 1000":  {Func: "topk", Args: []batch.Field{field("s")}, Params: []float64{2.5}},
		"must be a whole number from 1 to 10000": {Func: "group_array", Args: []batch.Field{field("s")}, Params: []float64{0}},
		"the bound 1 is not above 2":             {Func: "histogram", Args: []batch.Field{field("f")}, Params: []float64{2, 1}},
		"histogram of s":                         {Func: "histogram", Args: []batch.Field{field("s")}, Params: []float64{2}},
		"bool_and of f":                          {Func: "bool_and", Args: []batch.Field{field("f")}},
		"columns of types float64, string":       {Func: "argmax", Args: []batch.Field{field("f"), field("s")}},
	} {
		if _, err := New(s); err == nil || !bytes.Contains([]byte(err.Error()), []byte(want)) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// FuzzLoad reads bytes as a state of every function: they are refused, or are a state that is written as one that is read again.
func FuzzLoad(f *testing.F) {
	rows := makeRows(rand.New(rand.NewPCG(1, 2)), 60, 40)
	all := opaque(f)
	for i, a := range all {
		f.Add(byte(i), emitted(rows.fill(a, 0, 1)))
		f.Add(byte(i), emitted(rows.fill(a, 0, rows.n)))
	}
	f.Fuzz(func(t *testing.T, which byte, state []byte) {
		a := all[int(which)%len(all)]
		acc := load(a, state)
		if acc == nil {
			return
		}
		written := emitted(acc)
		if again := load(a, written); again == nil {
			t.Fatalf("%s reads %x and writes %x, which it does not read", a.Func, state, written)
		}
		rows.add(a, acc, 0, rows.n)
	})
}

// load is an accumulator with a state in group 0, or nil where it is none.
func load(a *Aggregate, state []byte) Accumulator {
	acc := a.Accumulator()
	acc.Grow(1)
	if acc.Load([]uint32{0}, []batch.Column{{Offsets: batch.Bytes([]int32{0, int32(len(state))}), Values: state}}) != nil {
		return nil
	}
	return acc
}

// BenchmarkAdd is what a row costs, in 1000 groups.
func BenchmarkAdd(b *testing.B) {
	const n = 8192
	rows := makeRows(rand.New(rand.NewPCG(3, 4)), n, 500)
	groups := make([]uint32, n)
	for i := range groups {
		groups[i] = uint32(rand.IntN(1000))
	}
	for _, c := range compatibles {
		a, err := plan(c.fn, c.params, c.args...)
		if err != nil {
			b.Fatal(err)
		}
		args := make([]*batch.Column, 0, 2)
		for _, f := range a.input {
			args = append(args, rows.cols[f.Name])
		}
		b.Run(fmt.Sprintf("%s(%s)", c.fn, c.args[0]), func(b *testing.B) {
			acc := a.Accumulator()
			acc.Grow(1000)
			for range 20 {
				acc.Add(groups, args) // memory grows first
			}
			b.ReportAllocs()
			var before, after syscall.Rusage // what the machine does beside depends on the machine
			if err := syscall.Getrusage(syscall.RUSAGE_SELF, &before); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				acc.Add(groups, args)
			}
			if err := syscall.Getrusage(syscall.RUSAGE_SELF, &after); err != nil {
				b.Fatal(err)
			}
			used := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
			b.ReportMetric(float64(used)/float64(b.N)/n, "cpu-ns/row")
		})
	}
}
