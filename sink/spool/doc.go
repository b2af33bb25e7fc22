// Package spool keeps what a node must not lose on its own disk: how far every partition is, the windows that are open,
// and the rows and dead letters that the destination has not acknowledged.
//
// The engine owns one [Store] per process, in the state directory of the node. A store is a [Pebble] database: ordered
// keys, atomic batches that are on the disk when Commit returns.
//
// # Layout
//
// Numbers are big endian, so that keys sort as they count.
//
//	"f"                                  the format of this store: 3
//	"c" lane                             the columns of its groups, as text
//	"m" lane                             what the engine says of a partition, as the engine wrote it
//	"g" lane | window start ^ sign | key a group: its aggregates so far
//	"q" lane | number | window start ^ sign | key
//	                                     a row that only waits to be shipped: of a window that takes no more, or one that takes back
//	"l" lane | number                    a dead letter
//	"s" lane | step                      what a stateful step carries from record to record
//
//	lane = pipeline, 0, revision (8), topic ID (16), partition (4)
//
// Every value ends with the CRC-32C of its key and the rest of the value, on top of the checksums that Pebble has for its
// blocks: a value that is read is the one that was written under this key, or an error.
//
// "m" begins with the account of the lane: the sum of the hashes of its groups ([batch.HashRows]) and of 2c+1 for the CRC-32C c of
// each letter, state and row that waits, the number of all of them with the highest bit set, the numbers of the oldest letter and of the next; 8
// bytes each. Format 1 had 2c+1 of groups, too, and the bit clear. Its lanes are read, and get the account of format 2 with
// the first change; its dead letters were JSON, and are read as they are. Format 2 had no rows that wait. A store that a later weir has opened is refused by an earlier one.
//
// # What it promises
//
// A batch is there whole or not at all, after a kill and after a loss of power, and so are all before it. Rot in the last
// 32 KiB of the log looks like a write that was cut short: the store is then as it was some commits ago, so its owner compares
// it with what was committed to Kafka. When the disk fails a write or a sync, the
// process ends ([Config].Fatal) rather than go on with a disk it cannot trust. When the disk is full, nothing is written, the
// caller is told ([ErrFull]), and goes on when there is room. A store that cannot be read is set aside (the newest two are
// kept), and a new one begun: Kafka has the records.
//
// [Pebble]: https://pkg.go.dev/github.com/cockroachdb/pebble/v2
package spool
