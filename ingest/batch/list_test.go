package batch

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestParseList(t *testing.T) {
	for _, item := range TypeNames() {
		name := "list<" + item + ">"
		for _, suffix := range []string{"", "?"} {
			typ, nullable, err := ParseType(name + suffix)
			if err != nil || typ.String() != name || nullable != (suffix == "?") || typ.Kind != List || typ.Items().String() != item || typ != ListOf(typ.Items()) {
				t.Errorf("%s: %v %t %v", name+suffix, typ, nullable, err)
			}
			if typ.Width() != 0 || typ.Variable() || typ.Numeric() {
				t.Errorf("%s passes for a flat type", name)
			}
		}
	}
	for bad, want := range map[string]string{
		"list<int>":                      "items of a list: unknown type",
		"list<>":                         "items of a list: unknown type",
		"list":                           "unknown type",
		"list<int64":                     "unknown type",
		"list<int64?>":                   "write list<int64>?",
		"list<list<int64>>":              "lists of lists",
		strings.Repeat("list<", 1<<20):   "unknown type",
		"list<" + "list<int64?>?" + ">?": "lists of lists",
	} {
		if _, _, err := ParseType(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20s: %v", bad, err)
		}
	}
}

func TestListJSON(t *testing.T) {
	text := Column{Offsets: Bytes([]int32{0, 2, 2, 3}), ItemOffsets: Bytes([]int32{0, 1, 3, 3}), Values: []byte(`a"b`), Validity: []byte{0b101}, Nulls: 1}
	bools := Column{Offsets: Bytes([]int32{1, 3, 3, 4}), Values: []byte{0b1010}}
	floats := Column{Offsets: Bytes([]int32{0, 0, 1, 5000}), Values: Bytes(make([]float64, 5000))}
	b := &Batch{Rows: 3, Cols: []Column{text, bools, floats}, Schema: &Schema{Fields: []Field{
		{Name: "s", Type: ListOf(Type{Kind: String}), Nullable: true}, {Name: "b", Type: ListOf(Type{Kind: Bool})}, {Name: "f", Type: ListOf(Type{Kind: Float64})},
	}}}
	for i, want := range []string{
		`{"s":["a","\"b"],"b":[true,false],"f":[]}`,
		`{"s":null,"b":[],"f":[0]}`,
	} {
		if got := string(b.RowJSON(i)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	floats.Offsets = Bytes([]int32{0, 0, 0, 5000 - 1})
	floats.Values = Bytes(make([]float64, 50000))
	b.Cols[2].Offsets = Bytes([]int32{0, 0, 1, 50000})
	b.Cols[2].Values = floats.Values
	long := b.RowJSON(2)
	if !json.Valid(long) || len(long) > MaxRowJSON || !strings.HasSuffix(string(long), `0,"…"]}`) {
		t.Errorf("%d bytes: %.40s … %s", len(long), long, long[len(long)-20:])
	}
}

// BenchmarkGather keeps half of 8192 rows, in stretches of four, per type of column.
func BenchmarkGather(b *testing.B) {
	const rows = 8192
	rng := rand.New(rand.NewPCG(1, 2))
	var pick []int32
	for i := range int32(rows) {
		if i&4 == 0 {
			pick = append(pick, i)
		}
	}
	for _, name := range []string{"bool", "int32", "float64", "string", "list<float64>", "list<string>"} {
		typ, _, err := ParseType(name)
		if err != nil {
			b.Fatal(err)
		}
		s := &Schema{Fields: []Field{{Name: "c", Type: typ}}}
		from := fromRecord(s, build(rng, s, rows, false))
		mem := Bytes(make([]uint64, 1<<17))
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				to := Batch{Schema: s, Rows: rows, Cols: []Column{from.Cols[0]}}
				a := NewArena(mem)
				to.Gather(pick, &a)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
		})
	}
}
