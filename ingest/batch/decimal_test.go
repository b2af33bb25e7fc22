package batch

import (
	"math/big"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
)

func TestParseDecimalType(t *testing.T) {
	for _, c := range []struct {
		text string
		want Type
		null bool
		name string
	}{
		{"decimal(10, 2)", DecimalOf(10, 2), false, "decimal(10, 2)"},
		{"decimal(10,2)?", DecimalOf(10, 2), true, "decimal(10, 2)"},
		{"decimal( 38 , 38 )", DecimalOf(38, 38), false, "decimal(38, 38)"},
		{"decimal(1, 0)", DecimalOf(1, 0), false, "decimal(1, 0)"},
	} {
		typ, null, err := ParseType(c.text)
		if err != nil || typ != c.want || null != c.null || typ.String() != c.name {
			t.Errorf("%s: %v %t %v", c.text, typ, null, err)
		}
		if typ.Width() != 16 || typ.Variable() || typ.Numeric() || !typ.Flat() || ListOf(typ).Items() != typ {
			t.Errorf("%s: width %d", c.text, typ.Width())
		}
		if a, ok := typ.Arrow().(*arrow.Decimal128Type); !ok || a.Precision != int32(typ.Precision) || a.Scale != int32(typ.Scale) {
			t.Errorf("%s is Arrow's %v", c.text, typ.Arrow())
		}
	}
	for _, bad := range []string{
		"decimal", "decimal()", "decimal(10)", "decimal(0, 0)", "decimal(39, 2)", "decimal(2, 3)", "decimal(10, -1)", "decimal(10, 2", "decimal10, 2)",
		"decimal(10, 2)??", "decimal(a, 2)", "decimal(10, 2, 3)", "decimal(300, 2)",
	} {
		if _, _, err := ParseType(bad); err == nil || !strings.Contains(err.Error(), "decimal(P, S)") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for text, want := range map[string]Type{"list<decimal(10, 2)>": ListOf(DecimalOf(10, 2)), "list<decimal(38,0)>?": ListOf(DecimalOf(38, 0))} {
		if typ, null, err := ParseType(text); err != nil || typ != want || null != strings.HasSuffix(text, "?") {
			t.Errorf("%s: %v %t %v", text, typ, null, err)
		}
	}
	if _, _, err := ParseType("list<decimal(39, 2)>"); err == nil || !strings.Contains(err.Error(), "decimal(P, S)") {
		t.Error(err)
	}
}

func TestParseDecimal(t *testing.T) {
	nines := strings.Repeat("9", 38)
	for _, c := range []struct {
		text      string
		precision int
		scale     int
		want      string // in units of the last digit; or why not
	}{
		{"0", 4, 2, "0"},
		{"-0", 4, 2, "0"},
		{"0e999999999999", 4, 2, "0"},
		{"0.000000000000000000000000000000000000000000", 4, 2, "0"},
		{"0.1", 4, 1, "1"},
		{"0.1", 38, 37, "1000000000000000000000000000000000000"},
		{".5", 4, 1, "5"},
		{"5.", 4, 1, "50"},
		{"+5", 4, 1, "50"},
		{"12.34", 4, 2, "1234"},
		{"-12.34", 4, 2, "-1234"},
		{"12.340000000000000000000000000000000000000000", 4, 2, "1234"},
		{"1e2", 4, 1, "1000"},
		{"1E+2", 4, 1, "1000"},
		{"1200e-2", 4, 1, "120"},
		{"1234e-2", 4, 2, "1234"},
		{"100", 3, 0, "100"},
		{"000000000000000000000000000000000000000000100", 3, 0, "100"},
		{nines, 38, 0, nines},
		{"-" + nines, 38, 0, "-" + nines},
		{"0." + nines, 38, 38, nines},
		{nines[:20] + "." + nines[:18], 38, 18, nines},
		{"123456789012345678901234567890", 38, 5, "12345678901234567890123456789000000"},
		{"10000000000000000000000000000000000000", 38, 0, "10000000000000000000000000000000000000"},
		{"1e37", 38, 0, "10000000000000000000000000000000000000"},
		{"123.4", 3, 1, "too big"},
		{"100", 2, 0, "too big"},
		{"1e38", 38, 0, "too big"},
		{nines + "0", 38, 0, "too big"},
		{nines + "9", 38, 0, "too big"},
		{"1e999999999999999999999", 38, 0, "too big"},
		{"0.12", 4, 1, "fine"},
		{"12.345", 10, 2, "fine"},
		{"1e-3", 10, 2, "fine"},
		{nines + ".9", 38, 0, "fine"},
		{"1e-999999999999", 10, 2, "fine"},
		{"", 4, 2, "none"},
		{"-", 4, 2, "none"},
		{".", 4, 2, "none"},
		{"1e", 4, 2, "none"},
		{"1e+", 4, 2, "none"},
		{"1 ", 4, 2, "none"},
		{"0x1", 4, 2, "none"},
		{"1.2.3", 4, 2, "none"},
		{"NaN", 4, 2, "none"},
		{"1_0", 4, 2, "none"},
		{"--1", 4, 2, "none"},
		{".e1", 4, 2, "none"},
	} {
		v, problem := ParseDecimal([]byte(c.text), DecimalOf(c.precision, c.scale))
		got := [...]string{"", "none", "fine", "too big"}[problem]
		if problem == DecimalOK {
			got = string(AppendDecimal(nil, v, 0))
		}
		if got != c.want {
			t.Errorf("%s as decimal(%d, %d): %s, want %s", c.text, c.precision, c.scale, got, c.want)
		}
	}
}

func TestAppendDecimal(t *testing.T) {
	for _, c := range []struct {
		v     Int128
		scale int
		want  string
	}{
		{Int128{}, 0, "0"},
		{Int128{}, 2, "0.00"},
		{Int128Of(5), 2, "0.05"},
		{Int128Of(-5), 2, "-0.05"},
		{Int128Of(-1234), 2, "-12.34"},
		{Int128Of(1234), 0, "1234"},
		{Int128{0, -1 << 63}, 0, "-170141183460469231731687303715884105728"},
		{Int128{^uint64(0), 1<<63 - 1}, 38, "1.70141183460469231731687303715884105727"},
	} {
		if got := string(AppendDecimal(nil, c.v, c.scale)); got != c.want {
			t.Errorf("%v at %d: %s, want %s", c.v, c.scale, got, c.want)
		}
	}
}

func bigOf(a Int128) *big.Int {
	v := new(big.Int).Lsh(big.NewInt(a.Hi), 64)
	return v.Add(v, new(big.Int).SetUint64(a.Lo))
}

// TestInt128 compares the arithmetic with that of big integers.
func TestInt128(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	draw := func() Int128 {
		v := Int128{rng.Uint64(), int64(rng.Uint64())}
		shift := rng.IntN(127)
		for range shift { // all magnitudes
			v.Lo = v.Lo>>1 | uint64(v.Hi)<<63
			v.Hi >>= 1
		}
		return v
	}
	limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(MaxPrecision), nil)
	modulo := new(big.Int).Lsh(big.NewInt(1), 128)
	same := func(a Int128, b *big.Int) bool {
		d := new(big.Int).Sub(bigOf(a), b)
		return d.Mod(d, modulo).Sign() == 0
	}
	for range 20_000 {
		a, b, n := draw(), draw(), rng.IntN(MaxPrecision+1)
		x, y := bigOf(a), bigOf(b)
		ten := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil)
		if a.Cmp(b) != x.Cmp(y) || a.Sign() != x.Sign() || !same(a.Add(b), new(big.Int).Add(x, y)) || !same(a.Sub(b), new(big.Int).Sub(x, y)) || !same(a.Neg(), new(big.Int).Neg(x)) {
			t.Fatalf("%v and %v", x, y)
		}
		product := new(big.Int).Mul(x, ten)
		if got, ok := a.MulPow10(n); ok != (product.CmpAbs(limit) < 0) || ok && bigOf(got).Cmp(product) != 0 {
			t.Fatalf("%v × 10^%d: %v %t", x, n, bigOf(got), ok)
		}
		quotient, rest := new(big.Int).QuoRem(x, ten, new(big.Int))
		if got, exact := a.DivPow10(n); bigOf(got).Cmp(quotient) != 0 || exact != (rest.Sign() == 0) {
			t.Fatalf("%v / 10^%d: %v %t", x, n, bigOf(got), exact)
		}
		if a.Fits(n) != (x.CmpAbs(ten) < 0) {
			t.Fatalf("%v of %d digits: %t", x, n, a.Fits(n))
		}
		if v, ok := a.Int64(); ok != x.IsInt64() || ok && v != x.Int64() {
			t.Fatalf("%v as int64: %d %t", x, v, ok)
		}
		whole, _ := new(big.Float).SetInt(x).Float64()
		if got := a.Float64(0); got != whole {
			t.Fatalf("%v as a float: %v", x, got)
		}
		if got := a.Float64(n); got != whole/floatPow10[n] {
			t.Fatalf("%v / 10^%d as a float: %v", x, n, got)
		}
	}
}

