//go:build !invariants

package batch

// invariants turns on the overwriting of released memory.
const invariants = false
