package expr

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
	"github.com/weir-stream/weir/ingest/batch"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

// sqlExpressions are each a matter of its own; a row they fail is null.
var sqlExpressions = []string{
	"i", "h", "i8 + u16", "i + j", "i - j", "i * j", "i % j", "i % 7", "-i", "abs(i)", "i / j", "u16 / i8", "1 / 0", "f / 0", "i ** 2", "2 ** f", "pow(f, 0.5)",
	"v", "v + 1", "u - v", "v / 3", "u > i", "i <= v", "v == 5", "u ?? v", "u ?? 0", "int(u)", "float(v)", "int(f)", "int(g * 1000)", "int(p)", "float(p)", "float(i)",
	"f + g", "f - h", "f * g", "f / g", "h / 3", "-f", "abs(f)", "ceil(f)", "floor(f)", "round(f)", "round(f, 2)", "round(f / 3, 15)", "round(i)", "round(0.5 + i8)", "sqrt(f)", "exp(f)", "log(f)", "log10(f)",
	"min(f, g)", "max(f, g)", "min(i, j, 3)", "max(u, v)", "max(i, f)", "min(1, i8, i32)", "isNaN(f / f)", "isFinite(f)", "isNaN(g)",
	"f > 1", "f == f", "f != g", "f < i", "0 < f < 10", "s == 'ok'", `s < "b"`, "t == s", `t ?? "it's \\ none"`, `s == "é"`, `p ? "a\nb" : s`, "p == q", "p != true",
	"p && q", "p || q", "!q", "not p and q", "q ? 1 : 2", "q ? i : u16", "p ? f : i", "p ? u : v", "p ? u : 7", "p ? nil : i", "i > 0 ? f / i : nil",
	"d", "e", "d + e", "d - e", "d + 0.125", "0 - d", "d + i8", "e + e", "d == e", "d > e", "d < i", "d == 0.5", "d != u", "float(d)", "float(e) / 3", "e ?? 0", "d > 0 ? d : e",
	"d * e", "d * d", "e * e", "d * i8", "d * 1.19", "wide * d", "wide * wide", "d / e", "e / d", "d / 3", "d / i8", "u16 / d", "1 / d", "wide / d", "d / wide", "wide / wide", "e / (d - d)", "-d", "-wide", "abs(e)",
	"abs(wide)", "round(d)", "round(d, 1)", "round(e, 2)", "round(wide, 1)", "floor(e)", "ceil(e)", "floor(wide)", "ceil(d)", "round(d, 5)", "min(d, e)", "max(d, 0.5, e)", "decimal(d, 20, 6) / 7", "decimal(i, 15, 0)",
	"decimal(wide, 37, 2)", "d * e * e", "(d + e) / 2 * 3", "e == nil", "wide + wide", "wide - wide", "wide > d", "0.1 + d > 0.2", "nil ?? d",
	"j == nil", "j != nil", "isNull(g)", "j ?? i", "j ?? 0", "coalesce(j, g, 3)", "g ?? nil ?? 1.5", "(i + j) ?? 0",
	"toUnixMilli(ms)", "toUnix(ms)", "toUnixMicro(ms)", "toUnixNano(ms)", "toUnix(sec)", "toUnixMilli(sec)", "toUnixMilli(ms) - 1000 * toUnix(sec)",
	`ms < timestamp("2001-01-01T00:00:00Z")`, "ms", "p ? ms : nil", "ms == ms",
	"ds[0]", "ds[1] - ds[0]", "ds[-1] * 2", "ds[5] ?? 0", "len(ds)", "sum(ds)", "sum(ds) / len(ds)", "xs[0]", "xs[1] - xs[0]", "xs[-1]", "xs[-2]", "xs[5] ?? 0", "len(xs)", "sum(xs)", "ns[0] / sum(ns)", "ns[1] * 3", "len(ns) + 1", "sum(ns)",
	"0.1 + 0.2", "1e300 * f", "nil ?? 3", "true", "5", "1.5", "'text'", "9223372036854775807", "-9223372036854775807 - i8", "5e-324 + f", "123456789.123456789 + f",
}

