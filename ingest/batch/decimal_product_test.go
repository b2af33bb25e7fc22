package batch

import (
	"math/big"
	"math/rand/v2"
	"testing"
)

// checkProduct compares products, quotients and what is rounded with big integers.
func checkProduct(t *testing.T, a, b Int128, n int) {
	t.Helper()
	limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(MaxPrecision), nil)
	ten := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil)
	x, y := bigOf(a), bigOf(b)
	product := new(big.Int).Mul(x, y)
	if got, ok := a.Mul(b); ok != (product.CmpAbs(limit) < 0) || ok && bigOf(got).Cmp(product) != 0 {
		t.Fatalf("%v × %v: %v %t", x, y, bigOf(got), ok)
	}
	if y.Sign() != 0 {
		q := new(big.Int).Mul(x, ten)
		q.Quo(q, y)
		if got, ok := a.Quo(b, n); ok != (q.CmpAbs(limit) < 0) || ok && bigOf(got).Cmp(q) != 0 {
			t.Fatalf("%v × 10^%d / %v: %v %t, want %v", x, n, y, bigOf(got), ok, q)
		}
	}
	down, rest := new(big.Int).DivMod(x, ten, new(big.Int)) // rest is not negative
	up := new(big.Int).Set(down)
	if rest.Sign() != 0 {
		up.Add(up, big.NewInt(1))
	}
	half := down
	if c := rest.Lsh(rest, 1).Cmp(ten); c > 0 || c == 0 && x.Sign() > 0 {
		half = up
	}
	for how, want := range map[Rounding]*big.Int{RoundHalf: half, RoundDown: down, RoundUp: up} {
		if got := a.Round(n, how); bigOf(got).Cmp(want) != 0 && n > 0 {
			t.Fatalf("%v / 10^%d rounded (%d): %v, want %v", x, n, how, bigOf(got), want)
		}
	}
	if got := a.Abs(); a.Hi != -1<<63 && bigOf(got).Cmp(new(big.Int).Abs(x)) != 0 {
		t.Fatalf("|%v| is %v", x, bigOf(got))
	}
}

func TestDecimalProducts(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	draw := func() Int128 { // of all lengths, and with words of all ones and of nothing
		words := [2]uint64{rng.Uint64(), rng.Uint64()}
		for i := range words {
			switch rng.IntN(6) {
			case 0:
				words[i] = 0
			case 1:
				words[i] = ^uint64(0)
			case 2:
				words[i] = 1 << rng.IntN(64)
			}
		}
		v := uint128{words[1] >> rng.IntN(64), words[0]}
		if rng.IntN(3) == 0 {
			v = uint128{0, v.lo >> rng.IntN(64)}
		}
		return v.signed(rng.IntN(2) == 0)
	}
	for range 50_000 {
		checkProduct(t, draw(), draw(), rng.IntN(MaxPrecision+1))
	}
	for n := range MaxPrecision + 1 { // the ends of what is rounded up and down
		ten := pow10of128[n]
		for _, m := range []uint128{ten, ten.sub(uint128{0, 1}), {ten.hi >> 1, ten.lo>>1 | ten.hi<<63}, {}} {
			checkProduct(t, m.signed(false), m.signed(true), n)
			checkProduct(t, m.signed(true).Sub(Int128Of(1)), Int128Of(-1), n)
		}
	}
}

// TestDiv256 has dividends whose first words are those of the divisor, where a digit is hardest to guess.
func TestDiv256(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	word := func() uint64 {
		return [...]uint64{0, 1, ^uint64(0), ^uint64(0) - 1, 1 << 63, rng.Uint64(), rng.Uint64() >> rng.IntN(64)}[rng.IntN(7)]
	}
	toBig := func(m uint128) *big.Int {
		v := new(big.Int).Lsh(new(big.Int).SetUint64(m.hi), 64)
		return v.Add(v, new(big.Int).SetUint64(m.lo))
	}
	for range 100_000 {
		by := uint128{word(), word()}
		hi, lo := uint128{word(), word()}, uint128{word(), word()}
		if rng.IntN(2) == 0 {
			hi.hi = by.hi
		}
		if !hi.less(by) {
			continue
		}
		n := new(big.Int).Lsh(toBig(hi), 128)
		want := n.Quo(n.Add(n, toBig(lo)), toBig(by))
		if got := div256(hi, lo, by); toBig(got).Cmp(want) != 0 {
			t.Fatalf("%x:%x / %x: %x, want %x", hi, lo, by, got, want)
		}
	}
}

// FuzzDecimalProduct compares with math/big.
func FuzzDecimalProduct(f *testing.F) {
	f.Add(uint64(1), int64(0), uint64(3), int64(0), byte(38))
	f.Add(^uint64(0), int64(1<<63-1), uint64(0), int64(-1<<63), byte(20))
	f.Add(uint64(0), int64(-1<<63), ^uint64(0), int64(-1), byte(1))
	f.Add(uint64(5), int64(1)<<40, uint64(7), int64(1)<<40, byte(19))
	f.Fuzz(func(t *testing.T, aLo uint64, aHi int64, bLo uint64, bHi int64, n byte) {
		checkProduct(t, Int128{aLo, aHi}, Int128{bLo, bHi}, int(n)%(MaxPrecision+1))
	})
}
