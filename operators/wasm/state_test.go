package wasm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
)

func stateGuest(t testing.TB) []byte { return guestFile(t, "testdata/state/state.wasm") }

// poison are the values of v on which the guest fails, after it has spoiled its state.
func poison(v int) bool { return v >= 13 && v <= 15 }

// sums is what testdata/state/state.c makes of values, computed apart: a line per row, a rejected row as its value alone.
func sums(values []int) (lines []string) {
	total, seen := 0, 0
	for _, v := range values {
		if poison(v) {
			lines = append(lines, fmt.Sprintf("%d rejected", v))
			continue
		}
		total, seen = total+v, seen+1
		lines = append(lines, fmt.Sprintf("%d %d %d", v, total, seen))
	}
	return lines
}

// feed runs values as one batch, and writes down what came out in the form of sums.
func (c *chain) feed(t testing.TB, values []int) (lines []string, err error) {
	t.Helper()
	defer c.batch.Release()
	schema := schemaOf(t, "v: int64")
	rows := make([][]any, len(values))
	for i, v := range values {
		rows[i] = []any{v}
	}
	b := c.decode(t, schema, rows)
	if err := c.ops[0].Process(context.Background(), b); err != nil {
		return nil, err
	}
	balance(t, b)
	lines = make([]string, len(values))
	for i := range b.Rows {
		col := func(n int) int64 { return batch.As[int64](b.Cols[n].Values)[i] }
		lines[b.Origin[i]] = fmt.Sprintf("%d %d %d", col(0), col(1), col(2))
	}
	for _, r := range b.Rejects {
		lines[r.Record] = fmt.Sprintf("%d rejected", values[r.Record])
	}
	return lines, nil
}

func randomValues(rng *rand.Rand, n int) []int {
	values := make([]int, n)
	for i := range values {
		values[i] = rng.IntN(12)
		if rng.IntN(9) == 0 {
			values[i] = 13 + rng.IntN(3)
		}
	}
	return values
}

// TestStateIsExact cuts rows, among them some that fail, into batches at random, and moves the state to another instance at
// random: it must always be that of the rows that passed.
func TestStateIsExact(t *testing.T) {
	for seed := range uint64(12) {
		for _, w := range ways {
			rng := rand.New(rand.NewPCG(seed, 1))
			values := randomValues(rng, 60)
			cfg := Config{
				Module: stateGuest(t), Interpreter: w.interpreter, Transport: w.transport,
				Config: fmt.Appendf(nil, `{"fit": %d, "size": %d}`, 1+rng.IntN(40), 16+8*rng.IntN(20000)),
			}
			c := newChain(t, schemaOf(t, "v: int64"), 64<<10, cfg)
			if !operators.IsStateful(c.steps[0]) {
				t.Fatal("not stateful")
			}
			var got []string
			for rest := values; len(rest) > 0; {
				n := min(len(rest), 1+rng.IntN(25))
				lines, err := c.feed(t, rest[:n])
				if err != nil {
					t.Fatal(err)
				}
				got, rest = append(got, lines...), rest[n:]
				if rng.IntN(3) == 0 {
					saved, err := c.ops[0].Snapshot(nil)
					if err != nil {
						t.Fatal(err)
					}
					c = newChain(t, schemaOf(t, "v: int64"), 64<<10, cfg)
					if err := c.ops[0].Restore(context.Background(), saved); err != nil {
						t.Fatal(err)
					}
				}
			}
			if g, want := strings.Join(got, "\n"), strings.Join(sums(values), "\n"); g != want {
				t.Fatalf("seed %d, %s: %s", seed, w.name, firstDifference(g, want))
			}
		}
	}
}

// TestStateForgets restores the state before the first row.
func TestStateForgets(t *testing.T) {
	c := newChain(t, schemaOf(t, "v: int64"), 64<<10, Config{Module: stateGuest(t)})
	for range 2 {
		if err := c.ops[0].Restore(context.Background(), nil); err != nil {
			t.Fatal(err)
		}
		got, err := c.feed(t, []int{1, 2, 3})
		if err != nil || strings.Join(got, ",") != "1 1 1,2 3 2,3 6 3" {
			t.Fatal(got, err)
		}
	}
}

// TestStateLies has the guest lie about its state: the batch after fails, and nothing else does.
func TestStateLies(t *testing.T) {
	for _, l := range []struct {
		lie  int
		want string
	}{
		{1, "weir_snapshot failed: it gave no reason"},
		{2, "weir_snapshot failed: no state today"},
		{3, "unreachable"},
		{4, "returned 0xfffffffc, which is not a 4-aligned address in its memory"},
		{5, "not a 4-aligned address"},
		{6, "4096 bytes at 0xffffff00, outside its memory"},
		{7, "it has 4294967295 bytes, over limits.state of 1048576"},
		{8, "outside its memory"},
		{9, "inside the windows"},
		{10, "out of fuel"},
		{13, ""},
	} {
		for _, policy := range []OnError{Reject, Stop} {
			c := newChain(t, schemaOf(t, "v: int64"), 64<<10, Config{
				Module: stateGuest(t), Config: fmt.Appendf(nil, `{"lie": %d}`, l.lie), OnError: policy,
			})
			if got, err := c.feed(t, []int{1, 2}); err != nil || got[1] != "2 3 2" {
				t.Fatalf("lie %d: %v, %v", l.lie, got, err)
			}
			_, err := c.feed(t, []int{1})
			var ce *CallError
			if l.want == "" && err != nil || l.want != "" && (!errors.As(err, &ce) || ce.Fault != FaultState || !strings.Contains(err.Error(), l.want)) {
				t.Errorf("lie %d: error %v, want one with %q", l.lie, err, l.want)
			}
			if _, err := c.ops[0].Snapshot(nil); (err != nil) != (l.want != "") {
				t.Errorf("lie %d: snapshot: %v", l.lie, err)
			}
		}
	}
}