var decimalText = regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$`)

// FuzzParseDecimal compares with rationals of math/big.
func FuzzParseDecimal(f *testing.F) {
	for _, s := range []string{"0.1", "-12.340", "1e5", "99999999999999999999999999999999999999", ".5", "5.", "1e-2", "123456789.123456789e9", "00012", "1e37", "100000000000000000000e-20"} {
		f.Add(s, byte(38), byte(10))
		f.Add(s, byte(9), byte(2))
	}
	f.Fuzz(func(t *testing.T, s string, p, sc byte) {
		precision := int(p)%MaxPrecision + 1
		scale := int(sc) % (precision + 1)
		typ := DecimalOf(precision, scale)
		v, problem := ParseDecimal([]byte(s), typ)
		if !decimalText.MatchString(s) {
			if problem == DecimalOK && !regexp.MustCompile(`[eE][+-]?[0-9]{4,}$`).MatchString(s) {
				t.Fatalf("%q is read as %v", s, bigOf(v))
			}
			return
		}
		r, ok := new(big.Rat).SetString(s)
		if !ok {
			t.Skip()
		}
		r.Mul(r, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)))
		limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(precision)), nil)
		want := DecimalOK
		switch {
		case !r.IsInt():
			want = DecimalFine
		case r.Num().CmpAbs(limit) >= 0:
			want = DecimalTooBig
		}
		if problem != want || want == DecimalOK && bigOf(v).Cmp(r.Num()) != 0 {
			t.Fatalf("%q as %s: %v, problem %d; want %v, %d", s, typ, bigOf(v), problem, r, want)
		}
		if want != DecimalOK {
			return
		}
		if again, problem := ParseDecimal(AppendDecimal(nil, v, scale), typ); again != v || problem != DecimalOK {
			t.Fatalf("%q is written %s", s, AppendDecimal(nil, v, scale))
		}
	})
}

// TestDecimalColumn takes a column through what batches do with columns.
func TestDecimalColumn(t *testing.T) {
	s := &Schema{Fields: []Field{{Name: "d", Type: DecimalOf(20, 3), Nullable: true}}}
	values := []Int128{Int128Of(1500), Int128Of(-1), {}, {1, 1}}
	b := &Batch{Schema: s, Rows: 4, Cols: []Column{{Values: DecimalBytes(values), Validity: []byte{0b1011}, Nulls: 1}}}
	hashes := Hashes(b)
	rec := b.Record()
	defer rec.Release()
	if got := rec.Column(0).(*array.Decimal128); got.Value(1).LowBits() != ^uint64(0) || got.Value(3).HighBits() != 1 || got.NullN() != 1 {
		t.Error(rec)
	}
	if got, want := b.Size(), int64(4*16+1); got != want {
		t.Errorf("%d bytes, want %d", got, want)
	}
	b.Gather([]int32{3, 1}, &Arena{})
	if got, want := string(b.RowJSON(0))+string(b.RowJSON(1)), `{"d":18446744073709551.617}{"d":-0.001}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if again := Hashes(b); again[0] != hashes[3] || again[1] != hashes[1] || again[0] == again[1] {
		t.Error(hashes, again)
	}
	if h := b.Head(1); h.Cols[0].Decimals()[0] != (Int128{1, 1}) {
		t.Error(h)
	}
}

func BenchmarkParseDecimal(b *testing.B) {
	for name, text := range map[string]string{"short": "1234.56", "word": "1234567890123.4567", "long": "12345678901234567890123456.789"} {
		b.Run(name, func(b *testing.B) {
			s, t := []byte(text), DecimalOf(38, 6)
			b.ReportAllocs()
			for b.Loop() {
				if _, problem := ParseDecimal(s, t); problem != DecimalOK {
					b.Fatal(problem)
				}
			}
		})
	}
}
