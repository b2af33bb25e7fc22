package wasm

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// errSlow is a compilation that was given up because it took too long.
var errSlow = errors.New("compilation takes too long")

// compileWithin gets the module's code, and gives up after so much time or when ctx ends. When it fails the module is closed,
// or will be.
//
// The runtime cannot be interrupted: what was given up goes on in a goroutine of its own, takes a processor and memory until
// it ends, and is then thrown away. That it ends is due to package meter, which refuses what would take much longer than
// minutes. The cache counts it as in use until then.
func (m *module) compileWithin(ctx context.Context, most time.Duration, code []byte, interpreter bool) error {
	within, cancel := context.WithTimeoutCause(ctx, most, fmt.Errorf("%w: more than %v", errSlow, most))
	defer cancel()
	done := make(chan error, 1)
	go func() {
		e, err := m.cache.get(within, code, interpreter)
		if err == nil {
			m.code = e
		}
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil {
			return nil
		}
		_ = m.close()
		if within.Err() != nil {
			return context.Cause(within)
		}
		return err
	case <-within.Done():
		go func() {
			<-done
			_ = m.close()
		}()
		return context.Cause(within)
	}
}

// withoutPanic turns a panic of the compiler, which would be a bug in it, into an error: a module must not end the node.
func withoutPanic(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the compiler panicked: %v", r)
		}
	}()
	return f()
}
