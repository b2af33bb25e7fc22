package aggregate

import (
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
)

func decimalColumn(values ...batch.Int128) *batch.Column {
	return &batch.Column{Values: batch.DecimalBytes(values)}
}

// TestDecimalStates compares totals and extremes, and means of them, with the states that ClickHouse makes, byte by byte.
func TestDecimalStates(t *testing.T) {
	conn := connect(t)
	rng := rand.New(rand.NewPCG(5, 6))
	for _, typ := range []batch.Type{batch.DecimalOf(5, 5), batch.DecimalOf(9, 2), batch.DecimalOf(18, 4), batch.DecimalOf(19, 0), batch.DecimalOf(36, 18)} {
		values, rows := make([]batch.Int128, 500), make([]string, 500)
		for i := range values {
			v := batch.Int128Of(rng.Int64N(200_000) - 100_000)
			if typ.Precision > 30 {
				v, _ = v.MulPow10(28)
				v = v.Add(batch.Int128Of(rng.Int64()))
			}
			if !v.Fits(int(typ.Precision)) {
				v = batch.Int128Of(7)
			}
			values[i], rows[i] = v, fmt.Sprintf("('%s')", batch.AppendDecimal(nil, v, int(typ.Scale)))
		}
		name := fmt.Sprintf("Decimal(%d, %d)", typ.Precision, typ.Scale)
		run(t, conn, "CREATE OR REPLACE TABLE decimals (x "+name+") ENGINE = Memory")
		run(t, conn, "INSERT INTO decimals VALUES "+strings.Join(rows, ","))
		state := func(fn string) []batch.Column {
			a, err := New(Spec{Func: fn, Args: []batch.Field{{Name: "x", Type: typ}}})
			if err != nil {
				t.Fatal(err)
			}
			acc := a.Accumulator()
			acc.Grow(1)
			for _, part := range [][2]int{{0, 200}, {200, 500}} {
				acc.Add(make([]uint32, part[1]-part[0]), []*batch.Column{decimalColumn(values[part[0]:part[1]]...)})
			}
			out := make([]batch.Column, len(a.States))
			acc.Emit([]uint32{0}, out)
			return out
		}
		stored := storedWidth(typ)
		avg := state("avg")
		for fn, mine := range map[string][]byte{
			"sum": state("sum")[0].Values,
			"min": append([]byte{1}, state("min")[0].Values[:stored]...),
			"max": append([]byte{1}, state("max")[0].Values[:stored]...),
			// Its count is a varint there.
			"avg": append(append([]byte{}, avg[0].Values...), 0xf4, 0x03),
		} {
			want := ask(t, conn, "SELECT hex("+fn+"State(x)) FROM decimals")
			if got := strings.ToUpper(hex.EncodeToString(mine)); got != want {
				t.Errorf("%s of %s: state %s, ClickHouse's %s", fn, typ, got, want)
			}
		}
		if batch.As[uint64](avg[1].Values)[0] != 500 {
			t.Error(avg[1])
		}
		for fn, same := range map[string]string{"sum": "toString(sum(x))", "min": "toString(min(x))", "max": "toString(max(x))", "avg": "toString(avg(x))"} {
			a, _ := New(Spec{Func: fn, Args: []batch.Field{{Name: "x", Type: typ}}})
			answer, err := a.Answers(state(fn), 1)
			if err != nil {
				t.Fatal(err)
			}
			got, want := string(batch.AppendCellJSON(nil, a.Type, &answer, 0)), ask(t, conn, "SELECT "+same+" FROM decimals")
			if fn == "avg" { // to the last bit but one
				if !near(got, want, 1e-15) {
					t.Errorf("avg of %s: %s, ClickHouse %s", typ, got, want)
				}
				continue
			}
			if strings.TrimRight(strings.TrimRight(got, "0"), ".") != strings.TrimRight(strings.TrimRight(want, "0"), ".") {
				t.Errorf("%s of %s: %s, ClickHouse %s", fn, typ, got, want)
			}
		}
	}
}

// TestDecimalOverflow has totals of more than 38 digits, which are null whoever merges them, and not a number with a wrong sign.
func TestDecimalOverflow(t *testing.T) {
	typ := batch.DecimalOf(38, 2)
	most, _ := batch.Int128Of(9).MulPow10(37)
	for _, fn := range []string{"sum", "avg"} {
		a, err := New(Spec{Func: fn, Args: []batch.Field{{Name: "x", Type: typ}}})
		if err != nil || !a.Nullable {
			t.Fatal(err, a.Nullable)
		}
		total := func(values ...batch.Int128) Accumulator {
			acc := a.Accumulator()
			acc.Grow(1)
			acc.Add(make([]uint32, len(values)), []*batch.Column{decimalColumn(values...)})
			return acc
		}
		answer := func(acc Accumulator) string {
			out := make([]batch.Column, len(a.States))
			acc.Emit([]uint32{0}, out)
			c, err := a.Answers(out, 1)
			if err != nil {
				t.Fatal(err)
			}
			return string(batch.AppendCellJSON(nil, a.Type, &c, 0))
		}
		if got := answer(total(most)); got == "null" {
			t.Errorf("%s: %s", fn, got)
		}
		for _, values := range [][]batch.Int128{{most, most}, {most.Neg(), most.Neg()}, {most, most, most.Neg()}, {most, most, most, most}} {
			acc := total(values...)
			if got := answer(acc); got != "null" {
				t.Errorf("%s of %d values: %s", fn, len(values), got)
			}
			merged := total(batch.Int128Of(1))
			mergeInto(t, a, merged, acc)
			if got := answer(merged); got != "null" {
				t.Errorf("%s, merged: %s", fn, got)
			}
		}
		one := total(most)
		mergeInto(t, a, one, total(most))
		if got := answer(one); got != "null" {
			t.Errorf("%s of two totals: %s", fn, got)
		}
	}
	if a, _ := New(Spec{Func: "sum", Args: []batch.Field{{Name: "x", Type: batch.DecimalOf(safePrecision, 2)}}}); a.Nullable {
		t.Error("a total that cannot overflow is nullable")
	}
	most, _ = batch.Int128Of(1).MulPow10(safePrecision) // times 2^63 rows
	if rows, _ := batch.Int128Of(1).MulPow10(19); !most.Fits(safePrecision+1) || rows.Hi != 0 || rows.Lo < math.MaxInt64 {
		t.Error("it can overflow")
	}
}

func BenchmarkAddDecimal(b *testing.B) {
	const rows, groups = 8192, 1000
	rng := rand.New(rand.NewPCG(1, 2))
	values, of := make([]batch.Int128, rows), make([]uint32, rows)
	for i := range values {
		values[i], of[i] = batch.Int128Of(rng.Int64N(1e12)), rng.Uint32N(groups)
	}
	for _, fn := range []string{"sum", "avg", "min"} {
		b.Run(fn, func(b *testing.B) {
			a, err := New(Spec{Func: fn, Args: []batch.Field{{Name: "x", Type: batch.DecimalOf(38, 2)}}})
			if err != nil {
				b.Fatal(err)
			}
			acc := a.Accumulator()
			acc.Grow(groups)
			args := []*batch.Column{decimalColumn(values...)}
			b.ReportAllocs()
			for b.Loop() {
				acc.Add(of, args)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*rows), "ns/row")
		})
	}
}
