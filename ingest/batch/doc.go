// Package batch is the vocabulary every stage of weir shares: column types, schemas, record batches, source
// positions, rejected rows, and the memory pool the batches live in.
//
// It is the only package that ingest, operators and sink have in common; none of them imports another.
//
// # Layout
//
// A [Batch] is a set of columns of equal length in the Apache Arrow columnar format (version 1.0, little endian):
//
//	bool                    bitmap, least significant bit first
//	ints, floats, date,     fixed width values
//	timestamp
//	decimal                 16 bytes a value: Decimal128, in units of its last digit
//	string, binary          int32 offsets (rows+1) and a data buffer
//	any nullable column     + validity bitmap, least significant bit first; 1 is valid
//
// Source: https://arrow.apache.org/docs/format/Columnar.html.
//
// Buffers are plain byte slices. Those that lie in a [Pool] have an identity, their pool offset ([Pool.Offset]); a
// sandboxed operator that maps the same pool sees them at that offset without a copy.
//
// # Ownership
//
// A batch holds references to the slots its buffers live in; [Batch.Release] gives them back. A slice taken from a
// batch is valid until then and no longer. In builds with the tag "invariants" a released slot is overwritten, so that
// a stale read shows at once.
package batch
