package expr

import (
	"strings"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
)

func decimalBatch() *batch.Batch {
	schema := &batch.Schema{Fields: []batch.Field{
		{Name: "a", Type: batch.DecimalOf(10, 2)},
		{Name: "b", Type: batch.DecimalOf(12, 3), Nullable: true},
		{Name: "big", Type: batch.DecimalOf(38, 2)},
		{Name: "i", Type: batch.Type{Kind: batch.Int64}},
		{Name: "u", Type: batch.Type{Kind: batch.Uint64}},
		{Name: "f", Type: batch.Type{Kind: batch.Float64}},
		{Name: "s", Type: batch.Type{Kind: batch.String}},
		{Name: "x", Type: batch.DecimalOf(38, 38)},
	}}
	most, _ := batch.Int128Of(9).MulPow10(37)
	dec := func(v ...batch.Int128) batch.Column { return batch.Column{Values: batch.DecimalBytes(v)} }
	b := &batch.Batch{Schema: schema, Rows: 3, Cols: []batch.Column{
		dec(batch.Int128Of(10), batch.Int128Of(-250), batch.Int128Of(9999999999)),
		dec(batch.Int128Of(100), batch.Int128Of(-2500), batch.Int128Of(77)),
		dec(batch.Int128Of(1), most, most.Neg()),
		columnOf(batch.Type{Kind: batch.Int64}, 1, -3, int64(-1<<63)),
		columnOf(batch.Type{Kind: batch.Uint64}, 1, 0, ^uint64(0)),
		columnOf(batch.Type{Kind: batch.Float64}, 0.1, -2.5, 1e300),
		columnOf(batch.Type{Kind: batch.String}, "1.25", "x", "0.001"),
		dec(batch.Int128Of(1), batch.Int128Of(1), batch.Int128Of(1)),
	}}
	b.Cols[1].Validity, b.Cols[1].Nulls = []byte{0b011}, 1
	return b
}

