package cli

import (
	"strings"
	"testing"

	"github.com/weir-stream/weir/operators/aggregate"
)

// TestFunctionsAreListed keeps the help's list of aggregate functions whole.
func TestFunctionsAreListed(t *testing.T) {
	_, list, _ := strings.Cut(pipelineLong, "\nFunctions ")
	list, _, _ = strings.Cut(list, ";")
	if got, want := strings.Fields(list), aggregate.Names(); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("the help lists %q, and there are %q", got, want)
	}
}
