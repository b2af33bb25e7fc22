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
	for _, c := range []struct{ src, typ, want string }{
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
		{"isNull(b)", "bool", "false false true"},
		{"float(a) * 2", "float64", "0.2 -5 199999999.98"},
		{"1.5 + 2 > a", "bool", "true true false"},
	} {
		p, err := Compile(c.src, b.Schema)
		if err != nil {
			t.Errorf("%s: %v", c.src, err)
			continue
		}
		if got := decimalRows(t, p, b); got != c.want || p.Type().String() != c.typ {
			t.Errorf("%s: %s %s, want %s %s", c.src, p.Type(), got, c.typ, c.want)
		}
	}
	for _, c := range []struct{ src, want string }{
		{"a * b", "decimals have no *"},
		{"a / 2", "decimals have no /"},
		{"a % 2", "decimals have no %"},
		{"a ** 2", "decimals have no **"},
		{"-a", "write 0 - x"},
		{"a == f", "cannot compare decimal(10, 2) with float64: convert one side: float(x)"},
		{"a + f", "cannot compute decimal(10, 2) + float64"},
		{"a == s", "cannot compare"},
		{`a == "0.1"`, "cannot compare"},
		{"a > 0.12345678901234567", "more than 15 digits"},
		{"a > 0 ? big : x", "the branches are decimal(38, 2) and decimal(38, 38)"},
		{"b ?? x", "decimal(38, 38) does not go with decimal(12, 3)"},
		{"a in [1, 2]", "in does not take decimal(10, 2): use == and ||"},
		{"min(a, 1)", "min needs numbers or times, not decimal(10, 2)"},
		{"round(a)", "round needs a number, not decimal(10, 2)"},
		{"abs(a)", "abs needs a number, not decimal(10, 2)"},
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
