// Package workload makes the data that demo, tests and benchmarks run on, and works out independently what the answer
// must be.
//
// A [Generator] yields the records of a topic: [Sensors] (a thousand devices with everything that goes wrong on a real
// line), [Ticks] (market trades) and [Weather] (NOAA normals from a CSV file). Each is deterministic: the same
// configuration gives the same bytes, on every machine. Memory does not grow with the number of records.
//
// A [Truth] is given the same records and computes the answer of the example pipeline naively: encoding/json, maps and
// structs, with the rules of event time written from their specification. It shares no code with the stages of weir,
// and imports none of them, so that a mistake there cannot hide here.
//
// A [Case] puts the three together for the benchmarks: a stream, the pipeline that reads it, and the truth. [Cases] lists
// them; one more is one file that returns a Case, one file in pipelines, and one line in Cases.
//
// [Produce] sends a generator's records to a broker. [Diff] compares an answer with the truth.
//
// The demo (edge-node/cli), the benchmarks and the end-to-end tests call this package.
package workload

// Record is one message for a topic.
type Record struct {
	Partition int32
	// Offset counts the records of the partition from 0: the record's offset in a topic that was empty before.
	Offset int64
	// Time is the record's timestamp in milliseconds since 1970; 0 leaves it to the producer's clock.
	Time  int64
	Key   []byte
	Value []byte // empty where the record is to have no value
}

// Generator yields records, in offset order within each partition.
type Generator interface {
	// Next writes the next record into r and reports whether there was one. It reuses the memory of r.Key and
	// r.Value, so who keeps a record passes a fresh one each time.
	Next(r *Record) bool
	// Partitions is how many partitions the records are spread over.
	Partitions() int32
	// Err is why Next ended before its time, or nil.
	Err() error
}