func TestDecimals(t *testing.T) {
	b := decimalBatch()
	checkDecimals(t, b, []decimalCase{
		{"a", "decimal(10, 2)", "0.10 -2.50 99999999.99"},
		{"a == 0.1", "bool", "true false false"},
		{"0.1 == a", "bool", "true false false"},
		{"a > 0.099", "bool", "true false true"},
		{"a < 1", "bool", "true true false"},
		{"a >= -2.5", "bool", "true true true"},
		{"a != b", "bool", "false false null"},
		{"a == b", "bool", "true true null"},
		{"a < i", "bool", "true false false"},
		{"a > u", "bool", "false false false"},
		{"big > a", "bool", "false true false"},
		{"b == nil", "bool", "false false true"},
		{"a + b", "decimal(13, 3)", "0.200 -5.000 null"},
		{"a - b", "decimal(13, 3)", "0.000 0.000 null"},
		{"0 - a", "decimal(11, 2)", "-0.10 2.50 -99999999.99"},
		{"a + 0.005", "decimal(12, 3)", "0.105 -2.495 99999999.995"},
		{"a + i", "decimal(22, 2)", "1.10 -5.50 -9223372036754775808.01"},
		{"a - u", "decimal(23, 2)", "-0.90 -2.50 -18446744073609551615.01"},
		{"big + big", "decimal(38, 2)", "0.02 failed failed"},
		{"big - 1", "decimal(38, 2)", "-0.99 899999999999999999999999999999999999.00 -900000000000000000000000000000000001.00"},
		{"b ?? 0", "decimal(12, 3)", "0.100 -2.500 0.000"},
		{"b ?? a", "decimal(12, 3)", "0.100 -2.500 99999999.990"},
		{"a > 0 ? a : 0", "decimal(10, 2)", "0.10 0.00 99999999.99"},
		{"a > 0 ? a : b", "decimal(12, 3)", "0.100 -2.500 99999999.990"},
		{"float(a)", "float64", "0.1 -2.5 99999999.99"},
		{"float(b)", "float64", "0.1 -2.5 null"},
		{"int(a)", "int64", "0 -2 99999999"},
		{"int(big)", "int64", "0 failed failed"},
		{"string(a)", "string", `"0.10" "-2.50" "99999999.99"`},
		{"big > x", "bool", "true true false"},
		{"x < big", "bool", "true true false"},
		{"big == x", "bool", "false false false"},
		{"x + 0.01", "decimal(38, 38)", "0.01000000000000000000000000000000000001 0.01000000000000000000000000000000000001 0.01000000000000000000000000000000000001"},
		{"x + 1", "decimal(38, 38)", "failed failed failed"},
		{"x - big", "decimal(38, 38)", "-0.00999999999999999999999999999999999999 failed failed"},
		{"a * b", "decimal(22, 5)", "0.01000 6.25000 null"},
		{"a * a", "decimal(20, 4)", "0.0100 6.2500 9999999998000000.0001"},
		{"a * i", "decimal(29, 2)", "0.10 7.50 -922337203593243860431452241.92"},
		{"a * u", "decimal(30, 2)", "0.10 0.00 1844674407186487720762904483.85"},
		{"a * 1.19", "decimal(13, 4)", "0.1190 -2.9750 118999999.9881"},
		{"1.5 * a", "decimal(12, 3)", "0.150 -3.750 149999999.985"},
		{"a * 0", "decimal(11, 2)", "0.00 0.00 0.00"},
		{"big * a", "decimal(38, 4)", "0.0010 failed failed"},
		{"big * big", "decimal(38, 4)", "0.0001 failed failed"},
		{"a / b", "decimal(14, 3)", "1.000 1.000 null"},
		{"a / 3", "decimal(10, 2)", "0.03 -0.83 33333333.33"},
		{"a / i", "decimal(10, 2)", "0.10 0.83 0.00"},
		{"a / u", "decimal(10, 2)", "0.10 failed 0.00"},
		{"1 / a", "decimal(5, 2)", "10.00 -0.40 0.00"},
		{"1 / b", "decimal(7, 3)", "10.000 -0.400 null"},
		{"i / a", "decimal(23, 2)", "10.00 1.20 -92233720377.77"},
		{"a / 0.3", "decimal(11, 2)", "0.33 -8.33 333333333.30"},
		{"a / 0.003", "decimal(14, 3)", "33.333 -833.333 33333333330.000"},
		{"big / a", "decimal(38, 2)", "0.10 -360000000000000000000000000000000000.00 -9000000000900000000090000000.00"},
		{"big / 0.01", "decimal(38, 2)", "1.00 failed failed"},
		{"a / big", "decimal(12, 2)", "10.00 0.00 0.00"},
		{"big / big", "decimal(38, 2)", "1.00 1.00 1.00"},
		{"a / (b - b)", "decimal(14, 3)", "failed failed null"},
		{"-a", "decimal(10, 2)", "-0.10 2.50 -99999999.99"},
		{"-b", "decimal(12, 3)", "-0.100 2.500 null"},
		{"+a", "decimal(10, 2)", "0.10 -2.50 99999999.99"},
		{"abs(a)", "decimal(10, 2)", "0.10 2.50 99999999.99"},
		{"abs(b - 1)", "decimal(13, 3)", "0.900 3.500 null"},
		{"round(a)", "decimal(9, 0)", "0 -3 100000000"},
		{"round(a, 1)", "decimal(10, 1)", "0.1 -2.5 100000000.0"},
		{"round(a, 2)", "decimal(10, 2)", "0.10 -2.50 99999999.99"},
		{"round(a, 9)", "decimal(10, 2)", "0.10 -2.50 99999999.99"},
		{"floor(a)", "decimal(9, 0)", "0 -3 99999999"},
		{"ceil(a)", "decimal(9, 0)", "1 -2 100000000"},
		{"floor(b)", "decimal(10, 0)", "0 -3 null"},
		{"round(x)", "decimal(1, 0)", "0 0 0"},
		{"min(a, 1)", "decimal(10, 2)", "0.10 -2.50 1.00"},
		{"max(a, b, 0)", "decimal(12, 3)", "0.100 0.000 null"},
		{"decimal(a, 12, 4)", "decimal(12, 4)", "0.1000 -2.5000 99999999.9900"},
		{"decimal(a, 9, 2)", "decimal(9, 2)", "0.10 -2.50 failed"},
		{"decimal(f, 4, 1)", "decimal(4, 1)", "0.1 -2.5 failed"},
		{"decimal(s, 4, 2)", "decimal(4, 2)", "1.25 failed failed"},
		{"decimal(a, 20, 8) / 3", "decimal(20, 8)", "0.03333333 -0.83333333 33333333.33000000"},
		{"decimal(\"1.50\", 5, 2) * i", "decimal(24, 2)", "1.50 -4.50 -13835058055282163712.00"},
		{"isNull(b)", "bool", "false false true"},
		{"float(a) * 2", "float64", "0.2 -5 199999999.98"},
		{"1.5 + 2 > a", "bool", "true true false"},
	})
	for _, c := range []struct{ src, want string }{
		{"a % 2", "decimals have no %"},
		{"a ** 2", "decimals have no **"},
		{"x * x", "the product would have 76 digits behind the point, and 38 are the most"},
		{"a * x", "give one of them fewer digits behind the point: decimal(x, digits, behind)"},
		{"i / x", "the divisor has 38 digits behind the point"},
		{"a / 0", "this fails on every row: division by zero in a / 0"},
		{"a / 0.0", "this fails on every row: division by zero"},
		{"a * f", "cannot compute decimal(10, 2) * float64: convert one side: float(x)"},
		{"f / a", "cannot compute float64 / decimal(10, 2): convert one side: float(x)"},
		{"a * 0.12345678901234567", "more than 15 digits"},
		{"a * s", "cannot compute decimal(10, 2) * string"},
		{"a / nil", "is always null"},
		{"decimal(a, 39, 2)", "decimal needs a literal from 1 to 38 here"},
		{"decimal(a, 0, 0)", "decimal needs a literal from 1 to 38 here"},
		{"decimal(a, 5, 6)", "decimal needs a literal from 0 to 5 here"},
		{"decimal(a, i, 2)", "decimal needs a literal"},
		{"decimal(1.2, 2, -1)", "decimal needs a literal"},
		{"decimal(a > 1, 2, 1)", "decimal does not take bool"},
		{"decimal(\"x\", 2, 1)", "this fails on every row"},
		{"sqrt(a)", "sqrt needs a number, not decimal(10, 2)"},
		{"a == f", "cannot compare decimal(10, 2) with float64: convert one side: float(x)"},
		{"a + f", "cannot compute decimal(10, 2) + float64"},
		{"a == s", "cannot compare"},
		{`a == "0.1"`, "cannot compare"},
		{"a > 0.12345678901234567", "more than 15 digits"},
		{"a > 0 ? big : x", "the branches are decimal(38, 2) and decimal(38, 38)"},
		{"b ?? x", "decimal(38, 38) does not go with decimal(12, 3)"},
		{"a in [1, 2]", "in does not take decimal(10, 2): use == and ||"},
		{"min(a, f)", "does not go with decimal(10, 2)"},
		{"round(a, -1)", "the digits of round must be a literal from 0 to 15"},
		{"a && true", "compare it first"},
		{"bool(a)", "bool does not take decimal(10, 2)"},
	} {
		if _, err := Compile(c.src, b.Schema); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.src, err, c.want)
		}
	}
}

