// Package expr compiles expressions against a schema and evaluates them by column.
//
// It is used by the built-in steps (filter, map, cast) and by the window's aggregates. EXPRESSIONS.md beside this file
// is the language as a user sees it.
//
// Parsing is expr-lang's (github.com/expr-lang/expr, its parser and ast packages); types, null rules and evaluation are
// weir's. Whatever that language has and weir has not is refused by name and position.
//
// # Types
//
//   - A bare column keeps its type. Everything computed is bool, int64, uint64, float64, string, binary, date32 or
//     timestamp: narrow integers widen to int64, float32 to float64.
//   - Integer + - * % are done in int64. A result or a uint64 operand that does not fit fails the row.
//   - An integer with a float becomes float64. / and ** always give float64, with IEEE infinities and NaN.
//   - uint64 stays uint64 where nothing is computed (?:, ??, min, max) and compares exactly with signed integers.
//   - Timestamps of two units meet in the finer one. A duration is a constant.
//
// # Nulls
//
// SQL's three-valued logic: a null operand gives null, except in && || ?? ?: coalesce isNull and == nil. A filter keeps
// rows that are true.
//
// # Failures
//
// A row on which the expression has no value (overflow, % by zero, text that is no number) is a [Failure]: the step
// rejects that row and no other. Only what is evaluated can fail: the untaken side of ?: ?? && || does not.
//
// # Evaluation
//
// A [Program] is immutable and shared. An [Evaluator] is one chain's scratch memory; it goes through a batch in chunks
// of 1024 rows, so that intermediate columns stay in the first-level cache and scratch is bounded by the expression, not
// by the batch. Bools and validity are bitmaps and combine by word. Nothing is allocated per row, and once its scratch has grown, per
// batch.
package expr
