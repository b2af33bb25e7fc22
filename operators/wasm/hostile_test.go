package wasm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
)

func hostile(t testing.TB) []byte { return guestFile(t, "testdata/hostile/hostile.wasm") }

// hostileRows has an id equal to the row number, a name of its own, and a value that is null in every fifth row.
func hostileRows(t testing.TB, n int) (*batch.Schema, [][]any) {
	rows := make([][]any, n)
	for i := range rows {
		rows[i] = []any{i, fmt.Sprintf("näme %d", i), float64(i) / 2}
		if i%5 == 4 {
			rows[i][2] = nil
		}
	}
	return schemaOf(t, "id: int64", "name: string", "v: float64?"), rows
}

func mode(n int) []byte { return []byte(`{"mode": ` + strconv.Itoa(n) + `}`) }

// lies are the modes of testdata/hostile/hostile.c that must fail, with what the error must say.
var lies = []struct {
	name  string
	mode  int
	fault Fault
	want  string
}{
	{"null without a word", 1, FaultError, "gave no reason"},
	{"error", 2, FaultError, "cannot do this"},
	{"unreachable", 3, FaultTrap, "unreachable"},
	{"load out of bounds", 4, FaultTrap, "out of bounds"},
	{"division by zero", 5, FaultTrap, "divide by zero"},
	{"endless recursion", 6, FaultTrap, "out of bounds"},
	{"memory bomb", 7, FaultError, ""},
	{"result outside the memory", 8, FaultOutput, "outside the memory"},
	{"result unaligned", 9, FaultOutput, "not 8-aligned"},
	{"negative length", 10, FaultOutput, "length -1"},
	{"huge length", 11, FaultOutput, "length 9223372036854775807"},
	{"negative offset", 12, FaultOutput, "offset -8"},
	{"null count over length", 13, FaultOutput, "null_count"},
	{"huge number of children", 14, FaultOutput, "n_children"},
	{"too few children", 15, FaultOutput, "n_children"},
	{"wrong number of buffers", 16, FaultOutput, "n_buffers"},
	{"children outside the memory", 17, FaultOutput, "outside the memory"},
	{"child null", 18, FaultOutput, "null pointer"},
	{"child shorter than the batch", 19, FaultOutput, "length"},
	{"dictionary", 20, FaultOutput, "dictionary"},
	{"values outside the memory", 21, FaultOutput, "outside the memory"},
	{"values unaligned", 22, FaultOutput, "not aligned"},
	{"memory of another batch", 23, FaultOutput, "neither in an input buffer nor in the output slot"},
	{"another slot of its own", 24, FaultOutput, "neither in an input buffer nor in the output slot"},
	{"offsets that fall", 25, FaultOutput, "offsets fall"},
	{"last offset outside", 26, FaultOutput, "outside the memory"},
	{"negative first offset", 27, FaultOutput, "offsets fall from -4"},
	{"invalid UTF-8", 28, FaultOutput, "not valid UTF-8"},
	{"string that starts inside a character", 29, FaultOutput, "starts inside a character"},
	{"nulls in a column without", 30, FaultOutput, "declared without nulls"},
	{"row number out of range", 31, FaultOutput, "_row is"},
	{"row numbers that fall", 32, FaultOutput, "_row is"},
	{"one row to a thousand", 33, FaultOutput, "became more than 100 rows"},
	{"nulls on top", 34, FaultOutput, "validity bitmap"},
	{"nulls without a bitmap", 35, FaultOutput, "no validity bitmap"},
	{"garbage in every window", 36, FaultError, "spoiled"},
	{"error outside the memory", 39, FaultError, "outside the memory"},
	{"always full", 40, FaultRoom, ""},
	{"huge offset", 46, FaultOutput, "offset 9223372036854775807"},
	{"huge offset on top", 47, FaultOutput, "offset 92233720368547758"},
}