func decimalRows(t *testing.T, p *Program, b *batch.Batch) string {
	t.Helper()
	e := p.NewEvaluator()
	out, err := e.Eval(b, &batch.Arena{})
	if err != nil {
		t.Fatal(err)
	}
	failed := map[int]bool{}
	for _, f := range e.Failures() {
		failed[int(f.Row)] = true
	}
	var rows []string
	for i := range b.Rows {
		text := string(batch.AppendCellJSON(nil, p.Type(), &out, i))
		if failed[i] {
			text = "failed"
		}
		rows = append(rows, text)
	}
	return strings.Join(rows, " ")
}

func TestDecimalCasts(t *testing.T) {
	b := decimalBatch()
	for _, c := range []struct {
		column, to string
		want       string
	}{
		{"a", "decimal(11, 3)", "0.100 -2.500 99999999.990"},
		{"a", "decimal(9, 2)", "0.10 -2.50 failed"},
		{"a", "decimal(10, 1)", "0.1 -2.5 failed"},
		{"a", "decimal(10, 1)?", "0.1 -2.5 null"},
		{"i", "decimal(20, 1)", "1.0 -3.0 -9223372036854775808.0"},
		{"i", "decimal(3, 2)", "1.00 -3.00 failed"},
		{"u", "decimal(20, 0)", "1 0 18446744073709551615"},
		{"f", "decimal(10, 3)", "0.100 -2.500 failed"},
		{"f", "decimal(10, 0)", "0 -2 failed"},
		{"s", "decimal(10, 2)", "1.25 failed failed"},
		{"s", "decimal(10, 3)?", "1.250 null 0.001"},
		{"b", "string", `"0.100" "-2.500" null`},
		{"big", "float32", "0.01 9e+35 -9e+35"},
		{"a", "int8", "0 -2 failed"},
		{"big", "uint64", "0 failed failed"},
		{"a", "uint8", "0 failed failed"},
	} {
		to, nullable := mustType(c.to)
		p, err := CompileCast(b.Schema.Index(c.column), to, nullable, b.Schema)
		if err != nil {
			t.Errorf("%s to %s: %v", c.column, c.to, err)
			continue
		}
		if got := decimalRows(t, p, b); got != c.want || p.Type() != to {
			t.Errorf("%s to %s: %s, want %s", c.column, c.to, got, c.want)
		}
	}
	for _, to := range []string{"bool", "timestamp[ms]", "date32", "binary"} {
		typ, _ := mustType(to)
		if _, err := CompileCast(0, typ, false, b.Schema); err == nil {
			t.Errorf("a decimal is cast to %s", to)
		}
	}
	p, _ := CompileCast(0, batch.DecimalOf(9, 2), false, b.Schema)
	e := p.NewEvaluator()
	if _, err := e.Eval(b, &batch.Arena{}); err != nil || len(e.Failures()) != 1 || e.Failures()[0].Text != "column a: 99999999.99 does not fit decimal(9, 2)" ||
		e.Failures()[0].Reason != batch.ReasonOutOfRange {
		t.Error(err, e.Failures())
	}
}

