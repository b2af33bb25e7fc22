// Package simulation has tests alone: it runs weir under seeded schedules of faults, in virtual time, and compares what the
// centre has with an answer computed apart from the product.
//
// Everything of a schedule runs in one testing/synctest bubble, where time passes only when nobody has anything to do:
//
//	the broker     kfake, over a network of pipes
//	the nodes      the real Kafka source, engine, decoder, steps, windows, delivery, and local store on Pebble
//	the disks      Pebble's file system in memory, which loses what was not synced when the power is cut
//	the centre     a model of ReplacingMergeTree tables behind inserts that fail in every way inserts can
//
// A seed gives a schedule: which nodes there are, what is produced when, and which fault strikes when. It is drawn before
// anything runs and printed when something is wrong. What a seed does not decide is in which order goroutines run that
// could run at the same moment, and with it where within an operation a fault strikes: the same seed gives the same
// schedule, and mostly, but not surely, the same outcome.
//
// While a schedule runs, every row that reaches the centre is held to the promise that it is the aggregate of all records
// of its identity below its version. When the schedule ends, the faults stop, the world gets time to come to rest, and then
// every offset must be accounted for once: in a total, as a dead letter, or in a gap that the schedule made.
//
//	records_test.go   what is produced, and the log as it should be remembered
//	oracle_test.go    the answer: a row at a time, in maps, without code of the product
//	centre_test.go    the model of the destination
//	inserts_test.go   what happens to inserts on their way
//	process_test.go   a node's process: how it starts, is killed, and is cut off
//	disk_test.go      its disk
//	janitor_test.go   what kfake does not do
//	world_test.go     broker, centre, nodes; the end of a schedule
//	schedule_test.go  how schedules are drawn and played
//	faults_test.go    which faults there are, and which of them never meet, and why; what they do is there and in
//	                  revisions_test.go, topics_test.go, trouble_test.go, broker_test.go and damage_test.go
//	state_test.go     a step with state
//	sessions_test.go  the answer where windows are sessions
//	counts_test.go    the answer where they are of so many rows
//	told_test.go      what is told on site of windows that are final
//	room_test.go      what nodes do that have no room: windows that are merged or dropped, and what the answer is then
//	verdict_test.go   what must be true at the end
//	mutants_test.go   what is broken on purpose, to see that it is noticed
//	tally_test.go     what happened, counted
//	children_test.go  many schedules, in processes that one may end
//
// Brokers restart, and logs are cut back, in groups of the classic protocol alone: kfake does not know after a restart which partitions
// the members of a group of the newer one have, and gives some to nobody. What is missing: steps in sandboxes.
package simulation
