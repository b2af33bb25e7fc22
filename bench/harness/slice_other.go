//go:build !linux

package harness

import "errors"

// slice is a share of the time of the processor, which only Linux gives.
type slice struct{}

func newSlice(float64, int) (*slice, error) { return nil, errors.ErrUnsupported }

func (*slice) add(int) error { return errors.ErrUnsupported }

func (*slice) close() error { return nil }
