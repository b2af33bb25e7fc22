package wasm

import (
	"context"
	"testing"
)

// TestUsage counts what a row costs that traps in every sandbox: who traps, who tries again, who is left.
func TestUsage(t *testing.T) {
	schema := schemaOf(t, "n: int64?")
	ch := newChain(t, schema, 64<<10, Config{
		Name: "1 wasm x", Module: guestFile(t, "../sdk/conformance/guests/c/conformance.wasm"), Config: []byte(`{"mode": "panic"}`),
	})
	op := ch.ops[0]
	if u := op.Usage(); u.Instances != 1 || u.Ended != 0 || u.Fuel == 0 {
		t.Fatalf("usage %+v after the start", u)
	}
	process := func(rows ...[]any) {
		if err := op.Process(context.Background(), ch.decode(t, schema, rows)); err != nil {
			t.Fatal(err)
		}
		balance(t, &ch.batch)
	}
	process([]any{1})
	if u := op.Usage(); u.Instances != 1 || u.Traps != 0 || u.Retries != 0 {
		t.Fatalf("usage %+v after a row that is well", u)
	}
	process([]any{1}, []any{13}, []any{nil}, []any{14})
	if len(ch.batch.Rejects) != 1 {
		t.Fatal(render(&ch.batch))
	}
	// All four rows in a used guest and again in a fresh one; the first two; the second in a guest that took the first,
	// and again in a fresh one.
	if u := op.Usage(); u.Traps != 5 || u.Retries != 2 || u.Instances != 6 || u.Ended != 5 {
		t.Fatalf("usage %+v after a row that traps", u)
	}
	if err := op.Close(); err != nil {
		t.Fatal(err)
	}
	if u := op.Usage(); u.Instances != u.Ended {
		t.Fatalf("usage %+v after the end", u)
	}
}
