// Package peers has other stream processors as contenders of the benchmarks, each doing W1 or W2 as its documentation would do it,
// with what it has to offer for it. weir bench runs them with --peers, where they are installed.
//
// It owns the programs and configurations; bench/harness measures them and compares their answers with the truth, as those of
// any other. README.md says what each can and cannot do.
package peers

import "github.com/weir-stream/weir/bench/contender"

// All lists the peers in the order they are shown.
func All() []contender.Contender {
	return []contender.Contender{KafkaStreams(), Flink(), Bento(), RedpandaConnect(), Vector(), EKuiper()}
}
