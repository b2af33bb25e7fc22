package operators_test

import (
	"reflect"
	"testing"

	"github.com/weir-stream/weir/operators"
)

// A new field of Usage must be added up as well.
func TestUsagePlus(t *testing.T) {
	var u operators.Usage
	v := reflect.ValueOf(&u).Elem()
	for i := range v.NumField() {
		v.Field(i).SetInt(int64(i + 1))
	}
	sum := reflect.ValueOf(u.Plus(u))
	for i := range sum.NumField() {
		if got := sum.Field(i).Int(); got != int64(2*(i+1)) {
			t.Errorf("%s: %d, want %d", sum.Type().Field(i).Name, got, 2*(i+1))
		}
	}
}
