package aggregate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
)

// TestExtreme compares min and max with the plain rule, over the values at the ends of a type, and NaNs.
func TestExtreme(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	ints := []int8{math.MinInt8, math.MaxInt8, 0, -1, 1}
	words := []uint64{0, 1, math.MaxUint64}
	floats := []float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, math.Copysign(0, -1), 1, -math.MaxFloat64}
	for range 3000 {
		n := rng.IntN(4)
		extremeOf(t, batch.Type{Kind: batch.Int8}, pick(rng, ints, n))
		extremeOf(t, batch.Type{Kind: batch.Uint64}, pick(rng, words, n))
		extremeOf(t, batch.Type{Kind: batch.Float64}, pick(rng, floats, n))
	}
}

func pick[T any](rng *rand.Rand, from []T, n int) []T {
	out := make([]T, n)
	for i := range out {
		out[i] = from[rng.IntN(len(from))]
	}
	return out
}

func extremeOf[T number](t *testing.T, typ batch.Type, values []T) {
	t.Helper()
	for _, fn := range []string{"min", "max"} {
		a, err := New(Spec{Func: fn, Args: []batch.Field{{Name: "x", Type: typ, Nullable: true}}})
		if err != nil {
			t.Fatal(err)
		}
		want := "null"
		var best T
		for i, v := range values {
			if i == 0 || best != best || fn == "min" && v < best || fn == "max" && v > best {
				best = v
			}
			want = fmt.Sprint(best)
		}
		acc := a.Accumulator()
		acc.Grow(2)
		half := len(values) / 2
		add := func(acc Accumulator, values []T) {
			groups := make([]uint32, len(values))
			for i := range groups {
				groups[i] = 1
			}
			acc.Add(groups, []*batch.Column{{Values: batch.Bytes(values)}})
		}
		add(acc, values[:half])
		out := make([]batch.Column, 1)
		acc.Emit([]uint32{1}, out)
		again := a.Accumulator()
		again.Grow(2)
		if err := again.Load([]uint32{1}, out); err != nil {
			t.Fatal(err)
		}
		add(again, values[half:])
		again.Emit([]uint32{1}, out)
		got := "null"
		if out[0].Valid(0) {
			got = fmt.Sprint(batch.As[T](out[0].Values)[0])
		} else if batch.As[T](out[0].Values)[0] != 0 {
			t.Fatalf("%s of nothing has %v under its null", fn, batch.As[T](out[0].Values)[0])
		}
		if got != want {
			t.Fatalf("%s of %v is %s, and not %s", fn, values, got, want)
		}
		again.Reset(1)
		again.Emit([]uint32{1}, out)
		if out[0].Valid(0) {
			t.Fatalf("%s after a reset is %v", fn, batch.As[T](out[0].Values)[0])
		}
	}
}