// TestHostileStops holds that each lie is found, named, and fails the batch under "stop"; and that the batch is as it was.
func TestHostileStops(t *testing.T) {
	for _, w := range ways {
		for _, lie := range lies {
			t.Run(w.name+"/"+lie.name, func(t *testing.T) {
				if w.transport == Copy && lie.mode == 24 {
					t.Skip("the copying transport has one slot")
				}
				schema, rows := hostileRows(t, 40)
				ch := newChain(t, schema, 64<<10, Config{
					Module: hostile(t), Config: mode(lie.mode), OnError: Stop, MaxExpansion: 100,
					Interpreter: w.interpreter, Transport: w.transport, MemoryLimit: 4 << 20,
				})
				b := ch.decode(t, schema, rows)
				before := render(b)
				err := ch.ops[0].Process(context.Background(), b)
				var ce *CallError
				if !errors.As(err, &ce) || ce.Fault != lie.fault || !strings.Contains(err.Error(), lie.want) {
					t.Fatalf("error %v, want a %s with %q", err, lie.fault, lie.want)
				}
				if lie.mode == 7 {
					var pages int
					if _, err := fmt.Sscanf(ce.Err.Error(), "%d", &pages); err != nil || pages > (4<<20)/65536 {
						t.Fatalf("the guest got %d pages more than its windows: %v", pages, ce.Err)
					}
				}
				if after := render(b); after != before {
					t.Fatalf("the batch changed:\n%s\nbefore\n%s", after, before)
				}
				for i := range ch.pool.Ranges() - 1 {
					for range 2 {
						if _, err := ch.pool.Range(i + 1).Acquire(); err != nil {
							t.Fatal("a slot leaked")
						}
					}
				}
			})
		}
	}
}

// TestHostileRejects holds that a guest that lies about every row loses every row, and the node goes on.
func TestHostileRejects(t *testing.T) {
	schema, rows := hostileRows(t, 7)
	for _, lie := range lies {
		t.Run(lie.name, func(t *testing.T) {
			ch := newChain(t, schema, 64<<10, Config{Module: hostile(t), Config: mode(lie.mode), MaxExpansion: 100})
			b := ch.decode(t, schema, rows)
			if err := ch.ops[0].Process(context.Background(), b); err != nil {
				t.Fatal(err)
			}
			balance(t, b)
			// Some lies need more than one row.
			single := map[int]bool{24: true, 25: true, 29: true}
			if len(b.Rejects) != 7 && !single[lie.mode] {
				t.Fatalf("%d of 7 rows rejected:\n%s", len(b.Rejects), render(b))
			}
			for _, r := range b.Rejects {
				if r.Reason != batch.ReasonOperator || r.Record < 0 || r.Detail == "" || len(r.Detail) > 600 {
					t.Fatalf("reject %+v", r)
				}
			}
		})
	}
}

// TestBisect finds the one row that a guest fails on, and keeps the others in order.
func TestBisect(t *testing.T) {
	schema, rows := hostileRows(t, 100)
	for _, w := range ways {
		ch := newChain(t, schema, 64<<10, Config{Module: hostile(t), Config: mode(41), Interpreter: w.interpreter, Transport: w.transport})
		b := ch.decode(t, schema, rows)
		if err := ch.ops[0].Process(context.Background(), b); err != nil {
			t.Fatal(err)
		}
		balance(t, b)
		if b.Rows != 99 || len(b.Rejects) != 1 || b.Rejects[0].Record != 13 || b.Rejects[0].Detail != "error: row 13" {
			t.Fatal(render(b))
		}
		for i := range b.Rows {
			src := i
			if i >= 13 {
				src++
			}
			if batch.As[int64](b.Cols[0].Values)[i] != int64(src) {
				t.Fatalf("row %d", i)
			}
		}
	}
}

// TestSplitInterrupted: a search that cannot go on leaves the batch as it was, so that it can be tried again.
func TestSplitInterrupted(t *testing.T) {
	schema, rows := hostileRows(t, 100)
	ch := newChain(t, schema, 64<<10, Config{Module: hostile(t), Config: mode(41)})
	b := ch.decode(t, schema, rows)
	before := render(b)
	for calls := 0; ; calls++ {
		err := ch.ops[0].Process(&cancelAfter{Context: context.Background(), calls: calls}, b)
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if after := render(b); after != before {
			t.Fatalf("after %d calls the batch changed:\n%s", calls, after)
		}
	}
	if b.Rows != 99 || len(b.Rejects) != 1 {
		t.Fatal(render(b))
	}
}

// cancelAfter is a context that is cancelled after some looks at it.
type cancelAfter struct {
	context.Context
	calls int
}

func (c *cancelAfter) Err() error {
	if c.calls--; c.calls < 0 {
		return context.Canceled
	}
	return nil
}

