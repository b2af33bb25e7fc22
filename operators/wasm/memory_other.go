//go:build !linux

package wasm

import (
	"errors"

	"github.com/weir-stream/weir/ingest/batch"
)

var errNoMapping = errors.New("pools are not mapped on this system")

func newMappedMemory(int, int) (linear, error) { return nil, errNoMapping }

func mapWindows(linear, *batch.Pool, *batch.Range, uint32, uint32) error { return errNoMapping }

func written([]byte) (int, error) { return 0, errNoMapping }

func forget([]byte) error { return errNoMapping }
