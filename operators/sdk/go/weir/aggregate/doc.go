// Package aggregate is for writing aggregates of weir windows in Go, beside package weir, whose views of columns it uses.
//
// An aggregate is a main package that calls [Serve] in an init function, and is built like an operator. States are bytes
// between calls, kept by the host: what they become must depend on the rows and their order alone, not on how they
// were cut into calls.
//
// Everything but this file is for wasip1 alone.
package aggregate
