package expr

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
)

func listBatch(fields map[string][]any) *batch.Batch {
	b := &batch.Batch{Schema: &batch.Schema{}}
	for typ, values := range fields {
		t, null := mustType(typ)
		b.Schema.Fields = append(b.Schema.Fields, batch.Field{Name: map[bool]string{false: t.Items().String(), true: t.String()}[t.Kind != batch.List], Type: t, Nullable: null})
		b.Cols = append(b.Cols, columnOf(t, values...))
		b.Rows = len(values)
	}
	return b
}

func TestLists(t *testing.T) {
	b := listBatch(map[string][]any{
		"list<float64>":       {[]any{math.NaN(), 2.5, -1}},
		"list<int8>?":         {[]any{-5, 7}},
		"list<uint64>":        {[]any{uint64(math.MaxUint64), 1}},
		"list<int64>":         {[]any{math.MaxInt64, 1}},
		"list<bool>":          {[]any{true, false, true}},
		"list<binary>":        {[]any{"\xff"}},
		"list<date32>":        {[]any{19753}},
		"list<timestamp[ms]>": {[]any{1706693400123, 5}},
		"list<uint16>?":       {nil},
		"list<string>":        {[]any{}},
		"list<float32>":       {[]any{}},
	})
	b.Schema.Fields[b.Schema.Index("timestamp[ms]")].Name = "ts"
	for _, c := range []struct{ src, want, typ string }{
		{`float64[1]`, "2.5", "float64?"},
		{`float64[len(float64) - 1]`, "-1", "float64?"},
		{`float64[-3]`, "NaN", "float64?"},
		{`float64[-4]`, "null", "float64?"},
		{`float64[9223372036854775807]`, "null", "float64?"},
		{`float64[-9223372036854775807]`, "null", "float64?"},
		{`float64[int8[5]]`, "null", "float64?"},
		{`min(float64)`, "-1", "float64?"},
		{`max(float64)`, "2.5", "float64?"},
		{`sum(float64)`, "NaN", "float64"},
		{`int8[0]`, "-5", "int8?"},
		{`int8[0] + int8[1]`, "2", "int64?"},
		{`sum(int8)`, "2", "int64?"},
		{`avg(int8)`, "1", "float64?"},
		{`min(int8)`, "-5", "int8?"},
		{`7 in int8`, "true", "bool?"},
		{`7.5 in float64`, "false", "bool"},
		{`-1 in float64`, "true", "bool"},
		{`uint64[0]`, "18446744073709551615", "uint64?"},
		{`max(uint64)`, "18446744073709551615", "uint64?"},
		{`1 in uint64`, "true", "bool"},
		{`sum(uint64)`, "fails: integer overflow in sum(uint64)", "uint64"},
		{`sum(int64)`, "fails: integer overflow in sum(int64)", "int64"},
		{`avg(uint64)`, "9223372036854776000", "float64?"},
		{`bool[2]`, "true", "bool?"},
		{`bool[1]`, "false", "bool?"},
		{`false in bool`, "true", "bool"},
		{`binary[0]`, `b"\xff"`, "binary?"},
		{`b"\xff" in binary`, "true", "bool"},
		{`date32[0] == date("2024-01-31")`, "true", "bool?"},
		{`ts[0]`, "2024-01-31T09:30:00.123Z", "timestamp[ms]?"},
		{`min(ts)`, "1970-01-01T00:00:00.005Z", "timestamp[ms]?"},
		{`timestamp("1970-01-01T00:00:00.005Z") in ts`, "true", "bool"},
		{`uint16[0]`, "null", "uint16?"},
		{`len(uint16)`, "null", "int64?"},
		{`sum(uint16)`, "null", "int64?"},
		{`5 in uint16`, "null", "bool?"},
		{`uint16 == nil`, "true", "bool"},
		{`isNull(uint16)`, "true", "bool"},
		{`nil != int8`, "true", "bool"},
		{`string[0]`, "null", "string?"},
		{`len(string)`, "0", "int64"},
		{`"" in string`, "false", "bool"},
		{`sum(float32)`, "0", "float64"},
		{`avg(float32)`, "null", "float64?"},
		{`max(float32)`, "null", "float32?"},
		{`int8`, "[-5,7]", "list<int8>?"},
		{`len(int8) > 1 ? int8[1] : 0`, "7", "int64?"},
	} {
		value, typ := evalOne(t, c.src, b)
		if value != c.want || typ != c.typ {
			t.Errorf("%s\n got %s %s\nwant %s %s", c.src, value, typ, c.want, c.typ)
		}
	}
	for _, c := range []struct{ src, want string }{
		{`int8 == int8`, `int8 is a list, list<int8>: take one item, int8[0], or len(int8), or make rows of the items with an operator`},
		{`int8 ?? int8`, `int8 is a list, list<int8>: take one item, int8[0], or len(int8), or make rows of the items with an operator`},
		{`true ? int8 : int8`, `int8 is a list, list<int8>: take one item, int8[0], or len(int8), or make rows of the items with an operator`},
		{`coalesce(int8, int8)`, `int8 is a list, list<int8>: take one item, int8[0], or len(int8), or make rows of the items with an operator`},
		{`string(int8)`, `int8 is a list, list<int8>: take one item, int8[0], or len(int8), or make rows of the items with an operator`},
		{`-int8`, `int8 is a list, list<int8>: take one item, int8[0], or len(int8), or make rows of the items with an operator`},
		{`int8 in [1]`, `int8 is a list, list<int8>: take one item, int8[0], or len(int8), or make rows of the items with an operator`},
		{`int8 < nil`, `int8 is a list, list<int8>: take one item, int8[0], or len(int8), or make rows of the items with an operator`},
		{`int8["a"]`, `int8 has no fields: it is list<int8>`},
		{`int8[1.5]`, `the index must be an integer, not float64`},
		{`int8[0][0]`, `x[…] needs a list, not int8: only lists have items`},
		{`sum(string)`, `sum needs a list of numbers, not list<string>`},
		{`sum(ts)`, `sum needs a list of numbers, not list<timestamp[ms]>`},
		{`sum(5)`, `sum needs a list here, not int64: it is an aggregate: use it under window.aggregates`},
		{`min(5)`, `min needs a list here, not int64`},
		{`min(int8, 5)`, `min needs numbers or times, not list<int8>`},
		{`"a" in int8`, `the list has int8, but the value is string`},
		{`1.5 in int8`, `the list has int8, but the value is float64`},
		{`-1 in uint64`, `the list has uint64, but the value is int64`},
		{`nil in int8`, `the list has int8, but the value is nil`},
		{`len(int8[0])`, `len needs a string or a list, not int8`},
		{`upper(string)`, `string is a list, list<string>: take one item, string[0], or len(string), or make rows of the items with an operator`},
	} {
		_, err := Compile(c.src, b.Schema)
		var e *Error
		if !errors.As(err, &e) || e.Error() != c.want {
			t.Errorf("%s\n got %v\nwant %s", c.src, err, c.want)
		}
	}
	if _, err := CompileCast(b.Schema.Index("int8"), textType, false, b.Schema); err == nil {
		t.Error("a list was cast to a string")
	}
	if p, err := CompileCast(b.Schema.Index("int8"), batch.ListOf(batch.Type{Kind: batch.Int8}), true, b.Schema); err != nil || p == nil {
		t.Error(err)
	}
}

