package batch

import (
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
)

func TestParseType(t *testing.T) {
	names := TypeNames()
	if len(names) != 18 {
		t.Errorf("%d types: %v", len(names), names)
	}
	for _, name := range names {
		for _, suffix := range []string{"", "?"} {
			typ, nullable, err := ParseType(name + suffix)
			if err != nil || typ.String() != name || nullable != (suffix == "?") {
				t.Errorf("%s: %v %t %v", name+suffix, typ, nullable, err)
			}
		}
		typ, _, _ := ParseType(name)
		if w, ok := typ.Arrow().(arrow.FixedWidthDataType); ok && typ.Kind != Bool {
			if w.Bytes() != typ.Width() || typ.Variable() {
				t.Errorf("%s: %d bytes wide, Arrow says %d", name, typ.Width(), w.Bytes())
			}
		} else if typ.Width() != 0 || typ.Variable() != (typ.Kind != Bool) {
			t.Errorf("%s: %d bytes wide", name, typ.Width())
		}
		if got := typ.Arrow().Name(); got != map[string]string{"string": "utf8"}[name] && !strings.HasPrefix(name, got) {
			t.Errorf("%s is Arrow's %s", name, got)
		}
	}
	for _, bad := range []string{"", "?", "int", "Int64", "int64??", "timestamp", "timestamp[m]", "timestamp[ms", " int64", "invalid", "float64 ?"} {
		if _, _, err := ParseType(bad); err == nil || !strings.Contains(err.Error(), "timestamp[ms]") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if got := Kind(200).String(); got != "kind(200)" {
		t.Error(got)
	}
}

func TestSchema(t *testing.T) {
	s := &Schema{Fields: []Field{{Name: "a", Type: Type{Kind: Int64}}, {Name: "b", Type: TimestampOf(Microsecond), Nullable: true}}}
	if got := s.String(); got != "a: int64, b: timestamp[us]?" {
		t.Error(got)
	}
	if s.Index("b") != 1 || s.Index("c") != -1 || strings.Join(s.Names(), " ") != "a b" {
		t.Error("index or names")
	}
	same := &Schema{Fields: append([]Field(nil), s.Fields...)}
	other := &Schema{Fields: append([]Field(nil), s.Fields...)}
	other.Fields[1].Type.Unit = Millisecond
	var none *Schema
	if !s.Equal(s) || !s.Equal(same) || s.Equal(other) || s.Equal(none) || none.Equal(s) || !none.Equal(none) || s.Equal(&Schema{}) {
		t.Error("equal")
	}
	a := s.Arrow()
	if a.NumFields() != 2 || a.Field(1).Nullable != true || a.Field(1).Type.(*arrow.TimestampType).Unit != arrow.Microsecond {
		t.Error(a)
	}
}
