//go:build !linux

package batch

// Huge returns its argument.
func Huge[T any](s []T) []T { return s }
