package wasm

import (
	"strings"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
)

// Modules know no decimals, and are not given any.
func TestDecimalsAreRefused(t *testing.T) {
	err := checkInput(&batch.Schema{Fields: []batch.Field{{Name: "price", Type: batch.DecimalOf(10, 2)}}})
	if err == nil || !strings.Contains(err.Error(), "price, which is decimal(10, 2)") || !strings.Contains(err.Error(), "cast it") {
		t.Error(err)
	}
}
