// Package authoring is the workbench of those who write Wasm operators: it makes the folder of a new operator, builds it,
// holds it to golden files, tells what is in a module, and measures it.
//
// The commands "weir op ..." call it. It promises that a module is judged by the same host that nodes run
// (operators/wasm), so that what passes here is accepted there; that a module may be anything, hostile included; and that
// it never overwrites a file of the author's, but for the module of [Build] and the golden files of [Update].
//
// # Golden files
//
// A golden file is a txtar archive. Its comment says in prose what it shows; the files in it are
//
//	config    the operator's configuration, JSON; {} where there is none
//	schema    the input columns: a line "name: type" each, as in a pipeline
//	group_by  for an aggregate: the columns it is grouped by; it is given the others, in the order of the schema
//	input     the rows, a JSON object per line, decoded as a pipeline decodes them
//	output    what must come out: a JSON object per row, in order
//	columns   the output columns, as in schema; may be left out
//	rejects   the rows that must be rejected: {"line":2,"detail":"..."}, where line is that of the input, from 1
//	error     why the operator refuses its columns or its configuration, or a part of that; then there is no output
//
// An operator's result may depend on a row and the configuration alone. So each golden file runs several ways, which must
// give one answer: in the compiler and in the interpreter, as one batch and one row per batch, mapped and copied.
//
// An aggregate's output is a row per group: the columns of group_by and the finished answer, in the order of the first
// rows of the groups that were taken. It is computed row by row, at once, and merged from the states of two halves of the input, in the
// compiler and in the interpreter. These must agree; merged floats may differ by rounding, 1e-9 of the value (float32: 1e-5).
package authoring
