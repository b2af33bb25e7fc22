//go:build !linux

package wasm

import "time"

var began = time.Now()

func threadTime() time.Duration { return time.Since(began) }