// TestBisectWithoutOrigin keeps the row itself where its record is not known.
func TestBisectWithoutOrigin(t *testing.T) {
	schema, rows := hostileRows(t, 20)
	ch := newChain(t, schema, 64<<10, Config{Module: hostile(t), Config: mode(41)})
	b := ch.decode(t, schema, rows)
	b.Origin = nil
	if err := ch.ops[0].Process(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	if len(b.Rejects) != 1 || b.Rejects[0].Record != -1 || string(b.Rejects[0].Payload) != `{"id":13,"name":"näme 13","v":6.5}` || b.Origin != nil {
		t.Fatal(render(b))
	}
}

// TestFreshInstance answers a failure that earlier calls left behind with a fresh instance, and rejects nothing.
func TestFreshInstance(t *testing.T) {
	schema, rows := hostileRows(t, 20)
	ch := newChain(t, schema, 64<<10, Config{Module: hostile(t), Config: mode(42)})
	for i := range 5 {
		b := ch.decode(t, schema, rows)
		if err := ch.ops[0].Process(context.Background(), b); err != nil {
			t.Fatal(err)
		}
		if b.Rows != 20 || len(b.Rejects) != 0 {
			t.Fatal(render(b))
		}
		if got := ch.ops[0].Usage().Instances; got != int64(i+1) {
			t.Fatalf("%d instances after %d batches", got, i+1)
		}
	}
}

// TestStoresStayPrivate: what a guest writes into its read window is seen by itself alone, and the host's validation is
// not of that.
func TestStoresStayPrivate(t *testing.T) {
	schema, rows := hostileRows(t, 20)
	for _, w := range ways {
		honest := Config{Module: hostile(t), Config: mode(0), Interpreter: w.interpreter, Transport: w.transport}
		liar := honest
		liar.Config = mode(37)
		ch := newChain(t, schema, 64<<10, liar, honest)
		for range 3 {
			b := ch.decode(t, schema, rows)
			before := render(b)
			for _, op := range ch.ops {
				if err := op.Process(context.Background(), b); err != nil {
					t.Fatal(err)
				}
			}
			if after := render(b); after != before {
				t.Fatalf("%s: a store went through:\n%s", w.name, after)
			}
		}
	}
}

// TestHonest covers what guests may do and example operators do not.
func TestHonest(t *testing.T) {
	schema, rows := hostileRows(t, 37)
	for _, w := range ways {
		for _, c := range []struct {
			name   string
			mode   int
			copied bool // on the pool transport
		}{{"pass through", 0, false}, {"array offset", 43, true}, {"batch offset", 44, true}, {"own memory", 45, true}, {"log flood", 38, false}, {"fills its window", 48, false}} {
			t.Run(w.name+"/"+c.name, func(t *testing.T) {
				ch := newChain(t, schema, 64<<10, Config{Module: hostile(t), Config: mode(c.mode), Interpreter: w.interpreter, Transport: w.transport, FuelPerRow: 1_000_000})
				b := ch.decode(t, schema, rows)
				if err := ch.ops[0].Process(context.Background(), b); err != nil {
					t.Fatal(err)
				}
				balance(t, b)
				got := render(b)
				first := 0
				if c.mode == 43 || c.mode == 44 {
					first = 1
				}
				want := ch.decode(t, schema, rows)
				for i := first; i < 37; i++ {
					if line := string(want.RowJSON(i)) + fmt.Sprintf(" <- %d\n", i); !strings.Contains(got, line) {
						t.Fatalf("no %s in\n%s", line, got)
					}
				}
				if w.transport == Auto && (ch.ops[0].Usage().BytesCopied > 0) != c.copied {
					t.Fatalf("copied %d bytes", ch.ops[0].Usage().BytesCopied)
				}
			})
		}
	}
}

// TestInstancesAreFreed opens and closes guests, and lets calls fail, without keeping their memory.
func TestInstancesAreFreed(t *testing.T) {
	schema, rows := hostileRows(t, 4)
	ch := newChain(t, schema, 64<<10, Config{Module: hostile(t), Config: mode(3)})
	maps := func() int {
		b, err := os.ReadFile("/proc/self/maps")
		if err != nil {
			t.Skip(err)
		}
		return strings.Count(string(b), "\n")
	}
	for range 5 {
		_ = ch.ops[0].Process(context.Background(), ch.decode(t, schema, rows))
	}
	before := maps()
	for range 100 {
		_ = ch.ops[0].Process(context.Background(), ch.decode(t, schema, rows))
	}
	runtime.GC()
	if after := maps(); after > before+20 {
		t.Fatalf("%d mappings, %d before", after, before)
	}
}
