package batch

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
)

func oneRow(values ...any) *Batch {
	b := &Batch{Schema: &Schema{}, Rows: 1}
	for i, v := range values {
		f := Field{Name: string(rune('a' + i))}
		var c Column
		switch v := v.(type) {
		case bool:
			f.Type.Kind = Bool
			c.Values = []byte{0}
			if v {
				c.Values[0] = 1
			}
		case int8:
			f.Type.Kind = Int8
			c.Values = Bytes([]int8{v})
		case int64:
			f.Type.Kind = Int64
			c.Values = Bytes([]int64{v})
		case uint64:
			f.Type.Kind = Uint64
			c.Values = Bytes([]uint64{v})
		case float32:
			f.Type.Kind = Float32
			c.Values = Bytes([]float32{v})
		case float64:
			f.Type.Kind = Float64
			c.Values = Bytes([]float64{v})
		case string:
			f.Type.Kind = String
			c.Offsets = Bytes([]int32{0, int32(len(v))})
			c.Values = []byte(v)
		case []byte:
			f.Type.Kind = Binary
			c.Offsets = Bytes([]int32{0, int32(len(v))})
			c.Values = v
		case nil:
			f.Type.Kind = Int64
			f.Nullable = true
			c.Values = Bytes([]int64{7})
			c.Validity, c.Nulls = []byte{0}, 1
		}
		b.Schema.Fields = append(b.Schema.Fields, f)
		b.Cols = append(b.Cols, c)
	}
	return b
}

func TestRowJSON(t *testing.T) {
	b := oneRow(true, int8(-5), int64(math.MinInt64), uint64(math.MaxUint64), float32(0.1), 1e300, math.NaN(), math.Inf(-1), "q\"\\\n\x01\x7fé\xff\u2028😀", []byte{0, 1, 2}, nil)
	want := `{"a":true,"b":-5,"c":-9223372036854775808,"d":18446744073709551615,"e":0.1,"f":1e+300,"g":"NaN","h":"-Infinity",` +
		`"i":"q\"\\\n\u0001\u007fé\ufffd\u2028😀","j":"AAEC","k":null}`
	got := string(b.RowJSON(0))
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if !json.Valid([]byte(got)) {
		t.Error("not valid JSON")
	}
}

func TestRowJSONTimes(t *testing.T) {
	for _, c := range []struct {
		unit  Unit
		value int64
		want  string
	}{
		{Second, 0, `"1970-01-01T00:00:00Z"`},
		{Second, -1, `"1969-12-31T23:59:59Z"`},
		{Millisecond, -1, `"1969-12-31T23:59:59.999Z"`},
		{Millisecond, 1700000000123, `"2023-11-14T22:13:20.123Z"`},
		{Microsecond, 1, `"1970-01-01T00:00:00.000001Z"`},
		{Nanosecond, math.MinInt64, `"1677-09-21T00:12:43.145224192Z"`},
	} {
		col := Column{Values: Bytes([]int64{c.value})}
		if got := string(AppendCellJSON(nil, TimestampOf(c.unit), &col, 0)); got != c.want {
			t.Errorf("%d %s: got %s want %s", c.value, c.unit, got, c.want)
		}
	}
	col := Column{Values: Bytes([]int32{-1})}
	if got := string(AppendCellJSON(nil, Type{Kind: Date32}, &col, 0)); got != `"1969-12-31"` {
		t.Errorf("date: got %s", got)
	}
}

func TestRowJSONBounded(t *testing.T) {
	long := strings.Repeat("é", 1<<20)
	b := oneRow(int64(1), long, strings.Repeat("\x00", 1<<20), "kept?", bytes.Repeat([]byte{1}, 1<<20))
	got := b.RowJSON(0)
	if len(got) > MaxRowJSON {
		t.Errorf("%d bytes", len(got))
	}
	var v map[string]any
	if err := json.Unmarshal(got, &v); err != nil {
		t.Fatal(err)
	}
	if s := v["b"].(string); !strings.HasSuffix(s, "é…") {
		t.Errorf("b ends in %q", s[len(s)-8:])
	}
	if v["_truncated"] != true {
		t.Error("_truncated is missing")
	}
}
