package window

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/operators/aggregate"
)

// journal is a program whose state is the list of values it has taken. It refuses values by what it has taken before, and
// more rows at once than it has room for.
type journal struct {
	room    int
	refuses func(n int, last, v float64) bool
	calls   int
}

func (j *journal) Accumulate(_ context.Context, f *aggregate.Fold, next *aggregate.States) error {
	j.calls++
	if len(f.Rows) > j.room {
		return &aggregate.RowError{Full: true, Detail: "full"}
	}
	states := make([][]byte, len(f.States))
	for i, s := range f.States {
		states[i] = slices.Clone(s)
	}
	for i, r := range f.Rows {
		if i > 0 && f.Groups[i] < f.Groups[i-1] || i > 0 && f.Groups[i] == f.Groups[i-1] && r <= f.Rows[i-1] {
			return errors.New("rows are not sorted")
		}
		g := f.Groups[i]
		v := batch.As[float64](f.Cols[0].Values)[r]
		list := strings.Fields(string(states[g]))
		last := 0.0
		if len(list) > 0 {
			fmt.Sscan(list[len(list)-1], &last)
		}
		if j.refuses(len(list), last, v) {
			return &aggregate.RowError{Detail: "refused"}
		}
		states[g] = fmt.Append(states[g], v, " ")
	}
	for _, s := range states {
		next.Append(s)
	}
	return nil
}

// journals are two programs that each refuse rows, by what they have seen; a row that one refuses the other must not see.
func journals(t testing.TB, room int) (*Config, [2]*journal) {
	c := testConfig(t)
	c.Keys = []int{1}
	programs := [2]*journal{
		{room: room, refuses: func(n int, last, v float64) bool { return v == 13 || n%7 == 3 && v > last }},
		{room: room, refuses: func(n int, last, v float64) bool { return n%5 == 4 && v < last }},
	}
	c.Aggregate = c.Aggregate[:3]
	for i, p := range programs {
		c.Aggregate = append(c.Aggregate, Aggregate{
			Aggregate: aggregate.NewExternal(p, batch.Field{Type: floatType}), Name: fmt.Sprintf("j%d", i), Args: []int{3},
		})
	}
	return c, programs
}

// outcome is all that windows say of a stream: the last row of each window and key, and what was rejected.
func outcome(t testing.TB, cfg *Config, rows []row, cut func(left int) int, ship func() bool) (answers map[string]string, rejects []string) {
	t.Helper()
	w := New(cfg)
	answers = map[string]string{}
	take := func(next int64) {
		c := w.Cut(next)
		if c.Rows == nil {
			return
		}
		for i := range c.Rows.Rows {
			text := string(c.Rows.RowJSON(i))
			key, _, _ := strings.Cut(text, `"_rows"`)
			_, keyed, _ := strings.Cut(text, `"device"`)
			device, _, _ := strings.Cut(keyed, ",")
			answers[key+device] = text
		}
	}
	for at := 0; at < len(rows); {
		n := cut(len(rows) - at)
		b := makeBatch(cfg.In, rows[at:at+n], int64(at))
		counts := add(t, w, b, int64(at))
		if got := counts.Aggregated + counts.Late + counts.Replayed; got+operatorRejects(b) != int64(n) {
			t.Fatalf("%d rows: %+v and %d rejects", n, counts, len(b.Rejects))
		}
		for _, r := range b.Rejects {
			rejects = append(rejects, fmt.Sprintf("%d %s %s", at+int(r.Record), r.Step, r.Reason))
		}
		if at += n; ship() {
			take(int64(at))
		}
	}
	take(int64(len(rows)))
	slices.Sort(rejects)
	return answers, rejects
}

func operatorRejects(b *batch.Batch) (n int64) {
	for _, r := range b.Rejects {
		if r.Reason == batch.ReasonOperator {
			n++
		}
	}
	return n
}

// TestFoldCuts gives one stream in many cuts, to programs that refuse rows by what they took before, and expects one outcome.
func TestFoldCuts(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	rows := make([]row, 600)
	for i := range rows {
		rows[i] = row{ts: 1_700_000_000_000 + int64(i)*40 + rng.Int64N(3000), device: fmt.Sprint("d", rng.IntN(6)), temp: float64(rng.IntN(30))}
	}
	one, _ := journals(t, 1)
	want, rejects := outcome(t, one, rows, func(int) int { return 1 }, func() bool { return false })
	if refused := strings.Count(strings.Join(rejects, "\n"), "operator"); refused < 50 || refused > 500 || len(want) < 10 {
		t.Fatalf("%d rows refused, %d answers: a poor test", refused, len(want))
	}
	for trial := range 40 {
		cfg, programs := journals(t, 1+rng.IntN(300))
		most := 1 + rng.IntN(200)
		got, gotRejects := outcome(t, cfg, rows, func(left int) int { return min(left, 1+rng.IntN(most)) }, func() bool { return rng.IntN(4) == 0 })
		if !slices.Equal(rejects, gotRejects) {
			t.Fatalf("trial %d: rejects differ:\n%v\n%v", trial, rejects, gotRejects)
		}
		if !maps.Equal(want, got) {
			t.Fatalf("trial %d: answers differ:\n%v\n%v", trial, want, got)
		}
		if calls := programs[0].calls; calls > 20*len(rows) {
			t.Errorf("trial %d: %d calls for %d rows", trial, calls, len(rows))
		}
	}
}

