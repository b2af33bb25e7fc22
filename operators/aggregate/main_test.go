package aggregate

import (
	"testing"

	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }
