// Package state is for weir operators that remember earlier rows: see state.go, which is for wasip1 alone.
package state