// TestListRows compares with a naive computation over several chunks, with nulls, in batches whose lists do not start at item 0.
func TestListRows(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const rows = 3000
	var lists, texts, at []any
	for range rows {
		var l, s []any
		for range rng.IntN(4) {
			v := rng.IntN(5)
			l, s = append(l, v), append(s, fmt.Sprint(v))
		}
		if l == nil {
			l, s = []any{}, []any{}
		}
		if rng.IntN(5) == 0 {
			lists, texts = append(lists, nil), append(texts, nil)
		} else {
			lists, texts = append(lists, l), append(texts, s)
		}
		if rng.IntN(6) == 0 {
			at = append(at, nil)
		} else {
			at = append(at, rng.IntN(9)-4)
		}
	}
	b := &batch.Batch{Rows: rows, Schema: &batch.Schema{}}
	for _, c := range []struct {
		name, typ string
		values    []any
	}{{"xs", "list<int16>?", lists}, {"ss", "list<string>?", texts}, {"at", "int32?", at}} {
		typ, null := mustType(c.typ)
		b.Schema.Fields = append(b.Schema.Fields, batch.Field{Name: c.name, Type: typ, Nullable: null})
		b.Cols = append(b.Cols, columnOf(typ, c.values...))
	}
	naive := func(i int, f func(l []any) any) string {
		if lists[i] == nil {
			return "null"
		}
		if v := f(lists[i].([]any)); v != nil {
			return fmt.Sprint(v)
		}
		return "null"
	}
	index := func(i int) func(l []any) any {
		return func(l []any) any {
			if at[i] == nil {
				return nil
			}
			k := at[i].(int)
			if k < 0 {
				k += len(l)
			}
			if k < 0 || k >= len(l) {
				return nil
			}
			return l[k]
		}
	}
	for src, want := range map[string]func(i int) string{
		"xs[at]":      func(i int) string { return naive(i, index(i)) },
		"int(ss[at])": func(i int) string { return naive(i, index(i)) },
		"len(xs)":     func(i int) string { return naive(i, func(l []any) any { return len(l) }) },
		"at in xs": func(i int) string {
			return naive(i, func(l []any) any {
				if at[i] == nil {
					return nil
				}
				for _, v := range l {
					if v == at[i] {
						return true
					}
				}
				return false
			})
		},
		"sum(xs)": func(i int) string {
			return naive(i, func(l []any) any {
				sum := 0
				for _, v := range l {
					sum += v.(int)
				}
				return sum
			})
		},
		"max(xs) ?? -1": func(i int) string {
			best := -1
			if lists[i] != nil {
				for _, v := range lists[i].([]any) {
					best = max(best, v.(int))
				}
			}
			return fmt.Sprint(best)
		},
	} {
		p, err := Compile(src, b.Schema)
		if err != nil {
			t.Fatal(err)
		}
		e := p.NewEvaluator()
		var a batch.Arena
		c, err := e.Eval(b, &a)
		if err != nil || len(e.Failures()) > 0 {
			t.Fatal(src, err, e.Failures())
		}
		for i := range rows {
			if got := cell(p.Type(), &c, i); got != want(i) {
				t.Fatalf("%s of %v at %v: got %s, want %s", src, lists[i], at[i], got, want(i))
			}
		}
		b.Schema.Fields[1].Nullable = true
		allocs := testing.AllocsPerRun(5, func() {
			if p.Type().Variable() {
				return
			}
			arena := batch.NewArena(make([]byte, 0))
			if _, err := e.Eval(b, &arena); err != nil {
				t.Fatal(err)
			}
		})
		if allocs > 6 {
			t.Errorf("%s: %v allocations for %d rows", src, allocs, rows)
		}
	}
}
