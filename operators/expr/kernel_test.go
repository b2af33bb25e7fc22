package expr

import (
	"bytes"
	"math"
	"math/bits"
	"strings"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
)

// TestEqText tries every short length against every other, at the end of the data and before it.
func TestEqText(t *testing.T) {
	var texts []string
	for n := range 13 {
		texts = append(texts, strings.Repeat("a", n), strings.Repeat("a", max(n-1, 0))+"b", strings.Repeat("\x00", n))
	}
	texts = append(texts, texts...) // more than one word of rows
	off, data := []int32{0}, []byte(nil)
	for _, s := range texts {
		data = append(data, s...)
		off = append(off, int32(len(data)))
	}
	for _, c := range texts {
		for _, tail := range []int{0, 1, 8} {
			var m mask
			m.ones(chunk)
			eqText(&m, off, append(data[:len(data):len(data)], make([]byte, tail)...), []byte(c))
			for i, s := range texts {
				if m.get(i) != (s == c) {
					t.Fatalf("%q == %q is %v with %d bytes behind", s, c, m.get(i), tail)
				}
			}
		}
	}
}

// TestCompare tries every operator and every number of rows up to three words.
func TestCompare(t *testing.T) {
	values := []float64{0, 1, -1, math.NaN(), math.Inf(1), 0.5, math.Copysign(0, -1)}
	for n := range 200 {
		a, b := make([]float64, n), make([]float64, n)
		for i := range n {
			a[i], b[i] = values[i%7], values[i/7%7]
		}
		for name, op := range cmpOps {
			for _, scalar := range []bool{false, true} {
				if scalar && n == 0 {
					continue
				}
				var m mask
				compare(&m, op, a, b, scalar)
				for i := range n {
					x, y := a[i], b[i]
					if scalar {
						y = b[0]
					}
					want := map[string]bool{"==": x == y, "!=": x != y, "<": x < y, "<=": x <= y, ">": x > y, ">=": x >= y}[name]
					if m.get(i) != want {
						t.Fatalf("%v %s %v is %v at row %d of %d", x, name, y, m.get(i), i, n)
					}
				}
			}
		}
	}
}

func TestMul(t *testing.T) {
	values := []int64{0, 1, -1, 2, -2, 3, 1 << 31, -1 << 31, 1 << 32, math.MaxInt64, math.MinInt64, math.MaxInt64 / 2, math.MinInt64 / 2, math.MinInt64 + 1}
	for _, a := range values {
		for _, b := range values {
			got, ok := mul(a, b)
			hi, _ := bits.Mul64(uint64(max(a, -a)), uint64(max(b, -b)))
			want := a * b
			fits := a == 0 || (want/a == b && !(a == -1 && b == math.MinInt64) && hi == 0)
			if a == math.MinInt64 || b == math.MinInt64 {
				fits = a == 0 || b == 0 || a == 1 || b == 1
			}
			if lo, hi := factors(b); (a >= lo && a <= hi) != fits {
				t.Errorf("%d can be multiplied by %d to %d, %d fits is %v", b, lo, hi, a, fits)
			}
			if got != want || ok != fits {
				t.Errorf("%d * %d = %d %v, want %d %v", a, b, got, ok, want, fits)
			}
		}
	}
}

// TestCalendar compares with the time package for days of every century, in both directions.
func TestCalendar(t *testing.T) {
	for day := int64(-719528); day < 2932897; day += 211 { // years 0 to 9999
		text := appendDay(nil, day)
		y, m, d, rest, ok := parseDay(text)
		if !ok || len(rest) > 0 || daysOf(y, m, d) != day {
			t.Fatalf("day %d is %s, which reads as %d", day, text, daysOf(y, m, d))
		}
		col := batch.Column{Values: batch.Bytes([]int32{int32(day)})}
		if want := batch.AppendCellJSON(nil, batch.Type{Kind: batch.Date32}, &col, 0); !bytes.Equal(bytes.Trim(want, `"`), text) {
			t.Fatalf("day %d is %s, want %s", day, text, want)
		}
	}
}

