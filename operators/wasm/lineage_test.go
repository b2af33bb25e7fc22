package wasm

import (
	"strings"
	"testing"
)

// An operator without a row column may not change the number of rows: dead letters and max_jump would depend on how
// records were cut into batches.
func TestRowsWithoutOrigin(t *testing.T) {
	o := &operator{step: &Step{row: -1}}
	for _, rows := range []int{0, 4, 6} {
		_, err := o.lineage(rows, 5)
		if err == nil || err.Fault != FaultOutput || !strings.Contains(err.Error(), "_row") {
			t.Errorf("5 rows became %d: %v", rows, err)
		}
	}
	if r, err := o.lineage(5, 5); err != nil || !r.identity {
		t.Errorf("5 rows stayed: %+v, %v", r, err)
	}
}
