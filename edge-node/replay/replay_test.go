package replay

import (
	"math"
	"strings"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
)

// TestCells holds keys to what windows and ClickHouse take for one key, and values to their bits.
func TestCells(t *testing.T) {
	f := batch.Type{Kind: batch.Float64}
	c := batch.Column{Values: batch.Bytes([]float64{0, math.Copysign(0, -1), math.NaN(), math.Float64frombits(0x7ff8000000000001), 1})}
	same := func(a, b int, key bool) bool {
		return string(appendCell(nil, f, &c, a, key)) == string(appendCell(nil, f, &c, b, key))
	}
	if !same(0, 1, true) || same(0, 1, false) {
		t.Error("the two zeros are one key and two values")
	}
	if !same(2, 3, true) || !same(2, 3, false) || same(2, 4, true) {
		t.Error("NaN is one key and one value")
	}
	null := batch.Column{Values: batch.Bytes([]float64{0}), Validity: []byte{0}, Nulls: 1}
	if string(appendCell(nil, f, &null, 0, true)) == string(appendCell(nil, f, &c, 0, true)) {
		t.Error("null is not zero")
	}
}

func TestSpecDifferences(t *testing.T) {
	got, err := SpecDifferences(`{"Steps":[{"Expr":"a > 1"},{"Kind":"drop"}],"Max":10,"Same":[1]}`, `{"Steps":[{"Expr":"a > 2"}],"Max":10,"Same":[1],"New":"x"}`)
	want := "New: nothing then, \"x\" in the file\nSteps[0].Expr: \"a > 1\" then, \"a > 2\" in the file\nSteps[1]: {\"Kind\":\"drop\"} then, nothing in the file"
	if text := strings.Join(got, "\n"); err != nil || text != want {
		t.Errorf("%v\n%s\nwant\n%s", err, text, want)
	}
	if _, err := SpecDifferences("{", "{}"); err == nil {
		t.Error("what is no JSON is compared")
	}
}
