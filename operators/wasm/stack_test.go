package wasm

import (
	"context"
	"runtime"
	"strings"
	"testing"
)

// nested calls weir_process again, for ever.
var nested = []byte{0x20, 0, 0x20, 1, 0x20, 2, 0x10, 4, 0x1a}

// TestOutOfStack: calls that nest for ever lose their rows for the same reason and with the same fuel in every engine, and
// what that takes of the node's memory is bounded.
func TestOutOfStack(t *testing.T) {
	schema, rows := hostileRows(t, 3)
	var fuel []int64
	for _, w := range ways {
		ch := newChain(t, schema, 64<<10, Config{Module: spinning(4, nested...), Interpreter: w.interpreter, Transport: w.transport, MemoryLimit: 1 << 20})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		b := ch.decode(t, schema, rows)
		if err := ch.ops[0].Process(context.Background(), b); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		balance(t, b)
		if len(b.Rejects) != 3 || !strings.HasPrefix(b.Rejects[0].Detail, "out of stack: calls took more than 1048576 bytes, or were nested more than 1900 deep") {
			t.Fatal(render(b))
		}
		u := ch.ops[0].Usage()
		fuel = append(fuel, u.Fuel)
		took := (after.TotalAlloc - before.TotalAlloc) / uint64(u.Traps)
		t.Logf("%s: %d traps, %d fuel, %d KiB allocated for each", w.name, u.Traps, u.Fuel, took>>10)
		if fuel[0] != u.Fuel {
			t.Errorf("%s: %d fuel, and %d in %s", w.name, u.Fuel, fuel[0], ways[0].name)
		}
		if took > 2<<20 {
			t.Errorf("%s: %d bytes allocated for a trap", w.name, took)
		}
	}
	_, err := New(context.Background(), Config{Name: "1 wasm x", Module: spinning(5, 0x10, 5), Stack: 64 << 10}, schema)
	if err == nil || !strings.Contains(err.Error(), "_initialize: out of stack: calls took more than 65536 bytes") {
		t.Errorf("error %v", err)
	}
}