// sqlBatch has values at the ends of their types, in the columns that generator knows.
func sqlBatch(r *rand.Rand) *batch.Batch {
	b := randomBatch(r)
	for b.Rows < 60 || b.Rows > 200 {
		b = randomBatch(r)
	}
	add := func(name, typ string, values []any) {
		t, null := mustType(typ)
		if i := b.Schema.Index(name); i >= 0 {
			b.Cols[i] = columnOf(t, values...)
			return
		}
		b.Schema.Fields = append(b.Schema.Fields, batch.Field{Name: name, Type: t, Nullable: null})
		b.Cols = append(b.Cols, columnOf(t, values...))
	}
	var ms, sec, xs, ns []any
	for range b.Rows {
		ms, sec = append(ms, r.Int64N(6e12)-2e12), append(sec, r.Int64N(6e9)-2e9) // from 1906 on
		x, n := []any{}, []any{}
		for range r.IntN(4) {
			x, n = append(x, float64(r.IntN(1000))/8), append(n, []uint64{0, 7, math.MaxUint64, 1 << 40}[r.IntN(4)])
		}
		xs, ns = append(xs, x), append(ns, n)
	}
	add("ms", "timestamp[ms]", ms)
	add("sec", "timestamp[s]?", sec)
	add("xs", "list<float64>", xs)
	add("ns", "list<uint64>", ns)
	decimals := func(name, typ string, draw func() batch.Int128) {
		t, null := mustType(typ)
		values := make([]batch.Int128, b.Rows)
		for i := range values {
			values[i] = draw()
		}
		c := batch.Column{Values: batch.DecimalBytes(values)}
		if null {
			c.Validity = make([]byte, batch.BitmapLen(b.Rows))
			for i := range b.Rows {
				if r.IntN(3) > 0 {
					batch.SetBit(c.Validity, i)
				} else {
					c.Nulls++
				}
			}
		}
		b.Schema.Fields = append(b.Schema.Fields, batch.Field{Name: name, Type: t, Nullable: null})
		b.Cols = append(b.Cols, c)
	}
	decimals("d", "decimal(9, 2)", func() batch.Int128 { return batch.Int128Of(r.Int64N(200) - 100) })
	decimals("e", "decimal(18, 4)?", func() batch.Int128 {
		return batch.Int128Of([]int64{0, 5000, -999999999999999999, r.Int64N(1e6)}[r.IntN(4)])
	})
	decimals("wide", "decimal(38, 2)", func() batch.Int128 {
		v, _ := batch.Int128Of(r.Int64N(18) - 9).MulPow10([]int{0, 20, 37}[r.IntN(3)])
		return v
	})
	var items []batch.Int128
	off := []int32{0}
	for range b.Rows {
		for range r.IntN(4) {
			v, _ := batch.Int128Of(r.Int64N(18) - 9).MulPow10([]int{0, 2, 20, 37}[r.IntN(4)])
			items = append(items, v)
		}
		off = append(off, int32(len(items)))
	}
	b.Schema.Fields = append(b.Schema.Fields, batch.Field{Name: "ds", Type: batch.ListOf(batch.DecimalOf(38, 3))})
	b.Cols = append(b.Cols, batch.Column{Offsets: batch.Bytes(off), Values: batch.DecimalBytes(items)})
	return b
}

// sqlValues writes rows as VALUES, and the structure of their table.
func sqlValues(b *batch.Batch) (structure, values string) {
	names := []string{"row UInt32"}
	for _, f := range b.Schema.Fields {
		typ := sqlColumn(f.Type)
		if f.Nullable {
			typ = "Nullable(" + typ + ")"
		}
		names = append(names, "`"+f.Name+"` "+typ)
	}
	var rows strings.Builder
	for i := range b.Rows {
		fmt.Fprintf(&rows, "(%d", i)
		for j, f := range b.Schema.Fields {
			rows.WriteString(", " + sqlLiteral(f.Type, &b.Cols[j], i))
		}
		rows.WriteString(")")
	}
	return strings.Join(names, ", "), rows.String()
}

func sqlColumn(t batch.Type) string {
	switch {
	case t.Kind == batch.List:
		return "Array(" + sqlColumn(t.Items()) + ")"
	case t.Kind == batch.Float32:
		return "Float32"
	case t.Integer():
		return strings.NewReplacer("uint", "UInt", "int", "Int").Replace(t.String())
	}
	return sqlType(t)
}

func sqlLiteral(t batch.Type, c *batch.Column, i int) string {
	switch {
	case !c.Valid(i):
		return "NULL"
	case t.Kind == batch.List:
		off := batch.As[int32](c.Offsets)
		var items []string
		for k := off[i]; k < off[i+1]; k++ {
			items = append(items, sqlLiteral(t.Items(), &batch.Column{Values: c.Values}, int(k)))
		}
		return "[" + strings.Join(items, ",") + "]"
	case t.Kind == batch.Decimal:
		return "'" + cell(t, c, i) + "'"
	case t.Variable():
		return sqlText(c.Bytes(i))
	case t.Kind == batch.Timestamp:
		return "'" + strings.TrimSuffix(strings.ReplaceAll(cell(t, c, i), "T", " "), "Z") + "'"
	case t.Float():
		return strings.TrimPrefix(strings.ToLower(cell(t, c, i)), "+")
	}
	return cell(t, c, i)
}

