// Package decode turns record values into columns: one file family per format, all of them directed by the declared
// columns, in one pass, straight into the memory of a pool's slot. The pipeline plans with [SlotSize] and makes decoders
// with [New]; the engine drives them through ingest.Decoder, one per lane.
//
// A decoder allocates nothing per record or per field. Of a stream of good records it allocates nothing at all once its
// buffers have their size; a reject costs the text that explains it.
//
// # What holds for every format
//
// A record becomes one row, or in Arrow any number of them, or one reject with step "decode". The first problem found decides the
// reason, and what comes after it is not looked at. A rejected record leaves nothing in the columns. The detail names the column, quotes at
// most 80 bytes of what was found, control characters escaped, and gives the byte where it is.
//
// A batch takes as many records as its arena holds. Rows do not depend on how records were cut into batches.
//
//   - empty: there is no value (nil, a tombstone), or nothing in it but white space.
//   - too_large: the value is over Options.MaxRecord.
//   - malformed: the value is not of the format, wherever in it that shows: what no column needs is checked as well.
//   - missing: a column that may not be null has no value. For one that may, no value and null are the same.
//   - wrong_type: the value is not of a kind that the column takes. Nothing is guessed: a number in a string is a
//     string.
//   - out_of_range: it is of the kind, but too large or too small.
//
// Columns from the key, the timestamp, the offset, the partition, the topic and the headers are filled from the record
// itself. A key or header that is not there or null is null, and so is the timestamp -1, which is Kafka for none. Text
// that is not UTF-8 is wrong_type for a string column; binary takes any bytes. Of several headers of one name the last
// counts.
//
// # JSON
//
// The value is one object by RFC 8259, in UTF-8, with white space around it and nothing else. A byte order mark, NaN,
// Infinity, comments, a trailing comma, a byte sequence that is not UTF-8 anywhere in a string, and more than 64 levels
// of objects and arrays are malformed. Another value than an object, null included, is wrong_type.
//
// A path such as payload.temp leads through objects. Where an object of the path is null or not there, the columns below
// have no value; where it is anything else, that is wrong_type. Names are compared exactly, after escapes. Keys that no
// column needs are skipped.
//
// Of a duplicate key the last value counts, at every depth and as a whole: a second object replaces the first with all
// that was below it. Every one of the values must be good for its column.
//
//	bool          true, false
//	ints          a whole number, however it is written: 1000, 1e3 and 1000.0 are the same. 1.5 is wrong_type.
//	floats        any number, rounded once to the nearest. 1e400 is out_of_range, 1e-400 is 0.
//	string        a string. Half a surrogate pair (\ud83d alone) becomes U+FFFD.
//	binary        a string of base64: RFC 4648 section 4, with padding, without line breaks
//	decimal(P, S) a number, or a string that is one, taken exactly. More digits behind the point than S, unless they are zeros, or more
//	              than P - S before it are out_of_range.
//	date32        "YYYY-MM-DD", or a whole number of days since 1970
//	timestamp[u]  a string by RFC 3339, or a number in the column's epoch unit, fractions and exponents allowed
//
// Times are computed exactly, in whole numbers, and rounded down to the column's unit. RFC 3339 is taken with T or a
// space, any number of digits in the fraction, and a zone, which is Z or an offset; in years 0000 to 9999. A leap
// second is taken where it can be, at 23:59:60 UTC on the last day of a month, and is the same as the second after it,
// as in Unix time.
//
// # Speed of JSON
//
// Three things make it fast. Keys are predicted: what came between two values of the last record, commas, quotes and
// white space included, is compared as a whole before anything is parsed. Strings are scanned and copied, and numbers
// read, eight bytes at a time. And date, hour and minute of a timestamp are read only when they differ from the last.
//
// BenchmarkJSON, on records of 117 bytes into six columns (three strings, a timestamp, a float, an integer): 1.45 times
// as fast as a parser written by hand for that one schema, which checks next to nothing, and 13 times as fast as
// encoding/json into a struct; no allocations.
//
// # Arrow
//
// ARROW.md, beside this file, says what is taken. A record is a stream of messages, each a flatbuffer and a body, and nothing in it
// is believed: arrow_flat.go reads flatbuffers with bounds of its own, arrow_message.go cuts the stream, arrow_schema.go matches
// fields with columns once for all records that have the same schema, arrow_batch.go checks every buffer a column needs against
// its body and against the rows, arrow_inflate.go uncompresses into memory that was counted before. Only then are rows copied, whole
// columns at a time, by arrow_copy.go. Values need no alignment, since they are copied once in any case.
//
// A record of more rows than a batch has room for is cut: see ingest.Decoder. It is then alone in its batches.
package decode
