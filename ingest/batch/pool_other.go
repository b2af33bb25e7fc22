//go:build !linux

package batch

// mapShared has no memfd to make here: the pool is plain memory.
func mapShared(int) (mem []byte, fd int, unmap func() error) { return nil, -1, nil }