// rowsBatch is one nullable int64 column x over three chunks, with nulls and zeros where a test wants them.
func rowsBatch(value func(i int) any) *batch.Batch {
	values := make([]any, 2*chunk+500)
	for i := range values {
		values[i] = value(i)
	}
	typ := batch.Type{Kind: batch.Int64}
	return &batch.Batch{
		Rows: len(values), Schema: &batch.Schema{Fields: []batch.Field{{Name: "x", Type: typ, Nullable: true}}},
		Cols: []batch.Column{columnOf(typ, values...)},
	}
}

// TestFirstNullInLaterChunk needs a validity bitmap that begins with chunks without one.
func TestFirstNullInLaterChunk(t *testing.T) {
	for _, null := range []int{0, chunk - 1, chunk, 2*chunk + 10} {
		b := rowsBatch(func(i int) any {
			if i == null {
				return nil
			}
			return i
		})
		p, err := Compile("x + 1", b.Schema)
		if err != nil {
			t.Fatal(err)
		}
		dirty := bytes.Repeat([]byte{0xa5}, 64<<10)
		a := batch.NewArena(dirty)
		c, err := p.NewEvaluator().Eval(b, &a)
		if err != nil {
			t.Fatal(err)
		}
		if c.Nulls != 1 {
			t.Errorf("%d nulls", c.Nulls)
		}
		for i := range b.Rows {
			if c.Valid(i) == (i == null) {
				t.Fatalf("row %d valid is %v, the null is in row %d", i, c.Valid(i), null)
			}
		}
	}
}

// TestFailsOnlyWhereEvaluated has both kinds of rows in every chunk.
func TestFailsOnlyWhereEvaluated(t *testing.T) {
	b := rowsBatch(func(i int) any {
		if i%3 == 2 {
			return nil
		}
		return i % 3
	})
	for src, failing := range map[string]int{
		`x == 0 ? 5 : 10 % x`:                    -1,
		`x != 0 ? 10 % x : 5`:                    -1,
		`x == 0 ? 10 % x : 5`:                    0,
		`x == 1 ? 5 : 10 % (x ?? 0)`:             3, // rows 0 and, where x is null, rows 2
		`x == 0 || 10 % x == 0`:                  -1,
		`x != 0 && 10 % x == 0`:                  -1,
		`x == nil || x == 1 || 10 % x == 0`:      0,
		`x ?? (10 % (x ?? 0))`:                   2,
		`x ?? (10 % ((x ?? 1) - 0))`:             -1,
		`coalesce(x, 3)`:                         -1,
		`x == 0 && (x == 1 ? false : 1 % x > 0)`: 0,
	} {
		p, err := Compile(src, b.Schema)
		if err != nil {
			t.Fatal(err)
		}
		e := p.NewEvaluator()
		if _, err := e.Eval(b, &batch.Arena{}); err != nil {
			t.Fatal(err)
		}
		n := 0
		for i := range b.Rows {
			if i%3 == failing || failing == 3 && i%3 != 1 {
				if n >= len(e.Failures()) || e.Failures()[n].Row != int32(i) {
					t.Fatalf("%s: row %d did not fail in its turn", src, i)
				}
				n++
			}
		}
		if n != len(e.Failures()) {
			t.Errorf("%s: %d rows failed, want %d", src, len(e.Failures()), n)
		}
	}
}

// TestLongTexts checks the bound on what an expression may make.
func TestLongTexts(t *testing.T) {
	typ := batch.Type{Kind: batch.String}
	b := &batch.Batch{
		Rows: 2, Schema: &batch.Schema{Fields: []batch.Field{{Name: "s", Type: typ}}},
		Cols: []batch.Column{columnOf(typ, strings.Repeat("x", 600<<10), "short")},
	}
	for _, src := range []string{`s + s`, `replace(s, "x", "yy")`, `s + "/" + s`} {
		p, err := Compile(src, b.Schema)
		if err != nil {
			t.Fatal(err)
		}
		e := p.NewEvaluator()
		c, err := e.Eval(b, &batch.Arena{})
		if err != nil {
			t.Fatal(err)
		}
		f := e.Failures()
		if len(f) != 1 || f[0].Row != 0 || !strings.Contains(f[0].Text, "longer than 1 MiB") {
			t.Errorf("%s: failures %v", src, f)
		}
		if got := string(c.Bytes(1)); !strings.HasPrefix(got, "short") {
			t.Errorf("%s: the row beside it is %q", src, got)
		}
	}
}
