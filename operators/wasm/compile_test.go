package wasm

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// TestCompileTime: a module that takes too long to compile is refused when the time is over.
func TestCompileTime(t *testing.T) {
	schema, _ := hostileRows(t, 0)
	code := guestFile(t, "../../examples/operators/calibrate-go/calibrate-go.wasm")
	var me *ModuleError
	cache := NewCache()
	_, err := New(context.Background(), Config{Name: "1 wasm x", Module: code, CompileTime: time.Millisecond, Cache: cache}, schema)
	if !errors.As(err, &me) || !errors.Is(err, errSlow) || !strings.Contains(err.Error(), "more than 1ms") || !strings.Contains(err.Error(), "limits.compile_time") {
		t.Errorf("error %v", err)
	}
	for deadline := time.Now().Add(time.Minute); cache.Close() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("what was given up is still in the cache")
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if _, err = New(ctx, Config{Name: "1 wasm x", Module: code}, schema); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	if _, err = New(context.Background(), Config{Name: "1 wasm x", Module: code, MaxFunctions: 100}, schema); !errors.As(err, &me) || !strings.Contains(err.Error(), "at most 100 are allowed (limits.functions)") {
		t.Errorf("error %v", err)
	}
}
