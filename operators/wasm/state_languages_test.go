package wasm

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
)

// deltas are the example with state, in every language.
var deltas = []string{"delta", "delta-go", "delta-rust", "delta-assemblyscript"}

// reading is a row for delta; a nil is null.
type reading struct{ device, counter any }

// deltaOf is what delta makes of readings, computed apart: a line per row.
func deltaOf(readings []reading) (lines []string) {
	last := map[string]int{}
	for _, r := range readings {
		device, known := r.device.(string)
		counter, counts := r.counter.(int)
		switch {
		case known && counts && counter < 0:
			lines = append(lines, "rejected")
			continue
		case !known || !counts:
			lines = append(lines, "null")
			continue
		}
		before, seen := last[device]
		last[device] = counter
		switch {
		case !seen:
			lines = append(lines, "null")
		case counter >= before:
			lines = append(lines, fmt.Sprint(counter-before))
		default:
			lines = append(lines, fmt.Sprint(counter))
		}
	}
	return lines
}

// TestStateInEveryLanguage runs the example with state in every language, engine and transport, cut into batches at random, with
// rows that are rejected, and the state moved to other instances at random.
func TestStateInEveryLanguage(t *testing.T) {
	schema := schemaOf(t, "device: string?", "counter: int64?")
	rng := rand.New(rand.NewPCG(3, 5))
	readings := make([]reading, 300)
	for i := range readings {
		r := reading{fmt.Sprintf("gerät-%d", rng.IntN(12)), 3*i + rng.IntN(50)}
		switch rng.IntN(16) {
		case 0:
			r.device = nil
		case 1:
			r.counter = nil
		case 2:
			r.counter = -1 - rng.IntN(5)
		case 3:
			r.counter = rng.IntN(4)
		case 4:
			r.device = ""
		}
		readings[i] = r
	}
	want := strings.Join(deltaOf(readings), "\n")
	for _, name := range deltas {
		for _, w := range ways {
			t.Run(name+" "+w.name, func(t *testing.T) {
				cfg := Config{Module: example(t, name), Interpreter: w.interpreter, Transport: w.transport}
				c := newChain(t, schema, 256<<10, cfg)
				var got []string
				for rest := readings; len(rest) > 0; {
					n := min(len(rest), 1+rng.IntN(60))
					got = append(got, c.deltas(t, schema, rest[:n])...)
					rest = rest[n:]
					if rng.IntN(3) == 0 {
						state, err := c.ops[0].Snapshot(nil)
						if err != nil {
							t.Fatal(err)
						}
						c = newChain(t, schema, 256<<10, cfg)
						if err := c.ops[0].Restore(context.Background(), state); err != nil {
							t.Fatal(err)
						}
					}
				}
				if g := strings.Join(got, "\n"); g != want {
					t.Fatal(firstDifference(g, want))
				}
			})
		}
	}
}

// deltas runs readings as one batch.
func (c *chain) deltas(t *testing.T, schema *batch.Schema, readings []reading) []string {
	t.Helper()
	defer c.batch.Release()
	rows := make([][]any, len(readings))
	for i, r := range readings {
		rows[i] = []any{r.device, r.counter}
	}
	b := c.decode(t, schema, rows)
	if err := c.ops[0].Process(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	balance(t, b)
	lines := make([]string, len(readings))
	for i := range b.Rows {
		lines[b.Origin[i]] = "null"
		if b.Cols[2].Valid(i) {
			lines[b.Origin[i]] = fmt.Sprint(batch.As[int64](b.Cols[2].Values)[i])
		}
	}
	for _, r := range b.Rejects {
		if !strings.Contains(r.Detail, "a counter is negative") {
			t.Errorf("rejected for %q", r.Detail)
		}
		lines[r.Record] = "rejected"
	}
	return lines
}

// TestStateRefusedInEveryLanguage gives each language a state that is none.
func TestStateRefusedInEveryLanguage(t *testing.T) {
	for _, name := range deltas {
		c := newChain(t, schemaOf(t, "device: string?", "counter: int64?"), 64<<10, Config{Module: example(t, name)})
		err := c.ops[0].Restore(context.Background(), []byte("\xff\xff\xff\xff no state"))
		if err == nil || !strings.Contains(err.Error(), "state") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