// TestStateNotAll has a guest give less than its state, which is nothing: the batch that is run again in a fresh guest differs.
func TestStateNotAll(t *testing.T) {
	for _, config := range []string{`{"lie": 11}`, `{}`} {
		c := newChain(t, schemaOf(t, "v: int64"), 64<<10, Config{Module: stateGuest(t), Config: []byte(config), Verify: 1})
		var failed error
		for range 8 {
			if _, err := c.feed(t, []int{1, 2}); err != nil {
				failed = err
				break
			}
		}
		var differ *DifferError
		if wrong := config != "{}"; errors.As(failed, &differ) != wrong || failed != nil && !wrong {
			t.Errorf("%s: %v", config, failed)
		}
	}
}

// TestStateKeepsOutput has weir_snapshot write over the output of the batch before: the batch is out of its reach by then.
func TestStateKeepsOutput(t *testing.T) {
	c := newChain(t, schemaOf(t, "v: int64"), 64<<10, Config{Module: stateGuest(t), Config: []byte(`{"lie": 12}`)})
	for i := range 4 {
		got, err := c.feed(t, []int{1, 1, 1})
		if want := fmt.Sprintf("1 %d %[1]d", 3*i+3); err != nil || got[2] != want {
			t.Fatalf("%v, %v, want %s", got, err, want)
		}
	}
}

func TestStateRestoreRefused(t *testing.T) {
	for _, l := range []struct {
		lie   int
		state []byte
		want  string
	}{
		{20, make([]byte, 16), "weir_restore refused it: not this state"},
		{21, make([]byte, 16), "unreachable"},
		{22, make([]byte, 16), "weir_restore refused it: it gave no reason"},
		{0, make([]byte, 3), "a state of another size"},
	} {
		c := newChain(t, schemaOf(t, "v: int64"), 64<<10, Config{Module: stateGuest(t), Config: fmt.Appendf(nil, `{"lie": %d}`, l.lie)})
		err := c.ops[0].Restore(context.Background(), l.state)
		var me *ModuleError
		if !errors.As(err, &me) || !strings.Contains(err.Error(), "cannot be given back its state") || !strings.Contains(err.Error(), l.want) {
			t.Errorf("lie %d: %v", l.lie, err)
		}
	}
}

// TestStateLimit has a state of as many bytes as may be, and of one more.
func TestStateLimit(t *testing.T) {
	for size, want := range map[int]string{4096: "", 4104: "4104 bytes, over limits.state of 4096"} {
		c := newChain(t, schemaOf(t, "v: int64"), 64<<10, Config{
			Module: stateGuest(t), Config: fmt.Appendf(nil, `{"size": %d}`, size), PartitionState: 4096,
		})
		if _, err := c.feed(t, []int{1}); err != nil {
			t.Fatal(err)
		}
		_, err := c.ops[0].Snapshot(nil)
		if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

// TestStateInLittleMemory gives back a state that takes nearly all the memory a guest may have: its block comes on top.
func TestStateInLittleMemory(t *testing.T) {
	cfg := Config{Module: stateGuest(t), Config: []byte(`{"size": 4194304}`), PartitionState: 5 << 20, MemoryLimit: 5 << 20}
	c := newChain(t, schemaOf(t, "v: int64"), 64<<10, cfg)
	want := []int{1, 13, 2, 13, 3}
	got, err := c.feed(t, want)
	if err != nil || strings.Join(got, "\n") != strings.Join(sums(want), "\n") {
		t.Fatal(got, err)
	}
}

func FuzzStateAt(f *testing.F) {
	mem := make([]byte, 4096)
	binary.LittleEndian.PutUint32(mem[16:], 64)
	binary.LittleEndian.PutUint32(mem[20:], 100)
	f.Add(mem, uint32(16), 1000, uint32(2048), uint32(1024))
	f.Fuzz(func(t *testing.T, mem []byte, at uint32, limit int, windows, length uint32) {
		limit = max(1, min(limit, MaxPartitionState))
		state, err := stateAt(mem, at, limit, windows, length)
		if err == nil && len(state) > limit {
			t.Fatalf("%d bytes, over %d", len(state), limit)
		}
	})
}

// BenchmarkState is a batch of 8192 rows through the guest of the tests, with states of several sizes. The state is copied out
// before each batch.
func BenchmarkState(b *testing.B) {
	schema := schemaOf(b, "v: int64")
	rows := make([][]any, 8192)
	for i := range rows {
		rows[i] = []any{i % 10}
	}
	for _, size := range []int{16, 1 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			c := newChain(b, schema, 1<<20, Config{Module: stateGuest(b), Config: fmt.Appendf(nil, `{"size": %d}`, size)})
			for b.Loop() {
				b.StopTimer()
				in := c.decode(b, schema, rows)
				b.StartTimer()
				if err := c.ops[0].Process(context.Background(), in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