// decimalCase is an expression, its type, and what decimalRows says of it.
type decimalCase struct{ src, typ, want string }

func checkDecimals(t *testing.T, b *batch.Batch, cases []decimalCase) {
	t.Helper()
	for _, c := range cases {
		p, err := Compile(c.src, b.Schema)
		if err != nil {
			t.Errorf("%s: %v", c.src, err)
			continue
		}
		if got := decimalRows(t, p, b); got != c.want || p.Type().String() != c.typ {
			t.Errorf("%s: %s %s, want %s %s", c.src, p.Type(), got, c.typ, c.want)
		}
	}
}

func TestDecimalLists(t *testing.T) {
	b := decimalBatch()
	most, _ := batch.Int128Of(9).MulPow10(37)
	items := []batch.Int128{batch.Int128Of(10), batch.Int128Of(-250), batch.Int128Of(250), most, most}
	b.Schema.Fields = append(b.Schema.Fields, batch.Field{Name: "ds", Type: batch.ListOf(batch.DecimalOf(38, 2))})
	b.Cols = append(b.Cols, batch.Column{Offsets: batch.Bytes([]int32{0, 3, 3, 5}), Values: batch.DecimalBytes(items)})
	checkDecimals(t, b, []decimalCase{
		{"ds[0]", "decimal(38, 2)", "0.10 null 900000000000000000000000000000000000.00"},
		{"ds[-1]", "decimal(38, 2)", "2.50 null 900000000000000000000000000000000000.00"},
		{"ds[1] * 2", "decimal(38, 2)", "-5.00 null failed"},
		{"len(ds)", "int64", "3 0 2"},
		{"sum(ds)", "decimal(38, 2)", "0.10 0.00 failed"},
		{"avg(ds)", "float64", "0.03333333333333333 null failed"},
		{"min(ds)", "decimal(38, 2)", "-2.50 null 900000000000000000000000000000000000.00"},
		{"max(ds)", "decimal(38, 2)", "2.50 null 900000000000000000000000000000000000.00"},
		{"0.1 in ds", "bool", "true false false"},
		{"a in ds", "bool", "true false false"},
		{"b in ds", "bool", "true false null"},
		{"0.105 in ds", "bool", "false false false"},
		{"9e35 in ds", "bool", "false false true"},
		{"x in ds", "bool", "false false false"},
		{"a in ds && a < 1", "bool", "true false false"},
	})
	for src, want := range map[string]string{
		"f in ds":     "the list has decimal(38, 2), but the value is float64",
		`"0.1" in ds`: "the list has decimal(38, 2), but the value is string",
		"ds == ds":    "is a list",
	} {
		if _, err := Compile(src, b.Schema); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", src, err, want)
		}
	}
}
