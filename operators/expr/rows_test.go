package expr

import (
	"fmt"
	"math"
	"strconv"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
)

// columnOf makes a column from Go values; nil is null. Integers and times may be given as int.
func columnOf(t batch.Type, values ...any) batch.Column {
	if t.Kind == batch.List {
		return listColumnOf(t, values)
	}
	var c batch.Column
	n := len(values)
	validity := make([]byte, batch.BitmapLen(n))
	batch.FillBits(validity, n)
	off := []int32{0}
	if t.Kind == batch.Bool {
		c.Values = make([]byte, batch.BitmapLen(n))
	}
	num := make([]uint64, n)
	for i, v := range values {
		switch v := v.(type) {
		case nil:
			batch.ClearBit(validity, i)
			c.Nulls++
			num[i] = 0x7fffffffffffffff // what lies under a null must not matter
		case bool:
			if v {
				batch.SetBit(c.Values, i)
			}
		case string:
			c.Values = append(c.Values, v...)
		case int:
			num[i] = uint64(v)
			if t.Float() {
				num[i] = math.Float64bits(float64(v))
			}
		case int64:
			num[i] = uint64(v)
		case uint64:
			num[i] = v
		case float64:
			num[i] = math.Float64bits(v)
		default:
			panic(fmt.Sprintf("columnOf %T", v))
		}
		off = append(off, int32(len(c.Values)))
	}
	switch {
	case t.Variable():
		c.Offsets = batch.Bytes(off)
	case t.Kind != batch.Bool:
		c.Values = batch.Bytes(make([]uint64, n))[:n*t.Width()]
		narrowNum(c.Values, t, num, 0)
	}
	if c.Nulls > 0 {
		c.Validity = validity
	}
	return c
}

func mustType(s string) (batch.Type, bool) {
	t, null, err := batch.ParseType(s)
	if err != nil {
		panic(err)
	}
	return t, null
}

// cell is row i of a column as text; a string is quoted.
func cell(t batch.Type, c *batch.Column, i int) string {
	switch {
	case !c.Valid(i):
		return "null"
	case t.Kind == batch.List, t.Kind == batch.Decimal:
		return string(batch.AppendCellJSON(nil, t, c, i))
	case t.Kind == batch.Bool:
		return strconv.FormatBool(c.Bit(i))
	case t.Kind == batch.Binary:
		return "b" + strconv.Quote(string(c.Bytes(i)))
	case t.Variable():
		return strconv.Quote(string(c.Bytes(i)))
	}
	b := batch.Batch{Rows: i + 1, Cols: []batch.Column{*c}}
	v := (&colNode{shape: shape{t: t}}).eval(&Evaluator{b: &b, start: i / chunk * chunk, n: i%chunk + 1}, 0)
	return string(appendNum(nil, t, v.num[i%chunk]))
}

// listColumnOf is columnOf for lists, each a []any or nil.
func listColumnOf(t batch.Type, lists []any) batch.Column {
	validity, off, nulls := make([]byte, batch.BitmapLen(len(lists))), []int32{0}, 0
	var items []any
	for i, l := range lists {
		if l == nil {
			nulls++
		} else {
			batch.SetBit(validity, i)
			items = append(items, l.([]any)...)
		}
		off = append(off, int32(len(items)))
	}
	c := columnOf(t.Items(), items...)
	c.ItemOffsets, c.Offsets, c.Nulls = c.Offsets, batch.Bytes(off), nulls
	if nulls > 0 {
		c.Validity = validity
	}
	return c
}

// sample is the row that EXPRESSIONS.md computes with.
func sample() *batch.Batch {
	b := &batch.Batch{Schema: &batch.Schema{}, Rows: 1}
	for _, f := range []struct {
		name, typ string
		value     any
	}{
		{"device", "string", "pump-7"},
		{"status", "string", "ok"},
		{"note", "string?", nil},
		{"temp", "float64", 21.5},
		{"limit", "float64?", nil},
		{"count", "int32", 7},
		{"total", "int64?", nil},
		{"big", "uint64", uint64(math.MaxUint64)},
		{"level", "uint8", 200},
		{"on", "bool", true},
		{"alarm", "bool?", nil},
		{"ts", "timestamp[ms]", 1706693400123}, // 2024-01-31T09:30:00.123Z, a Wednesday
		{"seen", "timestamp[s]?", nil},
		{"born", "date32", 19753}, // 2024-01-31
		{"raw", "binary", "\x00\xff"},
		{"payload.temp", "float64", -1.5},
		{"a column", "int64", 5},
		{"ratio", "float32", 0.5},
		{"readings", "list<float64>", []any{20.5, 21.5, 24.0}},
		{"tags", "list<string>?", []any{"north", "roof"}},
	} {
		t, null := mustType(f.typ)
		b.Schema.Fields = append(b.Schema.Fields, batch.Field{Name: f.name, Type: t, Nullable: null})
		b.Cols = append(b.Cols, columnOf(t, f.value))
	}
	return b
}

// evalOne is the result of an expression for the first row, or "error: …" for what fails.
func evalOne(t *testing.T, src string, b *batch.Batch) (value, typ string) {
	t.Helper()
	p, err := Compile(src, b.Schema)
	if err != nil {
		return "error: " + err.Error(), ""
	}
	e := p.NewEvaluator()
	var a batch.Arena
	c, err := e.Eval(b, &a)
	if err != nil {
		t.Fatal(err)
	}
	typ = p.Type().String()
	if p.Nullable() {
		typ += "?"
	}
	if f := e.Failures(); len(f) > 0 {
		return "fails: " + f[0].Text, typ
	}
	if !c.Valid(0) && !p.Nullable() {
		t.Errorf("%s: null, but the program says it is never null", src)
	}
	return cell(p.Type(), &c, 0), typ
}
