package decode

import (
	"math"
	"math/big"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
)

// randomNumber writes a number the way some program might.
func randomNumber(rng *rand.Rand) string {
	digits := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = '0' + byte(rng.IntN(10))
			if rng.IntN(3) == 0 {
				b[i] = '0'
			}
		}
		return string(b)
	}
	switch rng.IntN(6) {
	case 0:
		return strconv.FormatFloat(rng.NormFloat64()*math.Pow(10, float64(rng.IntN(30)-15)), 'g', -1, 64)
	case 1:
		return strconv.FormatFloat(float64(rng.Float32()), 'f', -1, 32)
	case 2: // halfway between two floats, and a little beside
		f := new(big.Float).SetPrec(80).SetUint64(rng.Uint64()>>11<<1 | 1)
		return strings.Replace(f.Quo(f, big.NewFloat(1<<30)).Text('f', 24), "+", "", 1) + []string{"", "1"}[rng.IntN(2)]
	}
	s := []string{"", "-"}[rng.IntN(2)]
	if whole := strings.TrimLeft(digits(rng.IntN(25)), "0"); whole != "" {
		s += whole
	} else {
		s += "0"
	}
	if rng.IntN(2) == 0 {
		s += "." + digits(1+rng.IntN(25))
	}
	if rng.IntN(4) == 0 {
		s += []string{"e", "E+", "e-"}[rng.IntN(3)] + digits(1+rng.IntN(2))
	}
	return s
}

// TestNumbers compares every way to read a number with strconv and math/big.
func TestNumbers(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	exact, n := 0, 50_000
	for range n {
		s := randomNumber(rng)
		data := []byte(s + ",        ")
		if end, ok := scanNumber(data, 0); !ok || end != len(s) {
			t.Fatalf("%s: scanned to %d, %t", s, end, ok)
		}
		d, end, ok := scanDecimal(data, 0)
		if !ok || end != len(s) {
			t.Fatalf("%s: read to %d, %t", s, end, ok)
		}
		want, err := strconv.ParseFloat(s, 64)
		if v, ok := d.float64(); ok {
			exact++
			if err != nil || math.Float64bits(v) != math.Float64bits(want) {
				t.Fatalf("%s: %v, want %v", s, v, want)
			}
		}
		if v, end := shortFloat(data, 0); end > 0 && (end != len(s) || math.Float64bits(v) != math.Float64bits(want)) {
			t.Fatalf("%s: short float %v to %d, want %v", s, v, end, want)
		}
		if v, ok := d.float32(); ok {
			if want, err := strconv.ParseFloat(s, 32); err != nil || math.Float32bits(v) != math.Float32bits(float32(want)) {
				t.Fatalf("%s: %v, want float32 %v", s, v, want)
			}
		}
		r, ok := new(big.Rat).SetString(s)
		if !ok {
			t.Fatal(s)
		}
		if v, end := shortWhole(data, 0); end > 0 && (end != len(s) || new(big.Rat).SetUint64(v).Cmp(r) != 0) {
			t.Fatalf("%s: short whole %d to %d", s, v, end)
		}
		whole := d
		v, f := whole.int64()
		switch {
		case !r.IsInt() && f != notWhole, r.IsInt() && r.Num().IsInt64() != (f == fits), r.IsInt() && f == notWhole,
			f == fits && r.Num().Int64() != v:
			t.Fatalf("%s: %d, %d", s, v, f)
		}
		shift := rng.IntN(19) - 9
		scaled := new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(shift, -shift))), nil))
		if shift < 0 {
			scaled.Inv(scaled)
		}
		scaled.Mul(scaled, r)
		floor := new(big.Int).Div(scaled.Num(), scaled.Denom())
		if v, f := d.floor(shift); floor.IsInt64() != (f == fits) || f == fits && v != floor.Int64() {
			t.Fatalf("%s × 10^%d: %d, %d, want %v", s, shift, v, f, floor)
		}
	}
	if exact < n/3 {
		t.Errorf("only %d of %d numbers were read without strconv", exact, n)
	}
}

// TestTimes compares timestamps with package time, over the whole range of years.
func TestTimes(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	first, last := time.Date(0, 1, 2, 0, 0, 0, 0, time.UTC).Unix(), time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC).Unix()
	cache := newMinuteCache()
	for i := range 30_000 {
		sec := first + rng.Int64N(last-first)
		if i%4 > 0 {
			sec = 1700000000 + rng.Int64N(200)
		}
		at := time.Unix(sec, rng.Int64N(1e9)).In(time.FixedZone("", (rng.IntN(2*1439+1)-1439)*60))
		if i%3 == 0 {
			at = at.UTC()
		}
		if y := at.Year(); y < 0 || y > 9999 {
			continue
		}
		s := at.Format(time.RFC3339Nano)
		gotSec, gotNanos, problem := cache.parseTime([]byte(s))
		if problem != "" || gotSec != at.Unix() || gotNanos != int64(at.Nanosecond()) {
			t.Fatalf("%s: %d.%09d %s, want %d", s, gotSec, gotNanos, problem, at.Unix())
		}
		for u := batch.Second; u <= batch.Nanosecond; u++ {
			want := new(big.Int).Mul(big.NewInt(at.Unix()), big.NewInt(1e9))
			want.Add(want, big.NewInt(int64(at.Nanosecond())))
			want.Div(want, big.NewInt(1e9/u.PerSecond()))
			if v, ok := timeIn(gotSec, gotNanos, u); ok != want.IsInt64() || ok && v != want.Int64() {
				t.Fatalf("%s in %s: %d %t, want %v", s, u, v, ok, want)
			}
		}
	}
}

func TestScaleTime(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	for range 30_000 {
		v := int64(rng.Uint64()) >> rng.IntN(64)
		from, to := batch.Unit(rng.IntN(4)), batch.Unit(rng.IntN(4))
		want := new(big.Int).Mul(big.NewInt(v), big.NewInt(to.PerSecond()))
		want.Div(want, big.NewInt(from.PerSecond()))
		if got, ok := scaleTime(v, from, to); ok != want.IsInt64() || ok && got != want.Int64() {
			t.Fatalf("%d %s in %s: %d %t, want %v", v, from, to, got, ok, want)
		}
	}
	for _, v := range []int64{math.MinInt64, math.MaxInt64, math.MinInt64 / 1000, math.MinInt64/1000 - 1} {
		want := new(big.Int).Mul(big.NewInt(v), big.NewInt(1000))
		if got, ok := scaleTime(v, batch.Second, batch.Millisecond); ok != want.IsInt64() || ok && got != want.Int64() {
			t.Errorf("%d: %d %t", v, got, ok)
		}
	}
}
