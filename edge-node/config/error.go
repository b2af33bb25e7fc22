package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxErrors is how many errors of one file are kept: enough to mend a file in one go, little enough to read.
const maxErrors = 20

// Pos is a place in a file. Lines and columns count from 1, columns in characters. The zero Pos is no place.
type Pos struct {
	Line, Col int
}

// String is "line:col".
func (p Pos) String() string { return fmt.Sprintf("%d:%d", p.Line, p.Col) }

// Error is one thing that is wrong with a file.
type Error struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Col  int    `json:"col"`
	Path string `json:"path,omitempty"` // where in the structure, such as "source.kafka.topics[0]", or empty
	Msg  string `json:"message"`        // what is wrong
	Hint string `json:"hint,omitempty"` // what would be right, or empty
}

// Error is "file:line:col: message; hint".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Col)
	}
	b.WriteString(": ")
	b.WriteString(e.Msg)
	if e.Hint != "" {
		b.WriteString("; ")
		b.WriteString(e.Hint)
	}
	return b.String()
}

// WithHint sets what would be right and returns the error.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// Errors is everything that is wrong with a file, in the order of the file. It is never empty when returned as an error.
type Errors []*Error

// Error is one line per error.
func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives the single errors.
func (es Errors) Unwrap() []error {
	out := make([]error, len(es))
	for i, e := range es {
		out[i] = e
	}
	return out
}

// Err sorts the errors by place, drops repetitions, cuts the list at a readable length, and is nil when there are none.
func (es Errors) Err() error {
	if len(es) == 0 {
		return nil
	}
	es = slices.Clone(es)
	slices.SortStableFunc(es, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
	es = slices.CompactFunc(es, func(a, b *Error) bool { return *a == *b })
	if more := len(es) - maxErrors; more > 0 {
		last := *es[maxErrors]
		last.Path, last.Msg, last.Hint = "", fmt.Sprintf("%d more errors from here on", more), "mend the ones above first"
		if len(es) >= 10*maxErrors {
			last.Msg = "many more errors from here on"
		}
		es = append(es[:maxErrors:maxErrors], &last)
	}
	return es
}
