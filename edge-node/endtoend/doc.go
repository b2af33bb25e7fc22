// Package endtoend has tests alone: whole pipelines between a real broker and a real ClickHouse, as users run them.
//
//	testdata/*.txtar   a pipeline, records, and the one answer they must give however they are run: in whole, a row per
//	                   batch, with copied memory, in the Wasm interpreter, over several partitions, and killed in between
//	kill_test.go       weir as a process that is killed, stopped, or loses its servers, against an independent truth
//	points_test.go     weir, built with failpoints, that kills itself at every moment where something durable happens
//	zombies_test.go    nodes that are stopped while they hold something, for longer than their session, and go on
//	network_test.go    a network that fails in every way between a node and its servers (proxy_test.go)
//	statedisk_test.go  a full disk under the local store
//	powercut_test.go   power cuts of a disk that a process writes a store to
//	figures_test.go    how long a restart takes, what the local store costs and wears: make torture
//	handover_test.go   how long a partition stands still that moves: make torture
//	stateful_test.go   partitions with state that go from node to node, and state that is gone
//	trouble_test.go    bad input and servers that are not there: what weir says, and that it goes on
//	metrics_test.go    what a node tells the outside
//
// The servers are those of embeddedtest; the weir that is killed is this test binary, started again (main_test.go).
package endtoend
