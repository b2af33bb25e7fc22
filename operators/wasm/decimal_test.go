package wasm

import (
	"strings"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
)

// Modules know no decimals, and are not given any.
func TestDecimalsAreRefused(t *testing.T) {
	for _, typ := range []batch.Type{batch.DecimalOf(10, 2), batch.ListOf(batch.DecimalOf(10, 2))} {
		err := checkInput(&batch.Schema{Fields: []batch.Field{{Name: "price", Type: typ}}})
		if err == nil || !strings.Contains(err.Error(), "price, which is "+typ.String()) || !strings.Contains(err.Error(), "cast it") {
			t.Error(err)
		}
	}
}
