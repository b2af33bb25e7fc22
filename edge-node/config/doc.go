// Package config reads pipeline files and node.yaml into plain structs, and remembers where in the file everything
// stood.
//
// The cli loads files with it, the pipeline package plans from [Pipeline] and reports what does not fit through
// [Pipeline.Errorf], so that every complaint about a pipeline names file, line and column, also inside an expression.
//
// It promises that reading is strict and bounded: an unknown key, a wrong type or a value out of range is an error that
// says what is wrong and what would be right; all errors of a file come together; input of any kind ends in a spec or
// in [Errors], never in a panic, an endless loop or memory without limit. What is planned but not built is refused, not
// ignored.
//
// The keys a file may have are declared once, in the tables beside the structs ([Schema] gives them to editors as JSON
// Schema).
//
// Text may contain references, expanded after the YAML is parsed, so that a value cannot change the structure:
//
//	${NAME} ${env:NAME}   the environment variable, which must be set
//	${NAME:-default}      the same with a default for unset or empty
//	${file:/path}         the file's contents, without its last line break
//	$${                   a plain ${
package config