// TestFoldAllRefused has a window whose every row is refused: it ships nothing, and is no obstacle later.
func TestFoldAllRefused(t *testing.T) {
	cfg, programs := journals(t, 100)
	for _, p := range programs {
		p.refuses = func(int, float64, float64) bool { return true }
	}
	w := New(cfg)
	rows := []row{{ts: 1_700_000_000_000, device: "a", temp: 1}, {ts: 1_700_000_000_001, device: "b", temp: 1}}
	for i := range 3 {
		b := makeBatch(cfg.In, rows, int64(2*i))
		if n := add(t, w, b, int64(2*i)); n.Aggregated != 0 || len(b.Rejects) != 2 {
			t.Fatalf("%+v, %d rejects", n, len(b.Rejects))
		}
		if c := w.Cut(int64(2*i + 2)); c.Rows != nil {
			t.Fatalf("%d rows of nothing", c.Rows.Rows)
		}
	}
	for _, p := range programs {
		p.refuses = func(int, float64, float64) bool { return false }
	}
	add(t, w, makeBatch(cfg.In, rows, 6), 6)
	if c := w.Cut(8); c.Rows == nil || c.Rows.Rows != 2 {
		t.Fatal("the keys that were refused before do not ship")
	}
	add(t, w, makeBatch(cfg.In, []row{{ts: 1_700_000_100_000, device: "a", temp: 1}}, 8), 8)
	w.Cut(9)
	if w.Windows() != 1 || w.Groups() != 1 {
		t.Errorf("%d windows with %d groups are open: each member is freed once", w.Windows(), w.Groups())
	}
}

// TestFoldStop has a row refused where that is an error, and a program that fails altogether.
func TestFoldStop(t *testing.T) {
	cfg, programs := journals(t, 3)
	rows := []row{{ts: 1_700_000_000_000, device: "a", temp: 1}, {ts: 1_700_000_000_001, device: "b", temp: 13}}
	cfg.Aggregate[3].Stop = true
	if _, err := New(cfg).Add(context.Background(), makeBatch(cfg.In, rows, 0), 0); err == nil || err.Error() != "aggregate j0: refused" {
		t.Errorf("error %v", err)
	}
	programs[0].room = 0
	if _, err := New(cfg).Add(context.Background(), makeBatch(cfg.In, rows, 0), 0); err == nil || err.Error() != "aggregate j0: full" {
		t.Errorf("error %v", err)
	}
	cfg, _ = journals(t, 3)
	cfg.Aggregate[4].Aggregate = aggregate.NewExternal(broken{}, batch.Field{Type: floatType})
	if _, err := New(cfg).Add(context.Background(), makeBatch(cfg.In, rows, 0), 0); err == nil || err.Error() != "aggregate j1: broken" {
		t.Errorf("error %v", err)
	}
}

type broken struct{}

func (broken) Accumulate(context.Context, *aggregate.Fold, *aggregate.States) error {
	return errors.New("broken")
}

// TestFoldMemory counts the bytes of states, and gives them back when windows close and after a burst of keys.
func TestFoldMemory(t *testing.T) {
	cfg, programs := journals(t, 1<<20)
	for _, p := range programs {
		p.refuses = func(int, float64, float64) bool { return false }
	}
	w := New(cfg)
	empty := w.MemorySize()
	var rows []row
	for i := range 5000 {
		rows = append(rows, row{ts: 1_700_000_000_000, device: fmt.Sprint("d", i), temp: 123456.75})
	}
	for i := range 20 {
		add(t, w, makeBatch(cfg.In, rows, int64(i)), int64(i))
	}
	full := w.MemorySize()
	if least := int64(2 * 20 * len("123456.75 ") * len(rows)); full-empty < least {
		t.Errorf("%d bytes are counted, and the states have %d", full-empty, least)
	}
	add(t, w, makeBatch(cfg.In, []row{{ts: 1_700_001_000_000, device: "x", temp: 1}}, 20), 20)
	c := w.Cut(21)
	if c.Rows == nil || c.Rows.Rows != 5001 || w.Groups() != 1 {
		t.Fatalf("%d groups are left", w.Groups())
	}
	if left := w.MemorySize(); left > full/10 {
		t.Errorf("%d of %d bytes are kept", left, full)
	}
	var clock operators.Clock
	if clock = w.Clock(); clock.Max == operators.Unset {
		t.Error("no clock")
	}
	w.Reset()
	if w.Groups() != 0 || w.Clock() != clock {
		t.Error("Reset keeps the clock and nothing else")
	}
}

// TestFoldNoAllocations takes rows into states that keep their size.
func TestFoldNoAllocations(t *testing.T) {
	cfg := testConfig(t)
	cfg.Size = time.Minute
	cfg.Keys = []int{1}
	cfg.Aggregate = append(cfg.Aggregate[:2], Aggregate{
		Aggregate: aggregate.NewExternal(counter{}, batch.Field{Type: floatType}), Name: "c", Args: []int{3},
	})
	rows := make([]row, 4096)
	for i := range rows {
		rows[i] = row{ts: 1_700_000_000_000, device: fmt.Sprint("d", i%1000), temp: 1}
	}
	b := makeBatch(cfg.In, rows, 0)
	w := New(cfg)
	add(t, w, b, 0)
	if n := testing.AllocsPerRun(20, func() { add(t, w, b, 0) }); n > 0 {
		t.Errorf("%v allocations for a batch of %d rows", n, len(rows))
	}
}

// counter is a program with a state of 8 bytes.
type counter struct{}

func (counter) Accumulate(_ context.Context, f *aggregate.Fold, next *aggregate.States) error {
	at := 0
	for i, s := range f.States {
		var n [8]byte
		copy(n[:], s)
		for ; at < len(f.Groups) && int(f.Groups[at]) == i; at++ {
			n[0]++
		}
		next.Append(n[:])
	}
	return nil
}