// TestSQL computes expressions here and in ClickHouse, over the same rows.
func TestSQL(t *testing.T) {
	o, err := clickhouse.ParseDSN(embeddedtest.ClickHouse(t))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := clickhouse.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	r := rand.New(rand.NewPCG(31, 32))
	b := sqlBatch(r)
	structure, values := sqlValues(b)
	for _, sql := range []string{"CREATE TABLE rows (" + structure + ") ENGINE = Memory", "INSERT INTO rows VALUES " + values} {
		if err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%.300s: %v", sql, err)
		}
	}
	fixed := map[string]bool{}
	sources := sqlExpressions
	for _, src := range sqlExpressions {
		fixed[src] = true
	}
	for len(sources) < len(sqlExpressions)+150 {
		src := generator{r}.of("bif"[r.IntN(3)], 1+r.IntN(4))
		if _, err := CompileSQL(src, b.Schema); err == nil {
			sources = append(sources, src)
		}
	}
	for len(sources) > 0 {
		some := sources[:min(len(sources), 25)]
		sources = sources[len(some):]
		var sql []string
		for _, src := range some {
			s, err := CompileSQL(src, b.Schema)
			if err != nil {
				t.Fatalf("%s: %v", src, err)
			}
			typ := sqlColumn(s.Type)
			if s.Nullable {
				typ = "Nullable(" + typ + ")"
			}
			sql = append(sql, "ifNull(toString(CAST("+s.Text+", "+sqlText([]byte(typ))+")), 'null')")
		}
		rows, err := conn.Query(t.Context(), "SELECT ["+strings.Join(sql, ",\n")+"] FROM rows ORDER BY row")
		if err != nil {
			t.Fatalf("%s: %v", strings.Join(some, "\n"), err)
		}
		var got [][]string
		for rows.Next() {
			var row []string
			if err := rows.Scan(&row); err != nil {
				t.Fatal(err)
			}
			got = append(got, row)
		}
		if err := rows.Err(); err != nil || len(got) != b.Rows {
			t.Fatalf("%d rows, %v\n%s", len(got), err, strings.Join(some, "\n"))
		}
		for k, src := range some {
			compareSQL(t, b, src, fixed[src], func(row int) string { return got[row][k] })
		}
	}
}

// compareSQL compares what was computed here with what ClickHouse computed. Of an expression of many parts, a row that fails may
// have any value: a part that is null there can have been given another by ??.
func compareSQL(t *testing.T, b *batch.Batch, src string, strict bool, got func(row int) string) {
	t.Helper()
	p, err := Compile(src, b.Schema)
	if err != nil {
		t.Fatal(err)
	}
	var arena batch.Arena
	e := p.NewEvaluator()
	c, err := e.Eval(b, &arena)
	if err != nil {
		t.Fatal(err)
	}
	failed := map[int]bool{}
	for _, f := range e.Failures() {
		failed[int(f.Row)] = true
	}
	for row := range b.Rows {
		want := cell(p.Type(), &c, row)
		if failed[row] {
			if want = "null"; !strict || strings.Contains(src, "??") {
				continue
			}
		}
		if !sameSQL(p.Type(), want, got(row)) {
			s, _ := CompileSQL(src, b.Schema)
			t.Errorf("%s: %s, and by ClickHouse %s\n%s", src, want, got(row), s.Text)
			return
		}
	}
}

func sameSQL(t batch.Type, want, got string) bool {
	if want == got || want == "null" || got == "null" {
		return want == got
	}
	switch {
	case t.Kind == batch.Decimal: // without zeros at its end
		a, problem := batch.ParseDecimal([]byte(got), t)
		return problem == batch.DecimalOK && string(batch.AppendDecimal(nil, a, int(t.Scale))) == want
	case t.Float():
		a, errA := strconv.ParseFloat(want, 64)
		b, errB := strconv.ParseFloat(got, 64)
		return errA == nil && errB == nil && (a == b || a != a && b != b || math.Abs(a-b) <= 1e-14*math.Abs(a))
	case t.Variable():
		text, err := strconv.Unquote(want)
		return err == nil && text == got
	case t.Kind == batch.Timestamp:
		return strings.TrimSuffix(strings.ReplaceAll(want, "T", " "), "Z") == got
	}
	return false
}

// TestSQLErrors are expressions that are right for a step and are not for answers.
func TestSQLErrors(t *testing.T) {
	b := randomBatch(rand.New(rand.NewPCG(1, 2)))
	b.Schema.Fields = append(b.Schema.Fields, batch.Field{Name: "xs", Type: batch.ListOf(floatType)})
	for src, want := range map[string]struct {
		offset int
		text   string
	}{
		"i + nope":                 {4, "unknown column"},
		"i + s":                    {2, "cannot compute"},
		"1 + len(upper(s))":        {8, "upper cannot be computed from answers"},
		`p || s contains "a"`:      {7, "contains cannot be"},
		"i in [1, 2]":              {2, "in cannot be"},
		"ms + duration('5s')":      {5, "duration cannot be"},
		"len(s)":                   {0, "a value of this kind cannot be"},
		"xs":                       {0, "a list is no single value"},
		"xs[i]":                    {0, "an item whose number is computed"},
		"max(xs)":                  {0, "avg, min or max of a list"},
		"ms < sec":                 {0, "times of different units"},
		strings.Repeat("-(", 9000): {0, "the limit is"},
	} {
		_, err := CompileSQL(src, b.Schema)
		e, ok := err.(*Error)
		if !ok || !strings.Contains(e.Error(), want.text) || e.Offset != want.offset {
			t.Errorf("%.60s: got %+v, want %q at %d", src, err, want.text, want.offset)
		}
	}
}
