package peers

import (
	"embed"

	"github.com/weir-stream/weir/bench/contender"
)

//go:embed benthos/*.yaml
var benthosFiles embed.FS

// clockWindows is why an engine has no part in W1.
const clockWindows = "its windows go by the clock of the machine, and a topic that is read from its beginning is not in them"

// Bento does W2 but for its sums, for which it has no windows: its rows are summed up afterwards, apart from what is measured. It ends
// when no record has come for 5 s, which takes no processor.
func Bento() contender.Contender {
	return stateless("bento", "Bento; filter and projection alone, in batches of 1000, to a file", "WEIR_BENTO", clockWindows,
		benthosFiles, []string{"benthos/bento.yaml", "benthos/project.yaml"},
		func(file string) []string { return []string{"-c", file} })
}

// RedpandaConnect does as much as [Bento], in the same way.
func RedpandaConnect() contender.Contender {
	return stateless("redpanda-connect", "Redpanda Connect; filter and projection alone, in batches of 1000, to a file", "WEIR_REDPANDA_CONNECT", clockWindows,
		benthosFiles, []string{"benthos/redpanda-connect.yaml", "benthos/project.yaml"},
		func(file string) []string { return []string{"run", file} })
}
